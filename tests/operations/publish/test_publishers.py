"""The publication step: every publisher that the settings name, each on its own."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Forecast, Outage
from kflare.operations.ledger import Ledger
from kflare.operations.publish import publishers
from kflare.operations.publish.publication import Publication
from kflare.operations.publish.publishers import PUBLISHERS, Publisher, publish_cycle
from kflare.operations.settings import ForecastSettings, SiteSettings

Make = Callable[..., Forecast]


def settings(folder: Path) -> ForecastSettings:
    places = {name: folder / name for name in ("folder", "ccmc_folder", "csv_folder")}
    return replace(ForecastSettings(), site=SiteSettings(**places))


def test_every_publisher_has_its_setting() -> None:
    known = {one.name for one in fields(SiteSettings)}
    assert {publisher.setting for publisher in PUBLISHERS} <= known
    assert [publisher.name for publisher in PUBLISHERS] == ["site", "ccmc", "csv"]


def test_a_cycle_is_published_wherever_the_settings_say(make_forecast: Make, tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        assert publish_cycle(make_forecast(), settings(tmp_path / "a"), ledger, EventLog()) == []
        only_site = replace(settings(tmp_path / "b"), site=SiteSettings(folder=tmp_path / "b" / "folder"))
        assert publish_cycle(make_forecast(), only_site, ledger, EventLog()) == []
        outage = Outage("x", make_forecast().issue, "no data")
        assert publish_cycle(outage, settings(tmp_path / "c"), ledger, EventLog()) == []
    assert len(list((tmp_path / "a" / "ccmc_folder").iterdir())) == 3
    assert [path.name for path in (tmp_path / "a" / "csv_folder").iterdir()] == ["forecast_20140108T0300Z.csv"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["folder", "folder.versions"]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["folder", "folder.versions"]


def test_one_publisher_more_is_one_row_and_one_that_fails_stops_no_other(
    make_forecast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(publication: Publication, folder: Path) -> None:
        raise OSError("no room")

    def short(publication: Publication, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "mark.txt").write_text(str(publication.cycle.mark))

    rows = (Publisher("failing", "ccmc_folder", failing), Publisher("short", "csv_folder", short))
    monkeypatch.setattr(publishers, "PUBLISHERS", rows)
    with Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        failures = publish_cycle(make_forecast(), settings(tmp_path), ledger, EventLog())
    assert failures == ["failing: no room"]
    assert (tmp_path / "csv_folder" / "mark.txt").read_text() == make_forecast().mark
