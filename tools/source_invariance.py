"""How much the probability of the image models depends on the source of the image: one Sun through several routes.

    python tools/source_invariance.py [--data ../shared/data] [--models savedmodels] [NAME ...]

Each reference is asked as it is, and as the archives of `ROUTES` would show it. Prints a Markdown table: by route the
median and the largest change of P against the reference itself.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from kflare.models.publish import versions
from kflare.models.savedmodel import load_signatures
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.readers.images import magnetogram_from_image
from kflare.observations.readers.reader import Options
from kflare.observations.reading import read_magnetogram
from kflare.observations.reduction import resampled
from kflare.sun.disk import Disk
from kflare.synthetic.sun import SyntheticSun

START = datetime(2014, 3, 1, tzinfo=UTC)
SUNS, SIZE, STEP_DAYS = 6, 4096, 9
DAILY = 40  # days between the images of the archive that are taken too


def references(data: Path) -> Iterator[tuple[str, Magnetogram]]:
    """The synthetic Sun at 4096 pixels, HMI's and MDI's full-size files, and images of the archive."""
    sun = SyntheticSun(START, SUNS * STEP_DAYS + 1, seed=11)
    for number in range(SUNS):
        time = START + timedelta(days=number * STEP_DAYS)
        yield f"synthetic {time:%Y-%m-%d}", sun.magnetogram(time, size=SIZE)
    for path in sorted([*(data / "hmi_fulldisk").glob("*.jp2"), *(data / "mdi").glob("*.fits")]):
        yield path.name, read_magnetogram(path)
    for path in sorted((data / "hmi_daily").glob("*.jpg"))[::DAILY]:
        yield path.name, read_magnetogram(path, byte_range=250.0)


def as_file(pixels: npt.NDArray[np.uint8], limit: float, *, quality: int | None = None) -> Magnetogram:
    """What the reader makes of a PNG file, or with a quality of a JPEG file, in which it finds the disk."""
    stream = BytesIO()
    if quality is None:
        Image.fromarray(pixels).save(stream, "PNG")
    else:
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return magnetogram_from_image(stream.getvalue(), Options("sun_20140103_000000.jpg", byte_range=limit))


def moved(image: Magnetogram, disk: Disk, *, roll: float = 0.0) -> Magnetogram:
    """The Sun on another disk in 512 pixels, turned by `roll` degrees."""
    image = image.resized(512)
    scale = disk.radius / image.disk.radius
    data = resampled(image.data, (image.disk.x, image.disk.y), angle=roll, scale=scale, onto=(disk.x, disk.y))
    return replace(image, data=data, disk=disk)


def jpeg(image: Magnetogram, x: float, y: float, radius: float) -> Magnetogram:
    """A JPEG file of ±250 G of that disk, cut at full size."""
    cut = replace(image, data=np.clip(image.data, -250, 250))
    return as_file(moved(cut, Disk(x, y, radius)).to_bytes(250), 250, quality=90)


def twice_resampled(image: Magnetogram) -> Magnetogram:
    """512 pixels made 460 and 512 again, as one of the archives was: its bytes, with the black beside the Sun."""
    pixels = Image.fromarray(image.resized(512).to_bytes(250))
    for width in (460, 512):
        pixels = pixels.resize((width, width), Image.Resampling.BILINEAR)
    return as_file(np.asarray(pixels), 250)


def noisy(image: Magnetogram) -> Magnetogram:
    """Noise of 10 G on a Sun that is rolled by 1° and off the middle by 3 pixels."""
    image = moved(image, Disk(258.5, 258.5, 225), roll=1)
    noise = np.random.default_rng(0).normal(0, 10, (512, 512)).astype(np.float32)
    return replace(image, data=image.data + noise)


ROUTES: dict[str, Callable[[Magnetogram], Magnetogram]] = {
    "1024 pixels": lambda image: image.resized(min(1024, image.data.shape[0])),
    "512 pixels": lambda image: image.resized(512),
    "512 pixels, JPEG of ±250 G": lambda image: as_file(image.resized(512).to_bytes(250), 250, quality=90),
    "all pixels, bytes of ±250 G": lambda image: as_file(image.to_bytes(250), 250),
    "JPEG of ±250 G, a disk of radius 200": lambda image: jpeg(image, 255.5, 255.5, 200),
    "JPEG of ±250 G, a disk of radius 225": lambda image: jpeg(image, 255.5, 255.5, 225),
    "JPEG of ±250 G, a disk off the middle": lambda image: jpeg(image, 259, 250.1, 213.7),
    "512 → 460 → 512 pixels, bytes of ±250 G": twice_resampled,
    "bytes of ±1000 G": lambda image: as_file(image.resized(512).to_bytes(1000), 1000),
    "bytes of ±100 G (the papers')": lambda image: as_file(image.resized(512).to_bytes(100), 100),
    "rolled by 0.5°": lambda image: moved(image, image.disk.resized(image.data.shape[0], 512), roll=0.5),
    "noise of 10 G, rolled by 1°, off the middle by 3 pixels": noisy,
}
"""By name what another archive shows of a magnetogram of at least 512 pixels."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: ../shared/data")
    parser.add_argument("--models", type=Path, default=Path("savedmodels"), help="default: savedmodels")
    parser.add_argument("names", nargs="*", default=["cnn-c", "cnn-m"], metavar="NAME", help="default: cnn-c cnn-m")
    args = parser.parse_args()
    asked: dict[str, Any] = {}
    for name in args.names:
        version = args.models / name / str(versions(args.models / name)[-1])
        asked[f"{name}/{version.name}"] = load_signatures(version)
    rows = []
    for number, (source, image) in enumerate(references(args.data)):
        print(f"{number + 1}: {source}", file=sys.stderr, flush=True)
        for route, made in {"itself": lambda image: image, **ROUTES}.items():
            field = made(image).data[None, :, :, None]
            for model, run in asked.items():
                p = float(run("serving_default", {"magnetogram": field})["probability"][0])
                rows.append({"source": source, "route": route, "model": model, "p": p})
    print(told(pd.DataFrame(rows)))
    return 0


def told(rows: pd.DataFrame) -> str:
    """The table of all routes, and of all together."""
    wide = rows.pivot_table(index=["model", "source"], columns="route", values="p", dropna=False)
    change = wide[list(ROUTES)].sub(wide["itself"], axis=0).abs()
    models = list(dict.fromkeys(rows["model"]))
    head = " | ".join(f"{model}: median, largest" for model in models)
    lines = [f"| route ({rows['source'].nunique()} references) | {head} |", "| --- |" + " --- |" * len(models)]
    for route in [*ROUTES, "all"]:
        parts = [change.loc[model] if route == "all" else change.loc[model][[route]] for model in models]
        cells = [f"{np.nanmedian(part):.3f}, {np.nanmax(part):.3f}" for part in parts]
        lost = [int(part.isna().to_numpy().sum()) for part in parts]
        cells = [cell + (f", {n} without a number" if n else "") for cell, n in zip(cells, lost, strict=True)]
        lines.append(f"| {route} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
