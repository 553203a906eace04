"""Score the image models on images of another source than they learnt from, beside baselines on the same images.

    python tools/score_unseen_images.py IMAGES FLARES [--training ../shared/data] [--models savedmodels] [--png FILE]

The models answer through their own graphs (±250 G a byte); persistence knows the flares of 24 h before; the event rate
is that of the training archive; and regressions on one number alone are fitted to the training archive's images and
asked about these. Prints a Markdown table with intervals (95 %, runs of five days resampled), and the reliability of
the calibrated probability with counts. Meant to be run once: whatever is chosen by what it prints was chosen by it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kflare.datasets.archive import index_archive
from kflare.datasets.reduced_images import reduce_images
from kflare.flares.labels import disk_flux, reaches, windows_told
from kflare.flares.repairing import read_flares
from kflare.io.arrays import BoolArray, Float32Array
from kflare.models.baselines import climatology, one_number_regressions, persistence
from kflare.models.pretraining import line_maps_of
from kflare.models.publish import versions
from kflare.models.savedmodel import load_signatures
from kflare.observations.reading import read_magnetogram
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import Interval, bootstrap
from kflare.verification.probabilistic import reliability

BYTE_RANGE, SIDE, BLOCK_DAYS, BINS = 250.0, 256, 5, 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("flares", type=Path)
    parser.add_argument("--training", type=Path, default=Path("../shared/data"), help="default: ../shared/data")
    parser.add_argument("--models", type=Path, default=Path("savedmodels"), help="default: savedmodels")
    parser.add_argument("--png", type=Path, help="write the reliability diagrams here, -C and -M added to the name")
    args = parser.parse_args()
    flares, known = read_flares(args.flares), read_flares(args.training / "goes" / "swpc_flares_2010-2025.csv")
    asked, learnt = index_archive(args.images), index_archive(args.training / "hmi_daily")
    times = asked["forecast_time"]
    asked = asked[windows_told(times, times + pd.Timedelta(hours=24), flares.told)].reset_index(drop=True)
    times = asked["forecast_time"]
    folder = Path("runs")
    new, old = (
        reduce_images(rows["path"].tolist(), size=SIDE, byte_range=BYTE_RANGE, folder=folder, measure=line_maps_of)
        for rows in (asked, learnt)
    )
    fields = [read_magnetogram(path, byte_range=BYTE_RANGE).data[None, :, :, None] for path in asked["path"]]
    for letter in "CM":
        observed = reaches(disk_flux(times, flares), letter)
        before = reaches(disk_flux(learnt["forecast_time"], known), letter)
        version = args.models / f"cnn-{letter.lower()}" / str(versions(args.models / f"cnn-{letter.lower()}")[-1])
        run = load_signatures(version)
        answers = [run("serving_default", {"magnetogram": field}) for field in fields]
        score, chance = (np.array([a[key][0] for a in answers]) for key in ("probability", "calibrated"))
        methods: dict[str, tuple[Float32Array, float]] = {
            f"{version.parent.name}/{version.name}, calibrated": (chance, climatology(before)),
            "persistence": (persistence(times, flares, letter), 0.5),
            "event rate of the training images": (np.full(len(times), climatology(before), np.float32), 0.5),
        }
        for name, p in one_number_regressions(old.proxies, before, new.proxies).items():
            methods[name] = (p, climatology(before))
        days = times.dt.tz_localize(None).dt.floor("D").to_numpy()
        print(table(letter, observed, methods, days, score))
        print(counts(observed, chance))
        if args.png:
            from kflare.verification.plots import plot_reliability

            path = args.png.with_name(f"{args.png.stem}-{letter}{args.png.suffix}")
            plot_reliability(observed, chance, title=version.parent.name).savefig(path, dpi=90)
    return 0


def table(
    letter: str, observed: BoolArray, methods: dict[str, tuple[Float32Array, float]], days: Any, score: Float32Array
) -> str:
    """Scores of each method; the network's ROC area is the same for its score and its calibrated probability."""
    head = f"| ≥{letter}: {len(observed)} images, {observed.sum()} with an event ({observed.mean():.0%}) | threshold "
    lines = [f"{head}| hits, false alarms, misses, nulls | TSS | ROC area | BSS |", "| --- " * 6 + "|"]
    for name, (p, least) in methods.items():
        found = bootstrap(observed, p, days, threshold=least, block_length=BLOCK_DAYS, resamples=2000)
        t = ContingencyTable.from_probabilities(observed, p, threshold=least)
        cells = [told(found[key]) for key in ("tss", "roc_area", "brier_skill_score")]
        lines.append(f"| {name} | {least:.2f} | {t.tp}, {t.fp}, {t.fn}, {t.tn} | {' | '.join(cells)} |")
    t = ContingencyTable.from_probabilities(observed, score, threshold=0.5)
    lines.append(f"| the same network's score at 0.5 | 0.50 | {t.tp}, {t.fp}, {t.fn}, {t.tn} | {t.tss:.2f} | | |")
    return "\n".join(lines) + "\n"


def counts(observed: BoolArray, chance: Float32Array) -> str:
    """Calibrated probability by fifths of its range: images, and the share with an event."""
    found = reliability(observed, chance, bins=BINS)
    lines = ["| calibrated, mean of | images | forecast | observed |", "| --- " * 4 + "|"]
    for number in range(BINS):
        count = found.count[number]
        if count:
            ends = f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}"
            rate = found.events[number] / count
            lines.append(f"| {ends} | {count} | {found.forecast[number]:.0%} | {rate:.0%} |")
    return "\n".join(lines) + "\n"


def told(interval: Interval) -> str:
    """Value and 95 % interval."""
    return f"{interval.value:.2f} ({interval.lower:.2f} to {interval.upper:.2f})"


if __name__ == "__main__":
    sys.exit(main())
