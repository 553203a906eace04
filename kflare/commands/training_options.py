"""What the options that `kflare.fit` and `kflare.crossvalidate` share stand for: model, samples and recipe."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands.command_line import quiet_tensorflow
from kflare.errors import SettingError
from kflare.models.registry import MODELS, ModelSpec, model_names, model_spec

if TYPE_CHECKING:
    import pandas as pd

    from kflare.io.arrays import BoolArray
    from kflare.models.fitting import TrainingTask
    from kflare.models.training import Recipe

    Check = Callable[[pd.DataFrame, BoolArray], object]

# TensorFlow takes oneDNN by itself only where the processor has AVX-512 VNNI or its like; without, each operation maps
# its memory anew, and a training step of the dense CNN takes twice as long.
if os.uname().machine == "x86_64":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_RECIPE = ("epochs", "batch_size", "learning_rate", "patience", "select")


def _defaults(name: str, specs: Sequence[ModelSpec]) -> str:
    """The default of a field of the recipe for each model."""
    names: dict[str, list[str]] = {}
    for spec in specs:
        steps = f" of {spec.recipe['steps_per_epoch']} iterations" if "steps_per_epoch" in spec.recipe else ""
        value = f"{spec.recipe[name]}{steps if name == 'epochs' else ''}"
        names.setdefault(value, []).append(spec.name)
    alone = len(specs) == 1
    return "default: " + "; ".join(value + f" for {', '.join(of)}" * (not alone) for value, of in names.items())


def training_words(model: str | None) -> dict[str, Any]:
    """What stands in braces in the help of the options, for all models or for one."""
    specs = [spec for spec in MODELS if model in {None, spec.name}]
    return {
        "models": model_names(),
        "networks": "; ".join(f"{spec.name}: {spec.documentation}, {spec.event_text}" for spec in specs),
        **{name: _defaults(name, specs) for name in _RECIPE},
    }


def _checked_spec(args: argparse.Namespace) -> ModelSpec:
    """The model of the options; data that do not fit it raise `SettingError`. What they lack is that of their study."""
    spec = model_spec(args.model)
    if args.study is not None:
        from kflare.datasets.study import study_files

        own_regions = args.sharp is not None or args.regions is not None
        for name, found in study_files(args.study, images=spec.kind == "image", regions=not own_regions).items():
            if getattr(args, name) is None:
                setattr(args, name, found)
    if args.flares is None:
        raise SettingError(f"{spec.name} needs --flares FILE, or --study FOLDER that kflare fetch study filled")
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
    if len(set(args.seeds)) < len(args.seeds):
        raise SettingError(f"--seeds must differ, got {args.seeds}")
    return spec


def training_task(args: argparse.Namespace, check: "Check", *, run: str = "") -> "tuple[TrainingTask, Path]":
    """The labelled samples of the options, and the run's folder, by default runs/`run`MODEL.

    `check` refuses their `time` and labels, as (N,), that cannot be used, before an image is read.
    """
    spec = _checked_spec(args)
    from kflare.flares.repairing import read_flares
    from kflare.verification.evaluation import ordered_periods

    ordered_periods(args.periods)
    flares = read_flares(args.flares, scale=args.flare_scale)
    quiet_tensorflow()
    folder = args.output or Path("runs") / f"{run}{spec.name}"
    if spec.kind == "image":
        from kflare.models.image_models import image_task

        task = image_task(
            spec, flares, magnetograms=args.magnetograms, byte_range=args.byte_range, size=args.image_size,
            daily=None if args.daily is None else timedelta(hours=args.daily), augmented=not args.no_augment,
            pretrain=args.pretrain, folder=folder, check=check,
        )  # fmt: skip
    else:
        from kflare.models.region_models import region_task

        named = ("sharp", "harp_noaa", "regions", "features", "srs")
        task = region_task(spec, flares, **{name: getattr(args, name) for name in named})
    return replace(task, notes=(flares.report(), *task.notes)), folder


def recipe_of(args: argparse.Namespace, spec: ModelSpec) -> "partial[Recipe]":
    """From the training labels and a seed to the recipe of the options; its first argument holds all but these two."""
    from kflare.models.training import Recipe

    defaults = spec.pretraining if args.pretrain else spec.recipe
    changes = {name: getattr(args, name) for name in _RECIPE if getattr(args, name) is not None}
    return partial(Recipe.for_labels, {**(defaults or {}), **changes}, class_weight=args.class_weight)


def scale_changes(args: argparse.Namespace) -> str:
    """What the scale of today changes: letters of the list's flares, and labels of the samples of the options."""
    from kflare.datasets.archive import index_archive
    from kflare.datasets.region_samples import samples_of_region_table, samples_of_sharp
    from kflare.flares.labels import disk_flux, reaches
    from kflare.flares.repairing import read_flares

    spec = _checked_spec(args)
    lists = [read_flares(args.flares, scale=scale) for scale in ("as listed", "irradiance")]
    before, after = (one.table["goes_class"].str[0] for one in (lists[0], lists[0].as_irradiance()))
    moved = (before + " as listed are " + after)[before != after].value_counts(sort=False)
    lines = [lists[1].report(), *(f"{count} flares of {letters} today" for letters, count in moved.items())]
    if spec.kind == "image":
        groups = index_archive(args.magnetograms)["forecast_time"]
        fluxes = [disk_flux(groups, flares) for flares in lists]
    else:
        of_sharp = partial(samples_of_sharp, args.sharp, harp_noaa=args.harp_noaa)
        samples = [of_sharp(one) if args.sharp else samples_of_region_table(args.regions, one) for one in lists]
        groups, fluxes = samples[0].table["region"], [one.flux for one in samples]
    for letter in ("C", "M", "X"):
        old, new = (reaches(flux, letter) for flux in fluxes)
        events = f"{old.sum()} of {len(old)} samples are events as listed, {new.sum()} today; {(old != new).sum()}"
        of = f" of {groups[old != new].nunique()} regions" * (spec.kind != "image")
        lines.append(f"≥{letter}1.0: {events}{of} have another label")
    return "\n".join(lines)
