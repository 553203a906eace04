"""`tools/operate_archive.py`: an office on files of an archive, issue time after issue time."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pandas as pd
import pytest

from kflare.operations.ledger import Ledger
from kflare.operations.publish.latest import read_latest
from kflare.regions.feature_table import feature_set
from kflare.serving import Server
from kflare.synthetic.sun import SyntheticSun
from tests.observation_sets import write_observations
from tools import operate_archive

from .toys import TOYS, publish_toys

START = datetime(2014, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SEEN = START + DAY + timedelta(hours=2)


@pytest.fixture
def archive(tmp_path, toys, monkeypatch):
    """What a cycle of 03 UT looks at and compares with, and no more."""
    times = pd.DatetimeIndex([SEEN - timedelta(hours=hours) for hours in (24, 12, 2, 1, 0)])
    write_observations(
        SyntheticSun(START, 4, seed=5, activity=1.5), tmp_path / "seen", times, size=256, full_disk_vector=True
    )
    publish_toys(toys, tmp_path / "models")
    monkeypatch.setattr(operate_archive, "Server", partial(Server, trust=TOYS))
    seen = tmp_path / "seen"
    return [
        *(str(seen), "--models", str(tmp_path / "models"), "--xrays", *map(str, seen.glob("goes_xrays_*"))),
        *("--flares", str(seen / "flares.csv"), "--srs", str(seen / "srs.csv"), "--output", str(tmp_path / "office")),
        *("--from", "2014-03-02", "--until", "2014-03-03"),
    ]


def test_each_issue_time_has_its_forecast_or_none(archive, tmp_path, capsys):
    assert operate_archive.main(archive) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "4 issue times, 2014-03-02 to 2014-03-02"
    # At 09 UT the newest observation is 7 h old.
    assert sorted(line.split() for line in said.splitlines()[1:]) == [["all", "features", "1"], ["no", "forecast", "3"]]
    office = tmp_path / "office"
    with Ledger(f"sqlite:///{office / 'ledger.sqlite'}") as ledger:
        cycles = list(ledger.cycles(START, START + 3 * DAY))
        table = ledger.features(SEEN - DAY / 24, SEEN + DAY / 24)
        assert ledger.faults() == []
    forecast, *others = cycles
    assert [one.issue.hour for one in cycles] == [3, 9, 15, 21]
    assert {one.reason.partition(":")[0] for one in others} == {"no data"}
    # All 79 were measured, and what they compare with.
    names = [feature.name for feature in feature_set("defn79")]
    assert table[names].notna().any().all()
    assert forecast.full_disk["M"].network is not None
    assert list((office / "site" / "pictures").rglob("*hmi-magnetogram.jpg"))
    assert read_latest((office / "site" / "latest.json").read_text()) == forecast
    # Once more changes nothing.
    assert operate_archive.main(archive) == 0
    assert capsys.readouterr().out == said


def test_what_it_cannot_operate_on_is_one_line(archive, capsys):
    wrong = [*archive]
    wrong[wrong.index("--models") + 1] = str(archive[0])
    assert operate_archive.main(wrong) == 1
    assert "has no folder defn-c: publish it with `kflare fit --publish`" in capsys.readouterr().err
    late = [*archive]
    late[-3], late[-1] = "2014-03-20", "2014-03-21"
    assert operate_archive.main(late) == 1
    assert "holds no magnetogram from 2014-03-18" in capsys.readouterr().err
