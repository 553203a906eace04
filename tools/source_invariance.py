"""How much the probability of the image models depends on the source of the image: one Sun through several routes.

    python tools/source_invariance.py [--data ../shared/data] [--models savedmodels] [NAME ...]

Each reference is asked as it is, and as eight archives would show it. Prints a Markdown table: by route the median and
the largest change of P against the reference itself.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from kflare.io.arrays import Float32Array
from kflare.models.publish import versions
from kflare.models.savedmodel import load_signatures
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.observations.reduction import area_mean

START = datetime(2014, 3, 1, tzinfo=UTC)
SUNS, SIZE, STEP_DAYS = 6, 4096, 9
DAILY = 40  # days between the images of the archive that are taken too


def references(data: Path) -> Iterator[tuple[str, Magnetogram]]:
    """The synthetic Sun at 4096 pixels, HMI's and MDI's full-size files, and images of the archive."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tools.synthetic.sun import SyntheticSun

    sun = SyntheticSun(START, SUNS * STEP_DAYS + 1, seed=11)
    for number in range(SUNS):
        time = START + timedelta(days=number * STEP_DAYS)
        yield f"synthetic {time:%Y-%m-%d}", sun.magnetogram(time, size=SIZE)
    for path in sorted([*(data / "hmi_fulldisk").glob("*.jp2"), *(data / "mdi").glob("*.fits")]):
        yield path.name, read_magnetogram(path)
    for path in sorted((data / "hmi_daily").glob("*.jpg"))[::DAILY]:
        yield path.name, read_magnetogram(path, byte_range=250.0)


def in_bytes(field: Float32Array, limit: float, *, quality: int | None = None) -> Float32Array:
    """The field as 8-bit images of ±limit gauss hold it; with a quality, as JPEG."""
    seen = np.isfinite(field)
    grey = np.clip(np.rint((np.where(seen, field, 0) / limit + 1) * 127.5), 0, 255).astype(np.uint8)
    if quality is not None:
        stream = BytesIO()
        Image.fromarray(np.where(seen, grey, np.uint8(0))).save(stream, "JPEG", quality=quality)
        grey = np.asarray(Image.open(stream))
    return np.where(seen, (grey / np.float32(127.5) - 1) * np.float32(limit), np.float32(np.nan))


def moved(image: Magnetogram, *, width: int, radius: float, shift: float = 0.0, roll: float = 0.0) -> Float32Array:
    """The field, bilinear, on other pixels: a disk of `radius` pixels, off the middle by `shift`, turned by `roll`."""
    image = image.resized(width) if width < image.data.shape[0] else image
    scale, angle = radius / image.disk.radius, np.deg2rad(roll)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    offset = np.array([image.disk.y, image.disk.x]) - matrix @ np.full(2, (width - 1) / 2 + shift)
    seen = np.isfinite(image.data)
    total, weight = (
        ndimage.affine_transform(part, matrix, offset, (width, width), order=1, prefilter=False)
        for part in (np.where(seen, image.data, np.float32(0)), seen.astype(np.float32))
    )
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight >= 0.5)


def smaller(image: Magnetogram, width: int) -> Float32Array:
    """Area mean to a width, if that is smaller."""
    return area_mean(image.data, width) if width < image.data.shape[0] else image.data


def twice_resampled(image: Magnetogram) -> Float32Array:
    """512 pixels made 460 and 512 again, as one of the archives was."""
    field = smaller(image, 512)
    for width in (460, 512):
        grey = Image.fromarray(np.nan_to_num(field)).resize((width, width), Image.Resampling.BILINEAR)
        mask = Image.fromarray(np.isfinite(field).astype(np.float32)).resize((width, width), Image.Resampling.BILINEAR)
        field = np.where(np.asarray(mask) >= 0.5, np.asarray(grey) / np.maximum(np.asarray(mask), 0.5), np.nan)
    return field.astype(np.float32)


ROUTES: dict[str, Callable[[Magnetogram], Float32Array]] = {
    "1024 pixels": lambda image: smaller(image, 1024),
    "512 pixels": lambda image: smaller(image, 512),
    "512 pixels, JPEG of ±250 G": lambda image: in_bytes(smaller(image, 512), 250, quality=90),
    "clipped at ±250 G, then a disk of 200 in 512 pixels, JPEG": lambda image: in_bytes(
        moved(image.__class__(**{**vars(image), "data": np.clip(image.data, -250, 250)}), width=512, radius=200),
        250, quality=90,
    ),
    "512 → 460 → 512 pixels": twice_resampled,
    "bytes of ±1000 G": lambda image: in_bytes(smaller(image, 512), 1000),
    "bytes of ±100 G (the papers')": lambda image: in_bytes(smaller(image, 512), 100),
    "noise of 10 G, rolled by 1°, off the middle by 3 pixels": lambda image: (
        moved(image, width=512, radius=225, shift=3, roll=1)
        + np.random.default_rng(0).normal(0, 10, (512, 512)).astype(np.float32)
    ),
}  # fmt: skip


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
        for route, made in {"itself": lambda image: image.data, **ROUTES}.items():
            field = made(image)[None, :, :, None]
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
