"""Region models: from a table of active regions to a fitted network, and from that to a published SavedModel."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kflare.datasets.history import DISK_HISTORY
from kflare.datasets.pipelines import table_dataset
from kflare.datasets.region_features import features_of
from kflare.datasets.region_samples import samples_of_region_table, samples_of_sharp
from kflare.datasets.splits import Split
from kflare.errors import ModelError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches
from kflare.flares.srs import mcintosh_classes, read_srs
from kflare.io.arrays import AnyArray, BoolArray, Float32Array
from kflare.models.baselines import logistic_regression, recent_climatology, region_persistence
from kflare.models.event_statistics import region_event_statistics
from kflare.models.feature_scaling import fit_scaling
from kflare.models.fitting import FittedNetwork, TrainingTask, calibrate_and_evaluate
from kflare.models.publish import SignatureCase, publish_version
from kflare.models.registry import DISK, ModelSpec
from kflare.models.savedmodel import export_region_model
from kflare.models.training import Recipe, TrainingRun, seeded, train
from kflare.regions.feature_table import Feature


def region_task(
    spec: ModelSpec, flares: FlareList, *, sharp: Path | None, harp_noaa: Path | None, regions: Path | None,
    features: list[str] | None, srs: Path | None = None
) -> TrainingTask:  # fmt: skip
    """Label SHARP samples, with the NOAA numbers of HARPs, or a region table; the flare list must cover their windows.

    `features` are as `features_of` takes them; `srs` tells McIntosh's classes, and when SHARP samples got a number.
    """
    summaries = None if srs is None else read_srs(srs)
    if regions is not None:
        source = samples_of_region_table(regions, flares)
    elif sharp is not None and harp_noaa is not None:
        source = samples_of_sharp(sharp, flares, harp_noaa=harp_noaa, srs=summaries)
    else:
        raise SettingError(f"{spec.name} needs a region table, or SHARP samples with the NOAA numbers of their HARPs")
    if (stated := source.table.attrs.get("flare_scale") or flares.scale) != flares.scale:
        how = f"choose it with --flare-scale {'as-listed' if stated == 'operational' else stated}"
        raise SettingError(f"{regions} has flare histories of the scale {stated}: {how}")
    table, observed = source.table, reaches(source.flux, spec.event)
    used = features_of(table, features, source=str(sharp or regions))
    names = [feature.name for feature in used]
    clusters = table["region"].astype(str)
    disk = reaches(disk_flux(table["time"], flares), spec.event)
    statistics = cache(partial(region_event_statistics, table, source.region_flares, flares, spec.event))

    def fit(split: Split, recipe: Recipe, run: TrainingRun, *, intervals: bool = True) -> FittedNetwork:
        return fit_region_network(
            spec, table, used, observed, split, recipe=recipe, run=run, disk=disk,
            clusters=clusters.to_numpy(str) if intervals else None,
        )  # fmt: skip

    return TrainingTask(
        spec,
        table[[name for name in ("time", "region", "noaa", *names) if name in table]].assign(cluster=clusters),
        observed,
        {"features": names, "flare_scale": flares.scale} | ({} if summaries is None else {"mcintosh": True}),
        source.notes,
        fit,
        lambda split: fit_scaling(table[split.train], used).of_table(table),
        {
            "event statistics": lambda _: statistics(),  # the same in all folds
            "persistence": lambda _: region_persistence(table, source.region_flares, spec.event),
            "120-day climatology": lambda rate: recent_climatology(table["time"], observed, otherwise=rate),
        },
        table if summaries is None else table.assign(mcintosh=mcintosh_classes(table, summaries)),
        # There is no attribution of a region's features.
        lambda fitted, root, split, metadata, _: publish_region_model(
            fitted, root, spec.name, example=table[split.train].head(8), metadata=metadata
        ),
    )


def fit_region_network(
    spec: ModelSpec, table: pd.DataFrame, features: Sequence[Feature], observed: BoolArray, split: Split, *,
    recipe: Recipe, run: TrainingRun, clusters: AnyArray | None = None, disk: BoolArray | None = None
) -> FittedNetwork:  # fmt: skip
    """Fit the network of a region model to N rows of a region table, beside a logistic regression on the same columns.

    `observed` (N,): whether the region flares within 24 h, `disk` (N,) whether any does; intervals resample `clusters`.
    """
    scaling = fit_scaling(table[split.train], features)
    inputs = scaling.of_table(table)
    with seeded(recipe.seed):
        model = spec.build(len(features))
    training = table_dataset(
        inputs[split.train], observed[split.train], batch_size=recipe.batch_size, training=True, seed=recipe.seed,
        first=len(run.epochs) * (recipe.steps_per_epoch or 0),
    )  # fmt: skip
    validation = table_dataset(inputs[split.validation], observed[split.validation], batch_size=4096)
    train(model, training, validation, observed[split.validation], recipe=recipe, run=run)
    regression = logistic_regression(inputs[split.train], observed[split.train])

    def probability(mask: BoolArray) -> Float32Array:
        return model.predict(inputs[mask], batch_size=4096, verbose=0)[:, 1]

    return calibrate_and_evaluate(
        model, run, observed, split, probability, baselines={"logistic regression": regression(inputs)},
        clusters=clusters, scaling=scaling, disk=disk, regions=clusters, counts=disk_counts(table, scaling.names),
        times=None if clusters is None else table["time"],
    )  # fmt: skip


def disk_counts(table: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame | None:
    """Flares of the disk before each row, by which P_FD is calibrated; None where a model does not take them all."""
    return table[list(DISK_HISTORY)] if set(DISK_HISTORY) <= set(features) else None


def publish_region_model(
    fitted: FittedNetwork, root: Path, name: str, *, example: pd.DataFrame, metadata: Mapping[str, Any],
    documents: Mapping[str, bytes] | None = None
) -> Path:  # fmt: skip
    """Publish the next version of `name`; `example`: rows of its table, `documents`: files of `assets.extra`."""
    scaling = fitted.scaling
    if scaling is None:
        raise ModelError("a region model cannot be published without its feature scaling")
    names = list(scaling.names)
    rows = example[names].astype(np.float32).reset_index(drop=True)
    rows = pd.concat([rows, pd.DataFrame([dict.fromkeys(names, np.float32(np.nan))])], ignore_index=True)
    probabilities = fitted.model(scaling.of_table(rows), training=False).numpy()
    probabilities[-1] = np.nan  # of nothing there is no forecast
    expected = {"probability": probabilities[:, 1], "probabilities": probabilities}
    expected |= {name: one.numpy() for name, one in fitted.calibration.outputs(probabilities[:, 1]).items()}
    expected["imputed"] = rows.isna().sum(axis=1).to_numpy(np.int32)
    expected["usable"] = rows.notna().any(axis=1).to_numpy()
    inputs = {column: rows[column].to_numpy(np.float32) for column in names}

    disk = fitted.disk_calibration
    calibrations: dict[str, Any] = {"calibration": fitted.calibration, "disk_calibration": disk}
    export = partial(export_region_model, fitted.model, scaling=scaling, **calibrations)
    cases: list[SignatureCase] = [("serving_default", inputs, expected)]
    if disk is not None:
        asked = {"combined": np.array([0.01, 0.2, 0.9, 0.2], np.float32)}
        asked |= {name: np.array([0, 3, 50, np.nan], np.float32) for name in disk.weights or ()}
        cases.append((DISK, asked, disk.of(asked["combined"], asked)))
    contents = {**metadata, "features": scaling.as_json()}
    return publish_version(root, name, export=export, cases=cases, metadata=contents, documents=documents)
