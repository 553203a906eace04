r"""Train a model, choose it on validation data, and publish it as a SavedModel.

Examples
--------
python -m kflare.fit cnn-m --magnetograms hmi_daily --flares flares.csv --byte-range 250 \
    --train-until 2014-03-18 --validate-until 2014-08-04

python -m kflare.fit defn-c --sharp sharp --flares swpc_flares.csv --harp-noaa harp_noaa.parquet \
    --train-until 2014-01-01 --validate-until 2015-01-01 --test-until 2016-01-01
"""

import argparse
import json
import sys

from kflare.commands import command_line
from kflare.commands.training_options import WORDS, recipe_of, training_task

__all__ = ["main"]


def _fit(args: argparse.Namespace) -> None:
    task, folder = training_task(args)
    from kflare.attribution.compiled import CompiledAttribution
    from kflare.datasets.splits import chronological_split, utc_date
    from kflare.models.fitting import require_both_classes
    from kflare.models.seeds import best_of, fit_seeds, publish_best, published_already, write_summary

    split = chronological_split(
        task.samples["time"],
        start=utc_date(args.train_from) if args.train_from else None,
        train_until=utc_date(args.train_until),
        validate_until=utc_date(args.validate_until),
        test_until=utc_date(args.test_until) if args.test_until else None,
    )
    require_both_classes(task.observed, split, event=f"a {task.spec.event_text}")
    print(*task.notes, sep="\n", file=sys.stderr)
    recipe = recipe_of(args, task.spec)
    recipes = [recipe(task.observed[split.train], seed) for seed in args.seeds]
    fits = fit_seeds(task, split, recipes, folder, verbose=int(sys.stderr.isatty()))
    published = None
    if not args.no_publish:
        best = best_of(fits)
        with best.run.held():
            published = published_already(best, args.publish)
            if published is None:
                published = publish_best(
                    task, best, split, args.publish, data={"flares": args.flares.name}, attribution=CompiledAttribution
                )
            else:
                print(f"this run's model is published already as {published}: choose another --output to train anew",
                      file=sys.stderr)  # fmt: skip
    text, summary = write_summary(task, recipes, fits, folder, published=published)
    print(json.dumps(summary, indent=2) if args.json else text)


main = command_line.Command("fit", __doc__, _fit, WORDS)
