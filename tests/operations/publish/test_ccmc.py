"""CCMC's Flare Scoreboard: round trips of the three dialects, and every trap that others have fallen into."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring

from kflare.errors import DataError
from kflare.operations.forecast import CLIMATOLOGY, EVENT_STATISTICS, Forecast, InputRecord, Probability
from kflare.operations.publish import ccmc
from kflare.operations.publish.ccmc import write_ccmc

from .scoreboard import Submission, read_class, read_json, read_probability, read_text, read_time, read_xml

Make = Callable[..., Forecast]

# As published by the Met Office (drsophiemurray/flare_scoreboard, example_data, @edad4bc), with its two defects: the
# misspelt `endttime`, and hyphens in the clock.
MET_OFFICE = (
    "<message><forecast><method>MO_AR1</method><issuetime>2016-03-22T08-59-56Z</issuetime><predictionwindow><starttime>"
    "2016-03-22T08-59-56Z</starttime><endttime>2016-03-23T08:59:56Z</endttime></predictionwindow><group><forecasttype>"
    'Full Disk</forecasttype><entry><fluxbin name="M" /><probability><value>0.06</value></probability></entry><entry>'
    '<fluxbin name="X" /><probability><value>0.0</value></probability></entry></group><group><forecasttype>Region'
    '</forecasttype><sourceregion><id scheme="NOAA_AR_numbering_scheme">2524</id><location time="2016-03-22T08-59-56Z">'
    'N15E06</location></sourceregion><entry><fluxbin name="M" /><probability><value>0.06</value></probability></entry>'
    "</group></forecast></message>"
)


def submitted(forecast: Forecast) -> Submission:
    return Submission.of(ccmc.submission(forecast))


def json_text(submission: Submission) -> str:
    return ccmc.json_text(submission.sent)


def xml_text(submission: Submission) -> str:
    return ccmc.xml_text(submission.sent)


def plain_text(submission: Submission) -> str:
    return ccmc.plain_text(submission.sent)


@pytest.fixture
def submission(make_forecast: Make) -> Submission:
    return submitted(make_forecast())


def nowhere(submission: Submission) -> Submission:
    """Without what JSON does not hold: number and place of a region."""
    return replace(
        submission,
        regions=tuple(replace(one, number=None, location="", time=None) for one in submission.regions),
    )


def test_json_goes_there_and_back(submission: Submission) -> None:
    again = read_json(json_text(submission))
    assert again == nowhere(submission)
    assert len(again.regions) == 4


def test_xml_goes_there_and_back(submission: Submission) -> None:
    again = read_xml(xml_text(submission))
    assert again == replace(submission, regions=tuple(replace(one, number=None) for one in submission.regions))


def test_text_goes_there_and_back(submission: Submission) -> None:
    again = read_text(plain_text(submission))
    assert again == replace(submission, regions=tuple(replace(one, harp=()) for one in submission.regions))
    assert again.input_data == "HMI magnetogram, AIA 131, GOES flare list"


def test_regions_are_groups_of_a_group_in_xml(submission: Submission) -> None:
    """A consumer in public use looks for them there (kkritika123/solar-flare-forecast, flare_scoreboard/parsers.py)."""
    forecast = fromstring(xml_text(submission)).find("forecast")
    assert [group.findtext("forecasttype") for group in forecast.findall("group")] == ["Full Disk", "Region"]
    regions = forecast.findall("group")[1].findall("group")
    assert len(regions) == len(submission.regions) == 4
    assert [region.findtext("sourceregion/id") for region in regions] == [
        next((str(number) for number in (*one.noaa, *one.harp)), None) for one in submission.regions
    ]
    assert all(len(region.findall("entry/probability/value")) == 2 for region in regions)
    alone = fromstring(ccmc.xml_text({**submission.sent, "regions": []})).find("forecast")
    assert len(alone.findall("group")) == 1


def test_headers_of_the_text_form_need_no_hash(submission: Submission) -> None:
    assert read_text(plain_text(submission).replace("#", "")) == read_text(plain_text(submission))


def test_classes_are_and_above(submission: Submission) -> None:
    assert '"M+"' in json_text(submission)
    assert 'name="M+"' in xml_text(submission)


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_json_keys_are_those_that_the_scoreboard_reads(submission: Submission) -> None:
    assert keys(json.loads(json_text(submission))) == {
        "forecast_submission", "model", "short_name", "issue_time", "mode", "full_disk_forecasts",
        "region_forecasts", "prediction_window", "start_time", "end_time", "flare_probabilities", "class",
        "probability", "uncertainty_low", "uncertainty_high", "region_ids", "type", "number",
    }  # fmt: skip


def test_a_misspelt_class_key_is_no_class(submission: Submission) -> None:
    with pytest.raises(DataError, match="'class'"):
        read_json(json_text(submission).replace('"class"', '"class_"'))


@pytest.mark.parametrize("write", [json_text, xml_text, plain_text])
def test_every_time_is_utc_with_z(submission: Submission, write: Callable[[Submission], str]) -> None:
    times = re.findall(r"\d{4}-\d\d-\d\dT[^\s\"<]*", write(submission))
    assert len(times) > 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)


def test_xml_spells_endtime_right(submission: Submission) -> None:
    assert "<endtime>2014-01-09T03:00:00Z</endtime>" in xml_text(submission)


@pytest.mark.parametrize("write", [json_text, xml_text, plain_text])
def test_what_is_not_known_is_absent_and_never_zero(make_forecast: Make, write: Callable[[Submission], str]) -> None:
    only = make_forecast(full_disk={"M": Probability(0.4, 0.00001), "C": Probability(0.6, None)}, regions=())
    submission = submitted(only)
    assert submission.full_disk == {"M": 0.0001}  # four decimals, and no forecast is 0.0000
    text = write(submission)
    read = {json_text: read_json, xml_text: read_xml, plain_text: read_text}[write]
    assert read(text).full_disk == {"M": 0.0001}
    assert "X" not in read(text).full_disk
    assert not re.search(r"\b0\.0+\b", text)


def test_a_certainty_is_not_submitted(make_forecast: Make) -> None:
    assert submitted(make_forecast(full_disk={"M": Probability(0.9, 1.0)})).full_disk == {"M": 0.9999}


def test_the_calibrated_probability_is_sent(make_forecast: Make) -> None:
    assert submitted(make_forecast(full_disk={"M": Probability(0.6, 0.05)})).full_disk == {"M": 0.05}


def test_limb_regions_are_not_sent(make_forecast: Make) -> None:
    forecast = make_forecast()
    limb = replace(forecast.regions[0], status="limb", probability={})
    assert len(submitted(replace(forecast, regions=(limb, *forecast.regions[1:]))).regions) == 3


@pytest.mark.parametrize("rung", [EVENT_STATISTICS, CLIMATOLOGY])
def test_another_method_is_not_sent_under_this_name(make_forecast: Make, rung: str) -> None:
    forecast = make_forecast(rung=rung, rung_reason="no image")
    with pytest.raises(DataError, match="not sent to CCMC"):
        submitted(forecast)


def test_a_forecast_on_stale_data_is_not_sent(make_forecast: Make) -> None:
    stale = InputRecord("HMI magnetogram", "x", None, 9.0, None, "", "stale")
    with pytest.raises(DataError, match="'HMI magnetogram' is stale"):
        submitted(make_forecast(inputs=(stale,)))


def test_a_forecast_without_a_calibrated_probability_is_not_sent(make_forecast: Make) -> None:
    with pytest.raises(DataError, match="no calibrated probability"):
        submitted(make_forecast(full_disk={"M": Probability(0.4)}))


def test_file_names_come_from_model_and_times(make_forecast: Make, tmp_path: Path) -> None:
    files = write_ccmc(make_forecast(), tmp_path / "new" / "folder", model="KFLARE_1")
    assert sorted(path.name for path in tmp_path.glob("new/folder/*")) == sorted(path.name for path in files)
    assert {path.name for path in files} == {
        "KFLARE_1.2014-01-08T0300Z.2014-01-08T0300Z.json",
        "KFLARE_1.2014-01-08T0300Z.2014-01-08T0300Z.xml",
        "Flare_Forecast_KFLARE_1_20140108_0300.txt",
    }
    assert read_json(files[0].read_text()).full_disk == read_xml(files[1].read_text()).full_disk
    assert read_text(files[2].read_text()).full_disk == read_json(files[0].read_text()).full_disk


def test_the_text_form_is_as_specified(submission: Submission) -> None:
    lines = ccmc.plain_text({**submission.sent, "full_disk": {"M": 0.0312, "C": 0.25}}).splitlines()
    assert lines[:10] == [
        "Forecasting method: KFLARE",
        "Issue Time: 2014-01-08T03:00:00Z",
        "Prediction Window Start Time: 2014-01-08T03:00:00Z",
        "Prediction Window End Time: 2014-01-09T03:00:00Z",
        "Probability Bins: C+ M+",
        "Input data: HMI magnetogram, AIA 131, GOES flare list",
        "Prediction window (hours): 24",
        "#Full Disk Forecast",
        "#X_prob X_uncert X_Level M_prob M_uncert M_Level C_prob C_uncert C_Level",
        "---- ---- ---- 0.0312 ---- ---- 0.2500 ---- ----",
    ]
    number, _, place, noaa, *cells = lines[12].split()
    assert (number, place, noaa, len(cells)) == ("1", "S10E55", "10057", 9)
    assert lines[14].split()[3] == "----"  # region 3 has no NOAA number


def test_hostile_inputs_cannot_break_a_line_of_the_text_form(make_forecast: Make) -> None:
    bad = InputRecord("HMI\nProbability Bins: X+\n#Region Forecast", "x", None, None, None, "", "ok")
    text = plain_text(submitted(make_forecast(inputs=(bad,))))
    assert text.count("\n#Region Forecast\n") == 1
    assert read_text(text).model == "KFLARE"


def test_the_met_offices_own_example_is_read() -> None:
    read = read_xml(MET_OFFICE)
    assert read.issue == datetime(2016, 3, 22, 8, 59, 56, tzinfo=UTC)
    assert read.end == datetime(2016, 3, 23, 8, 59, 56, tzinfo=UTC)
    assert read.full_disk == {"M": 0.06, "X": 0.0}
    (region,) = read.regions
    assert (region.noaa, region.location, region.probability) == ((2524,), "N15E06", {"M": 0.06})


def test_sidcs_form_is_read() -> None:
    text = MET_OFFICE.replace("starttime", "begin").replace("endttime", "end").replace('name="M"', 'name="M+"')
    assert read_xml(text).full_disk["M"] == 0.06


def test_xml_in_a_text_file_is_read_as_what_it_is() -> None:
    assert read_text(MET_OFFICE) == read_xml(MET_OFFICE)


def test_nested_groups_of_regions_are_read() -> None:
    regions = "<group><forecasttype>Region</forecasttype>" + "".join(
        f'<group><sourceregion><id scheme="NOAA_AR_numbering_scheme">{noaa}</id></sourceregion>'
        f'<entry><fluxbin name="C+"/><probability><value>0.{noaa}</value></probability></entry></group>'
        for noaa in (11, 12)
    )
    text = MET_OFFICE.replace("</forecast>", f"{regions}</group></forecast>")
    assert [(one.noaa, one.probability) for one in read_xml(text).regions[1:]] == [
        ((11,), {"C": 0.11}), ((12,), {"C": 0.12}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><message><forecast><method>&b;</method></forecast></message>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><message/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><message>&x;</message>',
        '<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><message>&b;</message>',
        "<message><forecast>",
        "<message/>",
        "<message><forecast/></message>",
        "",
    ],
)
def test_xml_with_entities_or_without_a_forecast_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        read_xml(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"forecast_submission": {"full_disk_forecasts": []}}', "nonsense"])
def test_json_without_a_forecast_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="CCMC"):
        read_json(text)


def test_text_without_a_forecast_or_with_a_slipped_column_is_refused(submission: Submission) -> None:
    with pytest.raises(DataError, match="lacks"):
        read_text("Forecasting method: X\n")
    with pytest.raises(DataError, match="9 cells, got 8"):
        read_text(plain_text(submission).replace("---- ---- ---- ", "---- ---- ", 1))
    with pytest.raises(DataError, match="number, time, location"):
        read_text(plain_text(submission) + "N10E10 something\n")


def test_windows_of_regions_must_be_the_disks(submission: Submission) -> None:
    content = json.loads(json_text(submission))
    content["forecast_submission"]["region_forecasts"][0]["prediction_window"]["end_time"] = "2014-01-10T03:00Z"
    with pytest.raises(DataError, match="prediction window"):
        read_json(json.dumps(content))


# Fill values of producers and of HAPI (-1), and dashes.
@pytest.mark.parametrize("value", [None, "", "----", "NaN", -1, "-1", "null"])
def test_fill_values_are_not_known(value: str | float | None) -> None:
    assert read_probability(value) is None


@pytest.mark.parametrize("value", [1.2, "-0.5", "many"])
def test_an_impossible_probability_is_refused(value: str | float) -> None:
    with pytest.raises(DataError):
        read_probability(value)


def test_times_and_classes_of_others_are_read() -> None:
    assert read_time("2016-03-22T08:59UT") == datetime(2016, 3, 22, 8, 59, tzinfo=UTC)
    assert read_time("2016-03-22T08:59:00.000Z") == datetime(2016, 3, 22, 8, 59, tzinfo=UTC)
    assert read_class("m+") == "M"
    for bad in ("2016-13-01T00:00Z", "yesterday"):
        with pytest.raises(DataError):
            read_time(bad)
    with pytest.raises(DataError, match="like M or M"):
        read_class("")
