"""Cross-validate a model by years, as the paper does, beside all baselines on the same samples.

For each test year the network is trained on everything to two years before and validated on the year before;
thresholds, early stopping and calibration come from the validation year. Killed and started again with the same
options, it goes on behind the last fit that was finished.

Examples
--------
python -m kflare.crossvalidate defn-m --sharp sharp --flares swpc_flares.csv --harp-noaa harp_noaa.parquet \
    --test-years 2013 2014 2015 2016 2017 --seeds 0 1 2

python -m kflare.crossvalidate cnn-m --magnetograms hmi_daily --flares flares.csv --byte-range 250 \
    --blocks 5 --image-size 256
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.commands.training_options import add_model_and_data, add_teaching

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from kflare.flares.catalogue import FlareList
    from kflare.models.crossvalidation.folds import Fold
    from kflare.models.fitting import Fitted
    from kflare.models.training import Recipe, Run

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m kflare.crossvalidate``; returns the exit status."""
    return command_line.run(_parser(), _crossvalidate, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kflare.crossvalidate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_and_data(parser)
    folds = parser.add_argument_group("folds")
    folds.add_argument(
        "--test-years",
        type=int,
        nargs="+",
        default=[2013, 2014, 2015, 2016, 2017],
        metavar="YEAR",
        help="years to test on (default: 2013 to 2017, as in the paper's Table 4)",
    )
    folds.add_argument(
        "--blocks",
        type=int,
        metavar="K",
        help="instead of years: K contiguous blocks a day's window apart, each tested once, the next one validated on",
    )
    folds.add_argument(
        "--seeds",
        type=int,
        nargs="*",
        default=[0],
        metavar="N",
        help="of the network (default: 0); none: baselines only",
    )
    recipe = parser.add_argument_group("training (default: as kflare.fit)")
    recipe.add_argument("--image-size", type=int, default=512, metavar="PIXELS", help="cnn-*: side of the input")
    recipe.add_argument("--epochs", type=int, metavar="N", help="at most so many")
    recipe.add_argument("--batch-size", type=int, metavar="N", help="samples per batch")
    recipe.add_argument("--learning-rate", type=float, metavar="X", help="of Adam")
    recipe.add_argument("--patience", type=int, metavar="N", help="epochs without a better validation score")
    recipe.add_argument("--select", choices=("tss", "loss"), help="validation score that chooses the epoch")
    recipe.add_argument("--class-weight", type=float, metavar="W", help="of flares (default: training's class ratio)")
    add_teaching(recipe)
    other = parser.add_argument_group("same samples, other forecasts")
    other.add_argument(
        "--forecasts",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="tables of other methods (CSV or Parquet: time, probability, for defn-* region, optionally method), each "
        "compared on the samples that it shares with ours",
    )
    other.add_argument(
        "--tolerance",
        type=float,
        default=48.0,
        metavar="MINUTES",
        help="how far a sample of ours may be from the time of such a forecast (default: 48)",
    )
    other.add_argument(
        "--forecasts-threshold", type=float, default=0.5, metavar="P", help="probability that forecasts a flare there"
    )
    out = parser.add_argument_group("output")
    out.add_argument("--output", type=Path, metavar="DIR", help="folder (default: runs/crossvalidate-MODEL)")
    out.add_argument(
        "--resamples", type=int, default=2000, metavar="N", help="of the bootstrap for intervals (default: 2000)"
    )
    out.add_argument("--json", action="store_true", help="print the scores as JSON")
    return parser


@dataclass(frozen=True)
class _Problem:
    """What a kind of model brings: samples, methods, and what its folds depend on."""

    samples: "pd.DataFrame"
    """`time`, `observed`, `cluster`, and for regions `region` and `noaa`."""
    inputs: "Callable[[Fold], npt.NDArray[np.float32]]"
    stated: "dict[str, Callable[[float], npt.NDArray[np.float32]]]"
    fit: "Callable[[Fold, Recipe, Run], Fitted]"
    defaults: dict[str, Any]
    settings: dict[str, Any]
    notes: tuple[str, ...]


def _crossvalidate(args: argparse.Namespace) -> None:
    _require_options(args)
    from kflare.flares.catalogue import read_flares

    flares = read_flares(args.flares)
    command_line.quiet_tensorflow()
    # It takes the networks of the folds, one after the other, for one function that is traced too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from kflare.models.crossvalidation.folds import block_folds, cross_validate, year_folds
    from kflare.models.crossvalidation.methods import baseline_unit, network_unit
    from kflare.models.fitting import require_both_classes
    from kflare.models.release import fingerprint

    problem = (_disk_problem if args.model.startswith("cnn") else _region_problem)(args, flares)
    print(flares.report(), *problem.notes, sep="\n", file=sys.stderr)
    samples = problem.samples
    observed = samples["observed"].to_numpy()
    folds = year_folds(samples["time"], args.test_years) if args.blocks is None else block_folds(
        samples["time"], args.blocks
    )  # fmt: skip
    for fold in folds:
        require_both_classes(observed, fold, event=f"test {fold.name}: a flare >= {args.model[-1].upper()}1.0")
    recipe = _recipe(args, problem.defaults)
    settings = {
        "model": args.model,
        "data": fingerprint(samples.drop(columns="observed"), observed),
        "blocks": args.blocks,
        **problem.settings,
        **{name: getattr(args, name) for name in (*problem.defaults, "class_weight")},
    }
    units = {"baselines": baseline_unit(observed, problem.inputs, stated=problem.stated)}
    for seed in args.seeds:
        units[f"seed-{seed}"] = network_unit(observed, seed=seed, recipe=recipe, fit=problem.fit, settings=settings)
    output = args.output or Path("runs") / f"crossvalidate-{args.model}"
    rows = cross_validate(samples, folds, units, output, settings=settings)
    _report(args, rows, samples, folds, output)


def _require_options(args: argparse.Namespace) -> None:
    from kflare.errors import SettingError

    if args.model.startswith("cnn"):
        if args.magnetograms is None:
            raise SettingError(f"{args.model} needs --magnetograms DIR")
        if args.image_size < 128:
            raise SettingError(f"--image-size must be at least 128 (seven poolings by two), got {args.image_size}")
    elif (args.sharp is None) == (args.regions is None):
        raise SettingError(f"{args.model} needs either --sharp DIR or --regions FILE")
    elif args.sharp is not None and args.harp_noaa is None:
        raise SettingError("--sharp needs --harp-noaa FILE, by which flares are assigned to regions")
    if len(set(args.seeds)) < len(args.seeds):
        raise SettingError(f"--seeds must differ, got {args.seeds}")


def _region_problem(args: argparse.Namespace, flares: "FlareList") -> _Problem:
    from kflare.datasets.region_features import features_of
    from kflare.datasets.region_samples import samples_of_region_table, samples_of_sharp
    from kflare.flares.labels import reaches
    from kflare.models.baselines import recent_climatology, region_persistence
    from kflare.models.event_statistics import region_event_statistics
    from kflare.models.feature_scaling import fit_scaling
    from kflare.models.fitting import fit_defn

    event = args.model[-1].upper()
    if args.regions is not None:
        source = samples_of_region_table(args.regions, flares)
    else:
        source = samples_of_sharp(args.sharp, flares, harp_noaa=args.harp_noaa)
    table, observed = source.table, reaches(source.flux, event)
    features = features_of(table, args.features, source=str(args.sharp or args.regions))
    names = [feature.name for feature in features]
    samples = table[[name for name in ("time", "region", "noaa", *names) if name in table]]
    samples = samples.assign(cluster=table["region"].astype(str), observed=observed)

    def inputs(fold: "Fold") -> "npt.NDArray[np.float32]":
        return fit_scaling(table[fold.train], features).of_table(table)

    def fit(fold: "Fold", recipe: "Recipe", run: "Run") -> "Fitted":
        return fit_defn(table, features, observed, fold, recipe=recipe, run=run)

    return _Problem(
        samples,
        inputs,
        {
            "event statistics": lambda _: region_event_statistics(table, source.region_flares, flares, event),
            "persistence": lambda _: region_persistence(table, source.region_flares, event),
            "120-day climatology": lambda rate: recent_climatology(table["time"], observed, otherwise=rate),
        },
        fit,
        {"epochs": 160, "batch_size": 150, "learning_rate": 1e-3, "patience": 40, "select": "loss"},
        {"features": names},
        source.notes,
    )


def _disk_problem(args: argparse.Namespace, flares: "FlareList") -> _Problem:
    from kflare.datasets.archive import index_archive
    from kflare.datasets.magnetogram_proxies import magnetogram_proxies
    from kflare.flares.labels import disk_flux, reaches
    from kflare.models.baselines import disk_recent_climatology, persistence
    from kflare.models.event_statistics import disk_event_statistics
    from kflare.models.fitting import dense_cnn_defaults, fit_dense_cnn

    event = args.model[-1].upper()
    archive = index_archive(args.magnetograms, byte_range=args.byte_range)
    times = archive["forecast_time"]
    observed = reaches(disk_flux(times, flares), event)
    proxies = magnetogram_proxies(archive["path"].tolist(), byte_range=args.byte_range)
    days = times.dt.tz_localize(None).dt.floor("D")
    samples = proxies.assign(time=times, cluster=days, observed=observed)

    def inputs(fold: "Fold") -> "npt.NDArray[np.float32]":
        train = proxies[fold.train]
        return ((proxies - train.mean()) / train.std()).to_numpy("float32")

    def fit(fold: "Fold", recipe: "Recipe", run: "Run") -> "Fitted":
        return fit_dense_cnn(
            archive["path"].tolist(), observed, fold, size=args.image_size, byte_range=args.byte_range,
            augmented=not args.no_augment, recipe=recipe, run=run, baselines={}, teach=args.teach,
        )  # fmt: skip

    return _Problem(
        samples,
        inputs,
        {
            "event statistics": lambda _: disk_event_statistics(times, flares, event),
            "persistence": lambda _: persistence(times, flares, event),
            "120-day climatology": lambda rate: disk_recent_climatology(times, flares, event, otherwise=rate),
        },
        fit,
        dense_cnn_defaults(args.teach),
        {
            "image_size": args.image_size,
            "byte_range": args.byte_range,
            "augmented": not args.no_augment,
            "teach": args.teach,
        },
        (),
    )


def _recipe(args: argparse.Namespace, defaults: dict[str, Any]) -> "Callable[[npt.NDArray[np.bool_], int], Recipe]":
    from kflare.models.losses import class_weights
    from kflare.models.training import Recipe

    chosen = {
        name: default if getattr(args, name) is None else getattr(args, name) for name, default in defaults.items()
    }
    steps = None if args.model.startswith("cnn") else 100

    def recipe(labels: "npt.NDArray[np.bool_]", seed: int) -> Recipe:
        weights = class_weights(labels) if args.class_weight is None else (1.0, args.class_weight)
        return Recipe(**chosen, class_weights=weights, seed=seed, steps_per_epoch=steps)

    return recipe


def _report(
    args: argparse.Namespace, rows: "pd.DataFrame", samples: "pd.DataFrame", folds: "list[Fold]", output: Path
) -> None:
    """Write forecasts.parquet, scores.json, table.txt and table.md, and print the table."""
    from kflare.io.atomic import write_whole
    from kflare.models.crossvalidation.compare import compared, read_other_forecasts, verifiable
    from kflare.models.crossvalidation.scores import scoreboard
    from kflare.models.crossvalidation.table import PUBLISHED, as_text, fold_labels

    event = args.model[-1].upper()
    labels = fold_labels(samples["time"], folds)
    write_whole(output / "forecasts.parquet", lambda file: verifiable(rows).to_parquet(file, index=False))
    boards = {"all samples": scoreboard(rows, resamples=args.resamples)}
    for path in args.forecasts:
        other = read_other_forecasts(path, by_region="region" in samples)
        for method, group in other.groupby("method", sort=False):
            shared = compared(rows, group, tolerance_minutes=args.tolerance, threshold=args.forecasts_threshold)
            boards[f"samples shared with {method}"] = scoreboard(shared, resamples=args.resamples)
    published = PUBLISHED[event] if args.model.startswith("defn") and args.blocks is None else None
    texts = {
        markdown: "\n\n".join(
            as_text(
                board, labels, title=f"{args.model}, flare >= {event}1.0 within 24 h, {name}", published=published,
                markdown=markdown,
            )
            for name, board in boards.items()
        )
        for markdown in (False, True)
    }  # fmt: skip
    scores = {"model": args.model, "seeds": args.seeds, **{name: board.as_json() for name, board in boards.items()}}
    write_whole(output / "scores.json", json.dumps(scores, indent=2))
    write_whole(output / "table.txt", texts[False] + "\n")
    write_whole(output / "table.md", texts[True] + "\n")
    print(json.dumps(scores, indent=2) if args.json else texts[False])
