"""The released image models, cnn-c and cnn-m: cross-validated in blocks, then fitted once more and published."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from model_card import OLDEST_TENSORFLOW, ModelCard, reliability_png
from released_scores import method_scores

from kflare.attribution.compiled import CompiledAttribution
from kflare.datasets.archive import index_archive
from kflare.datasets.reduced_images import reduce_images
from kflare.datasets.splits import Split, chronological_split, utc_date
from kflare.flares.labels import disk_flux, reaches
from kflare.flares.repairing import read_flares
from kflare.io.atomic import write_whole
from kflare.models.baselines import logistic_regression, persistence
from kflare.models.crossvalidation.folds import block_folds
from kflare.models.dense_cnn import LAST_CONVOLUTION
from kflare.models.fitting import FittedNetwork, fingerprint, model_metadata
from kflare.models.image_models import fit_image_network, publish_image_model, standardised
from kflare.models.losses import class_weights
from kflare.models.pretraining import GUISES, line_maps_of
from kflare.models.registry import model_spec
from kflare.models.training import Recipe, TrainingRun

SIZE, BYTE_RANGE, BLOCKS, BLOCK_DAYS = 256, 250.0, 5, 7
TRAIN_UNTIL, VALIDATE_UNTIL = "2014-03-18", "2014-08-05"
METHODS = ("network", "logistic regression", "persistence")

DATA = """\
654 daily full-disk magnetograms of SDO/HMI, about 00 UT, 2013-01-04 to 2014-12-31, 8-bit JPEG (public domain), read as
±250 G, which the images' noise suggests and no document says; flares from NOAA/SWPC's GOES list. All layers but the
last are trained without labels, on fluxes and polarity inversion lines measured on the training images themselves; the
last layer fits two numbers to the flares (docs/skill_cnn.md).
"""

LIMITS = """\
* A research model: no warning that lives or equipment depend on may rest on it alone.
* What it measures is field near polarity inversion lines, and a regression on that one number, measured directly, is at
  least as good: use that where only the probability matters. It is no evidence that a deep network sees more.
* The architecture is that of Yi et al. (2021); the training is not, and the input is 256 pixels wide, as are its maps.
* It learnt from two years around the maximum of cycle 24. Nearly every day of these had a flare >= C1.0, so nothing is
  known of the skill of cnn-c on a quiet Sun.
* Images must show the whole disk, north up, with a radius of 77 pixels or more. Magnetograms of MDI are about 1.4 times
  stronger and are not matched.
* It sees neither regions behind the limb nor what happened before the image was taken.
* `probability` is no frequency: 0.5 stands for the event rate of the training days. Use `calibrated` as a chance.
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
    persistent = persistence(times, flares, event)
    days = times.dt.tz_localize(None).dt.floor("D").to_numpy()

    def fit(split: Split, folder: str) -> FittedNetwork:
        weights = class_weights(observed[split.train])
        features = standardised(proxies, split.train)
        regression = logistic_regression(features[split.train], observed[split.train], class_weights=weights)
        recipe = Recipe(**spec.pretraining, class_weights=weights)
        return fit_image_network(
            spec, images, observed, split, augmented=True, recipe=recipe,
            run=TrainingRun(work / name / folder, {}), clusters=days, pretrain=True,
            trunk=work / "trunk" / f"{folder}.weights.h5",  # without labels, so that both models share it
            baselines={"logistic regression": regression(features), "persistence": persistent},
        )  # fmt: skip

    parts = []
    for fold in block_folds(times, BLOCKS):
        forecasts = fit(fold, fold.name.replace(" ", "-")).forecasts.assign(day=days, fold=fold.name)
        parts.append(forecasts[fold.test])
        print(f"{name}: {fold.name} done", file=sys.stderr, flush=True)
    tested = pd.concat(parts).rename(columns={"probability": "network", "calibrated": "network, calibrated"})
    scores = cross_validated(tested)
    write_whole(work / f"{name}-crossvalidation.json", json.dumps(scores, indent=2))
    tested.to_parquet(work / f"{name}-forecasts.parquet")

    split = chronological_split(times, train_until=utc_date(TRAIN_UNTIL), validate_until=utc_date(VALIDATE_UNTIL))
    fitted = fit(split, "released")
    metadata = model_metadata(
        fitted, event=event, times=times, split=split, fingerprint=fingerprint(proxies.assign(time=times), observed),
        data={"images": "hmi_daily, 654 days", "flares": "swpc_flares_2010-2025.csv", "byte_range": BYTE_RANGE},
    ) | {"cross_validation": scores, "oldest_tensorflow": OLDEST_TENSORFLOW}  # fmt: skip
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


def cross_validated(rows: pd.DataFrame) -> dict[str, Any]:
    """Each method's scores over the days of all blocks together, and the network's lead; blocks of days resampled."""
    about = (
        f"Five contiguous blocks of days, each forecast by a model trained on three others and calibrated on the "
        f"fourth; all {len(rows)} days counted together, {rows['observed'].mean():.1%} of them with the event; 95 % "
        f"intervals by resampling runs of {BLOCK_DAYS} days; all methods with the same days and the threshold 0.5."
    )
    days = rows["day"].to_numpy()
    scores = method_scores(
        rows, METHODS, days, scores=("tss", "roc_area", "bss"), block_length=BLOCK_DAYS, resamples=5000
    )
    return {"about": about, **scores}
