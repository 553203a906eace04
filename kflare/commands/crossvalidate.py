"""Cross-validate a model by years, as the paper does, beside all baselines on the same samples."""

import argparse
import json
import logging
import sys
from functools import partial

import numpy as np

from kflare.commands import command_line
from kflare.commands.training_options import recipe_of, scale_changes, training_task, training_words


def _crossvalidate(args: argparse.Namespace) -> None:
    if args.show_scale:
        print(scale_changes(args))
        return
    task, folder = training_task(args, run="crossvalidate-")
    # It takes the networks of the folds, one after the other, for one function that is traced too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from kflare.models.crossvalidation import folds as splits
    from kflare.models.crossvalidation.report import write_report
    from kflare.models.fitting import require_both_classes
    from kflare.verification.evaluation import groups_of

    times, spec = task.samples["time"], task.spec
    folds = splits.year_folds(times, args.test_years) if args.blocks is None else splits.block_folds(times, args.blocks)
    folds, left_out = splits.trainable_folds(folds, task.observed, event=f"a {spec.event_text}")
    print(*task.notes, *filter(None, [left_out]), sep="\n", file=sys.stderr)
    mixed = splits.shuffled_folds(folds) if args.shuffled else []
    for fold in mixed:
        require_both_classes(task.observed, fold, event=f"shuffled test {fold.name}: a {spec.event_text}")
    tests = np.logical_or.reduce([fold.test for fold in folds])
    groups_of(times[tests], periods=args.periods)  # refused before hours of training
    recipe = recipe_of(args, spec)
    settings = {"model": spec.name, "data": task.fingerprint, "blocks": args.blocks, "class_weight": args.class_weight}
    settings |= {**task.settings, **recipe.args[0]}
    units = {"baselines": splits.baseline_unit(task)}
    units |= {f"seed-{seed}": splits.network_unit(task, seed=seed, recipe=recipe) for seed in args.seeds}
    # Weighted by the class ratio, 0.5 stands for the training span's event rate.
    rates = {fold.name: float(task.observed[fold.train].mean()) for fold in folds}
    calibrate = partial(splits.cross_calibrated, rates=rates if args.class_weight is None else None)
    tested = partial(
        splits.cross_validate, task.samples.assign(observed=task.observed), units=units,
        calibrate=calibrate if args.calibration == "all-years" else None,
    )  # fmt: skip
    rows = tested(folds=folds, folder=folder, settings=settings)
    wrong = tested(folds=mixed, folder=folder / "shuffled", settings={**settings, "shuffled": 0}) if mixed else None
    text, scores = write_report(
        rows, folds, folder, task=task, seeds=args.seeds, resamples=args.resamples, periods=args.periods,
        shuffled=wrong, note=left_out, others=args.forecasts, tolerance_minutes=args.tolerance,
        thresholds=dict(args.forecasts_threshold),
    )  # fmt: skip
    print(json.dumps(scores, indent=2) if args.json else text)


main = command_line.Command("crossvalidate", __doc__, _crossvalidate, training_words, resumes=True)
