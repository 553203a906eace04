"""Folds of a cross-validation that respects time, and its methods: the network with a seed, and the baselines.

By years, as Nishizuka et al. (2021, section 4.3 and Table 4): train on everything to year y - 2, validate on y - 1,
test on y. By blocks, where the data cover too little time for that: K contiguous spans, each tested once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kflare.datasets.splits import Split, chronological_split
from kflare.errors import DataError, SettingError
from kflare.flares.labels import LEAD_HOURS, in_seconds
from kflare.io.arrays import BoolArray, Float32Array, IntArray
from kflare.io.atomic import held_folders, write_whole
from kflare.io.run_settings import require_same_settings
from kflare.models import baselines
from kflare.models.calibration import fit_calibration
from kflare.models.cross_fitting import OutOfSample, at_rate, cross_fitted
from kflare.verification.contingency import best_threshold

if TYPE_CHECKING:
    from kflare.models.fitting import TrainingTask
    from kflare.models.training import Recipe

ENSEMBLE = -1
"""`seed` of the rows of a method that has none, or of the mean over the seeds."""


@dataclass(frozen=True)
class Fold(Split):
    """A split with a name: the test year, or the number of the test block."""

    name: str


def year_folds(times: pd.Series, test_years: Iterable[int]) -> list[Fold]:
    """Training to y - 2, validation on y - 1, test on year y (paper: 2013 to 2017); no 24 h window reaches across."""
    years = list(test_years)
    if not years or len(set(years)) < len(years):
        raise SettingError(f"`test_years` must be different years, at least one, got {years}")
    folds = []
    for year in sorted(years):
        begins = [pd.Timestamp(f"{start}-01-01", tz="UTC") for start in (year - 1, year, year + 1)]
        try:
            split = chronological_split(times, train_until=begins[0], validate_until=begins[1], test_until=begins[2])
        except DataError as error:
            raise DataError(f"test year {year}: {error}") from error
        folds.append(Fold(**split.parts(), name=str(year)))
    return folds


def block_folds(times: pd.Series, blocks: int) -> list[Fold]:
    """K contiguous blocks of equally many samples: test on each, validate on the next one, train on the others.

    Training samples may be later than the test block, so that this is no test of a forecast into the future; it is for
    archives of few years. The block after the last one is the first. Between one span's window and another's begin is a
    window's time at least: nearer samples are left out, of validation beside the test block, of training beside both.
    """
    if blocks < 3:
        raise SettingError(f"`blocks` must be at least 3 (test, validation, training), got {blocks}")
    begin = in_seconds(times)
    if len(begin) < blocks:
        raise DataError(f"{blocks} blocks need at least as many samples, got {len(begin)}")
    reach = round(2 * LEAD_HOURS * 3600)
    starts = np.sort(begin)[np.arange(blocks) * len(begin) // blocks]
    member = np.searchsorted(starts, begin, side="right") - 1
    folds = []
    for number in range(blocks):
        test, valid = member == number, member == (number + 1) % blocks
        valid &= _apart(begin, begin[test], reach)
        train = (member != number) & (member != (number + 1) % blocks)
        train &= _apart(begin, begin[test], reach) & _apart(begin, begin[valid], reach)
        for name, mask in {"train": train, "validation": valid, "test": test}.items():
            if not mask.any():
                raise DataError(f"block {number + 1} of {blocks}: the {name} span holds no sample; use fewer blocks")
        folds.append(Fold(train, valid, test, f"block {number + 1}"))
    return folds


def trainable_folds(folds: Iterable[Fold], observed: BoolArray, *, event: str) -> tuple[list[Fold], str]:
    """The folds in which an event and its absence can be learnt, and a sentence on the rest; `DataError` if none is."""
    from kflare.models.fitting import require_both_classes

    kept, left = [], []
    for fold in folds:
        try:
            require_both_classes(observed, fold, event=f"test {fold.name}: {event}")
            kept.append(fold)
        except DataError as error:
            left.append(str(error))
    if not kept:
        raise DataError("; ".join(left))
    return kept, f"Left out: {'; '.join(left)}" if left else ""


def shuffled_folds(folds: Iterable[Fold], *, seed: int = 0) -> list[Fold]:
    """The samples of each fold drawn at random into its spans, as many as before: what Nishizuka et al. (2021) warn of.

    Neighbours of a test sample, nearly equal to it, are then in training, and so is its future.
    """
    random, drawn = np.random.default_rng(seed), []
    for fold in folds:
        parts = list(fold.parts().values())
        order = random.permutation(np.flatnonzero(np.logical_or.reduce(parts)))
        cuts = np.split(order, np.cumsum([part.sum() for part in parts[:-1]]))
        train, validation, test = (np.isin(np.arange(len(fold.test)), cut) for cut in cuts)
        drawn.append(Fold(train, validation, test, fold.name))
    return drawn


def _apart(begin: IntArray, others: IntArray, reach: int) -> BoolArray:
    """Whether each sample is at least `reach` seconds before the first or after the last of the others."""
    if not others.size:
        return np.ones(len(begin), np.bool_)
    return (begin + reach <= others.min()) | (begin >= others.max() + reach)


@dataclass(frozen=True)
class MethodForecast:
    """What one method forecasts for the validation and test samples of a fold; float32 arrays of shape (N,)."""

    method: str
    output: Float32Array  # what is held against the threshold; NaN in the training span
    probability: Float32Array  # calibrated on the validation span: what the Brier skill score is of
    threshold: float  # of the greatest TSS on the validation span
    seed: int = ENSEMBLE
    note: str = ""  # what a reader of its scores should know


def conclude(
    method: str, fold: Fold, observed: BoolArray, output: Float32Array, *, frequency: bool = False, note: str = ""
) -> MethodForecast:
    """Choose threshold and calibration on the validation span; with `frequency` the output is taken at its word."""
    valid = fold.validation
    shown = np.where(valid | fold.test, output, np.float32(np.nan))
    threshold, _ = best_threshold(observed[valid], output[valid])
    probability = shown if frequency else np.asarray(fit_calibration(observed[valid], output[valid])(shown))
    return MethodForecast(method, shown, probability, float(threshold), note=note)


Unit = Callable[[Fold, Path], Sequence[MethodForecast]]
"""Forecasts of some methods for a fold; the folder is theirs to keep things in."""


FoldUnit = tuple[str, str]
"""A fold and a unit, by name."""


def compute_unit(
    job: FoldUnit, *, samples: pd.DataFrame, folds: Sequence[Fold], units: Mapping[str, Unit], folder: Path
) -> list[FoldUnit]:
    """Let a unit forecast a fold and keep its rows, in this process; the arguments are those of `cross_validate`."""
    name, kept = job[1], _kept(folder, job)
    fold = next(fold for fold in folds if fold.name == job[0])
    used = fold.validation | fold.test
    own = samples[used].assign(fold=fold.name, span=np.where(fold.test[used], "test", "validation"))
    found = (
        own.assign(
            method=one.method, seed=one.seed, output=one.output[used], probability=one.probability[used],
            threshold=one.threshold, note=one.note,
        ) for one in units[name](fold, kept.parent)
    )  # fmt: skip
    write_whole(kept, partial(pd.concat(found, ignore_index=True).to_parquet, index=False))
    return [job]


def _kept(folder: Path, job: FoldUnit) -> Path:
    return folder / job[0].replace(" ", "-") / f"{job[1]}.parquet"


def cross_validate(
    samples: pd.DataFrame, folds: Sequence[Fold], units: Mapping[str, Unit], folder: Path, *,
    settings: Mapping[str, Any], calibrate: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    spread: Callable[[Sequence[FoldUnit]], AbstractContextManager[Iterator[FoldUnit]]] | None = None
) -> pd.DataFrame:  # fmt: skip
    """Let every method forecast every fold; killed and started again, go on behind the last unit that was finished.

    `samples` are N rows with `time` (UTC), `observed` (bool), `cluster` (day or region: what is resampled together) and
    other keys, which are handed on. `units` are computed and kept together in FOLD/UNIT.parquet: the baselines, or a
    seed of the network; `spread` lets `compute_unit` do that elsewhere (default: here, one after the other). The
    `settings` are what the forecasts depend on besides; a folder with others raises `SettingError`.

    Returns a row per fold, method, seed and sample of the validation and test spans: the columns of `samples`, and
    `fold`, `span` ("validation" or "test"), `method`, `seed`, `output`, `probability`, `threshold`, `note`.
    With seeds also their mean, of `seed` -1: outputs and probabilities averaged, the threshold chosen on validation.
    `calibrate` takes the rows of single seeds to such of other probabilities (`cross_calibrated`).
    """
    from kflare.io.progress import progress

    if (folder / "settings.json").exists():
        require_same_settings(folder / "settings.json", settings, what="a cross-validation")
    with held_folders(folder, *(folder / fold.name.replace(" ", "-") for fold in folds), within=folder):
        write_whole(folder / "settings.json", json.dumps(settings, default=str, indent=2, sort_keys=True))
        jobs = [(fold.name, name) for fold in folds for name in units]
        here = partial(compute_unit, samples=samples, folds=folds, units=units, folder=folder)
        todo = [job for job in jobs if not _kept(folder, job).exists()]
        with nullcontext(found for job in todo for found in here(job)) if spread is None else spread(todo) as done:
            bar = progress(done, total=len(todo), desc="cross-validation", unit="fit")
            for job in bar:
                bar.set_postfix_str(", ".join(job))
    rows = pd.concat([_read_kept(_kept(folder, job)) for job in jobs], ignore_index=True)
    rows = rows if calibrate is None else calibrate(rows)
    return pd.concat([rows, *_means(rows)], ignore_index=True)


def cross_calibrated(rows: pd.DataFrame, rates: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Rows of single seeds as `cross_validate` makes them, each `probability` calibrated on several validation spans.

    A fold's own is shrunk to the fit of all (`cross_fitted`). Of years those before the test are taken, of blocks all
    that do not touch it. `rates`, the event rate of each fold's training span where class weights made 0.5 stand for
    it, bring the outputs of other folds' networks to the fold's own. Methods whose output is a frequency stay.
    """
    rows, day = rows.copy(), pd.Timedelta(days=1)
    same = (rows["output"] == rows["probability"]).groupby([rows["method"], rows["seed"]]).transform("all")
    for _, group in rows[~same].groupby(["method", "seed"], sort=False):
        spans = dict(iter(group[group["span"] == "validation"].groupby("fold", sort=False)))
        for own, part in group.groupby("fold", sort=False):
            test, known = part.loc[part["span"] == "test", "time"], []
            for other, seen in spans.items():
                after = not str(own).isdigit() and seen["time"].min() >= test.max() + day
                if other == own or after or seen["time"].max() + day <= test.min():
                    output = seen["output"] if rates is None else at_rate(seen["output"], rates[other], rates[own])
                    regions, years = seen["cluster"] if "region" in seen else None, [other] * len(seen)
                    known.append(OutOfSample.of(seen["observed"], output, seen["time"], regions=regions, years=years))
            calibration = cross_fitted(OutOfSample.joined(known), own=str(own), resamples=0)
            rows.loc[part.index, "probability"] = calibration(part["output"].to_numpy("float32")).numpy()
    return rows


def _means(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Of every method with seeds, the mean over them."""
    means = []
    for _, group in rows[rows["seed"] != ENSEMBLE].groupby(["fold", "method"], sort=False):
        seeds = [part for _, part in group.groupby("seed")]
        of_all = {name: np.mean([part[name] for part in seeds], axis=0) for name in ("output", "probability")}
        mean = seeds[0].assign(**of_all)
        if len(seeds) > 1:
            valid = mean[mean["span"] == "validation"]
            mean["threshold"] = float(best_threshold(valid["observed"], valid["output"])[0])
        means.append(mean.assign(seed=ENSEMBLE))
    return means


def _read_kept(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; delete it to compute it anew") from error


NETWORK = "network"
"""Name of the network among the methods."""

LEARNERS: Mapping[str, Callable[..., baselines.Classifier]] = {
    "logistic regression": baselines.logistic_regression,
    "gradient boosting": baselines.gradient_boosting,
    "random forest": baselines.random_forest,
}

OUR_METHODS = (
    NETWORK, *LEARNERS, *baselines.ONE_NUMBER, "persistence", "persistence + climatology", "event statistics",
    "climatology", "120-day climatology", "McIntosh climatology",
)  # fmt: skip
"""All that a cross-validation may tell of."""


def network_unit(task: "TrainingTask", *, seed: int, recipe: "Callable[[BoolArray, int], Recipe]") -> Unit:
    """The network with one seed, as its fit decided; `recipe` makes of training labels and seed how to train."""
    import keras

    from kflare.models.training import TrainingRun

    def forecast(fold: Fold, folder: Path) -> list[MethodForecast]:
        how = recipe(task.observed[fold.train], seed)
        settings = {"model": task.spec.name, "data": task.fingerprint, **task.settings, "fold": fold.name}
        run = TrainingRun(folder / f"seed-{seed}", {**settings, "recipe": vars(how)})
        fitted = task.fit(fold, how, run, intervals=False)
        output, probability = (fitted.forecasts[name].to_numpy(np.float32) for name in ("probability", "calibrated"))
        keras.backend.clear_session()
        return [MethodForecast(NETWORK, output, probability, fitted.threshold, seed)]

    return forecast


def baseline_unit(task: "TrainingTask", *, learners: Mapping[str, Callable[..., Any]] = LEARNERS) -> Unit:
    """All baselines of a fold; learners get the network's inputs and class weights: their 0.5 is climatology too."""
    from kflare.models.losses import class_weights

    def forecast(fold: Fold, folder: Path) -> list[MethodForecast]:
        del folder  # nothing to keep
        observed = task.observed
        features, labels = task.inputs(fold), observed[fold.train]
        weights = class_weights(labels)
        outputs = {
            name: learn(features[fold.train], labels, class_weights=weights)(features)
            for name, learn in learners.items()
        } | baselines.one_number_regressions(task.numbers[fold.train], labels, task.numbers, class_weights=weights)
        results = [conclude(name, fold, observed, p) for name, p in outputs.items()]
        rate = baselines.climatology(labels)
        stated = {name: method(rate) for name, method in task.frequencies.items()}
        before = stated["persistence"]
        chance, told = baselines.persistence_climatology(before[fold.train], labels, before)
        results.append(conclude("persistence + climatology", fold, observed, chance, frequency=True, note=told))
        if "mcintosh" in task.numbers:
            classes = task.numbers["mcintosh"]
            stated["McIntosh climatology"] = baselines.class_climatology(classes[fold.train], labels, classes)
        stated["climatology"] = np.full(len(observed), rate, np.float32)
        return results + [conclude(name, fold, observed, p, frequency=True) for name, p in stated.items()]

    return forecast
