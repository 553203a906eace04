"""From the files of one time to the 79 features: a full-disk set of 4096² pixels with ten active regions or more.

The set is of the synthetic Sun, written as JSOC's files are (RICE-compressed): line-of-sight field, the full-disk
vector field in four segments, AIA 1600 Å, and 131 Å of the time, one and two hours before. Sets of up to a day before
are measured first, so that changes can be taken, and do not count. The peer decodes the set's files and does no more.
"""

import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from benchmark import Row, Timed, kept

TIME = datetime(2014, 1, 3, tzinfo=UTC)
HOURS = (24, 18, 12, 6, 2, 1, 0)  # a region is followed through gaps of 6 h at most


def prepare(folder: Path) -> None:
    from kflare.synthetic.sun import SyntheticSun

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from observation_sets import write_observations

    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 3, seed=2, activity=3.0)
    times = pd.DatetimeIndex([TIME - pd.Timedelta(hours=hours) for hours in HOURS]).as_unit("us")
    write_observations(sun, folder / "observations", times, size=4096, full_disk_vector=True)


def jobs(folder: Path, target: Path) -> list[Any]:
    from kflare.datasets.region_parts import plan
    from kflare.observations.sets import sets_in

    return plan(sets_in([folder / "observations"]), target)


def ours(folder: Path) -> Timed:
    from kflare.datasets.region_parts import measure_all
    from kflare.datasets.region_run import complete_run
    from kflare.flares.repairing import read_flares
    from kflare.flares.srs import read_srs
    from kflare.regions.extraction import Extraction
    from kflare.regions.feature_table import feature_set
    from kflare.xray.flux import read_xray_flux

    seen, target = folder / "observations", kept(folder)
    (target / "parts").mkdir(exist_ok=True)
    todo = jobs(folder, target)
    for result in measure_all([job for job in todo[:-1] if not job.done], Extraction()):
        assert result.failure is None, result.failure
    names = [feature.name for feature in feature_set("defn79")]

    def run() -> Any:
        (result,) = measure_all(todo[-1:], Extraction())
        assert result.failure is None, result.failure
        complete_run(
            [job.part for job in todo],
            target / "regions.parquet",
            xray=read_xray_flux(next(seen.glob("goes_xrays_*.json")), scale="irradiance"),
            flares=read_flares(seen / "flares.csv"),
            srs=read_srs(seen / "srs.csv"),
        )
        table = pd.read_parquet(target / "regions.parquet")
        last = table[(table["time"] == table["time"].max()) & (table["status"] == "forecast")]
        return last.sort_values("region")[names].to_numpy(float)

    return Timed(run, answer=lambda: None)


def decoded(folder: Path) -> Timed:
    from astropy.io import fits

    from kflare.observations.sets import sets_in

    warnings.simplefilter("ignore")
    files = list(sets_in([folder / "observations"]))[-1].files

    def run() -> None:
        for path in files:
            with fits.open(path, memmap=False) as hdus:
                for hdu in hdus:
                    assert hdu.data is None or hdu.data.size
                    del hdu.data

    return Timed(run, note=f"{len(files)} files decoded, nothing measured")


ROWS = [Row("features/4096", "79 features of a set of 4096², ten regions", ours, "set", {"bare astropy": decoded},
            prepare, rounds=3)]  # fmt: skip
