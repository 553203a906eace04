"""Hold the detection's boxes against NOAA's regions, for a few settings: docs/detection.md shows the table."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kflare.errors import KflareError, SettingError
from kflare.flares.srs import read_srs
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.regions.detection import Detection, DetectionOptions, detect_regions
from kflare.regions.tracking import noaa_numbers
from kflare.sun.geometry import rotated

SUFFIXES = {".fits", ".fts", ".gz", ".jpg", ".jpeg", ".png", ".jp2"}
LARGE, NEAR = 50.0, 70.0  # µHem; degrees from the central meridian
DEFAULT = DetectionOptions()
SETTINGS = {
    "default": DEFAULT,
    "smoothing 2″": replace(DEFAULT, smoothing=2.0),
    "smoothing 5″": replace(DEFAULT, smoothing=5.0),
    "specks kept": replace(DEFAULT, speck_area=0.0),
    "specks to 20 µHem": replace(DEFAULT, speck_area=20.0),
    "joining 5″": replace(DEFAULT, joining=5.0),
    "joining 15″": replace(DEFAULT, joining=15.0),
    "joining 20″": replace(DEFAULT, joining=20.0),
    "margin 0″": replace(DEFAULT, margin=0.0),
    "margin 5″": replace(DEFAULT, margin=5.0),
    "minimum area 20 µHem": replace(DEFAULT, minimum_area=20.0),
    "minimum area 100 µHem": replace(DEFAULT, minimum_area=100.0),
    "minimum area 200 µHem": replace(DEFAULT, minimum_area=200.0),
    "limb rule corners": replace(DEFAULT, limb_rule="corners"),
    "radial": replace(DEFAULT, radial=True),
    "threshold 100 G": replace(DEFAULT, threshold=100.0),
    "smoothing 5″, joining 15″, specks kept": replace(DEFAULT, smoothing=5.0, joining=15.0, speck_area=0.0),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/compare_detection", description=__doc__)
    parser.add_argument("folder", type=Path, help="magnetograms")
    parser.add_argument("srs", type=Path, help="NOAA's Solar Region Summaries: a CSV of many days, or a daily text")
    parser.add_argument("--days", type=int, default=10, help="images, evenly spread; 0 = all (default: 10)")
    parser.add_argument(
        "--byte-range", type=float, nargs="+", metavar="G",
        help="field strength of byte 255 of images; of several, the default settings by each are shown",
    )  # fmt: skip
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each image with the default's boxes")
    try:
        compare(parser.parse_args())
    except KflareError as error:
        sys.exit(f"{parser.prog}: {error}")
    return 0


def compare(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    if args.days < 0:
        raise SettingError(f"`--days` must be at least 0 (all), got {args.days}")
    files = sorted(path for path in args.folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise SettingError(f"no magnetogram in `{args.folder}`: give a folder of FITS, JP2, JPEG or PNG files")
    if args.days:
        files = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, args.days).round().astype(int))]
    srs = read_srs(args.srs)
    ranges = args.byte_range or [None]
    # The name of each row, its settings, and the byte range of the images.
    shown = {name: (options, ranges[0]) for name, options in SETTINGS.items()}
    if len(ranges) > 1:
        shown = {f"{gauss:g} G": (DEFAULT, gauss) for gauss in ranges}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in shown}
    for path in tqdm(files, unit="image", disable=None):
        read = {gauss: read_magnetogram(path, byte_range=gauss) for gauss in ranges}
        for name, (options, gauss) in shown.items():
            magnetogram = read[gauss]
            detection = detect_regions(magnetogram, options=options)
            numbers = noaa_numbers(detection, srs)
            rows[name].append(counts(detection, numbers, reported(srs, detection)))
            if args.pictures and name == "default":
                args.pictures.mkdir(parents=True, exist_ok=True)
                target = args.pictures / f"{path.stem}.png"
                picture(magnetogram, detection, numbers, reported(srs, detection), target)
    print(f"{len(files)} images, {files[0].name} to {files[-1].name}; byte range {args.byte_range or 'of the file'}")
    print(markdown({name: summary(pd.DataFrame(seen)) for name, seen in rows.items()}))


def reported(srs: pd.DataFrame, detection: Detection) -> pd.DataFrame:
    """NOAA's regions at the time of the image: the latest report, turned to it."""
    past = srs["time"][srs["time"] <= detection.time]
    if past.empty or (age := detection.time - past.max()) > pd.Timedelta(hours=36):
        return srs.iloc[:0]
    report = srs[srs["time"] == past.max()]
    return report.assign(lon=rotated(report["lon"], report["lat"], seconds=age.total_seconds()))


def counts(detection: Detection, numbers: list[tuple[int, ...]], report: pd.DataFrame) -> dict[str, float]:
    wanted = set(report["noaa"][(report["area_uhem"] >= LARGE) & (report["lon"].abs() <= NEAR)])
    anywhere = {number for own in numbers for number in own}
    forecast = {n for own, region in zip(numbers, detection.regions, strict=True) if not region.limb for n in own}
    near = [(own, region) for own, region in zip(numbers, detection.regions, strict=True) if abs(region.lon) <= NEAR]
    listed = report[report["noaa"].isin(wanted)]
    return {
        "wanted": len(wanted),
        "found": len(wanted & anywhere),
        "forecast": len(wanted & forecast),
        "noaa": int((report["lon"].abs() <= NEAR).sum()),
        "noaa_found": len(set(report["noaa"][report["lon"].abs() <= NEAR]) & anywhere),
        "boxes": len(near),
        "nameless": sum(not own for own, _ in near),
        "shared": sum(len(own) > 1 for own, _ in near),
        "pieces": sum(pieces(place.lon, place.lat, detection) for place in listed.itertuples()),
        "widest": max((region.lon_max - region.lon_min for _, region in near if not region.limb), default=0.0),
        "limb": sum(region.limb for region in detection.regions),
    }


def pieces(lon: float, lat: float, detection: Detection) -> int:
    """Boxes that have their centre of flux within 5 degrees of a NOAA position, or that hold the position."""
    x, y, _ = detection.geometry.pixel(lon, lat)
    return sum(
        bool(
            np.hypot((region.lon - lon) * np.cos(np.radians(lat)), region.lat - lat) <= 5
            or (region.x0 - 0.5 <= x < region.x1 - 0.5 and region.y0 - 0.5 <= y < region.y1 - 0.5)
        )
        for region in detection.regions
    )


def summary(seen: pd.DataFrame) -> dict[str, str]:
    total = seen.sum()
    return {
        "found": f"{total['found']:.0f}/{total['wanted']:.0f} = {total['found'] / max(total['wanted'], 1):.3f}",
        "found and forecast": f"{total['forecast'] / max(total['wanted'], 1):.3f}",
        "of all NOAA regions": f"{total['noaa_found'] / max(total['noaa'], 1):.3f}",
        "boxes per NOAA region": f"{total['boxes'] / max(total['noaa'], 1):.2f}",
        "boxes near a large one": f"{total['pieces'] / max(total['wanted'], 1):.2f}",
        "boxes without number": f"{total['nameless'] / max(total['boxes'], 1):.2f}",
        "with several": f"{total['shared'] / max(total['boxes'], 1):.2f}",
        "widest box (°)": f"{seen['widest'].median():.0f}, {seen['widest'].max():.0f}",
        "limb boxes": f"{total['limb'] / len(seen):.1f}",
    }


def markdown(table: dict[str, dict[str, str]]) -> str:
    columns = list(next(iter(table.values())))
    lines = ["| setting | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(row[column] for column in columns) + " |" for name, row in table.items()]
    return "\n".join(lines)


def picture(
    magnetogram: Magnetogram, detection: Detection, numbers: list[tuple[int, ...]], report: pd.DataFrame, path: Path
) -> None:
    """The disk in grey, boxes red (dashed: limb) with number and NOAA numbers, NOAA's positions as crosses."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from PIL import Image

    factor = max(1, magnetogram.data.shape[0] // 1024)
    shown = np.clip(np.nan_to_num(magnetogram.data[::factor, ::factor], nan=-300), -200, 200)
    figure = Figure(figsize=(6.2, 6.2), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(shown, cmap="gray", vmin=-200, vmax=200)
    for region, own in zip(detection.regions, numbers, strict=True):
        x0, y0, x1, y1 = (value / factor - 0.5 for value in region.box)
        style = "--" if region.limb else "-"
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="red", linestyle=style, linewidth=1))
        axes.text(x0, y0 - 2, " ".join(map(str, (region.number, *own))), color="red", fontsize=7)
    x, y, visible = detection.geometry.pixel(report["lon"], report["lat"])
    large = report["area_uhem"].to_numpy() >= LARGE
    for chosen, colour in ((visible & large, "yellow"), (visible & ~large, "deepskyblue")):
        axes.plot(x[chosen] / factor, y[chosen] / factor, "+", color=colour, markersize=7)
    axes.text(0.01, 0.98, f"{detection.time:%Y-%m-%d %H:%M}Z", color="white", transform=axes.transAxes, va="top")
    disk = magnetogram.disk
    axes.set_xlim((disk.x - 1.06 * disk.radius) / factor, (disk.x + 1.06 * disk.radius) / factor)
    axes.set_ylim((disk.y + 1.06 * disk.radius) / factor, (disk.y - 1.06 * disk.radius) / factor)
    axes.axis("off")
    figure.savefig(path)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(48)  # a third of the bytes
    small.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
