"""Image models: from a folder of magnetograms to a fitted network, and from that to a published SavedModel."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kflare.datasets.archive import daily_images, index_archive
from kflare.datasets.pipelines import image_dataset
from kflare.datasets.preprocessing import FIELD_LIMIT, bytes_to_gauss, fill_and_scale, mask_space, reduce_field
from kflare.datasets.reduced_images import ReducedImages, reduce_images
from kflare.datasets.splits import Split
from kflare.errors import ModelError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches, require_covered
from kflare.io.arrays import AnyArray, BoolArray, Float32Array
from kflare.models.baselines import disk_recent_climatology, persistence
from kflare.models.cross_fitting import OutOfSample
from kflare.models.event_statistics import disk_event_statistics
from kflare.models.fitting import AttributionGraph, FittedNetwork, TrainingTask, calibrate_and_evaluate
from kflare.models.pretraining import GUISES, held_out, line_maps_of, pretrain_on_line_maps
from kflare.models.publish import SignatureCase, publish_version
from kflare.models.registry import ModelSpec
from kflare.models.savedmodel import export_image_model
from kflare.models.training import Recipe, TrainingRun, seeded, train
from kflare.observations.byte_scale import scale_note


def image_task(
    spec: ModelSpec, flares: FlareList, *, magnetograms: Sequence[Path], byte_range: float | None,
    daily: timedelta | None, size: int, augmented: bool, pretrain: bool, folder: Path,
    check: Callable[[pd.DataFrame, BoolArray], object] = lambda *_: None
) -> TrainingTask:  # fmt: skip
    """Label folders of magnetograms, as `index_archive` takes them, without those that the list cannot label.

    With `daily`, one sample a day: of 00:00 UT, or else the nearest image at most this much earlier. The run's `folder`
    keeps the images, reduced to `size` pixels. Before one is read `check` may refuse their `time` and labels, as (N,).
    The other options are those of `fit_image_network`.
    """
    archive = index_archive(magnetograms)
    notes = tuple(archive.attrs["notes"])
    if daily is not None:
        chosen = daily_images(archive, limit=daily)
        found = chosen["path"].notna()
        substituted = int((chosen["note"][found] != "").sum())
        told = f"{found.sum()} days with an image for 00:00 UT, {substituted} by an earlier one"
        notes += (f"{told}; {(~found).sum()} without",)
        archive = chosen[found].reset_index(drop=True)
    covered = require_covered(archive["forecast_time"], flares, some=True)  # not the newest of a study up to today
    if lost := int((~covered).sum()):
        notes += (f"{lost} of {len(covered)} images left out: {flares.source} does not cover their 24 h",)
    archive = archive[covered].reset_index(drop=True)
    times, paths = archive["forecast_time"], archive["path"].tolist()
    observed = reaches(disk_flux(times, flares), spec.event)
    persistent = persistence(times, flares, spec.event)
    check(times.to_frame("time"), observed)
    measure, guises = (line_maps_of, GUISES) if pretrain else (None, 0)
    images = reduce_images(paths, size=size, byte_range=byte_range, folder=folder, measure=measure, guises=guises)
    notes += (scale_note(images.scales),) * any(images.scales)
    used = {scale.gauss for scale in images.scales if scale is not None}
    byte_range = used.pop() if len(used) == 1 else byte_range
    days = times.dt.tz_localize(None).dt.floor("D")

    def fit(split: Split, recipe: Recipe, run: TrainingRun, *, intervals: bool = True) -> FittedNetwork:
        return fit_image_network(
            spec, images, observed, split, augmented=augmented, pretrain=pretrain, recipe=recipe, run=run,
            baselines={"persistence": persistent}, times=times,
            clusters=days.to_numpy() if intervals else None,
        )  # fmt: skip

    names = [Path(path).name for path in paths]
    return TrainingTask(
        spec,
        pd.DataFrame({"time": times, "cluster": days, "image": names, "content": images.digests,
                      "instrument": images.instruments}),
        observed,
        {"image_size": size, "byte_range": byte_range, "augmented": augmented, "pretrain": pretrain,
         "flare_scale": flares.scale},
        notes,
        fit,
        lambda split: standardised(images.proxies, split.train),
        {
            "event statistics": lambda _: disk_event_statistics(times, flares, spec.event),
            "persistence": lambda _: persistent,
            "120-day climatology": lambda rate: disk_recent_climatology(times, flares, spec.event, otherwise=rate),
        },
        images.proxies,
        lambda fitted, root, _, metadata, attribution: publish_image_model(
            fitted, root, spec.name, metadata=metadata,
            attribution=attribution(fitted.model, layer=last_convolution(fitted.model)),
        ),
    )  # fmt: skip


def fit_image_network(
    spec: ModelSpec, images: ReducedImages, observed: BoolArray, split: Split, *, augmented: bool, recipe: Recipe,
    run: TrainingRun, baselines: dict[str, Float32Array], clusters: AnyArray | None = None,
    pretrain: bool = False, trunk: Path | None = None, times: pd.Series | None = None,
    others: OutOfSample | None = None
) -> FittedNetwork:  # fmt: skip
    """Fit the network of an image model to N magnetograms, beside `baselines`: probabilities (N,) of other methods.

    `clusters` holds the day of each sample, resampled together for the intervals; `times` and `others` are those of
    `calibrate_and_evaluate`. With `pretrain` the layers are trained on line maps of the images, and only the last layer
    on the labels (see `pretrain_on_line_maps`, also for `trunk`); without, all on the labels, as in the paper.
    """

    def data(mask: BoolArray, **options: Any) -> Any:
        rows = np.flatnonzero(mask)
        return image_dataset(images.fields, rows, observed[rows], batch_size=recipe.batch_size, **options)

    with seeded(recipe.seed):
        model = spec.build(images.fields.shape[1:])
    validation = data(split.validation)
    if pretrain:
        pretrain_on_line_maps(
            model, images, np.flatnonzero(split.train), observed[split.train], validation=validation,
            validation_observed=observed[split.validation], augmented=augmented, recipe=recipe, run=run, trunk=trunk,
        )  # fmt: skip
    else:
        training = data(split.train, training=True, augmented=augmented, seed=recipe.seed, epoch=len(run.epochs))
        steps = math.ceil(int(split.train.sum()) / recipe.batch_size)
        train(model, training, validation, observed[split.validation], recipe=recipe, run=run, steps=steps)

    def probability(mask: BoolArray) -> Float32Array:
        return model.predict(data(mask), verbose=0)[:, 1]

    if pretrain and times is not None:
        trained = held_out(observed[split.train], probability(split.train), times[split.train])
        others = trained if others is None else OutOfSample.joined([trained, others])
    threshold = 0.5 if pretrain else None  # two numbers fitted with equal weights: nothing to choose
    return calibrate_and_evaluate(
        model, run, observed, split, probability, baselines=baselines, clusters=clusters, threshold=threshold,
        times=times, others=others,
    )  # fmt: skip


def standardised(proxies: pd.DataFrame, train: BoolArray) -> Float32Array:
    """Columns of N samples by the mean and standard deviation of the training samples, float32 (N, n)."""
    known = proxies[train]
    # What never varies in training says nothing: any deviation gives 0 for it there.
    return ((proxies - known.mean()) / known.std().replace(0.0, 1.0)).to_numpy(np.float32)


def last_convolution(model: keras.Model) -> str:
    """Name of the convolution that Grad-CAM looks at: the last one; without any `ModelError` is raised."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Conv2D):
            return str(layer.name)
    raise ModelError(f"the network {model.name} has no convolution, so there is no Grad-CAM of it")


def publish_image_model(
    fitted: FittedNetwork, root: Path, name: str, *, attribution: AttributionGraph, metadata: Mapping[str, Any],
    documents: Mapping[str, bytes] | None = None
) -> Path:  # fmt: skip
    """Publish a fitted network as the next version of `name`; `documents` are further files of `assets.extra`."""
    size = int(fitted.model.input_shape[1])
    magnetogram, png = _example_magnetogram(size)
    # The PNG holds whole bytes and no NaN, so what it decodes to differs a little from the field itself. Compiled as
    # the signatures are: a last bit can open or shut a ReLU, which a guided gradient shows.
    decode = tf.function(lambda image: mask_space(bytes_to_gauss(image)), autograph=False)
    reduce = tf.function(lambda field: fill_and_scale(reduce_field(field, size=size)), autograph=False)
    from_bytes = decode(tf.constant([png]))
    cases: list[SignatureCase] = []
    for signature, inputs, field in (
        ("serving_default", {"magnetogram": magnetogram}, magnetogram),
        ("predict_image", {"image": np.array([png])}, from_bytes),
        ("attribute", {"magnetogram": magnetogram}, magnetogram),
        ("attribute_image", {"image": np.array([png])}, from_bytes),
    ):
        images = reduce(tf.constant(field))
        scores = fitted.model(images, training=False).numpy()
        chances = {key: value.numpy() for key, value in fitted.calibration.outputs(scores[:, 1]).items()}
        expected = {"probability": scores[:, 1], "scores": scores, **chances}
        if signature.startswith("attribute"):
            maps = attribution.attribute(images)
            expected |= {name: value.numpy() for name, value in maps.items() if name != "logits"}
        cases.append((signature, inputs, expected))

    export = partial(
        export_image_model, fitted.model, calibration=fitted.calibration, attribute=attribution.attribute,
        guided=attribution.guided, byte_range=metadata.get("data", {}).get("byte_range"),
    )  # fmt: skip
    contents = {**metadata, "image_size": size}
    return publish_version(root, name, export=export, cases=cases, metadata=contents, documents=documents)


def _example_magnetogram(size: int) -> tuple[Float32Array, bytes]:
    """A disk with one bipole as float32 (1, size, size, 1) in gauss and as PNG bytes; uneven, as ties break anyhow."""
    from PIL import Image

    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * (128 / size)
    spots = [(-30, -20, 300), (-20, -22, -300)]
    field = sum(strength * np.exp(-((x - left) ** 2 + (y - top) ** 2) / 18) for left, top, strength in spots)
    field += 40 * np.sin(x / 3 + y / 7) * np.cos(y / 4 - x / 9)
    on_disk = np.hypot(x, y) < 56
    field = np.where(on_disk, 4 * np.rint(field / 4), np.nan).astype(np.float32)  # few values: small packages
    scaled = np.clip(np.nan_to_num(field) + FIELD_LIMIT, 0, 2 * FIELD_LIMIT) * (255 / (2 * FIELD_LIMIT))
    coarse = np.clip(16 * np.rint(scaled / 16), 0, 255)  # so that a question of 512 pixels fits into a frame of HTTP/2
    buffer = BytesIO()
    Image.fromarray(np.where(on_disk, coarse, 0).astype(np.uint8)).save(buffer, format="PNG", optimize=True)
    return field[None, :, :, None], buffer.getvalue()
