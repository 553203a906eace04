"""Folds, what they choose on which span, resumption, scores and the table."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.io.atomic import held_folders
from kflare.models.crossvalidation.compare import compared, read_other_forecasts, verifiable
from kflare.models.crossvalidation.folds import (
    Fold,
    MethodForecast,
    baseline_unit,
    block_folds,
    conclude,
    cross_validate,
    network_unit,
    shuffled_folds,
    year_folds,
)
from kflare.models.crossvalidation.report import PUBLISHED_TSS, as_text, fold_labels
from kflare.models.crossvalidation.scores import scoreboard
from kflare.models.feature_scaling import fit_scaling
from kflare.models.fitting import TrainingTask
from kflare.models.losses import class_weights
from kflare.models.region_models import fit_region_network
from kflare.models.registry import model_spec
from kflare.models.training import Recipe
from kflare.regions.feature_table import features_named
from kflare.verification.tables import forecast_table

pytestmark = pytest.mark.trains

FEATURES = features_named(["AREA", "R_VALUE"])


def test_years_are_trained_validated_and_tested_as_in_table_4():
    times = pd.Series(pd.date_range("2010-05-01", "2018-06-30", freq="D", tz="UTC"))
    folds = year_folds(times, [2014, 2013])
    assert [fold.name for fold in folds] == ["2013", "2014"]
    years = times.dt.year
    for fold, test in zip(folds, (2013, 2014), strict=True):
        for mask, wanted in ((fold.train, years <= test - 2), (fold.validation, years == test - 1)):
            # The last day of a span, whose window ends with it, belongs to it.
            np.testing.assert_array_equal(mask, wanted)
        np.testing.assert_array_equal(fold.test, years == test)
    labels = fold_labels(times, folds)
    assert labels["2013"] == "Training (2010-2011), Validation (2012), Test (2013)"


def test_shuffled_folds_hold_the_same_samples_in_spans_of_the_same_size():
    times = pd.Series(pd.date_range("2010-05-01", "2014-06-30", freq="D", tz="UTC"))
    folds = year_folds(times, [2013, 2014])
    for fold, mixed in zip(folds, shuffled_folds(folds), strict=True):
        assert mixed.name == fold.name
        assert [part.sum() for part in mixed.parts().values()] == [part.sum() for part in fold.parts().values()]
        assert (sum(part.astype(int) for part in mixed.parts().values()) <= 1).all()
        used = [np.logical_or.reduce(list(one.parts().values())) for one in (fold, mixed)]
        np.testing.assert_array_equal(*used)
        assert fold.chronological(times)
        assert not mixed.chronological(times)
        # Of the test days some two thirds have the day before in training.
        assert 0.3 < mixed.train[np.flatnonzero(mixed.test) - 1].mean() < 0.9
    np.testing.assert_array_equal(shuffled_folds(folds)[1].test, shuffled_folds(folds)[1].test)


def test_windows_that_cross_new_year_are_in_no_span():
    times = pd.Series(
        pd.to_datetime(["2011-12-31T00:01", "2011-07-01T00:00", "2012-07-01T00:00", "2013-07-01T00:00"], utc=True)
    )
    fold = year_folds(times, [2013])[0]
    assert not (fold.train | fold.validation | fold.test)[0]


def test_years_that_cannot_be_folds_are_refused():
    times = pd.Series(pd.date_range("2012-01-01", "2014-12-31", freq="D", tz="UTC"))
    with pytest.raises(DataError, match="test year 2013: the train span holds no sample"):
        year_folds(times, [2013])
    for years in ([], [2014, 2014]):
        with pytest.raises(SettingError, match="`test_years` must be different years"):
            year_folds(times, years)


@settings(max_examples=40)
@given(blocks=st.integers(3, 6), seed=st.integers(0, 1000))
def test_blocks_test_every_sample_once_and_keep_their_distance(blocks, seed):
    rng = np.random.default_rng(seed)
    hours = np.sort(rng.choice(24 * 300, size=120, replace=False))
    times = pd.Series(pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(hours, unit="h"))
    folds = block_folds(times, blocks)
    np.testing.assert_array_equal(sum(fold.test.astype(int) for fold in folds), 1)
    for fold in folds:
        parts = [hours[mask] for mask in fold.parts().values()]
        for one in range(3):
            for other in range(one):
                # Windows of 24 h, and between the end of one and the begin of another as much again.
                assert np.abs(parts[one][:, None] - parts[other][None, :]).min() >= 24 + 24


def test_blocks_that_cannot_be_folds_are_refused():
    times = pd.Series(pd.date_range("2013-01-01", periods=9, freq="D", tz="UTC"))
    with pytest.raises(SettingError, match="`blocks` must be at least 3"):
        block_folds(times, 2)
    with pytest.raises(DataError, match=r"the (?:train|validation) span holds no sample; use fewer blocks"):
        block_folds(pd.Series(pd.date_range("2013-01-01", periods=9, freq="12h", tz="UTC")), 3)
    with pytest.raises(DataError, match="10 blocks need at least as many samples, got 9"):
        block_folds(times, 10)


@pytest.fixture(scope="module")
def regions():
    """Ninety samples a year of 2011 to 2013, which flare the more, the larger R_VALUE is."""
    rng = np.random.default_rng(5)
    times = pd.Series(pd.date_range("2011-01-01", "2013-12-25", freq="4D", tz="UTC"))
    n = len(times)
    table = pd.DataFrame({"time": times, "region": [f"HARP {i // 5}" for i in range(n)]})
    table["noaa"] = pd.array(11000 + np.arange(n) // 5, "Int64")
    table["AREA"], table["R_VALUE"] = rng.lognormal(5, 1, n), rng.uniform(0, 5, n)
    return table, table["R_VALUE"].to_numpy() + rng.normal(0, 1, n) > 3.5


def run(regions, folder, *, seeds=(0,), caught=None, **changes):
    """Cross-validate a small DeFN and all baselines; the fitted networks are put into `caught`."""
    table, observed = regions
    folds = year_folds(table["time"], [2013])

    def recipe(labels, seed):
        return Recipe(
            epochs=2, batch_size=30, learning_rate=0.003, patience=5, class_weights=class_weights(labels), seed=seed,
            select="loss", steps_per_epoch=4,
        )  # fmt: skip

    def fit(fold, how, place, *, intervals):
        spec = model_spec("defn-c")
        fitted = fit_region_network(spec, table, FEATURES, observed, fold, recipe=how, run=place)
        assert not intervals
        if caught is not None:
            caught.append((fitted, fitted.model.get_weights()))
        return fitted

    def inputs(fold):
        return fit_scaling(table[fold.train], FEATURES).of_table(table)

    persistence = {"persistence": lambda _: np.roll(observed, 1).astype(np.float32)}
    samples = table[["time", "region", "noaa"]].assign(cluster=table["region"])
    task = TrainingTask(model_spec("defn-c"), samples, observed, {}, (), fit, inputs, persistence, table, None)
    units = {"baselines": baseline_unit(task)}
    for seed in seeds:
        units[f"seed-{seed}"] = network_unit(task, seed=seed, recipe=recipe)
    samples = samples.assign(observed=observed)
    return cross_validate(samples, folds, units, folder, settings={"model": "defn-c"} | changes)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("crossvalidation")


@pytest.fixture(scope="module")
def rows(regions, kept):
    return run(regions, kept, seeds=(0, 1))


def test_one_process_at_a_time_works_in_a_folder(regions, tmp_path):
    with held_folders(tmp_path), pytest.raises(SettingError, match=f"another run is at work in `{tmp_path}`"):
        run(regions, tmp_path)


def test_the_test_years_labels_change_nothing_that_is_fitted(regions, tmp_path):
    table, observed = regions
    rng = np.random.default_rng(9)
    scrambled = observed.copy()
    test = (table["time"].dt.year == 2013).to_numpy()
    scrambled[test] = rng.permutation(~observed[test])
    assert (scrambled != observed).sum() > 30
    first, second = [], []
    rows = run((table, observed), tmp_path / "1", caught=first)
    other = run((table, scrambled), tmp_path / "2", caught=second)
    (fitted, weights), (again, weights_again) = first[0], second[0]
    for weight, expected in zip(weights_again, weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert (again.threshold, again.calibration) == (fitted.threshold, fitted.calibration)
    assert again.run.epochs == fitted.run.epochs
    # Nor do the learnt baselines, their thresholds and calibrations: only the outcomes that they meet.
    learnt = ~rows["method"].str.startswith("persistence")
    columns = ["method", "output", "probability", "threshold"]
    pd.testing.assert_frame_equal(other.loc[learnt, columns], rows.loc[learnt, columns])
    assert (other["observed"] != rows["observed"]).any()


def test_validation_labels_do_change_what_is_chosen(regions, tmp_path, rows):
    # So that the test above can fail.
    table, observed = regions
    other = run((table, observed ^ (table["time"].dt.year == 2012).to_numpy()), tmp_path, seeds=[])
    of = [frame[(frame["fold"] == "2013") & (frame["method"] == "logistic regression")] for frame in (rows, other)]
    np.testing.assert_array_equal(of[0]["output"], of[1]["output"])
    assert of[0]["threshold"].iloc[0] != of[1]["threshold"].iloc[0]
    assert not np.allclose(of[0]["probability"], of[1]["probability"])


def test_every_method_forecasts_the_same_samples(rows):
    assert set(rows["method"]) == {
        "network", "logistic regression", "gradient boosting", "random forest", "R_VALUE alone",
        "persistence + climatology", "persistence", "climatology",
    }  # fmt: skip
    expected = rows[rows["method"] == "climatology"][["fold", "span", "time", "observed"]].reset_index(drop=True)
    for _, group in rows.groupby(["method", "seed"]):
        pd.testing.assert_frame_equal(group[list(expected)].reset_index(drop=True), expected)
    assert ((rows[["output", "probability"]] >= 0) & (rows[["output", "probability"]] <= 1)).all(axis=None)


def test_the_ensemble_is_the_mean_of_the_seeds(rows):
    network = rows[rows["method"] == "network"].set_index(["fold", "time"])
    single = [network[network["seed"] == seed]["output"] for seed in (0, 1)]
    np.testing.assert_allclose(network[network["seed"] == -1]["output"], (single[0] + single[1]) / 2, rtol=1e-6)
    assert not np.allclose(*single)


def test_what_is_finished_is_not_computed_again(rows, regions, kept):
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("*.parquet")}
    assert len(written) == 3
    caught = []
    pd.testing.assert_frame_equal(run(regions, kept, seeds=(0, 1), caught=caught), rows)
    assert caught == []
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_killed_run_goes_on_behind_the_last_finished_fit(rows, regions, kept, tmp_path):
    (tmp_path / "2013").mkdir()
    for name in ("settings.json", "2013/baselines.parquet", "2013/seed-0.parquet"):
        (tmp_path / name).write_bytes((kept / name).read_bytes())
    (tmp_path / "2013" / ".part-x-seed-1.parquet").write_bytes(b"half a file")
    caught = []
    resumed = run(regions, tmp_path, seeds=(0, 1), caught=caught)
    assert len(caught) == 1
    columns = ["fold", "method", "seed", "output", "threshold"]
    pd.testing.assert_frame_equal(resumed[columns], rows[columns])


def test_other_settings_and_broken_files_are_refused(rows, regions, kept, tmp_path):
    with pytest.raises(
        SettingError, match=r"holds a cross-validation with another `model` .*: choose another --output"
    ):
        run(regions, kept, model="defn-m")
    (tmp_path / "2013").mkdir()
    (tmp_path / "2013" / "baselines.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"baselines.parquet cannot be read"):
        run(regions, tmp_path)


# Two folds by hand. Regions "a" and "b" in fold 1, "c" and "d" in fold 2; the network's output and what is observed:
HAND = pd.DataFrame(
    {
        "fold": ["1"] * 5 + ["2"] * 4,
        "cluster": ["a", "a", "b", "b", "b", "c", "c", "d", "d"],
        "observed": [True, True, False, False, False, True, False, False, False],
        "output": [0.9, 0.2, 0.6, 0.1, 0.1, 0.8, 0.7, 0.3, 0.1],
    }
).assign(span="test", method="network", seed=-1, threshold=0.15, note="")
HAND["probability"] = HAND["output"]
HAND["time"] = pd.date_range("2013-01-01", periods=9, freq="D", tz="UTC")
RARE = HAND.assign(method="rare", output=0.5, probability=0.5, threshold=0.6)


def test_scores_are_shown_of_folds_of_their_mean_and_of_all_counted_together():
    board = scoreboard(pd.concat([HAND, RARE]), resamples=50)
    network = board.methods["network"]
    # Threshold 0.5, fold 1: TP 1, FN 1, FP 1, TN 2; fold 2: TP 1, FN 0, FP 1, TN 2.
    assert network.folds["tss_half"] == pytest.approx([1 / 2 - 1 / 3, 1 - 1 / 3])
    assert network.mean["tss_half"].value == pytest.approx((1 / 6 + 2 / 3) / 2)
    assert network.summed["tss_half"].value == pytest.approx(2 / 3 - 2 / 6)
    # Threshold 0.15, fold 1: 2, 0, 1, 2; fold 2: 1, 0, 2, 1.
    assert network.folds["tss"] == pytest.approx([1 - 1 / 3, 1 - 2 / 3])
    assert [vars(table) for table in network.tables["validation"]] == [
        {"tp": 2, "fp": 1, "fn": 0, "tn": 2}, {"tp": 1, "fp": 2, "fn": 0, "tn": 1},
    ]  # fmt: skip
    # "rare" forecasts nothing at 0.6: TSS 0, so that the network is ahead by its own.
    assert board.methods["rare"].network_minus_this["tss"].value == pytest.approx(0.5)
    assert board.best_baseline("tss") == "rare"
    assert board.folds[0] == {"name": "1", "samples": 5, "events": 2, "clusters": 2, "event_clusters": 1}
    json.dumps(board.as_json(), allow_nan=False)


def test_the_table_has_the_layout_of_table_4():
    board = scoreboard(pd.concat([HAND, RARE]), resamples=50)
    labels = {"1": "Training (2010-2011), Validation (2012), Test (2013)"}
    text = as_text(board, labels, title="defn-m", published={"1": 0.49, "2": 0.66})
    line = next(line for line in text.splitlines() if labels["1"] in line and "0.49" in line)
    cells = line.strip("| ").replace("|", " ").split()
    assert cells[-3:] == ["0.667", "0.000", "0.49"]
    average = next(line for line in text.splitlines() if "Average" in line)
    assert average.strip("| ").replace("|", " ").split() == ["Average", "0.500", "0.000", "0.57"]
    assert "network minus the best baseline (rare), mean of folds: 0.500" in text
    # Aligned, so that it can be read as it stands.
    head, rule, *body = (line for line in text.split("\n## ")[1].splitlines() if line.startswith("|"))
    assert rule.startswith("| --- | ---: |")
    assert len({line.index("|", 2) for line in (head, *body)}) == 1


def test_published_averages_are_those_of_the_paper():
    # Table 4 prints 0.70 and 0.59.
    assert np.mean(list(PUBLISHED_TSS["M"].values())) == pytest.approx(0.702)
    assert np.mean(list(PUBLISHED_TSS["C"].values())) == pytest.approx(0.592)


def test_the_forecasts_can_be_verified(rows):
    table = verifiable(rows)
    checked = forecast_table(table)
    assert list(checked.probability)[:2] == ["network", "network calibrated"]
    assert "climatology calibrated" not in checked.probability
    assert len(checked.time) == (rows["span"].eq("test") & rows["method"].eq("climatology")).sum()
    assert checked.region is not None


def test_persistence_as_a_chance_tells_its_cases_and_one_number_its_lead(rows, regions):
    table, observed = regions
    years, before = table["time"].dt.year.to_numpy(), np.roll(observed, 1)
    train = years == 2011
    expected = [
        (observed[train & (before == kind)].sum() + 1) / ((train & (before == kind)).sum() + 2) for kind in (0, 1)
    ]
    method = rows[(rows["method"] == "persistence + climatology") & (rows["span"] == "test")]
    np.testing.assert_allclose(method["output"], np.array(expected)[before[years == 2013].astype(int)], rtol=1e-6)
    board = scoreboard(rows, resamples=20)
    flared = train & before
    told = f"events after a day with a flare of the class: {observed[flared].sum()} of {flared.sum()} samples"
    assert told in as_text(board, {}, title="x")
    written = board.as_json()["methods"]
    assert written["persistence + climatology"]["notes"]["2013"].startswith(told)
    assert np.isfinite(written["R_VALUE alone"]["network_minus_this"]["tss"]["lower"])


def test_classes_of_mcintosh_give_a_climatology_of_the_training_span(regions):
    table, observed = regions
    (fold,) = year_folds(table["time"], [2013])
    classes = pd.Series(np.where(table["R_VALUE"] > 3, "EKC", "BXO"))
    task = TrainingTask(
        model_spec("defn-c"), table, observed, {}, (), None, lambda _: table[["AREA"]].to_numpy(np.float32),
        {"persistence": lambda _: observed.astype(np.float32)}, pd.DataFrame({"mcintosh": classes}), None,
    )  # fmt: skip
    (found,) = (one for one in baseline_unit(task)(fold, None) if one.method == "McIntosh climatology")
    large = fold.train & classes.eq("EKC").to_numpy()
    rate = (observed[large].sum() + 10 * observed[fold.train].mean()) / (large.sum() + 10)
    np.testing.assert_allclose(found.output[fold.test & classes.eq("EKC").to_numpy()], rate, rtol=1e-6)
    np.testing.assert_array_equal(found.probability, found.output)


@pytest.mark.parametrize("by", ["region", "noaa"])
def test_other_forecasts_are_compared_on_the_samples_that_both_have(rows, tmp_path, by):
    test = rows[(rows["span"] == "test") & (rows["method"] == "climatology")].iloc[::3]
    other = pd.DataFrame({"time": test["time"] + pd.Timedelta(minutes=30), "region": test[by], "probability": 0.25})
    # A second, more distant forecast of the first sample, one of an unknown region, one that was not issued.
    extra = other.iloc[[0, 0, 1]].assign(probability=[0.9, 0.9, None])
    extra["time"] += pd.to_timedelta([15, 0, 5], unit="min")
    extra["region"] = [extra["region"].iloc[0], "99999", extra["region"].iloc[2]]
    pd.concat([other, extra]).to_csv(tmp_path / "office.csv", index=False)
    read = read_other_forecasts(tmp_path / "office.csv", by_region=True, thresholds={"": 0.2})
    ((name, shared, told),) = compared(rows, read, tolerance_minutes=48)
    ours = (rows["span"].eq("test") & rows["method"].eq("climatology")).sum()
    both = f"{len(test)} of our {ours} samples and of {len(test) + 2} forecasts by office"
    assert (name, told) == ("office", f"{both} are at most 48 minutes apart; the outcomes are ours")
    groups = dict(list(shared[shared["seed"] == -1].groupby("method")))
    assert set(groups) == {*rows["method"], "office"}
    for part in groups.values():
        np.testing.assert_array_equal(part["time"], groups["office"]["time"])
        np.testing.assert_array_equal(part["observed"], groups["office"]["observed"])
    assert len(groups["office"]) == len(test)
    assert (groups["office"]["output"] == 0.25).all()
    assert scoreboard(shared, resamples=20).methods["office"].mean["tss"].value == 0
    seen = r"its forecasts and our samples are of 2013-01-\d\d to 2013-12-\d\d and 2013-.* regions such as .* and"
    with pytest.raises(DataError, match=rf'"office" shares no sample .* within 10 minutes: {seen}'):
        next(compared(rows, read, tolerance_minutes=10))


def test_others_keep_their_outcomes_and_thresholds(rows, tmp_path):
    test = rows[(rows["span"] == "test") & (rows["method"] == "climatology")].reset_index(drop=True)
    own = ~test["observed"].where(test.index < 3, ~test["observed"])  # three of them are of another opinion
    wide = test[["time", "region"]].assign(observed=own.astype(int), probability=0.25)
    parts = [wide.assign(method="a", threshold=0.2), wide.assign(method="b", threshold=0.3),
             wide[::2].assign(method="half", threshold=0.2)]  # fmt: skip
    pd.concat(parts).to_csv(tmp_path / "three.csv", index=False)
    boards = {
        name: (shared, told)
        for name, shared, told in compared(
            rows,
            read_other_forecasts(tmp_path / "three.csv", by_region=True, thresholds={"b": 0.1, "": 0.9}),
            tolerance_minutes=48,
        )
    }
    # Methods of the same samples come together; what has fewer does not take samples from the others.
    assert list(boards) == ["a, b", "half"]
    shared, told = boards["a, b"]
    assert told.endswith("the outcomes are theirs, 3 of which differ from ours")
    for name, part in shared[shared["seed"] == -1].groupby("method"):
        np.testing.assert_array_equal(part["observed"], own[np.argsort(test["time"])], err_msg=name)
    assert shared.groupby("method")["threshold"].first()[["a", "b"]].tolist() == [0.2, 0.1]
    assert boards["half"][1].startswith(f"{len(wide[::2])} of our {len(wide)} samples")
    # The samples of ours stay as they were.
    assert (rows.loc[rows["method"] == "climatology", "observed"].to_numpy()[-len(own) :] != own.to_numpy()).sum() == 3


def test_others_that_disagree_with_themselves_are_refused(rows, tmp_path):
    test = rows[(rows["span"] == "test") & (rows["method"] == "climatology")]
    wide = test[["time", "region"]].assign(observed=0, probability=0.25, method="a", threshold=0.2)
    wide.assign(threshold=np.where(np.arange(len(wide)) == 5, 0.3, 0.2)).to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(DataError, match=r'two.csv: `threshold` of "a" must be one number, got 0.2, 0.3'):
        read_other_forecasts(tmp_path / "two.csv", by_region=True)
    wide.assign(threshold=20).to_csv(tmp_path / "percent.csv", index=False)
    with pytest.raises(SettingError, match=r'the threshold of "a" must lie in \[0, 1\], got 20'):
        read_other_forecasts(tmp_path / "percent.csv", by_region=True)
    pd.concat([wide, wide.assign(method="b", observed=1)]).to_csv(tmp_path / "outcomes.csv", index=False)
    with pytest.raises(DataError, match=r"`observed` differs between a, b: score all methods against one flare list"):
        next(compared(rows, read_other_forecasts(tmp_path / "outcomes.csv", by_region=True), tolerance_minutes=48))


def test_forecasts_that_cannot_be_compared_are_refused(rows, tmp_path):
    table = pd.DataFrame({"time": ["2013-01-01"], "region": ["HARP 1"], "probability": [0.5]})
    table.drop(columns="region").to_csv(tmp_path / "disk.csv", index=False)
    with pytest.raises(DataError, match=r"disk.csv needs the column `region`"):
        read_other_forecasts(tmp_path / "disk.csv", by_region=True)
    table.to_csv(tmp_path / "regions.csv", index=False)
    with pytest.raises(DataError, match="must not have the column `region`"):
        read_other_forecasts(tmp_path / "regions.csv", by_region=False)
    table.assign(probability=50).to_csv(tmp_path / "percent.csv", index=False)
    with pytest.raises(DataError, match="divide percentages by 100"):
        read_other_forecasts(tmp_path / "percent.csv", by_region=True)
    table.assign(method="network").to_csv(tmp_path / "named.csv", index=False)
    with pytest.raises(DataError, match='the method "network" of the forecasts has the name of one of ours'):
        next(compared(rows, read_other_forecasts(tmp_path / "named.csv", by_region=True), tolerance_minutes=48))


def test_a_stated_frequency_is_taken_at_its_word():
    fold = Fold(*(np.arange(6) // 2 == part for part in range(3)), name="x")
    observed, output = np.array([1, 0, 1, 0, 1, 0], bool), np.array([9, 9, 0.3, 0.1, 0.4, 0.2], np.float32)
    forecast = conclude("stated", fold, observed, output, frequency=True)
    assert isinstance(forecast, MethodForecast)
    np.testing.assert_array_equal(forecast.probability[2:], output[2:])
    assert np.isnan(forecast.output[:2]).all()
    assert forecast.threshold == pytest.approx(0.2)  # the middle of the gap between 0.1 and 0.3
