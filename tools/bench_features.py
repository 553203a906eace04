"""From the files of one time to the 79 features: a full-disk set of 4096² pixels with ten active regions or more.

The set is of the synthetic Sun, written as JSOC's files are (RICE-compressed): line-of-sight field, the full-disk
vector field in four segments, AIA 1600 Å, and 131 Å of the time, one and two hours before. Sets of up to a day before
are measured first, so that changes can be taken, and do not count. The time is that of measuring the set and writing
the table, in a process of its own with two threads; memory is the largest that this process ever had.
"""

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

TIME = datetime(2014, 1, 3, tzinfo=UTC)
HOURS = (24, 18, 12, 6, 2, 1, 0)  # a region is followed through gaps of 6 h at most


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench features", description=__doc__)
    parser.add_argument("--size", type=int, default=4096, help="width of the images (default: 4096)")
    parser.add_argument("--folder", type=Path, help="where the files are kept, and taken from if they are there")
    parser.add_argument("--rounds", type=int, default=3, help="how often the set is measured (default: 3)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, profile=args.profile)))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        write(folder / "observations", args.size)
        before(folder)
        found = [child(folder) for _ in range(args.rounds)]
        profiled = child(folder, "--profile")
    best = min(found, key=lambda row: row["seconds"])
    print(f"{args.size}x{args.size}, {best['regions']} regions, {best['features']} of 79 features (median) in the")
    print(f"{best['rows']} to be forecast; smallest of {args.rounds} rounds on {os.cpu_count()} cores:")
    print(f"{best['seconds']:8.1f} s from files to the table ({best['cpu']:.1f} s of processor time)")
    print(f"{max(row['mb'] for row in found):8.0f} MB at most ({best['start_mb']:.0f} before)")
    print("\nprofile, seconds with all that is called:")
    for name, seconds in profiled["profile"]:
        print(f"{seconds:8.2f}  {name}")
    return 0


def write(folder: Path, size: int) -> None:
    import pandas as pd

    from kflare.synthetic.sun import SyntheticSun

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from observation_sets import write_observations

    if (folder / "srs.csv").exists():
        return
    print("writing the observations ...", file=sys.stderr)
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 3, seed=2, activity=3.0)
    times = pd.DatetimeIndex([TIME - pd.Timedelta(hours=hours) for hours in HOURS]).as_unit("us")
    write_observations(sun, folder, times, size=size, full_disk_vector=True)


def before(folder: Path) -> None:
    """Measure the earlier sets."""
    from kflare.datasets.region_parts import measure_all
    from kflare.regions.extraction import Extraction

    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    for result in measure_all([job for job in jobs(folder)[:-1] if not job.done], Extraction()):
        assert result.failure is None, result.failure


def jobs(folder: Path) -> list:
    from kflare.datasets.region_parts import plan
    from kflare.observations.sets import sets_in

    return plan(sets_in([folder / "observations"]), folder)


def child(folder: Path, *more: str) -> dict:
    line = [sys.executable, __file__, "--child", str(folder), *more]
    two = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **two})
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, *, profile: bool) -> dict:
    import pandas as pd

    from kflare.datasets.region_parts import measure_all
    from kflare.datasets.region_run import complete_run
    from kflare.flares.repairing import read_flares
    from kflare.flares.srs import read_srs
    from kflare.regions.extraction import Extraction
    from kflare.regions.feature_table import feature_set
    from kflare.xray.flux import read_xray_flux

    seen = folder / "observations"
    todo = jobs(folder)
    start_mb = peak_mb()
    profiler = cProfile.Profile()
    cpu, start = time.process_time(), time.perf_counter()
    if profile:
        profiler.enable()
    (result,) = measure_all(todo[-1:], Extraction())
    complete_run(
        [job.part for job in todo],
        folder / "regions.parquet",
        xray=read_xray_flux(next(seen.glob("goes_xrays_*.json")), scale="irradiance"),
        flares=read_flares(seen / "flares.csv"),
        srs=read_srs(seen / "srs.csv"),
    )
    profiler.disable()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert result.failure is None, result.failure
    table = pd.read_parquet(folder / "regions.parquet")
    last = table[(table["time"] == table["time"].max()) & (table["status"] == "forecast")]
    names = [feature.name for feature in feature_set("defn79")]
    found = {
        "seconds": seconds,
        "cpu": cpu,
        "mb": peak_mb(),
        "start_mb": start_mb,
        "regions": result.regions,
        "rows": len(last),
        "features": int(last[names].notna().sum(axis=1).median()),
    }
    if profile:
        found["profile"] = profiled(profiler)
    return found


def peak_mb() -> float:
    """Largest resident memory of this process; `ru_maxrss` would begin with that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def profiled(profiler: cProfile.Profile) -> list:
    """The functions of kflare and the decoders that took longest, with all that they call."""
    rows = []
    for (path, _, name), (_, _, _, cumulative, _) in pstats.Stats(profiler).stats.items():
        place = Path(path)
        if place.parts[-3:-2] == ("kflare",):
            rows.append((f"{place.parent.name}/{place.stem}.{name}", cumulative))
        elif name in {"gaussian_filter", "map_coordinates", "distance_transform_edt", "find_contours"}:
            rows.append((f"{place.parent.name}.{name}", cumulative))
    rows = [row for row in rows if "<" not in row[0]]
    return sorted(rows, key=lambda row: -row[1])[:24]


if __name__ == "__main__":
    sys.exit(main())
