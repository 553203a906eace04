"""Whole cycles: real HTTP to stand-ins of JSOC and SWPC, real gRPC to an embedded server, a real ledger and site."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kflare.commands import forecast as command
from kflare.models.event_statistics import event_statistics
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Forecast, Outage, Probability
from kflare.operations.inputs import _EARLIER
from kflare.operations.ledger import Ledger
from kflare.operations.measurement import rung_of_features
from kflare.operations.outcomes import forecast_outcomes, table_to_verify
from kflare.operations.publish.latest import read_latest
from kflare.operations.questions import Answers, ask_regions
from kflare.operations.running import CycleResult, run_once
from kflare.operations.settings import ForecastSettings, LedgerSettings, as_toml
from kflare.regions.feature_table import SETS, feature_set
from kflare.serving import Server
from kflare.serving.server.config_files import ModelSettings
from kflare.sun.disk import FULL_DISK
from kflare.synthetic.sun import SyntheticSun

from .toys import TOYS, publish_toys, publish_version
from .world import EVENTS, FLARES, HOUR, XRAYS, World, limb_only, quiet, rsga

START = datetime(2014, 3, 1, tzinfo=UTC)
ISSUE = START + timedelta(days=2, hours=3)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def sun() -> SyntheticSun:
    return SyntheticSun(START, 6, seed=5, activity=1.5)


@pytest.fixture(scope="module")
def server(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = publish_toys(toys, tmp_path_factory.mktemp("models"))
    with Server(folder=models, port=0, poll_seconds=0.05, trust=TOYS) as running:
        yield f"127.0.0.1:{running.port}"


@pytest.fixture
def world(sun: SyntheticSun) -> Iterator[World]:
    with World(sun) as there:
        there.tell(ISSUE)
        yield there


class Office:
    """One forecasting office, for one test."""

    def __init__(self, settings: ForecastSettings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.ledger.url)
        self.log = EventLog(settings.log.path)

    def run(self, issue: datetime = ISSUE) -> CycleResult:
        return run_once(issue, self.settings, ledger=self.ledger, log=self.log, now=issue + HOUR / 60)

    def forecast(self, issue: datetime = ISSUE) -> Forecast:
        cycle = self.run(issue).cycle
        assert isinstance(cycle, Forecast), cycle
        return cycle

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in Path(self.settings.log.path).read_text().splitlines()]


@pytest.fixture
def office(world: World, server: str, tmp_path: Path) -> Iterator[Office]:
    opened = Office(world.settings(tmp_path, server=server))
    yield opened
    opened.ledger.close()


def record_of(cycle: Forecast | Outage, name: str) -> Any:
    return next(record for record in cycle.inputs if record.name == name)


def test_a_forecast_from_observation_to_page(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    done = office.run()
    cycle = done.cycle
    assert isinstance(cycle, Forecast)
    assert done.unpublished == []
    # The first cycle has no past to take changes from.
    assert (cycle.rung, "dt24USFLUX" in cycle.details[0]) == ("imputed", True)
    assert (cycle.window_start, cycle.window_end - cycle.issue) == (ISSUE, DAY)
    assert cycle.next_issue == ISSUE + 6 * HOUR
    assert {model.name: model.version for model in cycle.models} == dict.fromkeys(
        ("defn-c", "defn-m", "cnn-c", "cnn-m"), 1
    )
    forecast = [region for region in cycle.regions if region.status == "forecast"]
    assert forecast
    silence = 1.0
    for region in forecast:
        silence *= 1 - region.probability["M"].network
    assert cycle.full_disk["M"].network == pytest.approx(1 - silence)
    assert cycle.cnn["M"].network == pytest.approx(0.3)
    assert record_of(cycle, "magnetogram").status == "ok"
    assert record_of(cycle, "magnetogram").age_hours == pytest.approx(1.01, abs=0.01)
    assert record_of(cycle, "aia_193").status == "missing"
    # What was measured is in the ledger, by region.
    table = office.ledger.features(ISSUE - 2 * HOUR, ISSUE)
    assert sorted(table["region"]) == sorted(region.region for region in cycle.regions)
    assert table.set_index("region").loc[forecast[0].region, "USFLUX"] > 1e20
    site = office.settings.site
    assert read_latest((site.folder / "latest.json").read_text()) == cycle
    pictures = {path.stem.partition("-")[2] for path in site.folder.rglob("*") if path.suffix in (".jpg", ".png")}
    assert {"hmi-magnetogram", "hmi-vector", "continuum", "aia-131", "aia-1600", "grad-cam-m"} <= pictures
    assert len(list(site.ccmc_folder.iterdir())) == 3
    assert len(list(site.csv_folder.iterdir())) == 1


def test_a_forecast_rests_on_what_was_fetched_and_on_no_other_file(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    folder = office.settings.data.folder / f"{ISSUE:%Y%m%dT%H%MZ}"
    folder.mkdir(parents=True)
    # Named like newer observations, but not what this cycle asked for.
    (folder / "hmi.M_720s_nrt.20140303_024800_TAI.magnetogram.fits").write_bytes(b"not of this cycle")
    (folder / "aia.lev1_nrt2.20140303T020000Z.1600.image_lev1.fits").write_bytes(b"not of this cycle")
    cycle = office.forecast()
    assert cycle.rung == "imputed"
    assert cycle.data_time == record_of(cycle, "magnetogram").time


def test_the_same_cycle_again_changes_nothing(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    first = office.run().cycle
    world.fail(".", "reset")
    world.swpc.fail(".", "reset")
    again = office.run()
    assert again.cycle == first
    assert again.unpublished == []
    assert office.events().count("forecast") == 1


def test_history_comes_from_the_ledger(world: World, office: Office) -> None:
    # A region is recognised over the 12 h between two of them.
    for hours in (-24, -12, 0):
        world.observe(ISSUE + hours * HOUR - HOUR)
    for hours in (-24, -12):
        world.tell(ISSUE + hours * HOUR)
        office.run(ISSUE + hours * HOUR)
    world.tell(ISSUE)
    cycle = office.forecast()
    day_before = office.ledger.cycle(ISSUE - DAY)
    assert isinstance(day_before, Forecast)
    known = {region.region for region in day_before.regions} & {region.region for region in cycle.regions}
    assert known, "no region was recognised after a day"
    table = office.ledger.features(ISSUE - 30 * HOUR, ISSUE)
    for region in known:
        own = table[table["region"] == region].sort_values("time")
        assert own["dt24USFLUX"].iloc[-1] == pytest.approx(own["USFLUX"].iloc[-1] - own["USFLUX"].iloc[0])


def test_what_the_changes_compare_with_is_measured_where_no_cycle_has(
    world: World, office: Office, server: str, tmp_path: Path
) -> None:
    before = (24, 12, 2)
    for hours in (*before, 0):
        world.observe(ISSUE - hours * HOUR - HOUR)
    cycle = office.forecast()
    names = [feature.name for feature in feature_set("defn79")]
    changes = [name for name in names if name.startswith("dt")]
    table = office.ledger.features(ISSUE - 2 * HOUR, ISSUE).set_index("region")
    whole = [
        region.region
        for region in cycle.regions
        if region.status == "forecast" and table.loc[region.region, changes].notna().all()
    ]
    assert whole, "no region has all its changes in the first cycle"
    # What one region or another does not have lowers no rung; it is told with that region.
    forecast = [region.region for region in cycle.regions if region.status == "forecast"]
    lacking = [name for name in forecast if table.loc[name, names].isna().any()]
    assert lacking
    assert rung_of_features(table.loc[forecast].reset_index(), names) == ("all features", "")
    told = {record.name: record for record in cycle.inputs if record.name.endswith("h_before")}
    assert {"magnetogram_2h_before", "magnetogram_12h_before", "aia_1600_24h_before", "vector_field_24h_before"} <= {
        name for name, record in told.items() if record.status == "ok"
    }
    assert told["magnetogram_24h_before"].age_hours == pytest.approx(25, abs=0.1)
    # An office that ran at these times has them in its ledger: the same changes, and nothing is fetched for them.
    other = Office(world.settings(tmp_path / "other", server=server))
    for hours in before:
        world.tell(ISSUE - hours * HOUR)
        other.run(ISSUE - hours * HOUR)
    world.tell(ISSUE)
    later = other.forecast()
    assert not {record.name for record in later.inputs} & {"magnetogram_2h_before", "vector_field_24h_before"}
    place = {region.box: region.region for region in later.regions}
    theirs = other.ledger.features(ISSUE - 2 * HOUR, ISSUE).set_index("region")
    for region in cycle.regions:
        if region.region in whole:
            same = theirs.loc[place[region.box], changes]
            pd.testing.assert_series_equal(table.loc[region.region, changes], same, check_names=False, rtol=1e-9)
    other.ledger.close()


def test_a_rung_tells_of_observations_that_lack_not_of_what_a_region_does_not_have() -> None:
    wanted = ["USflux", "dt24USFLUX", "MeanGAM", "CHMax", "Mhis"]
    table = pd.DataFrame([[1e22, 1e20, 40.0, 300.0, 0.0], [1e21, None, None, 200.0, None]], columns=wanted, dtype=float)
    assert rung_of_features(table, wanted) == ("all features", "")
    # The second region alone: nothing was measured that the others would have shown.
    why = "3 of 5 features were not measured in any region: dt24USFLUX, MeanGAM, Mhis"
    assert rung_of_features(table.iloc[1:], wanted) == ("imputed", why)
    # Without an image at 1600 Å no region has its brightness.
    without = rung_of_features(table.assign(CHMax=float("nan")), wanted)
    assert without == ("imputed", "1 of 5 features were not measured in any region: CHMax")
    lost = table.assign(MeanGAM=float("nan"), CHMax=float("nan"))
    assert rung_of_features(lost, wanted)[0] == "magnetogram only"


def test_for_each_change_is_fetched_what_it_compares_with() -> None:
    kinds = {
        "HMI LOS": "magnetogram", "HMI vector": "vector_field", "AIA 1600": "aia_1600", "AIA 131": "aia_131"
    }  # fmt: skip
    for hours, names in _EARLIER.items():
        changes = [one for of in SETS for one in feature_set(of) if one.name.startswith(f"dt{hours:02d}")]
        assert set(names) == {kinds[one.observation.split(" (")[0]] for one in changes}


def test_a_time_before_that_is_damaged_costs_its_changes_only(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    world.observe(ISSUE - 3 * HOUR)
    first = next(n for n, one in enumerate(world.records) if one.time < ISSUE - 2 * HOUR and "M_720s" in one.series)
    world.fail(f"/SUM1/D{first}/.*magnetogram", "html")
    cycle = office.forecast()
    assert record_of(cycle, "magnetogram_2h_before").status == "missing"
    assert record_of(cycle, "magnetogram_24h_before").status == "missing"
    assert cycle.rung == "imputed"
    table = office.ledger.features(ISSUE - 2 * HOUR, ISSUE)
    assert table[["dt02USflux", "dt24USFLUX"]].isna().all(axis=None)
    assert table["USflux"].notna().any()


def test_older_data_are_used_and_said_to_be_old(world: World, office: Office) -> None:
    world.observe(ISSUE - 4 * HOUR)
    cycle = office.forecast()
    assert cycle.data_age / HOUR == pytest.approx(4, abs=0.1)
    assert record_of(cycle, "magnetogram").status == "stale"
    assert any("4.0 h before issue" in remark and "28 h" in remark for remark in cycle.remarks)


def test_data_older_than_five_hours_are_no_data(world: World, office: Office) -> None:
    world.observe(ISSUE - 7 * HOUR)
    cycle = office.forecast()
    assert cycle.rung == "event statistics"
    assert cycle.data_time is None
    assert "no magnetogram" in cycle.rung_reason


def test_without_statistics_no_data_is_an_outage(world: World, office: Office) -> None:
    office.settings = replace(office.settings, rungs=("all features", "imputed", "magnetogram only"))
    done = office.run()
    assert isinstance(done.cycle, Outage)
    assert done.cycle.reason.startswith("no data: no magnetogram")
    assert "event statistics is not allowed" in done.cycle.reason
    assert done.unpublished == []
    assert read_latest((office.settings.site.folder / "latest.json").read_text()) == done.cycle
    assert isinstance(office.ledger.cycle(ISSUE), Outage)


def test_the_eclipse_is_stepped_over(world: World, office: Office) -> None:
    world.observe(ISSUE - 2 * HOUR)
    # Bit 9 of HMI's QUALITY: eclipse.
    world.observe(ISSUE - HOUR, quality=0x600, without=("vector", "aia"))
    cycle = office.forecast()
    assert cycle.data_age / HOUR == pytest.approx(2, abs=0.1)
    assert record_of(cycle, "magnetogram").quality & 0x200 == 0


@pytest.mark.parametrize("kind", ["html", "truncate"])
def test_damaged_files_cost_their_record_only(world: World, office: Office, kind: str) -> None:
    world.observe(ISSUE - HOUR)
    world.observe(ISSUE - 2.5 * HOUR)
    newest = max(
        range(len(world.records)), key=lambda n: (world.records[n].series == "hmi.M_720s_nrt", world.records[n].time)
    )
    world.fail(f"/SUM1/D{newest}/.*magnetogram", kind, **({"size": 2000} if kind == "truncate" else {}))
    cycle = office.forecast()
    assert cycle.data_age / HOUR == pytest.approx(2.5, abs=0.3)


def test_a_magnetogram_the_other_way_up_shows_the_same_regions(world: World, server: str, tmp_path: Path) -> None:
    found = []
    for roll in (180.0, 0.0):
        world.records.clear()
        world.observe(ISSUE - HOUR, roll=roll, without=("vector", "aia"))
        opened = Office(world.settings(tmp_path / str(roll), server=server))
        found.append([region.box for region in opened.forecast().regions])
        opened.ledger.close()
    assert found[0] == found[1] != []


def test_without_aia_and_goes_the_forecast_goes_on(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR, without=("aia",))
    world.swpc.feeds[XRAYS] = []
    cycle = office.forecast()
    assert {name for name in ("aia_131", "aia_1600", "goes_xrays") if record_of(cycle, name).status == "missing"} == {
        "aia_131",
        "aia_1600",
        "goes_xrays",
    }
    assert cycle.full_disk["M"].network is not None
    table = office.ledger.features(ISSUE - 2 * HOUR, ISSUE)
    assert table[["CRMax", "CHMax", "Xmax1h"]].isna().all(axis=None)


def test_a_hole_in_the_x_rays_is_not_zero(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    world.tell(ISSUE, hole=2.5 * HOUR)
    office.forecast()
    table = office.ledger.features(ISSUE - 2 * HOUR, ISSUE)
    # The hour before the observation (02 UT) is in the hole, the day before it is not.
    assert table["Xflux1h"].isna().all()
    assert (table["Xmax1d"].dropna() > 0).all()


def test_no_sunspot(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR, seen=quiet)
    cycle = office.forecast()
    assert cycle.no_sunspot
    assert {probability.deciding for probability in cycle.full_disk.values()} == {0.01}
    assert cycle.mark == "Quiet"
    assert "no sunspot" in cycle.remarks


def test_only_limb_regions_are_not_forecast_by_the_network(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR, seen=limb_only)
    cycle = office.forecast()
    assert {region.status for region in cycle.regions} == {"limb"}
    assert cycle.rung == "event statistics"
    assert all(probability.network is None for probability in cycle.full_disk.values())


def test_without_a_model_server_statistics_stand_in(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    away = replace(office.settings.server, address="127.0.0.1:1", timeout_seconds=2.0)
    office.settings = replace(office.settings, server=away)
    cycle = office.forecast()
    assert cycle.rung == "event statistics"
    assert {region.status for region in cycle.regions} <= {"no answer", "limb"}
    assert "defn-m did not answer" in cycle.rung_reason
    # The public page does not tell the addresses of the office's machines.
    assert "127.0.0.1" not in json.dumps(cycle.as_json())
    # Statistics are not sent to the scoreboard under the network's name.
    assert not office.settings.site.ccmc_folder.exists()


def test_versions_with_a_label_are_asked_if_it_is_set(world: World, office: Office, toys: Path, tmp_path: Path) -> None:
    models = publish_toys(toys, tmp_path / "models")
    publish_version(toys, models, "defn-c", 2)
    names = ("defn-c", "defn-m", "cnn-c", "cnn-m")
    served = [ModelSettings(name, models / name, newest=None, labels={"stable": 1}) for name in names]
    world.observe(ISSUE - HOUR)
    with Server(served, port=0, trust=TOYS) as running:
        for issue, label, version in ((ISSUE, None, 2), (ISSUE + HOUR, "stable", 1)):
            server = replace(office.settings.server, address=running.address, version_label=label)
            office.settings = replace(office.settings, server=server)
            answered = {model.name: model.version for model in office.forecast(issue).models}
            assert answered == {**dict.fromkeys(names, 1), "defn-c": version}
        office.settings = replace(office.settings, server=replace(server, version_label="stabel"))
        cycle = office.forecast(ISSUE + 2 * HOUR)
    assert cycle.rung == "event statistics"
    told = Path(office.settings.log.path).read_text()
    assert "no version of `defn-m` at" in told
    assert "is labelled `stabel`" in told


def test_one_silent_model_costs_its_class(world: World, office: Office) -> None:
    world.observe(ISSUE - HOUR)
    office.settings = replace(office.settings, server=replace(office.settings.server, region_models=("defn-c",)))
    cycle = office.forecast()
    assert cycle.full_disk["C"].network is not None
    assert cycle.full_disk["M"].network is None
    assert cycle.rung == "event statistics"
    assert "class M and above is from event statistics" in cycle.rung_reason


def test_the_disk_is_no_less_likely_to_have_an_x_flare_than_any_of_its_regions(
    world: World, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strong(*asked: Any, **options: Any) -> Answers:
        answers = ask_regions(*asked, **options)
        answers.probability["M"] = [Probability(0.99, 0.95, 0.9, 0.97)] * len(answers.probability["M"])
        return answers

    monkeypatch.setattr("kflare.operations.cycle.ask_regions", strong)
    world.observe(ISSUE - HOUR)
    cycle = office.forecast()
    rated = [region.probability["X"] for region in cycle.regions if "X" in region.probability]
    assert rated
    assert cycle.full_disk["X"] == rated[0]


def test_x_flares_are_forecast_from_statistics_beside_the_networks(
    world: World, office: Office, sun: SyntheticSun
) -> None:
    """A class without a network: the forecast stands no lower for it, and says what it is."""
    world.observe(ISSUE - HOUR)
    cycle = office.forecast()
    assert cycle.rung == "all features" or "features were not measured" in cycle.rung_reason
    assert "class X" not in cycle.rung_reason
    assert "class X and above is from event statistics, as no network is taught so rare an event" in cycle.remarks
    assert cycle.full_disk["M"].network is not None
    assert cycle.full_disk["X"].network is None
    assert 0 < cycle.full_disk["X"].calibrated < 0.5
    # Regions: of flares of M a share of 10^(1 - γ) reach X, γ being that of the disk's X. No X where M is not known.
    index = event_statistics(sun.flares, ISSUE, "X").index
    assert "class X and above of a region is statistics too, from its class M and the year's flares" in cycle.remarks
    rated = [region.probability for region in cycle.regions if "M" in region.probability]
    assert rated
    assert [one["X"].network for one in rated] == [None] * len(rated)
    for one in rated:
        for name in ("calibrated", "calibrated_lower", "calibrated_upper"):
            known = getattr(one["M"], name)
            expected = None if known is None else pytest.approx(1 - (1 - known) ** (10 ** (1 - index)), rel=1e-6)
            assert getattr(one["X"], name) == expected
    assert all("X" not in region.probability for region in cycle.regions if "M" not in region.probability)
    with Ledger(office.settings.ledger.url, begin=False) as ledger:
        ledger.record_flares(sun.flares, since=ISSUE - DAY, until=ISSUE + 3 * DAY, source="test")
        kept = ledger.cycle(ISSUE)
    assert isinstance(kept, Forecast)
    assert [one.probability for one in kept.regions] == [one.probability for one in cycle.regions]
    for regions, count, beside in ((False, 1, {"SWPC": 1}), (True, len(rated), {})):
        frame, _, event = table_to_verify(office.settings.ledger.url, "X", regions=regions)
        assert event == "≥X1.0 flares"
        assert frame["method"].value_counts().to_dict() == {"kflare": count, "kflare (calibrated)": count} | beside


def test_regions_have_no_x_that_is_not_known(world: World, office: Office) -> None:
    """Without the network for M, or where event statistics are not allowed."""
    world.observe(ISSUE - HOUR)
    settings = office.settings
    office.settings = replace(settings, server=replace(settings.server, region_models=("defn-c",)))
    assert {name for one in office.forecast().regions for name in one.probability} == {"C"}
    office.settings = replace(settings, rungs=("all features", "imputed", "magnetogram only"))
    later = office.forecast(ISSUE + HOUR)
    assert "X" not in later.full_disk
    # No model was asked for it: that none had answered was said.
    assert "no forecast of class X and above, as no network is taught so rare an event" in later.remarks
    assert {name for one in later.regions for name in one.probability} == {"C", "M"}


def test_no_region_numbers_in_the_flare_lists_is_not_no_flares(world: World, office: Office, tmp_path: Path) -> None:
    """With a list that names regions the history is known, with one that does not it is imputed."""
    world.observe(ISSUE - HOUR)
    world.swpc.feeds[EVENTS] = []
    flares = world.sun.flares.table
    assert (flares["start"] < ISSUE).sum() > 0
    remark = "the list of flares does not tell of which regions they are: their history is not known"
    told = {}
    for name in ("numbered", "nameless"):
        list_of = replace(world.sun.flares, table=flares if name == "numbered" else flares.drop(columns="noaa"))
        list_of.write_csv(tmp_path / f"{name}.csv")
        settings = replace(office.settings, data=replace(office.settings.data, flares=tmp_path / f"{name}.csv"))
        other = Office(replace(settings, ledger=LedgerSettings(f"sqlite:///{tmp_path / name}.sqlite")))
        forecast = other.forecast()
        features = other.ledger.features(ISSUE - 2 * HOUR, ISSUE)
        told[name] = (remark in forecast.remarks, features["Chis"].notna().any())
        other.ledger.close()
    assert told == {"numbered": (False, True), "nameless": (True, False)}


def test_a_list_that_ended_days_ago_does_not_tell_of_a_quiet_week(world: World, office: Office, tmp_path: Path) -> None:
    """With the feed away, flares that no list tells of are not known: neither for the regions nor for the disk."""
    world.observe(ISSUE - HOUR)
    del world.swpc.feeds[FLARES]
    remark = "past flares are not known, as no list tells of the last week"
    told = {}
    for name, until in (("whole", ISSUE + DAY), ("half a day", ISSUE - 11 * HOUR), ("old", ISSUE - 3 * DAY)):
        last = world.sun.flares.table.iloc[[0]].assign(start=pd.Timestamp(until), peak=pd.Timestamp(until), end=pd.NaT)
        days = pd.date_range(START - 10 * DAY, START - DAY, unit="us")  # small ones of the days before this young Sun
        before = pd.concat([last] * len(days)).assign(start=days, peak=days, goes_class="B1.0")
        table = pd.concat([before, world.sun.flares.between(START, until).table, last], ignore_index=True)
        replace(world.sun.flares, table=table, told=()).write_csv(tmp_path / f"{name}.csv")
        settings = replace(office.settings, data=replace(office.settings.data, flares=tmp_path / f"{name}.csv"))
        other = Office(replace(settings, ledger=LedgerSettings(f"sqlite:///{tmp_path / name}.sqlite")))
        forecast = other.forecast()
        features = other.ledger.features(ISSUE - 2 * HOUR, ISSUE)
        told[name] = (remark in forecast.remarks, bool(features["diskC7d"].notna().any()))
        other.ledger.close()
    assert told == {"whole": (False, True), "half a day": (False, True), "old": (True, False)}


def test_swpcs_events_name_the_regions_of_its_flares(world: World, office: Office) -> None:
    """With default settings: from the two feeds to the ledger, the history of regions, and their outcomes."""
    world.observe(ISSUE - HOUR)
    cycle = office.forecast()
    assert record_of(cycle, "goes_events").status == "ok"
    known, seen = office.ledger.flares(ISSUE - 7 * DAY, ISSUE).table, world.sun.flares.table
    expected = seen[seen["start"].isin(known["start"])]
    assert len(known) == len(expected) > 0
    assert list(known["noaa"]) == list(expected["noaa"])
    assert office.ledger.features(ISSUE - 2 * HOUR, ISSUE)["Chis"].notna().any()
    world.tell(ISSUE + 2 * DAY)
    office.forecast(ISSUE + 2 * DAY)
    outcome = forecast_outcomes(office.ledger, ISSUE, ISSUE + HOUR)
    assert outcome["observed"].notna().all()
    flared = outcome[outcome["region"].ne(FULL_DISK) & outcome["threshold"].eq("C")].set_index("region")["observed"]
    after = seen[(seen["start"] >= ISSUE) & (seen["start"] < ISSUE + DAY) & (seen["flux"] >= 1e-6)]
    own = {one.region: bool(set(one.noaa) & set(after["noaa"])) for one in cycle.regions if one.probability}
    assert sum(own.values()) > 0
    assert own == flared.astype(bool).to_dict()
    # The feed that names them is away: what was named stands.
    world.swpc.feeds[EVENTS] = {"error": "maintenance"}
    later = office.forecast(ISSUE + 2 * DAY + 6 * HOUR)
    assert record_of(later, "goes_events").status == "missing"
    assert list(office.ledger.flares(ISSUE - 7 * DAY, ISSUE).table["noaa"]) == list(expected["noaa"])


def test_swpc_is_compared_with_on_the_same_window(
    world: World, office: Office, sun: SyntheticSun, tmp_path: Path
) -> None:
    """From the text to forecast, ledger, pages, and `kflare.verify`."""
    world.observe(ISSUE - HOUR)
    (tmp_path / "texts").mkdir()
    today = ISSUE.replace(hour=0)
    (tmp_path / "texts" / "rsga.txt").write_text(rsga(today - DAY, today, "40/20/20", "05/05/01"))
    (tmp_path / "texts" / "next.txt").write_text(rsga(today, today + DAY, "90/90/90", "50/50/50"))  # not yet issued
    office.settings = replace(office.settings, data=replace(office.settings.data, swpc_texts=tmp_path / "texts"))
    cycle = office.forecast()
    assert record_of(cycle, "swpc_probabilities").status == "ok"
    # 21 h of the day with 40 % and 3 h of the next with 20 %.
    assert cycle.swpc["M"].calibrated == pytest.approx(1 - 0.6 ** (21 / 24) * 0.8 ** (3 / 24))
    assert set(cycle.swpc) == {"M", "X"}
    site = office.settings.site.folder
    assert read_latest((site / "latest.json").read_text()) == cycle
    assert (site / "index.html").read_text().count("SWPC for the same window: ") == 2
    with Ledger(office.settings.ledger.url, begin=False) as ledger:
        assert list(ledger.cycles(ISSUE, ISSUE + HOUR)) == [cycle]
        ledger.record_flares(sun.flares, since=ISSUE - DAY, until=ISSUE + 3 * DAY, source="test")
    frame, *_ = table_to_verify(office.settings.ledger.url, "M", regions=False)
    assert set(frame["method"]) == {"kflare", "kflare (calibrated)", "cnn", "cnn (calibrated)", "SWPC"}
    assert frame.set_index("method").loc["SWPC", "probability"] == pytest.approx(cycle.swpc["M"].calibrated)
    world.tell(ISSUE + 2 * DAY)
    later = office.forecast(ISSUE + 2 * DAY)  # more than a day after the last text
    assert (later.swpc, record_of(later, "swpc_probabilities").status) == ({}, "missing")
    assert ">SWPC</td>" in (site / "verification.html").read_text()


def test_swpcs_feed_is_of_the_present(world: World, office: Office) -> None:
    days = {f"{name}_class_{n}_day": 30 for name in "cmx" for n in (1, 2, 3)}
    world.swpc.feeds["/json/solar_probabilities.json"] = [{"date": f"{ISSUE - DAY:%FT00:00:00}", **days}]
    assert office.forecast().swpc["C"].calibrated == pytest.approx(0.3)
    world.swpc.feeds.pop("/json/solar_probabilities.json")
    cycle = office.forecast(ISSUE + 6 * HOUR)  # without it there is a forecast all the same
    assert (cycle.swpc, record_of(cycle, "swpc_probabilities").status) == ({}, "missing")


def test_no_region_is_published_beyond_the_limb(world: World, office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """A header with another L0: SDO sees the Sun as the Earth does."""
    world.observe(ISSUE - HOUR)
    for record in (record for record in world.records if record.series == "hmi.M_720s_nrt"):
        record.keywords = record.keywords | {"CRLN_OBS": str((float(record.keywords["CRLN_OBS"]) + 150) % 360)}
    regions = office.forecast().regions
    assert regions
    assert all(abs(region.lon) <= 90 for region in regions)
    assert "the header puts the observer 150 degrees of longitude from the Earth (L0, `CRLN_OBS`)" in caplog.text


def test_nothing_at_all_is_an_outage(world: World, office: Office) -> None:
    world.fail(".", "reset")
    world.swpc.fail(".", "reset")
    cycle = office.run().cycle
    assert isinstance(cycle, Outage)
    assert "set `data.flares`" in str(cycle.details)
    assert "`" not in cycle.reason  # everybody reads it


def test_a_reclassified_flare(world: World, office: Office, sun: SyntheticSun) -> None:
    world.observe(ISSUE - HOUR)
    office.run()
    flares = sun.flares.table
    inside = flares[(flares["start"] >= ISSUE) & (flares["start"] < ISSUE + DAY)]
    strongest = inside.loc[inside["flux"].idxmax()]
    seen = []
    for days, goes_class in ((2, "C9.9"), (2.5, "M1.0")):
        later = ISSUE + days * DAY
        # Only the strongest counts: first reported as C9.9, as the flare of 2019-05-06 (paper 2, section 4.2).
        world.classes = dict.fromkeys(inside["start"], "B9.0") | {strongest["start"]: goes_class}
        world.tell(later)
        office.run(later)
        table = forecast_outcomes(office.ledger, ISSUE, ISSUE + HOUR)
        disk = table[(table["region"] == "full disk") & (table["method"] == "kflare")].set_index("threshold")
        seen.append((disk.loc["C", "observed"], disk.loc["M", "observed"]))
    assert seen == [(1.0, 0.0), (1.0, 1.0)]
    known = office.ledger.flares(ISSUE, ISSUE + DAY).table.set_index("start")
    assert known.loc[strongest["start"], "revision"] == 2


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow beyond 2 kB, which ends a write as a full disk does."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


def test_a_full_disk_at_publication_loses_nothing(world: World, office: Office) -> None:
    from kflare.operations.publish.publishers import publish_cycle

    world.observe(ISSUE - HOUR)
    office.settings = replace(office.settings, log=replace(office.settings.log, path="-"))
    first = office.run().cycle
    page = (office.settings.site.folder / "index.html").read_bytes()
    with full_disk():
        failures = publish_cycle(first, office.settings, office.ledger, EventLog())
    assert any(failure.startswith("site:") for failure in failures)
    assert (office.settings.site.folder / "index.html").read_bytes() == page
    assert publish_cycle(first, office.settings, office.ledger, EventLog()) == []


def write_settings(office: Office, folder: Path) -> Path:
    path = folder / "kflare.toml"
    path.write_text(as_toml(office.settings))
    return path


def test_the_command(world: World, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.observe(ISSUE - HOUR)
    path = write_settings(office, tmp_path)
    times = ["--settings", str(path), "--issue", f"{ISSUE:%FT%T}", "--now", f"{ISSUE + HOUR / 60:%FT%T}"]
    status = ["--settings", str(path), "--status", "--now"]
    assert command.main([*status, f"{ISSUE:%FT%T}"]) == 6
    assert json.loads(capsys.readouterr().out)["state"] == "overdue"
    assert command.main([*times, "--once"]) == 0
    out = capsys.readouterr().out
    assert "rung: imputed" in out
    assert "full disk, class M and above in 24 h: " in out
    assert command.main([*times, "--once", "--json"]) == 0
    assert Forecast.from_json(json.loads(capsys.readouterr().out)) == office.ledger.cycle(ISSUE)
    assert command.main([*times, "--publish"]) == 0
    capsys.readouterr()
    assert command.main([*status, f"{ISSUE + HOUR:%FT%T}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["rung"], found["server"]["missing"]) == ("forecast", "imputed", [])
    # The next issue time and its grace time have passed.
    assert command.main([*status, f"{ISSUE + 7 * HOUR:%FT%T}"]) == 6
    capsys.readouterr()
    # Six hours later there is nothing new to be had: statistics alone.
    later = ["--issue", f"{ISSUE + 6 * HOUR:%FT%T}", "--now", f"{ISSUE + 6 * HOUR:%FT%T}"]
    world.fail("jsoc", "reset")
    assert command.main(["--settings", str(path), *later, "--once"]) == 3
    assert command.main(["--settings", str(path), "--once", "--issue", "2100-01-01"]) == 1
    assert "must not lie in the future" in capsys.readouterr().err
    # By hand at 20:36: the issue of 15:00, and it says so.
    for now, late in ((f"{START:%F}T20:36", True), (f"{START:%F}T15:29", False)):
        command.main(["--settings", str(path), "--once", "--now", now])
        err = capsys.readouterr().err
        said = "issue 2014-03-01T15:00Z is made up for: 5.6 h after its issue time, more than schedule.grace_minutes"
        assert (said in err, "the next issue time is 2014-03-01T21:00Z" in err) == (late, late)


@pytest.mark.slow
def test_a_cycle_killed_at_any_moment_is_nothing_or_whole(world: World, office: Office, tmp_path: Path) -> None:
    world.observe(ISSUE - HOUR)
    arguments = ["--settings", str(write_settings(office, tmp_path)), "--once"]
    arguments += ["--issue", f"{ISSUE:%FT%T}", "--now", f"{ISSUE + HOUR / 60:%FT%T}"]
    start = [sys.executable, "-m", "kflare.forecast", *arguments]
    events = Path(office.settings.log.path)

    def after(event: str) -> Callable[[], bool]:
        return lambda: events.exists() and f'"event": "{event}"' in events.read_text()

    for moment in (after("begun"), after("observed"), after("measured"), after("asked")):
        process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not moment() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert office.ledger.cycle(ISSUE) is None or after("forecast")()
        events.write_text("")
    code = (
        "import sys; from kflare.commands.forecast import main; print(main(sys.argv[1:]), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    # Models are asked over the network: the forecasting machine needs no TensorFlow.
    assert done.stdout.endswith("0 False\n"), done.stderr
    cycle = office.forecast()
    assert cycle.rung == "imputed"
    assert len(list(office.ledger.cycles(ISSUE - DAY, ISSUE + DAY))) == 1
    assert not pd.isna(office.ledger.features(ISSUE - 2 * HOUR, ISSUE)["USFLUX"]).all()
    # Files that were there were not fetched again: every one arrived once, but for those cut off by a kill.
    assert len(world.asked("/SUM1/")) < 2 * len(set(world.asked("/SUM1/")))
