"""Train, publish, serve, ask, show a week of forecasts: the work of tools/quickstart once the environment stands."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    with step("1 of 4: the data, " + ("real ones" if real else "of a Sun that is made up")):
        data = real_data(Path(real), folder) if real else synthetic_data(folder / "sun", args.days)
    run = folder / "runs" / "defn-c"
    with step("2 of 4: train defn-c, the probability of a flare of class C in a region, and publish it"):
        kflare("fit", "defn-c", *data["samples"], *data["spans"], "--epochs", "40", "--patience", "15",
               "--output", str(run))  # fmt: skip
        summary = json.loads((run / "summary.json").read_text())
        print(in_words(summary, persistence_tss(run / "seed-0" / "forecasts.csv"), real=bool(real)))
    with step("3 of 4: serve it, and ask it about the regions of the last day"):
        ask(run / "savedmodels", data, folder)
    with step("4 of 4: a week of forecasts by the released models, as an office makes them"):
        demo = folder / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        kflare("demo", str(demo), "--no-serve")
    print(f"\nIn {folder}: sun/, runs/ with the trained model, forecast_regions.json, {demo.name}/ with a site to open")
    print(f"done in {time.monotonic() - started:.0f} s")
    return 0


@contextmanager
def step(what: str) -> Iterator[None]:
    begun = time.monotonic()
    print(f"\n== Step {what} ...", flush=True)
    yield
    print(f"== took {time.monotonic() - begun:.0f} s", flush=True)


def persistence_tss(forecasts: Path) -> float:
    """On the test span: a region flares in the next 24 h if it did in the last, as far as the table tells."""
    import pandas as pd

    table = pd.read_csv(forecasts, parse_dates=["time"])
    before = table[["time", "region", "observed"]].assign(time=table["time"] + pd.Timedelta(days=1))
    both = table.merge(before, on=["time", "region"], how="left", suffixes=("", "_before"))
    test = both[both["span"] == "test"]
    observed, yes = test["observed"] > 0, test["observed_before"].fillna(0) > 0
    return float(yes[observed].mean() - yes[~observed].mean())


def in_words(summary: dict, persistence: float, *, real: bool) -> str:
    """What the table of scores says: of the network, beside plain methods on the same samples."""
    test = {one["method"]: one for one in summary["seeds"][0]["scores"] if one["span"] == "test"}
    network, plain = test["network"], test["logistic regression"]
    ends = [(one["tss"], *one["tss_interval"]) for one in (network, plain)]
    told = [f"{tss:.2f} ({lower:.2f} to {upper:.2f})" for tss, lower, upper in ends]
    least, most = network["tss_interval"]
    if least <= plain["tss"] <= most:
        verdict = "network and regression cannot be told apart: on so few samples the plain method does as well"
    else:
        verdict = f"the network is {'better' if plain['tss'] < least else 'worse'} than the regression"
    sun = "" if real else " The Sun is made up: the programs work, and nothing is said of skill on the real one."
    return (
        f"\nIn words: TSS, 1 if perfect and 0 without skill, is {told[0]} for the network on days that it has not "
        f"seen, {told[1]} for a regression on the same features, and {persistence:.2f} for persistence, which says of "
        f"each region that it goes on as before; {verdict}.{sun} docs/skill.md tells the worth of the released models. "
        "An image model, cnn-c, is not trained here: on 540 days it loses to persistence, and takes minutes more."
    )


def synthetic_data(folder: Path, days: int) -> dict:
    """Write the region table and flare list of the synthetic Sun; the last quarter is the test span."""
    from kflare.synthetic.sun import SyntheticSun

    start = datetime(2013, 1, 1, tzinfo=UTC)
    sun = SyntheticSun(start, days, seed=2)
    folder.mkdir(parents=True, exist_ok=True)
    flares, regions = folder / "flares.csv", folder / "regions.parquet"
    sun.flares.write_csv(flares)
    sun.region_table(sun.times(6)).to_parquet(regions)
    until = [f"{start + timedelta(days=round(days * share)):%Y-%m-%d}" for share in (0.532, 0.7334)]
    return {
        "samples": ["--regions", str(regions), "--flares", str(flares)],
        "spans": ["--train-until", until[0], "--validate-until", until[1]],
        "flares": flares,
        "regions": regions,
    }


def real_data(folder: Path, out: Path) -> dict:
    """Use a folder with goes/, sharp/ and regions/, as the README describes it."""
    import pandas as pd

    from kflare.flares.repairing import read_flares
    from kflare.sharp.samples import read_sharp_samples

    goes, pairs = folder / "goes" / "swpc_flares_2010-2025.csv", folder / "regions" / "harp_noaa.parquet"
    samples = read_sharp_samples(folder / "sharp", flares=read_flares(goes), harp_noaa=pairs)
    table = samples.table.drop(columns=["flux24", "restored"])
    regions = out / "sharp_2013-10-23.parquet"
    day = pd.Timestamp("2013-10-23T00:00Z")
    table[(table["time"] > day - pd.Timedelta(hours=26)) & (table["time"] <= day)].to_parquet(regions)
    return {
        "samples": ["--sharp", str(folder / "sharp"), "--flares", str(goes), "--harp-noaa", str(pairs)],
        "spans": ["--train-until", "2014-01-01", "--validate-until", "2015-01-01", "--test-until", "2016-01-01"],
        "flares": goes,
        "regions": regions,
    }


def ask(models: Path, data: dict, folder: Path) -> None:
    """Serve the models, print the forecast of the last regions, and keep it as JSON."""
    command = [sys.executable, "-m", "kflare.serve", "--models", str(models), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        table = latest_regions(data["regions"], folder / "regions.parquet")
        asked = ["--regions", str(table), "--flares", str(data["flares"]), "--server", wait_for_address(server)]
        print(kflare("predict", *asked, capture=True))
        (folder / "forecast_regions.json").write_text(kflare("predict", *asked, "--json", capture=True))
    finally:
        server.terminate()
        server.wait(30)


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
    print(f"$ python -m kflare.{command} {' '.join(arguments)}", flush=True)
    done = subprocess.run(line, check=False, text=True, stdout=subprocess.PIPE if capture else None)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout if capture else ""


if __name__ == "__main__":
    sys.exit(main())
