"""Cross-validate a model by years, as the paper does, beside all baselines on the same samples."""

import argparse
import json
import logging
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kflare.commands import command_line
from kflare.commands.command_line import quiet_tensorflow
from kflare.commands.training_options import recipe_of, scale_changes, training_task, training_words
from kflare.errors import DataError
from kflare.models.registry import model_spec

if TYPE_CHECKING:
    import pandas as pd

    from kflare.io.arrays import BoolArray
    from kflare.models.crossvalidation.folds import Fold, FoldUnit, Unit
    from kflare.models.fitting import TrainingTask
    from kflare.models.training import Recipe

    _Folds = tuple[list[Fold], list[Fold], str]


class _Plan(NamedTuple):
    task: "TrainingTask"
    folder: Path
    recipe: "partial[Recipe]"
    folds: "_Folds"
    units: "dict[str, Unit]"


class _Options(argparse.Namespace):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


def _compute(job: "FoldUnit", *, args: _Options, part: str, data: str) -> "list[FoldUnit]":
    from kflare.models.crossvalidation.folds import compute_unit

    plan = _plan(args)
    if plan.task.fingerprint != data:  # a worker may hold that of an earlier command
        _plan.cache_clear()
        plan = _plan(args)
    if plan.task.fingerprint != data:
        raise DataError("a worker reads other samples than this process: the paths must lead to the same files there")
    samples = plan.task.samples.assign(observed=plan.task.observed)
    folds = plan.folds[1] if part else plan.folds[0]
    return compute_unit(job, samples=samples, folds=folds, units=plan.units, folder=plan.folder / part)


@lru_cache(maxsize=1)
def _plan(args: _Options) -> _Plan:
    """What the options make of the data, once in each process."""
    task, folder = training_task(args, partial(_folds, args), run="crossvalidate-")
    # It takes the networks of the folds, one after the other, for one function that is traced too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from kflare.models.crossvalidation import folds as splits

    recipe = recipe_of(args, task.spec)
    units = {"baselines": splits.baseline_unit(task)}
    units |= {f"seed-{seed}": splits.network_unit(task, seed=seed, recipe=recipe) for seed in args.seeds}
    return _Plan(task, folder, recipe, _folds(args, task.samples, task.observed), units)


@lru_cache(maxsize=1)
def _others(args: _Options) -> "list[pd.DataFrame]":
    from kflare.models.crossvalidation.compare import read_others

    by_region, thresholds = model_spec(args.model).kind == "region", dict(args.forecasts_threshold)
    return read_others(args.forecasts, by_region=by_region, thresholds=thresholds)


def _folds(args: _Options, samples: "pd.DataFrame", observed: "BoolArray") -> "_Folds":
    """The folds that can be trained, the same shuffled if that is asked for, and what is said of the others."""
    from kflare.models.crossvalidation import folds as splits
    from kflare.models.crossvalidation.compare import shared_samples
    from kflare.models.fitting import require_both_classes
    from kflare.verification.evaluation import groups_of

    times = samples["time"]
    folds = splits.year_folds(times, args.test_years) if args.blocks is None else splits.block_folds(times, args.blocks)
    event = f"a {model_spec(args.model).event_text}"
    folds, left_out = splits.trainable_folds(folds, observed, event=event)
    mixed = splits.shuffled_folds(folds) if args.shuffled else []
    for fold in mixed:
        require_both_classes(observed, fold, event=f"shuffled test {fold.name}: {event}")
    tested = np.logical_or.reduce([fold.test for fold in folds])
    groups_of(times[tested], periods=args.periods)
    for others in _others(args):
        shared_samples(samples[tested], others, ours=splits.OUR_METHODS, tolerance_minutes=args.tolerance)
    return folds, mixed, left_out


def _crossvalidate(args: argparse.Namespace) -> None:
    if args.show_scale:
        print(scale_changes(args))
        return
    if args.workers > 1 or args.scheduler is not None:  # workers may have another current folder
        args.output = args.output or Path("runs") / f"crossvalidate-{args.model}"
        vars(args).update({name: _absolute(value) for name, value in vars(args).items()})
    options = _Options(**vars(args))
    _plan.cache_clear()
    _others.cache_clear()
    others, plan = _others(options), _plan(options)
    task, folder, (folds, mixed, left_out) = plan.task, plan.folder, plan.folds
    from kflare.io.workers import run_tasks
    from kflare.models.crossvalidation import folds as splits
    from kflare.models.crossvalidation.report import write_report

    print(*task.notes, *filter(None, [left_out]), sep="\n", file=sys.stderr)
    settings = {"model": args.model, "data": task.fingerprint, "blocks": args.blocks, "class_weight": args.class_weight}
    settings |= {**task.settings, **plan.recipe.args[0]}
    # Weighted by the class ratio, 0.5 stands for the training span's event rate.
    rates = {fold.name: float(task.observed[fold.train].mean()) for fold in folds}
    calibrate = partial(splits.cross_calibrated, rates=rates if args.class_weight is None else None)
    spread = partial(run_tasks, workers=args.workers, scheduler=args.scheduler, prepare=quiet_tensorflow)
    tested = partial(
        splits.cross_validate, task.samples.assign(observed=task.observed), units=plan.units,
        calibrate=calibrate if args.calibration == "all-years" else None,
    )  # fmt: skip

    def tested_as(part: str, folds: "list[Fold]", settings: dict[str, Any]) -> "pd.DataFrame":
        work = partial(_compute, args=options, part=part, data=task.fingerprint)
        return tested(folds=folds, folder=folder / part, settings=settings, spread=partial(spread, work))

    rows = tested_as("", folds, settings)
    wrong = tested_as("shuffled", mixed, {**settings, "shuffled": 0}) if mixed else None
    text, scores = write_report(
        rows, folds, folder, task=task, seeds=args.seeds, resamples=args.resamples, periods=args.periods,
        shuffled=wrong, note=left_out, others=others, tolerance_minutes=args.tolerance,
    )  # fmt: skip
    print(json.dumps(scores, indent=2) if args.json else text)


def _absolute(value: Any) -> Any:
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    return value.absolute() if isinstance(value, Path) else value


main = command_line.Command("crossvalidate", __doc__, _crossvalidate, training_words, resumes=True)
