"""Train a model, choose it on validation data, and publish it as a SavedModel."""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kflare.commands import command_line
from kflare.commands.command_line import quiet_tensorflow
from kflare.commands.training_options import recipe_of, training_task, training_words
from kflare.errors import SettingError
from kflare.models.cluster import joined_workers, workers_here
from kflare.models.registry import model_spec
from kflare.models.released import released_models

if TYPE_CHECKING:
    import pandas as pd

    from kflare.datasets.splits import Split
    from kflare.io.arrays import BoolArray


def _fit(args: argparse.Namespace) -> None:
    if args.publish is not None and args.publish.resolve() == released_models():
        fault = f"--publish {args.publish} holds the models that are released with kflare"
        raise SettingError(f"{fault}: choose another folder")
    if "TF_CONFIG" in os.environ:
        quiet_tensorflow()
    with joined_workers(args.output or Path("runs") / args.model) as args.output:
        _fit_here(args)


def _split(args: argparse.Namespace, samples: "pd.DataFrame", observed: "BoolArray") -> "Split":
    """The samples in the spans of the options; what cannot be learnt is refused."""
    from kflare.datasets.splits import VALIDATION_RULE, chronological_split
    from kflare.models.fitting import require_both_classes
    from kflare.verification.evaluation import groups_of

    dates = {name: getattr(args, name) for name in ("train_until", "validate_until", "test_until")}
    times, carved = samples["time"], f", give --validate-until (without it validation is {VALIDATION_RULE})"
    split = chronological_split(times, start=args.train_from, **dates)
    remedy = "move the split dates" + carved * (args.validate_until is None)
    require_both_classes(observed, split, event=f"a {model_spec(args.model).event_text}", remedy=remedy)
    groups_of(times[split.test], periods=args.periods)
    return split


def _fit_here(args: argparse.Namespace) -> None:
    task, folder = training_task(args, partial(_split, args))
    from kflare.attribution.compiled import CompiledAttribution
    from kflare.datasets.splits import VALIDATION_RULE
    from kflare.models.seeds import best_of, fit_seeds, publish_best, published_already, write_summary

    print(*task.notes, sep="\n", file=sys.stderr)
    split, rule = _split(args, task.samples, task.observed), "given" if args.validate_until else VALIDATION_RULE
    recipe, workers = recipe_of(args, task.spec), workers_here()
    recipe.args[0]["batch_size"] *= workers.count
    recipes = [recipe(task.observed[split.train], seed) for seed in args.seeds]
    fits = fit_seeds(task, split, recipes, folder, periods=args.periods)
    if workers.index:
        return  # the chief publishes
    published = None
    if not args.no_publish:
        best = best_of(fits)
        with best.run.held():
            models = args.publish or folder / "savedmodels"
            published = published_already(best, models)
            if published is None:
                data = {"flares": args.flares.name, "validation": rule}
                published = publish_best(task, best, split, models, data=data, attribution=CompiledAttribution)
            else:
                print(f"this run's model is published already as {published}: choose another --output to train anew",
                      file=sys.stderr)  # fmt: skip
    text, summary = write_summary(task, recipes, fits, folder, split=split, validation=rule, published=published)
    print(json.dumps(summary, indent=2) if args.json else text)


main = command_line.Command("fit", __doc__, _fit, training_words, resumes=True)
