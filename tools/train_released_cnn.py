"""The released image models, cnn-c and cnn-m: cross-validated in blocks, then fitted once more and published."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from model_card import OLDEST_TENSORFLOW, ModelCard, reliability_png
from released_scores import method_scores

from kflare.attribution.compiled import CompiledAttribution
from kflare.datasets.archive import index_archive
from kflare.datasets.reduced_images import reduce_images
from kflare.datasets.splits import Split, chronological_split
from kflare.flares.labels import disk_flux, reaches
from kflare.flares.repairing import read_flares
from kflare.io.arrays import Float32Array
from kflare.io.atomic import write_whole
from kflare.models.baselines import logistic_regression, one_number_regressions, persistence
from kflare.models.crossvalidation.folds import block_folds
from kflare.models.dense_cnn import LAST_CONVOLUTION
from kflare.models.fitting import FittedNetwork, fingerprint, model_metadata
from kflare.models.image_models import fit_image_network, publish_image_model, standardised
from kflare.models.losses import class_weights
from kflare.models.pretraining import GUISES, line_maps_of
from kflare.models.registry import model_spec
from kflare.models.training import Recipe, TrainingRun
from kflare.sun.times import read_date

SIZE, BYTE_RANGE, BLOCKS, BLOCK_DAYS = 512, 250.0, 5, 7
MAPS = (
    "field at polarity inversion lines",
    "field near strong polarity inversion lines",
    "square root of the first",
)  # of `line_maps`, those of which a score is made
TRAIN_UNTIL, VALIDATE_UNTIL = "2014-03-18", "2014-08-05"
LINES = "line field as the network should read it alone"

DATA = """\
654 daily full-disk magnetograms of SDO/HMI, about 00 UT, 2013-01-04 to 2014-12-31, 8-bit JPEG (public domain), read as
±250 G, which the images' noise suggests and no document says; flares from NOAA/SWPC's GOES list, classes on today's
scale (GOES-16 and later; the M1.0 of today was M0.7 in the lists of those years). All layers but the last are trained
without labels, to read maps of field at polarity inversion lines from each image as five sources would show it; the
last layer fits two numbers to the flares (docs/skill_cnn.md).
"""

LIMITS = """\
* A research model: no warning that lives or equipment depend on may rest on it alone.
* What it reads is field at polarity inversion lines; a regression on that one number, measured directly, forecasts as
  well. It is no evidence that a deep network sees more.
* `cnn-c` and `cnn-m` share all layers but the last: they read the same maps of the same image, and differ in which map
  is summed and in two numbers. Their forecasts rank days nearly alike (see "What it reads").
* The architecture is that of Yi et al. (2021); the training is not, and classes and scale are those of today.
* It learnt from two years around the maximum of cycle 24. Nearly every day of these had a flare >= C1.0, so little is
  known of the skill of cnn-c on a quiet Sun.
* The disk is found, and brought to one size and resolution, in the graph: an image must show the whole Sun, north up,
  with a radius of at least 153 pixels. Regions beyond 80 degrees from disk centre are not seen. Magnetograms of MDI are
  about 1.4 times stronger and are not matched.
* It sees neither regions behind the limb nor what happened before the image was taken.
* `probability` is no frequency: 0.5 stands for the event rate of the training days. Use `calibrated` as a chance; its
  interval is that of the calibration alone.
"""


def cnn(letter: str, *, data: Path, out: Path, work: Path) -> Path:
    """Cross-validate, fit and publish `cnn-c` or `cnn-m`; returns the version's directory."""
    spec = model_spec(f"cnn-{letter}")
    name, event = spec.name, spec.event
    flares = read_flares(data / "goes" / "swpc_flares_2010-2025.csv")
    archive = index_archive(data / "hmi_daily")
    paths, times = archive["path"].tolist(), archive["forecast_time"]
    observed = reaches(disk_flux(times, flares), event)
    images = reduce_images(
        paths, size=SIZE, byte_range=BYTE_RANGE, folder=work / name, measure=line_maps_of, guises=GUISES
    )
    proxies = images.proxies
    read = pd.DataFrame({"reading": images.measured[..., 0].mean(axis=(1, 2))})
    persistent = persistence(times, flares, event)
    days = times.dt.tz_localize(None).dt.floor("D").to_numpy()

    def fit(split: Split, folder: str) -> FittedNetwork:
        weights = class_weights(observed[split.train])
        features = standardised(proxies, split.train)
        regression = logistic_regression(features[split.train], observed[split.train], class_weights=weights)
        reading = standardised(read, split.train)
        alone = logistic_regression(reading[split.train], observed[split.train], class_weights=weights)
        numbers = one_number_regressions(proxies[split.train], observed[split.train], proxies, class_weights=weights)
        recipe = Recipe(**spec.pretraining, class_weights=weights)
        return fit_image_network(
            spec, images, observed, split, augmented=True, recipe=recipe,
            run=TrainingRun(work / name / folder, {}), clusters=days, pretrain=True, times=times,
            trunk=work / "trunk" / f"{folder}.weights.npz",  # without labels, so that both models share it
            baselines={
                "logistic regression": regression(features), LINES: alone(reading), **numbers,
                "persistence": persistent,
            },
        )  # fmt: skip

    parts, readings = [], []
    for fold in block_folds(times, BLOCKS):
        forecasts = fit(fold, fold.name.replace(" ", "-")).forecasts.assign(time=times, day=days, fold=fold.name)
        parts.append(forecasts[fold.test])
        readings.append(reading_of(forecasts[fold.test]["probability"], images.measured[fold.test]))
        print(f"{name}: {fold.name} done", file=sys.stderr, flush=True)
    tested = pd.concat(parts).rename(columns={"probability": "network", "calibrated": "network, calibrated"})
    scores = cross_validated(tested) | {"correlation_of_reading_and_measure": [value for _, value in readings]}
    write_whole(work / f"{name}-crossvalidation.json", json.dumps(scores, indent=2))
    tested.to_parquet(work / f"{name}-forecasts.parquet")

    split = chronological_split(times, train_until=read_date(TRAIN_UNTIL), validate_until=read_date(VALIDATE_UNTIL))
    fitted = fit(split, "released")
    what, correlation = reading_of(fitted.forecasts["probability"][split.test], images.measured[split.test])
    reads = {"map": what, "correlation_on_test_span": correlation}
    sibling = work / f"cnn-{'m' if letter == 'c' else 'c'}-forecasts.parquet"
    if sibling.exists():  # the two share all layers but the last
        other = pd.read_parquet(sibling)["network"]
        reads["rank_correlation_of_cnn-c_and_cnn-m"] = round(float(tested["network"].corr(other, method="spearman")), 3)
    metadata = model_metadata(
        fitted, event=event, times=times, split=split, fingerprint=fingerprint(proxies.assign(time=times), observed),
        data={"images": "hmi_daily, 654 days", "flares": "swpc_flares_2010-2025.csv", "byte_range": BYTE_RANGE,
              "flare_scale": flares.scale},
    ) | {"cross_validation": scores, "oldest_tensorflow": OLDEST_TENSORFLOW, "reads": reads}  # fmt: skip
    card = ModelCard(
        name=name,
        use=f"The probability of a flare >= {event}1.0 on the full disk in the next 24 h, from one line-of-sight "
        "magnetogram, with maps of where the network saw it.",
        data=DATA, limits=LIMITS, calibration="calibration.png",
    )  # fmt: skip
    pooled = reliability_png(
        tested["observed"].to_numpy(), tested["network, calibrated"].to_numpy(), title=f"{name}, five blocks"
    )
    return publish_image_model(
        fitted, out, name, attribution=CompiledAttribution(fitted.model, layer=LAST_CONVOLUTION), metadata=metadata,
        documents={"MODEL_CARD.md": card.text(metadata).encode(), "calibration.png": pooled},
    )  # fmt: skip


def reading_of(probability: pd.Series, measured: Float32Array) -> tuple[str, float]:
    """Which map a network sums, and the correlation of its logit with the mean of that map, of unseen images.

    The logit is an affine function of what the network reads.
    """
    logit = np.log(probability / (1 - probability))
    found = [float(np.corrcoef(logit, measured[..., number].mean(axis=(1, 2)))[0, 1]) for number in range(len(MAPS))]
    best = int(np.argmax(found))
    return MAPS[best], round(found[best], 4)


def cross_validated(rows: pd.DataFrame) -> dict[str, Any]:
    """Each method's scores over the days of all blocks together, and the network's lead; blocks of days resampled."""
    about = (
        f"Five contiguous blocks of days, each forecast by a model trained on three others and calibrated on the "
        f"fourth; all {len(rows)} days counted together, {rows['observed'].mean():.1%} of them with the event; 95 % "
        f"intervals by resampling runs of {BLOCK_DAYS} days; all methods with the same days and the threshold 0.5."
    )
    days = rows["day"].to_numpy()
    methods = [name.removesuffix(", calibrated") for name in rows if name.endswith(", calibrated")]
    scores = method_scores(
        rows, methods, days, scores=("tss", "roc_area", "bss"), block_length=BLOCK_DAYS, resamples=5000
    )
    return {"about": about, **scores}
