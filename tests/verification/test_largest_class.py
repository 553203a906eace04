"""The table of the largest class: what it counts, and what its scores are worth."""

import json

import numpy as np
import pandas as pd
import pytest

from kflare.commands import verify
from kflare.verification.contingency import ContingencyTable
from kflare.verification.largest_class import ClassTable


def table_of(counts):
    """A table of ("below C", "C", "M", ...) with the given counts, forecast in rows."""
    counts = np.asarray(counts)
    ranks = (np.repeat(place.ravel(), counts.ravel()) for place in np.indices(counts.shape))
    return ClassTable(*({name: rank > k for k, name in enumerate("CMX"[: len(counts) - 1])} for rank in ranks))


def test_the_largest_class_that_is_said_yes_to():
    yes = {"C": np.array([0, 1, 0, 1], bool), "M": np.array([0, 0, 1, 1], bool)}
    events = {"C": np.array([1, 1, 1, 0], bool), "M": np.array([0, 1, 0, 0], bool)}
    table = ClassTable(yes, events)
    assert table.names == ("below C", "C", "M")
    # Forecast below C, C, M (though not C), M; observed C, M, C, below C.
    assert table.counts.tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_resamples_score_as_the_samples_that_were_drawn():
    random = np.random.default_rng(5)
    codes, flux, said = random.integers(0, 6, 200), random.random(200), random.random(200)
    yes, events = ({name: one > least for name, least in (("C", 0.4), ("M", 0.7))} for one in (said, (flux + said) / 2))
    weights = np.array([[2, 0, 1, 0, 3, 0], [1, 1, 1, 1, 1, 1]], float).T
    drawn = np.repeat(np.arange(200), weights[codes, 0].astype(int))
    alone = ClassTable(*({name: one[drawn] for name, one in of.items()} for of in (yes, events))).scores()
    table = ClassTable(yes, events, codes)
    both = table.resampled(weights)
    assert {name: one[0] for name, one in both.items()} == pytest.approx(alone)
    assert {name: one[1] for name, one in both.items()} == pytest.approx(table.scores())


def test_of_two_classes_the_scores_are_those_of_a_contingency_table():
    two, one = table_of([[140, 20], [10, 30]]).scores(), ContingencyTable(30, 10, 20, 140)
    assert two == pytest.approx({"accuracy": one.accuracy, "hss": one.hss, "peirce": one.tss, "gerrity": one.tss})


def test_scores_of_three_classes():
    # p: right 0.1 + 0.2 + 0.1 = 0.4 of 10 samples, came 0.3, 0.4, 0.3, said 0.2, 0.5, 0.3: chance 0.06 + 0.2 + 0.09.
    scores = table_of([[1, 1, 0], [1, 2, 2], [1, 1, 1]]).scores()
    assert scores["accuracy"] == pytest.approx(0.4)
    assert scores["hss"] == pytest.approx((0.4 - 0.35) / (1 - 0.35))
    assert scores["peirce"] == pytest.approx((0.4 - 0.35) / (1 - 0.34))
    # TSS of C and above: 6 of 7 hit, 2 of 3 false; of M and above: 1 of 3, 2 of 7.
    assert scores["gerrity"] == pytest.approx(((6 / 7 - 2 / 3) + (1 / 3 - 2 / 7)) / 2)


def test_gerritys_score_is_that_of_his_weights():
    """Gerrity 1992: s_ij of the odds a_r against the classes up to each, averaged over the table."""
    counts = np.array([[20, 7, 2, 1], [9, 30, 8, 2], [3, 6, 11, 3], [0, 2, 3, 4]])
    p = counts / counts.sum()
    upto = np.cumsum(p.sum(axis=0))[:-1]
    odds = (1 - upto) / upto
    weights = [
        [(sum(1 / odds[: min(i, j)]) - abs(i - j) + sum(odds[max(i, j) :])) / 3 for j in range(4)] for i in range(4)
    ]
    assert table_of(counts).scores()["gerrity"] == pytest.approx(np.sum(p * weights))


def test_without_skill_and_perfect():
    constant = table_of([[0, 0, 0], [5, 6, 7], [0, 0, 0]]).scores()
    assert (constant["hss"], constant["peirce"], constant["gerrity"]) == pytest.approx((0, 0, 0))
    assert set(table_of(np.diag([5, 6, 7])).scores().values()) == {1.0}
    assert np.isnan(table_of([[5, 1, 0], [1, 3, 0], [0, 0, 0]]).scores()["gerrity"])  # no M came


def test_the_command_scores_tables_of_several_classes(tmp_path, capsys):
    days = pd.date_range("2016-01-01", periods=40, tz="UTC")
    random = np.random.default_rng(2)
    flux = random.random(40)
    for name, limit in (("C", 0.4), ("M", 0.8)):
        table = pd.DataFrame(
            {
                "time": days,
                "probability": flux + (1 - flux) * random.random(40) - 0.2 * limit,
                "observed": flux >= limit,
            }
        )
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    files = [f"{name}={tmp_path / name}.csv" for name in "CM"]
    arguments = ["--classes", *files, "--threshold", "0.3", "M=0.5", "--resamples", "50", "--output"]
    assert verify.main([*arguments, str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert "40 samples; forecast C from 30 %, M from 50 % on" in out
    assert "probability; columns: largest class observed\nForecast  below C   C  M\nbelow C" in out
    numbers = json.loads((tmp_path / "report" / "verification.json").read_text())
    classes = numbers["methods"]["probability"]
    assert sum(map(sum, classes["forecast_by_observed"])) == 40
    value, lower, upper = classes["scores"]["gerrity"]
    assert lower < value < upper
    assert f"Gerrity {value:.3f} ({lower:.3f} to {upper:.3f})" in out
    assert (tmp_path / "report" / "figures" / "classes-01.png").stat().st_size > 5000
    both = "must name several of C, M, X, each once, got "
    for wrong, why in (
        (["C=x.csv"], f"`--classes` {both}C"),
        (["Q=x.csv", "C=x.csv"], f"`--classes` {both}Q, C"),
        ([*files, "--threshold", "0.3", "0.4"], "of a largest class `--threshold` must be one, and a class's own"),
        ([*files, "--threshold", "X=0.4"], "a threshold may be of the classes C, M, got one of X"),
        ([*files, "--methods", "ours"], 'there is no method "ours": the table holds probability'),
        ([*files, "--periods", "a=2016-01-01..2016-02-01"], "--periods has no effect with --classes"),
    ):
        assert verify.main(["--classes", *wrong, "--output", str(tmp_path / "none")]) == 1
        assert capsys.readouterr().err.startswith(f"kflare.verify: {why}"), why


def test_classes_that_share_nothing(tmp_path, capsys):
    for name, day in (("C", "2016-01-01"), ("M", "2016-01-02"), ("X", "2016-01-02")):
        (tmp_path / f"{name}.csv").write_text(f"time,probability,observed\n{day},0.25,0\n{day}T12:00,0.5,1\n")
    files = [f"{name}={tmp_path / name}.csv" for name in "CMX"]
    assert verify.main(["--classes", *files, "--output", str(tmp_path / "report")]) == 1
    assert capsys.readouterr().err == "kflare.verify: the forecasts of C, M, X share no sample\n"
