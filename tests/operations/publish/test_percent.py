"""One probability, just below a mark, in everything that `kflare.forecast` and `kflare.predict` write of it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from kflare.commands import forecast as forecast_command
from kflare.commands import predict
from kflare.operations.forecast import Probability
from kflare.operations.ledger import Ledger
from kflare.operations.publish.csv_table import rows_of
from kflare.operations.publish.pages import SiteData, root_pages
from kflare.serving.forecasts.served_forecasts import ServedForecasts


def test_a_probability_just_below_a_mark_is_below_it_everywhere(make_forecast, tmp_path: Path, capsys) -> None:
    below = Probability(0.79996, 0.49996, 0.31, 0.6234)
    cycle = make_forecast(full_disk={"C": below, "M": below}, cnn={}, regions=())
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    settings = tmp_path / "kflare.toml"
    settings.write_text(
        f"""[ledger]
url = "{url}"
[site]
folder = "{tmp_path / "site"}"
ccmc_folder = "{tmp_path / "ccmc"}"
[log]
path = "{tmp_path / "events.log"}"
""",
        encoding="utf-8",
    )
    with Ledger(url) as ledger:
        ledger.record(cycle)
    assert forecast_command.main(["--settings", str(settings), "--publish"]) == 0
    told = capsys.readouterr().out
    assert "49 % (31–63), score 79.9" in told
    assert "mark: Warning" in told
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "79.9" in page
    assert "79.9 %" not in page
    assert "<strong>49 % (31–63)</strong>" in page
    files = [path.read_text(encoding="utf-8") for path in (tmp_path / "ccmc").rglob("*") if path.is_file()]
    assert len(files) == 3
    for text in (page, *files):
        assert ">80.0" not in text
        assert " 80.0" not in text
        assert "50 % (31" not in text
    assert all("0.4999" in text and "0.5" not in text for text in files)
    assert '"uncertainty_low": 0.31,' in files[0] + files[1] + files[2]
    assert '"uncertainty_high": 0.6235' in files[0] + files[1] + files[2]  # rounded away from the probability

    disk = pd.DataFrame({"time": [pd.Timestamp(datetime(2026, 1, 1, tzinfo=UTC))], "M+ probability": [0.79996]})
    (row,) = predict._as_text(ServedForecasts(pd.DataFrame(), disk, {"cnn-m": 1})).splitlines()[-1:]
    assert " 79.9 " in row
    assert "%" not in row


def test_a_probability_below_what_a_calibration_can_tell_is_less_than_a_percent_everywhere(make_forecast) -> None:
    small = Probability(0.02, 0.003, 0.001, 0.008)
    region = replace(make_forecast().regions[-1], status="forecast", probability={"C": small, "M": small})
    forecast = make_forecast(full_disk={"C": small, "M": small}, cnn={}, regions=(region,))
    pages = root_pages(SiteData(forecast), pictures={})
    assert pages["index.html"].count("<strong>&lt; 1 %</strong>") == 5
    assert '&lt; 1 %<br><span class="quiet-text">score 2.0</span>' in pages["recent.html"]
    for row in rows_of(forecast):
        assert row["M_calibrated_text"] == "< 1 %"
        assert (row["M_calibrated"], row["M_calibrated_upper"]) == ("0.003", "0.008")
    times = [pd.Timestamp(datetime(2026, 1, 1, tzinfo=UTC))] * 2
    columns = {"time": times, "M+ calibrated": [0.003, 0.12], "M+ probability": [0.02, 0.5]}
    plain = pd.DataFrame(columns)
    told = predict._as_text(ServedForecasts(pd.DataFrame(), plain, {"cnn-m": 1}))
    assert " ".join(told.splitlines()[-3].split()) == "time P(≥M) score ≥M region"
    assert " < 1 % 2.0 " in " ".join(told.splitlines()[-2].split())
    ends = plain.assign(**{"M+ calibrated_lower": [0.001, 0.071], "M+ calibrated_upper": [0.02001, 0.188]})
    told = predict._as_text(ServedForecasts(pd.DataFrame(), ends, {"cnn-m": 1}))
    assert " < 1 % (up to 3) " in told.splitlines()[-2]
    assert " 12 % (7–19) " in told.splitlines()[-1]
    assert "lower" not in told
