"""Options that `kflare.fit` and `kflare.crossvalidate` share, and the samples and recipe that they stand for."""

import argparse
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kflare.commands.command_line import add_byte_range
from kflare.errors import SettingError
from kflare.models.registry import MODELS, ModelSpec, model_names, model_spec

if TYPE_CHECKING:
    from kflare.flares.catalogue import FlareList
    from kflare.models.fitting import TrainingTask
    from kflare.models.training import Recipe

__all__ = ["add_model_and_data", "add_recipe", "checked_spec", "recipe_of", "training_task"]

_RECIPE = ("epochs", "batch_size", "learning_rate", "patience", "select")


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """Add the model's name and the options of its data."""
    known = "; ".join(f"{spec.name}: {spec.documentation}, {spec.event_text}" for spec in MODELS)
    add = parser.add_argument
    add("model", choices=model_names(), help=f"network and class of the flares ({known})")
    data = parser.add_argument_group("data")
    add = data.add_argument
    add("--magnetograms", type=Path, metavar="DIR", help="image models: folder of full-disk magnetograms")
    add_byte_range(data)
    told = "image models: one sample a day, of 00:00 UT or else the nearest image at most HOURS earlier, as the paper"
    add("--daily", type=float, metavar="HOURS", help=told)
    add("--sharp", type=Path, metavar="DIR", help="region models: folder of SHARP sample tables (sharp_0.csv …)")
    add("--harp-noaa", type=Path, metavar="FILE", help="with --sharp: Parquet table harpnum, noaa_ar")
    told = (
        "with --sharp: NOAA's region summaries, which tell when a region got its number (default: at its first sample)"
    )
    add("--srs", type=Path, metavar="FILE", help=told)
    add("--regions", type=Path, metavar="FILE", help="region models: region table, Parquet or CSV, instead of --sharp")
    told = "region models: columns, or a set, sharp or defn79 (default: defn79 if the table has it, else all it has)"
    add("--features", nargs="+", metavar="NAME", help=told)
    add("--flares", type=Path, required=True, metavar="FILE", help="GOES flare list: CSV, JSON, SWPC, NGDC, NCEI")


def add_recipe(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add how the network is trained; returns the group, for more options."""
    recipe = parser.add_argument_group("training")
    add = recipe.add_argument
    add("--image-size", type=int, default=512, metavar="PIXELS", help="image models: side of the input (default: 512)")
    add("--epochs", type=int, metavar="N", help=f"at most so many; {_defaults('epochs')}")
    add("--batch-size", type=int, metavar="N", help=f"samples per batch; {_defaults('batch_size')}")
    add("--learning-rate", type=float, metavar="X", help=f"of Adam; {_defaults('learning_rate')}")
    add("--patience", type=int, metavar="N", help=f"epochs without a better validation score; {_defaults('patience')}")
    add("--select", choices=("tss", "loss"), help=f"validation score that chooses the epoch; {_defaults('select')}")
    told = "weight of flares against 1 (default: the training span's class ratio)"
    add("--class-weight", type=float, metavar="W", help=told)
    add("--no-augment", action="store_true", help="image models: no mirroring and polarity reversal")
    told = "image models: train the layers on flux and polarity inversion lines of the images, the last on the flares"
    add("--pretrain", action="store_true", help=told)
    return recipe


def _defaults(name: str) -> str:
    """The default of a field of the recipe for each model."""
    names: dict[str, list[str]] = {}
    for spec in MODELS:
        steps = f" of {spec.recipe['steps_per_epoch']} iterations" if "steps_per_epoch" in spec.recipe else ""
        value = f"{spec.recipe[name]}{steps if name == 'epochs' else ''}"
        names.setdefault(value, []).append(spec.name)
    return "default: " + "; ".join(f"{value} for {', '.join(models)}" for value, models in names.items())


def checked_spec(args: argparse.Namespace) -> ModelSpec:
    """The model of the options; data that do not fit it raise `SettingError`."""
    spec = model_spec(args.model)
    if spec.kind == "image":
        if args.magnetograms is None:
            raise SettingError(f"{spec.name} needs --magnetograms DIR")
        if args.daily is not None and not 0 <= args.daily < 24:
            why = "or one image would serve two days"
            raise SettingError(f"--daily must lie in [0, 24) hours, {why}, got {args.daily:g}")
        if args.image_size < spec.smallest_size:
            least = f"{spec.smallest_size} for {spec.name}"
            raise SettingError(f"--image-size must be at least {least}, got {args.image_size}")
    elif (args.sharp is None) == (args.regions is None):
        raise SettingError(f"{spec.name} needs either --sharp DIR or --regions FILE")
    elif args.sharp is not None and args.harp_noaa is None:
        raise SettingError("--sharp needs --harp-noaa FILE, by which flares are assigned to regions")
    if args.pretrain and spec.pretraining is None:
        raise SettingError(f"{spec.name} has no pretraining: leave --pretrain out")
    if len(set(args.seeds)) < len(args.seeds):
        raise SettingError(f"--seeds must differ, got {args.seeds}")
    return spec


def training_task(args: argparse.Namespace, spec: ModelSpec, flares: "FlareList", folder: Path) -> "TrainingTask":
    """The labelled samples of the options; `folder` is the run's."""
    if spec.kind == "image":
        from kflare.models.image_models import image_task

        return image_task(
            spec, flares, magnetograms=args.magnetograms, byte_range=args.byte_range, size=args.image_size,
            daily=None if args.daily is None else timedelta(hours=args.daily), augmented=not args.no_augment,
            pretrain=args.pretrain, folder=folder,
        )  # fmt: skip
    from kflare.models.region_models import region_task

    return region_task(
        spec, flares, sharp=args.sharp, harp_noaa=args.harp_noaa, regions=args.regions, features=args.features,
        srs=args.srs,
    )  # fmt: skip


def recipe_of(args: argparse.Namespace, spec: ModelSpec) -> "partial[Recipe]":
    """From the training labels and a seed to the recipe of the options; its first argument holds all but these two."""
    from kflare.models.training import Recipe

    defaults = spec.pretraining if args.pretrain else spec.recipe
    changes = {name: getattr(args, name) for name in _RECIPE if getattr(args, name) is not None}
    return partial(Recipe.for_labels, {**(defaults or {}), **changes}, class_weight=args.class_weight)
