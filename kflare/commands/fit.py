"""Train a model, choose it on validation data, and publish it as a SavedModel.

Examples
--------
python -m kflare.fit cnn-m --magnetograms hmi_daily --flares flares.csv --byte-range 250 \
    --train-until 2014-03-18 --validate-until 2014-08-04

python -m kflare.fit defn-c --sharp sharp --flares swpc_flares.csv --harp-noaa harp_noaa.parquet \
    --train-until 2014-01-01 --validate-until 2015-01-01 --test-until 2016-01-01
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.commands.training_options import add_model_and_data, add_teaching

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from kflare.datasets.splits import Split
    from kflare.flares.catalogue import FlareList
    from kflare.models.fitting import Fitted
    from kflare.models.training import Recipe, Run

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m kflare.fit``; returns the exit status."""
    return command_line.run(_parser(), _fit, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kflare.fit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = add_model_and_data(parser)
    data.add_argument(
        "--daily",
        type=float,
        metavar="HOURS",
        help="cnn-*: one sample a day, of 00:00 UT or else the nearest image at most HOURS earlier, as in the paper",
    )
    spans = parser.add_argument_group("spans (UTC dates, each end exclusive)")
    spans.add_argument("--train-from", metavar="DATE", help="begin of the training span (default: the first sample)")
    spans.add_argument("--train-until", required=True, metavar="DATE", help="end of training, begin of validation")
    spans.add_argument("--validate-until", required=True, metavar="DATE", help="end of validation, begin of test")
    spans.add_argument("--test-until", metavar="DATE", help="end of test (default: the last sample)")
    recipe = parser.add_argument_group("training")
    recipe.add_argument(
        "--image-size",
        type=int,
        default=512,
        metavar="PIXELS",
        help="cnn-*: side of the network's input (default: 512)",
    )
    recipe.add_argument(
        "--epochs", type=int, metavar="N", help="default: 100 for cnn-*, 160 of 100 iterations for defn-*"
    )
    recipe.add_argument("--batch-size", type=int, metavar="N", help="default: 8 for cnn-*, 150 for defn-*")
    recipe.add_argument(
        "--learning-rate", type=float, metavar="X", help="of Adam; default: 0.0002 for cnn-*, 0.001 for defn-*"
    )
    recipe.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="epochs without a better validation score; default: 20 for cnn-*, 40 for defn-*",
    )
    recipe.add_argument(
        "--select",
        choices=("tss", "loss"),
        help="validation score that chooses the epoch; default: tss for cnn-*, loss for defn-*",
    )
    recipe.add_argument(
        "--class-weight",
        type=float,
        metavar="W",
        help="weight of flares against 1 (default: the training span's class ratio)",
    )
    add_teaching(recipe)
    recipe.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="train once per seed and publish the one that validates best (default: 0)",
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output", type=Path, metavar="DIR", help="the run's folder: logs, checkpoints, summary (default: runs/MODEL)"
    )
    out.add_argument(
        "--publish",
        type=Path,
        default=Path("savedmodels"),
        metavar="DIR",
        help="models' directory (default: savedmodels)",
    )
    out.add_argument("--no-publish", action="store_true", help="train and evaluate only")
    out.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _fit(args: argparse.Namespace) -> None:
    _require_options(args)
    from kflare.flares.catalogue import read_flares

    flares = read_flares(args.flares)
    command_line.quiet_tensorflow()
    work = _fit_dense_cnn if args.model.startswith("cnn") else _fit_defn
    work(args, flares)


def _require_options(args: argparse.Namespace) -> None:
    from kflare.errors import SettingError

    if args.model.startswith("cnn"):
        if args.magnetograms is None:
            raise SettingError(f"{args.model} needs --magnetograms DIR")
        if args.daily is not None and not 0 <= args.daily < 24:
            raise SettingError(
                f"--daily must lie in [0, 24) hours, or one image would serve two days, got {args.daily:g}"
            )
        if args.image_size < 128:
            raise SettingError(f"--image-size must be at least 128 (seven poolings by two), got {args.image_size}")
    elif (args.sharp is None) == (args.regions is None):
        raise SettingError(f"{args.model} needs either --sharp DIR or --regions FILE")
    elif args.sharp is not None and args.harp_noaa is None:
        raise SettingError("--sharp needs --harp-noaa FILE, by which flares are assigned to regions")


def _fit_dense_cnn(args: argparse.Namespace, flares: "FlareList") -> None:
    from datetime import timedelta

    from kflare.attribution.compiled import CompiledAttribution
    from kflare.datasets.archive import daily_images, index_archive
    from kflare.flares.labels import disk_flux, reaches
    from kflare.models.baselines import persistence
    from kflare.models.dense_cnn import LAST_CONVOLUTION
    from kflare.models.fitting import dense_cnn_defaults, fit_dense_cnn
    from kflare.models.release import release_dense_cnn

    event = args.model[-1].upper()
    archive = index_archive(args.magnetograms, byte_range=args.byte_range)
    notes = []
    if args.daily is not None:
        daily = daily_images(archive, limit=timedelta(hours=args.daily))
        found = daily["path"].notna()
        substituted = int((daily["note"][found] != "").sum())
        notes = [
            f"{found.sum()} days with an image for 00:00 UT, {substituted} by an earlier one; {(~found).sum()} without"
        ]
        archive = daily[found].drop(columns="note").reset_index(drop=True)
    times = archive["forecast_time"]
    observed = reaches(disk_flux(times, flares), event)
    split = _split(args, times, observed, event)
    print(flares.report(), *notes, sep="\n", file=sys.stderr)
    baselines = {"persistence": persistence(times, flares, event)}
    defaults = dense_cnn_defaults(args.teach)

    def fit(recipe: "Recipe", run: "Run") -> "Fitted":
        return fit_dense_cnn(
            archive["path"].tolist(),
            observed,
            split,
            size=args.image_size,
            byte_range=args.byte_range,
            augmented=not args.no_augment,
            recipe=recipe,
            run=run,
            baselines=baselines,
            teach=args.teach,
            clusters=times.dt.tz_localize(None).dt.floor("D").to_numpy(),
            verbose=_verbose(),
        )

    def release(fitted: "Fitted", metadata: dict[str, Any]) -> Path:
        attribution = CompiledAttribution(fitted.model, layer=LAST_CONVOLUTION)
        return release_dense_cnn(fitted, args.publish, args.model, attribution=attribution, metadata=metadata)

    settings = {
        "image_size": args.image_size,
        "byte_range": args.byte_range,
        "augmented": not args.no_augment,
        "teach": args.teach,
    }
    samples = archive.assign(
        path=[Path(path).name for path in archive["path"]],
        content=[hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in archive["path"]],
    )
    _fit_seeds(args, samples, times, observed, split, defaults=defaults, settings=settings, fit=fit, release=release)


def _fit_defn(args: argparse.Namespace, flares: "FlareList") -> None:
    from kflare.datasets.region_features import features_of
    from kflare.datasets.region_samples import samples_of_region_table, samples_of_sharp
    from kflare.flares.labels import reaches
    from kflare.models.fitting import fit_defn
    from kflare.models.release import release_defn

    event = args.model[-1].upper()
    if args.regions is not None:
        samples = samples_of_region_table(args.regions, flares)
    else:
        samples = samples_of_sharp(args.sharp, flares, harp_noaa=args.harp_noaa)
    table = samples.table
    features = features_of(table, args.features, source=str(args.sharp or args.regions))
    observed = reaches(samples.flux, event)
    split = _split(args, table["time"], observed, event)
    print(flares.report(), *samples.notes, sep="\n", file=sys.stderr)
    defaults = {"epochs": 160, "batch_size": 150, "learning_rate": 1e-3, "patience": 40, "select": "loss"}

    def fit(recipe: "Recipe", run: "Run") -> "Fitted":
        clusters = table["region"].to_numpy(str)
        return fit_defn(table, features, observed, split, recipe=recipe, run=run, clusters=clusters, verbose=_verbose())

    def release(fitted: "Fitted", metadata: dict[str, Any]) -> Path:
        return release_defn(fitted, args.publish, args.model, example=table[split.train].head(8), metadata=metadata)

    settings = {"features": [feature.name for feature in features]}
    columns = table[["time", "region", *settings["features"]]]
    _fit_seeds(
        args, columns, table["time"], observed, split, defaults=defaults, settings=settings, fit=fit, release=release
    )


def _split(args: argparse.Namespace, times: "pd.Series", observed: "npt.NDArray[np.bool_]", event: str) -> "Split":
    from kflare.datasets.splits import chronological_split, utc_date
    from kflare.models.fitting import require_both_classes

    split = chronological_split(
        times,
        start=utc_date(args.train_from) if args.train_from else None,
        train_until=utc_date(args.train_until),
        validate_until=utc_date(args.validate_until),
        test_until=utc_date(args.test_until) if args.test_until else None,
    )
    require_both_classes(observed, split, event=f"a flare >= {event}1.0")
    return split


def _fit_seeds(
    args: argparse.Namespace,
    samples: "pd.DataFrame",
    times: "pd.Series",
    observed: "npt.NDArray[np.bool_]",
    split: "Split",
    *,
    defaults: dict[str, Any],
    settings: dict[str, Any],
    fit: "Callable[[Recipe, Run], Fitted]",
    release: "Callable[[Fitted, dict[str, Any]], Path]",
) -> None:
    """Train once per seed, publish the seed that validates best, write and print the summary."""
    from kflare.io.atomic import write_whole
    from kflare.models.learning_curve import plot_learning_curve
    from kflare.models.losses import class_weights
    from kflare.models.release import describe, fingerprint
    from kflare.models.summary import summary_text
    from kflare.models.training import Recipe, Run

    chosen = {
        name: default if getattr(args, name) is None else getattr(args, name) for name, default in defaults.items()
    }
    weights = class_weights(observed[split.train]) if args.class_weight is None else (1.0, args.class_weight)
    root = args.output or Path("runs") / args.model
    digest = fingerprint(samples, observed)
    steps = None if args.model.startswith("cnn") else 100
    fits: list[Fitted] = []
    for seed in args.seeds:
        recipe = Recipe(**chosen, class_weights=weights, seed=seed, steps_per_epoch=steps)
        spans = {
            name: [str(times[mask].min()), str(times[mask].max()), int(mask.sum())]
            for name, mask in split.parts().items()
        }
        run = Run(
            root / f"seed-{seed}", {"model": args.model, "data": digest, "spans": spans, **settings, **asdict(recipe)}
        )
        fitted = fit(recipe, run)
        title = f"{args.model}, seed {seed}"
        plot_learning_curve(
            run.epochs, run.folder / "learning_curve.png", title=title, chosen=run.state["best"]["epoch"]
        )
        named = samples[[name for name in ("forecast_time", "time", "region") if name in samples]]
        named.assign(**fitted.forecasts)[split.validation | split.test].to_csv(
            run.folder / "forecasts.csv", index=False
        )
        fits.append(fitted)
    best = max(fits, key=lambda fitted: fitted.validation_score)
    summary: dict[str, Any] = {
        "model": args.model,
        "class_weights": list(weights),
        "seeds": [
            {"seed": seed, "scores": [e.as_json() for e in f.evaluations]}
            for seed, f in zip(args.seeds, fits, strict=True)
        ],
        "published": None,
    }
    if not args.no_publish:
        summary["published"] = str(_publish_once(best, args, release, describe(
            best, event=args.model[-1].upper(), times=times, split=split,
            data={"flares": args.flares.name, **settings}, fingerprint=digest,
        )))  # fmt: skip
    text = summary_text(args.model, args.seeds, fits, published=summary["published"], run=root)
    write_whole(root / "summary.json", json.dumps(summary, indent=2))
    write_whole(root / "summary.txt", text + "\n")
    print(json.dumps(summary, indent=2) if args.json else text)


def _publish_once(
    best: "Fitted",
    args: argparse.Namespace,
    release: "Callable[[Fitted, dict[str, Any]], Path]",
    metadata: dict[str, Any],
) -> Path:
    """Publish a run's model, unless a run killed after publishing already did."""
    done = best.run.state.get("published")
    if done and Path(done).is_dir() and Path(done).parent.parent == args.publish:
        print(
            f"this run's model is published already as {done}: choose another --output to train anew", file=sys.stderr
        )
        return Path(done)
    path = release(best, metadata)
    best.run.state["published"] = str(path)
    best.run.save()
    return path


def _verbose() -> int:
    return 1 if sys.stderr.isatty() else 0
