"""Train, publish, serve, predict: the work of tools/quickstart once the environment stands."""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="tools/quickstart", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "quickstart", help="default: quickstart/")
    parser.add_argument("--days", type=int, default=540, metavar="N", help="of the synthetic Sun (default: 540)")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    real = os.environ.get("KFLARE_DATA")
    data = real_data(Path(real)) if real else synthetic_data(folder / "sun", args.days)
    models = folder / "models"
    common = ["--publish", str(models), *data["spans"]]
    kflare("fit", "cnn-c", *data["cnn"], "--image-size", "128", "--epochs", "12", "--patience", "6",
           "--output", str(folder / "runs" / "cnn-c"), *common)  # fmt: skip
    kflare("fit", "defn-c", *data["defn"], "--epochs", "40", "--patience", "15",
           "--output", str(folder / "runs" / "defn-c"), *data["defn_spans"], "--publish", str(models))  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "kflare.serve", "--models", str(models), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = wait_for_address(server)
        disk = kflare("predict", str(data["image"]), *data["byte_range"], "--server", address, "--json", capture=True)
        table = latest_regions(data["regions"], folder / "regions.parquet")
        regions = kflare("predict", "--regions", str(table), "--flares", str(data["flares"]), "--server", address,
                         "--json", capture=True)  # fmt: skip
        text = kflare(
            "predict", "--regions", str(table), "--flares", str(data["flares"]), "--server", address, capture=True
        )
    finally:
        server.terminate()
        server.wait(30)
    (folder / "forecast_disk.json").write_text(disk)
    (folder / "forecast_regions.json").write_text(regions)
    draw(data, json.loads(disk), json.loads(regions), folder / "forecast.png")
    print(text)
    print(f"{folder}: forecast.png, forecast_disk.json, forecast_regions.json, models/, runs/")
    print(f"done in {time.monotonic() - started:.0f} s")
    return 0


def synthetic_data(folder: Path, days: int) -> dict:
    """Write the synthetic Sun: a Sun to try things on, no measure of skill. The last quarter is the test span."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from kflare.synthetic.sun import SyntheticSun

    print("writing the synthetic Sun ...", file=sys.stderr)
    start = datetime(2013, 1, 1, tzinfo=UTC)
    sun = SyntheticSun(start, days, seed=2)
    sun.write(folder, size=256)
    images = sorted((folder / "magnetograms").iterdir())
    flares, regions = folder / "flares.csv", folder / "regions.parquet"
    until = [f"{start + timedelta(days=round(days * share)):%Y-%m-%d}" for share in (0.532, 0.7334)]
    spans = ["--train-until", until[0], "--validate-until", until[1]]
    return {
        "cnn": ["--magnetograms", str(folder / "magnetograms"), "--flares", str(flares)],
        "defn": ["--regions", str(regions), "--flares", str(flares)],
        "spans": spans,
        "defn_spans": spans,
        "byte_range": [],
        "flares": flares,
        "regions": regions,
        "image": images[-1],
    }


def real_data(folder: Path) -> dict:
    """Use a folder with hmi_daily/, goes/, sharp/ and regions/, as the README describes it."""
    import pandas as pd

    from kflare.flares.repairing import read_flares
    from kflare.sharp.samples import read_sharp_samples

    goes, pairs = folder / "goes" / "swpc_flares_2010-2025.csv", folder / "regions" / "harp_noaa.parquet"
    samples = read_sharp_samples(folder / "sharp", flares=read_flares(goes), harp_noaa=pairs)
    table = samples.table.drop(columns=["flux24", "restored"])
    image = min((folder / "hmi_daily").glob("hmi.M_20131023_*.jpg"))
    regions = ROOT / "quickstart" / "sharp_2013-10-23.parquet"
    regions.parent.mkdir(exist_ok=True)
    day = pd.Timestamp("2013-10-23T00:00Z")
    table[(table["time"] > day - pd.Timedelta(hours=26)) & (table["time"] <= day)].to_parquet(regions)
    return {
        "cnn": ["--magnetograms", str(folder / "hmi_daily"), "--byte-range", "250", "--flares", str(goes)],
        "defn": ["--sharp", str(folder / "sharp"), "--flares", str(goes), "--harp-noaa", str(pairs)],
        "spans": ["--train-until", "2014-03-18", "--validate-until", "2014-08-04"],
        "defn_spans": ["--train-until", "2014-01-01", "--validate-until", "2015-01-01", "--test-until", "2016-01-01"],
        "byte_range": ["--byte-range", "250"],
        "flares": goes,
        "regions": regions,
        "image": image,
    }


def latest_regions(path: Path, out: Path) -> Path:
    """The last day of a region table: enough for the 24 h changes of its last time."""
    import pandas as pd

    from kflare.datasets.region_table import read_region_table

    table = read_region_table(path)
    day = pd.Timedelta(hours=24)
    last = table["time"].max()
    table[table["time"].isin([last, last - day])].to_parquet(out)
    return out


def wait_for_address(server: subprocess.Popen) -> str:
    for line in server.stderr:
        if "listening on" in line:
            return line.split("listening on ")[1].split(",")[0]
    sys.exit("the server ended before it was ready")


def kflare(command: str, *arguments: str, capture: bool = False) -> str:
    line = [sys.executable, "-m", f"kflare.{command}", *arguments]
    if not capture:
        print(f"\n$ python -m kflare.{command} {' '.join(arguments)}", file=sys.stderr)
    done = subprocess.run(line, check=False, text=True, stdout=subprocess.PIPE if capture else None)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout if capture else ""


def draw(data: dict, disk: dict, regions: dict, path: Path) -> None:
    """Draw the magnetogram with the disk's probability, and the regions' probabilities as bars."""
    from matplotlib.figure import Figure

    from kflare.io.percent import percent
    from kflare.observations.reading import read_magnetogram

    byte_range = float(data["byte_range"][1]) if data["byte_range"] else 100.0
    image = read_magnetogram(data["image"], byte_range=byte_range)
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image.data, cmap="gray", vmin=-100, vmax=100)
    left.set_axis_off()
    certainty = percent(disk["windows"][0]["full_disk"][0]["C+"]["calibrated"])
    left.set_title(f"{image.time:%Y-%m-%d %H:%M} UT, cnn-c\nP(≥C, 24 h) = {certainty} (calibrated)")
    window = regions["windows"][-1]
    names = [region["region"] for region in window["regions"]] + ["full disk"]
    rows = [*window["regions"], *window["full_disk"]]
    right.barh(names, [row["C+"]["calibrated"] for row in rows], color="#0072B2")
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="P(≥C, 24 h), calibrated", title=f"{window['start'][:16]}Z, defn-c")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
