"""`python -m kflare.verify`: a folder with a report, for any table; nothing overwritten, errors in one line."""

import json

import pandas as pd
import pytest

from kflare.commands import verify


@pytest.fixture
def table(tmp_path):
    """Two methods on 40 days, every fifth with a flare; the second misses one forecast."""
    path = tmp_path / "forecasts.csv"
    rows = ["time,method,probability,observed"]
    for day in range(40):
        time = f"{pd.Timestamp('2016-01-01') + pd.Timedelta(days=day):%Y-%m-%d}T00:00Z"
        flare = int(day % 5 == 0)
        rows += [f"{time},ours,{0.47 + 0.1 * flare - day / 1000},{flare}"]
        rows += [f"{time},theirs,{'' if day == 7 else 0.2 + day / 100},{flare}"]
    path.write_text("\n".join(rows) + "\n")
    return path


def run(capsys, *arguments):
    status = verify.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_folder_with_a_report(table, tmp_path, capsys):
    folder = tmp_path / "report"
    status, out, err = run(
        capsys, table, "--output", folder, "--event", "≥M-class Flares", "--resamples", 50, "--missing", "zero"
    )
    assert (status, err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == [
        "climatology.csv", "contingency.csv", "differences.csv", "figures", "reliability.csv", "report.html",
        "scores.csv", "verification.json",
    ]  # fmt: skip
    # 0.57 - day/1000 >= 0.5 on all eight flare days (0 to 35): eight hits, and 0.47 never reaches 0.5.
    assert "40 samples, 8 with an event" in out
    assert "≥M-class Flares       Observed Events\n" in out
    assert "Forecast         Yes      8      0\nEvents           No       0     32\n" in out
    assert "TSS 1.000   BSS" in out
    assert "Forecasts not issued: 1. They count as probability 0" in out
    assert f"report: {folder / 'report.html'}" in out
    # With 0.45, days 1 to 20 without a flare are false alarms: 0.47 - day/1000 >= 0.45 for 16 of them.
    counts = pd.read_csv(folder / "contingency.csv").query("method == 'ours' and threshold == 0.45").iloc[0]
    assert counts[["tp", "fp", "fn", "tn"]].tolist() == [8, 16, 0, 16]

    status, _, err = run(capsys, table, "--output", folder)
    assert status == 1
    assert err == f"kflare.verify: `--output` must be a new or empty folder, got {folder}: nothing is overwritten\n"


def test_json_and_options(table, tmp_path, capsys):
    status, out, _ = run(
        capsys, table, "--output", tmp_path / "report", "--threshold", 0.3, "--methods", "theirs", "--json",
        "--block-length", 3, "--level", 0.68, "--resamples", 20,
    )  # fmt: skip
    assert status == 0
    numbers = json.loads(out)
    assert numbers == json.loads((tmp_path / "report" / "verification.json").read_text())
    assert numbers["missing"] == {"theirs": 1}
    assert numbers["missing_forecasts"] == "exclude"
    assert (numbers["samples"], numbers["block_length"], numbers["settings"]["level"]) == (39, 3, 0.68)
    assert {row["threshold"] for row in numbers["contingency"]} == {0.3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "50"], "a threshold must lie between 0 and 1, got 50"),
        (["--methods", "NOAA"], 'there is no method "NOAA": the table holds ours, theirs'),
        (["--cluster", "region"], "`cluster` is region, but the forecasts have no column `region`: draw by day"),
        (["--window", "48", "--block-length", "1"], "`block_length` must be at least 3 days, got 1: windows of 48 h"),
    ],
)
def test_errors_are_one_line(table, tmp_path, capsys, arguments, message):
    status, out, err = run(capsys, table, "--output", tmp_path / "report", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"kflare.verify: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_period_with_a_method_of_its_own_threshold(table, tmp_path, capsys):
    """The table was pooled over its whole time whatever was asked for."""
    arguments = ["--resamples", 20, "--missing", "zero", "--since", "2016-01-11", "--until", "2016-01-31"]
    status, out, _ = run(capsys, table, *arguments, "--threshold", "theirs=0.35", "--output", tmp_path / "report")
    assert status == 0
    # Days 10 to 29, of which 10, 15, 20 and 25 have a flare; day/100 + 0.2 reaches 0.35 from day 15 on.
    assert "20 samples, 4 with an event\nOnly a part of the table was asked for: 40 of 80 forecasts." in out
    assert "ours, threshold 50 %" in out
    assert "theirs, threshold 35 %\nFlares         Observed Events\n                 Yes     No\n" in out
    assert "Forecast  Yes      3     12\nEvents    No       1      4\n" in out
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<caption>theirs, threshold 35 %</caption>" in page
    assert "Yes/no forecasts at a threshold of 50 %, theirs at 35 %" in page


@pytest.mark.parametrize("kind", ["long", "wide"])
def test_a_period_of_any_table(table, tmp_path, capsys, kind):
    path = table
    if kind == "wide":
        path = tmp_path / "wide.csv"
        long = pd.read_csv(table)
        long.pivot_table("probability", ["time", "observed"], "method").reset_index().to_csv(path, index=False)
    arguments = [path, "--methods", "ours", "--resamples", 20, "--since", "2016-01-11", "--json"]
    status, out, _ = run(capsys, *arguments, "--output", tmp_path / "report")
    assert status == 0
    assert (json.loads(out)["samples"], json.loads(out)["from"]) == (30, "2016-01-11T00:00Z")
    status, _, err = run(capsys, path, "--methods", "ours", "NOAA", "--output", tmp_path / "none")
    assert (status, err) == (1, 'kflare.verify: there is no method "NOAA": the table holds ours, theirs\n')


def forms(table, tmp_path):
    """The same 40 days as each kind of table, and what to type to have its methods."""
    long = pd.read_csv(table)
    wide = long.pivot_table("probability", ["time", "observed"], "method").reset_index()
    wide.to_csv(tmp_path / "wide.csv", index=False)
    long[long["method"] == "ours"].drop(columns="method").to_csv(tmp_path / "one.csv", index=False)
    run_of_fit = wide.rename(columns={"ours": "probability", "theirs": "persistence"}).assign(span="test")
    run_of_fit.to_csv(tmp_path / "run.csv", index=False)
    return {
        "long": ([table], ["ours", "theirs"]),
        "wide": ([tmp_path / "wide.csv"], ["ours", "theirs"]),
        "without a column `method`": ([tmp_path / "one.csv"], ["probability"]),
        "a run of fit": ([tmp_path / "run.csv"], ["probability", "persistence"]),
    }


@pytest.mark.parametrize("kind", ["long", "wide", "without a column `method`", "a run of fit"])
def test_methods_and_thresholds_are_of_the_same_names(table, tmp_path, capsys, kind):
    given, names = forms(table, tmp_path)[kind]
    more = ["--resamples", 5, "--output"]
    status, _, err = run(capsys, *given, "--methods", "NOAA", *more, tmp_path / "a")
    assert (status, err) == (1, f'kflare.verify: there is no method "NOAA": the table holds {", ".join(names)}\n')
    status, _, err = run(capsys, *given, "--methods", *names, "--threshold", "NOAA=0.3", *more, tmp_path / "b")
    told = f'there is no method "NOAA" for a threshold of its own: compared are {", ".join(names)}'
    assert (status, err) == (1, f"kflare.verify: {told}\n")
    own = [f"{name}=0.3" for name in names]
    status, out, err = run(capsys, *given, "--methods", *names, "--threshold", *own, *more, tmp_path / "c")
    assert (status, err) == (0, "")
    assert all(f"{name}, threshold 30 %" in out for name in names)
    # Without --methods the same names stand for the same forecasts.
    if kind != "wide":
        status, out, err = run(capsys, *given, "--threshold", own[0], *more, tmp_path / "d")
        assert (status, err, f"{names[0]}, threshold 30 %" in out) == (0, "", True)


def test_bad_tables_are_one_line(tmp_path, capsys):
    path = tmp_path / "percent.csv"
    path.write_text("time,probability,observed\n2016-01-01,20,0\n")
    status, _, err = run(capsys, path, "--output", tmp_path / "report")
    assert status == 1
    assert err == "kflare.verify: `probability` must lie in [0, 1], got 20 in row 0: divide percentages by 100\n"
    for fill in ("-1", "inf", "-inf", "999"):
        path.write_text(f"time,probability,observed\n2016-01-01,{fill},0\n")
        status, _, err = run(capsys, path, "--output", tmp_path / "report")
        assert (status, "no percentage either" in err, f"got {float(fill):g} in row 0" in err) == (1, True, True)
    # The last two are the text form's headers, with and without their "#": both are in use.
    for begin in ('{"forecast_submission": 0}', "<?xml version=", "Forecasting method: A", "#Forecasting method: A"):
        path.write_text(f"{begin}\nIssue Time: 2026-01-01T03:00Z\nFull Disk Forecast\n")
        status, _, err = run(capsys, path, "--output", tmp_path / "report")
        assert (status, err.count("\n")) == (1, 1)
        assert "is a submission to CCMC's scoreboard, which holds no outcomes" in err
    status, _, err = run(capsys, tmp_path / "nothing.csv", "--output", tmp_path / "report")
    assert status == 1
    assert "no table of forecasts" in err


def test_percentages_of_0_and_1_are_no_certainties(tmp_path, capsys):
    """86 days of SWPC's probabilities of X flares, in per cent, all of them 1 (moswoc-flare-verification)."""
    days = [f"{pd.Timestamp('2016-04-21') + pd.Timedelta(days=day):%Y-%m-%dT00:00:00Z}" for day in range(86)]
    path = tmp_path / "swpc_x_day1_percent.csv"
    path.write_text("\n".join(["time,probability,observed", *(f"{day},1,0" for day in days)]) + "\n")
    status, out, err = run(capsys, path, "--output", tmp_path / "report")
    assert (status, out) == (1, "")
    assert err.startswith('kflare.verify: the probability of "probability" is never but 0 or 1, without decimals')
    assert not (tmp_path / "report").exists()
    status, out, err = run(capsys, path, "--output", tmp_path / "report", "--percent", "--json", "--resamples", 10)
    assert (status, err) == (0, "")
    numbers = json.loads(out)
    assert {row["fp"] for row in numbers["contingency"]} == {0}
    brier = next(row["value"] for row in numbers["scores"] if row["score"] == "brier_score")
    assert brier == pytest.approx(0.0001)  # (0.01 - 0)², not 1
    # A yes/no forecast says so with its decimals.
    path.write_text(path.read_text().replace(",1,0", ",1.0,0"))
    status, out, _ = run(capsys, path, "--output", tmp_path / "sure", "--json", "--resamples", 10)
    assert {row["fp"] for row in json.loads(out)["contingency"]} == {86}


def test_operational_archive(real_data, tmp_path, capsys):
    """The rows of tests/verification/test_operational_archive.py: missing forecasts are 0 on all 731 days."""
    path = real_data / "forecasts" / "leka_park_2019_M1.csv"
    status, out, _ = run(
        capsys, path, "--output", tmp_path / "report", "--missing", "zero", "--resamples", 200, "--threshold", 0.5,
        "--json", "--methods", "NOAA", "NICT", "MOSWOC",
    )  # fmt: skip
    assert status == 0
    numbers = json.loads(out)
    assert (numbers["samples"], numbers["events"]) == (731, 26)
    counts = {row["method"]: tuple(row[name] for name in ("tp", "fp", "fn", "tn")) for row in numbers["contingency"]}
    assert counts == {"NOAA": (8, 2, 18, 703), "NICT": (17, 5, 9, 700), "MOSWOC": (6, 2, 20, 703)}
    scores = {(row["method"], row["score"]): row["value"] for row in numbers["scores"]}
    printed = {
        "NOAA": (0.973, 0.305, 0.231, 0.277, 0.385, 0.333, 0.772),
        "NICT": (0.981, 0.647, 0.462, 0.537, 0.846, 0.442, 0.647),
        "MOSWOC": (0.970, 0.228, 0.154, 0.206, 0.308, 0.189, 0.787),
    }
    names = ("accuracy", "tss", "apss", "ets", "frequency_bias", "brier_skill_score", "gini")
    for method, row in printed.items():
        assert tuple(round(scores[method, name], 3) for name in names) == row


def test_a_ledger(tmp_path, capsys):
    from datetime import UTC, datetime, timedelta

    from kflare.flares.repairing import read_flares
    from kflare.operations.forecast import Forecast, Probability
    from kflare.operations.ledger import Ledger

    start, day = datetime(2026, 1, 1, 3, tzinfo=UTC), timedelta(days=1)
    flares = tmp_path / "flares.csv"
    # One M flare on every fourth of 20 days.
    rows = [",".join([f"{start + (4 * n + 0.5) * day:%FT%TZ}"] * 3 + ["M1.0", "0"]) for n in range(5)]
    flares.write_text("\n".join(["start,peak,end,goes_class,noaa", *rows]) + "\n")
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Ledger(url) as ledger:
        for n in range(20):
            issue = start + n * day
            p = {"M": Probability(0.9 if n % 4 == 0 else 0.1, 0.5 if n % 4 == 0 else 0.02), "C": Probability(0.7, 0.6)}
            ledger.record(Forecast(f"c{n}", issue, issue, issue, issue + day, issue + day, "all features", "", (), p))
        # The list covers the windows of all but the last day.
        ledger.record_flares(read_flares(flares), since=start - day, until=start + 19.5 * day, source="test")
    arguments = ["--ledger", url, "--class", "M", "--resamples", 50]
    status, out, err = run(capsys, *arguments, "--output", tmp_path / "report")
    assert (status, err) == (0, "")
    assert "19 samples, 5 with an event" in out
    assert "kflare, threshold 50 %" in out
    assert "kflare (calibrated), threshold 50 %" in out
    assert "TSS 1.000" in out
    status, out, err = run(
        capsys, *arguments[:2], "--class", "largest", "--resamples", 50, "--output", tmp_path / "all"
    )
    assert (status, err) == (0, "")
    # Of no class X, which this ledger does not hold: every M is a hit, and on the other days C came never.
    assert "19 samples; forecast C from 50 %, M from 50 % on" in out
    assert "kflare; columns: largest class observed\nForecast  below C  C  M\n" in out
    assert "below C         0  0  0\nC              14  0  0\nM               0  0  5\n" in out
    assert (tmp_path / "all" / "figures" / "classes-02.png").exists()  # that of the calibrated probabilities
    period = ["--since", "2026-01-09", "--until", "2026-01-17T03:00", "--methods", "kflare"]
    status, out, _ = run(capsys, *arguments, *period, "--output", tmp_path / "period")
    assert (status, "8 samples, 2 with an event" in out, "calibrated" in out) == (0, True, False)
    status, _, err = run(capsys, *arguments, "--methods", "ours", "--output", tmp_path / "none")
    assert err == 'kflare.verify: there is no method "ours": the table holds kflare, kflare (calibrated)\n'
    status, _, err = run(capsys, *arguments, "--regions", "--output", tmp_path / "regions")
    assert (status, "holds no forecast of class M" in err) == (1, True)
    for wrong in (["--ledger", url], ["--class", "M"], [], [*arguments, "--percent"]):
        status, _, err = run(capsys, *wrong, "--output", tmp_path / "none")
        assert (status, len(err.splitlines())) == (1, 1)


def test_years_instruments_and_periods_are_scored_by_themselves(tmp_path, capsys):
    # MDI's only flare of 2010 is a hit; in 2011, HMI's, there is none, and one false alarm.
    days = pd.date_range("2010-12-27", periods=10, freq="D")
    frame = pd.DataFrame({"time": days.strftime("%Y-%m-%d"), "observed": [0, 1, *[0] * 8]})
    frame = frame.assign(probability=[0.1, 0.8, *[0.1] * 6, 0.7, 0.1], instrument=["MDI"] * 5 + ["HMI"] * 5)
    frame.to_csv(tmp_path / "table.csv", index=False)
    command = [tmp_path / "table.csv", "--resamples", 20, "--threshold", 0.5, "--output"]
    periods = ["--periods", "noel=2010-12-27..2011-01-01", "epiphany=2011-01-04..2011-01-06"]
    status, out, err = run(capsys, *command, tmp_path / "a", *periods, "--json")
    assert (status, err) == (0, "")
    counts = {part["span"]: [part[name] for name in ("tp", "fp", "fn", "tn")] for part in json.loads(out)["parts"]}
    assert counts == {
        "year 2010": [1, 0, 0, 4], "year 2011": [0, 1, 0, 4], "instrument HMI": [0, 1, 0, 4],
        "instrument MDI": [1, 0, 0, 4], "period noel": [1, 0, 0, 4], "period epiphany": [0, 1, 0, 1],
    }  # fmt: skip
    quiet = next(part for part in json.loads(out)["parts"] if part["span"] == "year 2011")
    assert (quiet["tss"], quiet["apss"], quiet["frequency_bias"], quiet["accuracy"]) == (None, None, None, 0.8)
    status, out, _ = run(capsys, *command, tmp_path / "b", *periods)
    assert status == 0
    told = "period epiphany: none of 2 samples has an event, so that scores which need both are undefined"
    assert told in out
    assert told in (tmp_path / "b" / "report.html").read_text()
    periods = ["--periods", "a=2010-12-27..2011-01-02", "b=2011-01-01..2011-02-01"]
    status, _, err = run(capsys, *command, tmp_path / "c", *periods)
    assert status == 1
    assert err.startswith("kflare.verify: the periods `a` and `b` overlap: ")
    assert not (tmp_path / "c").exists()


def test_a_class_that_is_named_twice_and_a_flare_without_those_below_are_told_with_their_files(tmp_path, capsys):
    for name, observed in (("c", "0,0"), ("m", "0,1")):
        rows = zip(("2014-01-01", "2014-01-02"), observed.split(","), strict=True)
        lines = [f"{day},{event},0.5" for day, event in rows]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,observed,probability", *lines]) + "\n")
    c, m = (f"{letter}={tmp_path / letter.lower()}.csv" for letter in "CM")
    status, _, err = run(capsys, "--classes", c, c, "--output", tmp_path / "twice")
    assert (status, "`--classes` must name several of C, M, X, each once, got C, C" in err) == (1, True)
    status, _, err = run(capsys, "--classes", c, m, "--output", tmp_path / "apart")
    assert status == 1
    assert "m.csv has a flare of class M at 2014-01-02T00:00Z, c.csv none of class C: take one flare list" in err


def test_spans_that_share_times_are_verified_each(tmp_path, capsys):
    """Their rows were refused as repeated."""
    rows = [f"2014-01-{day:02},{span},{int(day == 3)},{p}" for span, p in (("a", 0.2), ("b", 0.7)) for day in (2, 3, 4)]
    (tmp_path / "table.csv").write_text("\n".join(["time,span,observed,probability", *rows]) + "\n")
    for span, found in (("a", "TSS 0.000"), ("b", "samples, 1 with an event")):
        status, out, err = run(
            capsys, tmp_path / "table.csv", "--span", span, "--resamples", 20, "--output", tmp_path / span
        )
        assert (status, err, found in out) == (0, "", True)
        assert "3 samples, 1 with an event" in out
    (tmp_path / "table.csv").write_text("\n".join(["time,span,observed,probability", *rows, rows[-1]]) + "\n")
    status, _, err = run(capsys, tmp_path / "table.csv", "--span", "b", "--output", tmp_path / "c")
    assert (status, "row 6 repeats the time, method and region of row 5" in err) == (1, True)
