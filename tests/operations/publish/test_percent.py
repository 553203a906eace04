"""One probability, just below a mark, in everything that `kflare.forecast` and `kflare.predict` write of it."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from kflare.commands import forecast as forecast_command
from kflare.commands import predict
from kflare.operations.forecast import Probability
from kflare.operations.ledger import Ledger
from kflare.serving.forecasts.served_forecasts import ServedForecasts


def test_a_probability_just_below_a_mark_is_below_it_everywhere(make_forecast, tmp_path: Path, capsys) -> None:
    below = Probability(0.79996, 0.49996)
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
    assert "network 79.9 %, calibrated 49.9 %" in told
    assert "mark: Warning" in told
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "79.9 %" in page
    assert "49.9 %" in page
    files = [path.read_text(encoding="utf-8") for path in (tmp_path / "ccmc").rglob("*") if path.is_file()]
    assert len(files) == 3
    for text in (page, *files):
        assert "80.0 %" not in text
        assert "50.0 %" not in text
    assert all("0.4999" in text and "0.5" not in text for text in files)

    disk = pd.DataFrame({"time": [pd.Timestamp(datetime(2026, 1, 1, tzinfo=UTC))], "M+ probability": [0.79996]})
    assert "79.9 %" in predict._as_text(ServedForecasts(pd.DataFrame(), disk, {"cnn-m": 1}))
