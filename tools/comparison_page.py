"""Write docs/comparison.md: the released models, and one number, beside others' forecasts of the same samples.

python tools/comparison_page.py [--data ../shared/data] [--work runs/released] [--page docs/comparison.md]

Reads what tools/train_released_models kept of its cross-validations in `--work`; baselines that it did not keep are
formed as by `kflare.crossvalidate`. A section whose forecasts are not there says so. The words are those of
comparison_page.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from comparison_scores import Method, score_tables, weeks

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches, region_flux
from kflare.flares.repairing import read_flares
from kflare.flares.srs import mcintosh_classes, read_srs
from kflare.models.baselines import (
    class_climatology,
    disk_recent_climatology,
    logistic_regression,
    persistence,
    persistence_climatology,
    region_persistence,
)
from kflare.models.crossvalidation.compare import matched, read_other_forecasts, verifiable
from kflare.models.crossvalidation.folds import Fold, baseline_unit, block_folds, cross_validate, year_folds
from kflare.models.event_statistics import disk_event_statistics, region_event_statistics
from kflare.models.fitting import TrainingTask
from kflare.models.image_models import image_task
from kflare.models.region_models import region_task
from kflare.models.registry import model_spec

ROOT = Path(__file__).resolve().parents[1]
EVENT, BYTE_RANGE, BLOCKS = "M", 250.0, 5
ISSUED = pd.Timedelta(hours=1)
"""NOAA's summary of a day, valid at 00 UT, is issued at 00:30 UT: it counts for the forecast of that day."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: ../shared/data")
    parser.add_argument("--work", type=Path, default=Path("runs/released"), help="of tools/train_released_models")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "comparison.md", help="what is written")
    args = parser.parse_args()
    head, *sections = Path(__file__).with_suffix(".md").read_text(encoding="utf-8").split("\n## ")
    parts = [head]
    for words, values in zip(sections, (full_disk_images, region_windows, daily_regions, operational), strict=True):
        print(f"{values.__name__} ...", file=sys.stderr, flush=True)
        try:
            parts.append(words.format(**values(args.data, args.work)))
        except FileNotFoundError as absent:
            parts.append(f"{words.splitlines()[0]}\n\nNot made: {absent}.\n")
    args.page.write_text("\n## ".join(parts), encoding="utf-8")
    print(args.page)
    return 0


def full_disk_images(data: Path, work: Path) -> dict[str, object]:
    """GSU's three networks and cnn-m, days of 2013 and 2014."""
    rows = _kept(work, "cnn-m-forecasts.parquet", "cnn-m")
    rows["time"] = pd.to_datetime(rows["time"] if "time" in rows else rows["day"], utc=True).dt.floor("D")
    rows = rows.sort_values("time", ignore_index=True)
    spec, flares = model_spec("cnn-m"), read_flares(data / "goes" / "swpc_flares_2010-2025.csv")
    task = image_task(
        spec, flares, magnetograms=data / "hmi_daily", byte_range=BYTE_RANGE, daily=None, size=spec.smallest_size,
        augmented=False, pretrain=False, folder=work,
    )  # fmt: skip
    beside = baselines(task, block_folds(task.samples["time"], BLOCKS))
    names = ("flux alone", "line length alone", "line field alone", "persistence + climatology")
    ours = {"cnn-m": _issued(rows, "network")} | beside_ours(rows, beside, ["time"], names)
    others = read_other_forecasts(data / "forecasts" / "gsu_fulldisk_2010-2018_M1.parquet", by_region=False)
    place, observed, theirs = common(rows, others)
    times = rows["time"].iloc[place]
    methods = {name: _part(method, place) for name, method in ours.items()} | theirs
    return {
        "days": len(place), "events": int(observed.sum()), "rate": f"{observed.mean():.1%}",
        "differ": int(np.sum(observed != rows["observed"].to_numpy()[place])),
        "tables": "\n".join(score_tables(times, observed, weeks(times), methods, ("cnn-m", "line field alone"))),
    }  # fmt: skip


def region_windows(data: Path, work: Path) -> dict[str, object]:
    """Flare-PINN's five methods and defn-m, HARPs of 2015-12 to 2017."""
    rows = released_regions(work)
    task = region_task(
        model_spec("defn-m"), read_flares(data / "goes" / "swpc_flares_2010-2025.csv"), sharp=data / "sharp",
        harp_noaa=data / "regions" / "harp_noaa.parquet", srs=data / "regions" / "srs_1996-2018.csv", regions=None,
        features=["R_VALUE", "USFLUX"],
    )  # fmt: skip
    beside = baselines(task, year_folds(task.samples["time"], sorted(set(rows["time"].dt.year))))
    names = ("R_VALUE alone", "USFLUX alone", "past flares alone", "persistence + climatology", "McIntosh climatology")
    ours = {"defn-m": _issued(rows, "network")} | beside_ours(rows, beside, ["time", "region"], names)
    others = read_other_forecasts(data / "forecasts" / "flare_pinn_2015-2017_M1_regions.parquet", by_region=True)
    # Of the samples every 96 minutes the last one before their window, so that none of ours is younger than theirs.
    place, observed, theirs = common(rows.assign(time=rows["time"] + pd.Timedelta(minutes=48)), others)
    methods = {name: _part(method, place) for name, method in ours.items()} | theirs
    chosen = rows.iloc[place]
    regions = chosen["region"].to_numpy(str)
    return {
        "windows": len(place), "events": int(observed.sum()), "rate": f"{observed.mean():.1%}",
        "regions": len(set(regions)), "active": len(set(regions[observed])),
        "differ": int(np.sum(observed != chosen["observed"].to_numpy())),
        "tables": "\n".join(score_tables(chosen["time"], observed, regions, methods, ("defn-m", "R_VALUE alone"))),
    }  # fmt: skip


def daily_regions(data: Path, work: Path) -> dict[str, object]:
    """LLMFlareNet, SolarFlareNet and a method of CCMC's scoreboard in cycle 25; no model of ours can be asked."""
    del work
    srs = read_srs(data / "regions" / "srs_2018-2024.csv")
    flares = read_flares(data / "goes" / "swpc_flares_2010-2025.csv")
    others = read_other_forecasts(data / "forecasts" / "llmflarenet_daily_2022-2024_M1_regions.csv", by_region=True)
    past = region_days(data)
    of = {str(name): group.set_index(["time", "region"]) for name, group in others.groupby("method")}
    parts = []
    for names in (["LLMFlareNet", "SolarFlareNet"], ["LLMFlareNet", "CCMC"]):
        shared = of[names[0]].index.intersection(of[names[1]].index)
        observed = of[names[0]].loc[shared, "observed"].to_numpy(bool)
        table = shared.to_frame(index=False).assign(noaa=lambda rows: pd.to_numeric(rows["region"]))
        theirs = {name: Method.of(of[name].loc[shared, "probability"]) for name in names}
        ours = reaches(region_flux(table.assign(region=table["noaa"]), numbered(flares)), EVENT)
        told = (
            f"**{' and '.join(names)}**: {len(table)} region days of {table['region'].nunique()} regions that both "
            f"have, {int(observed.sum())} with a flare ≥M1.0 (base rate {observed.mean():.1%}). By our flare list "
            f"{int(np.sum(ours != observed))} outcomes differ.\n"
        )
        parts += [
            told,
            *score_tables(
                table["time"], observed, table["region"].to_numpy(str),
                theirs | catalogue_forecasts(table, srs, flares, past), ("McIntosh climatology", "sunspot area alone"),
            ), "",
        ]  # fmt: skip
    return {"past": f"{len(past):,}", "tables": "\n".join(parts).strip()}


def operational(data: Path, work: Path) -> dict[str, object]:
    """The 18 operational methods of Leka & Park 2019, full disk, days of 2016 and 2017."""
    raw = pd.read_csv(data / "forecasts" / "leka_park_2019_M1.csv")
    raw["time"] = pd.to_datetime(raw["valid_date"], utc=True)
    outcomes = raw.groupby("time")["observed"].agg("first")
    times, observed = outcomes.index.to_series().reset_index(drop=True), outcomes.to_numpy(bool)
    flares = as_listed(data / "goes" / "swpc_flares_2010-2025.csv")
    methods, gaps = {}, []
    for name, group in raw.groupby("method"):
        issued = group.set_index("time")["probability"].reindex(times)
        methods[str(name)] = Method.of(issued.fillna(0))
        gaps += [f"{name} {issued.isna().sum()}"] if issued.isna().any() else []
    before = pd.Series(pd.date_range("2011-01-01", "2015-12-30", freq="D", tz="UTC"))
    persistent = persistence(times, flares, EVENT)
    chance, _ = persistence_climatology(
        persistence(before, flares, EVENT), reaches(disk_flux(before, flares), EVENT), persistent
    )
    mcintosh, listed = disk_mcintosh(times, data)
    mine: dict[str, npt.ArrayLike] = {
        "event statistics": disk_event_statistics(times, flares, EVENT),
        "120-day climatology": disk_recent_climatology(times, flares, EVENT, otherwise=float(observed.mean())),
        "persistence": persistent,
        "persistence + climatology": chance,
        "McIntosh climatology": mcintosh,
    }
    try:
        rows = released_regions(work)
    except FileNotFoundError as absent:
        told = f"The full disk of `defn-m` is missing: {absent}."
    else:
        mine["defn-m, regions at hand"], regions = disk_of_regions(rows, times)
        told = (
            f"The full disk of `defn-m` is 1 − ∏(1 − p) of the regions in the SHARP samples at hand: "
            f"{int(regions.sum()):,} region days, where NOAA lists {listed:,} with spots. On "
            f"{int(np.sum(regions == 0))} days there is none, which counts as 0. It knows nothing of a region that the "
            "samples lack, and its probabilities are of today's M1.0: part of what the model can do, not like for like."
        )
    methods |= {name: Method.of(p) for name, p in mine.items()}
    against = ("event statistics", "McIntosh climatology")
    return {
        "days": len(times), "events": int(observed.sum()), "rate": f"{observed.mean():.1%}", "ours": told,
        "lacking": ", ".join(gaps), "tables": "\n".join(score_tables(times, observed, weeks(times), methods, against)),
    }  # fmt: skip


def released_regions(work: Path) -> pd.DataFrame:
    """Out-of-sample forecasts of defn-m for 2013 to 2017, calibrated as its card has them, rising in time."""
    if whole := sorted(work.glob("defn-m-20[0-9][0-9].parquet")):  # of a recipe that kept them calibrated
        rows = pd.concat([pd.read_parquet(path) for path in whole], ignore_index=True)
        return rows.sort_values(["time", "region"], ignore_index=True)
    if not (work / "defn-m").exists():
        raise FileNotFoundError("forecasts of defn-m are not there: `tools/train_released_models defn-m` writes them")
    from train_released_defn import INNER_YEARS, TEST_YEARS, calibrated

    years = (*INNER_YEARS, *TEST_YEARS)
    parts = [_kept(work, f"defn-m/irradiance/{year}.parquet", "defn-m") for year in years]
    keys = ["observed", "time", "region", "fold", "span", "network"]
    numbers = [name for name in parts[-1] if name.endswith(" alone") or name == "persistence + climatology"]
    parts = [part[[*keys, *(name for name in numbers if name in part)]] for part in parts]
    tested = [calibrated(part, parts[:place]) for place, part in enumerate(parts) if years[place] in TEST_YEARS]
    return pd.concat(tested, ignore_index=True).sort_values(["time", "region"], ignore_index=True)


def _kept(work: Path, name: str, model: str) -> pd.DataFrame:
    if not (work / name).exists():
        raise FileNotFoundError(f"{name} is not there: `tools/train_released_models {model}` writes it")
    return pd.read_parquet(work / name)


def baselines(task: TrainingTask, folds: list[Fold]) -> pd.DataFrame:
    """Test forecasts of one number, persistence as a chance and McIntosh climatology, as of `kflare.crossvalidate`."""
    known = replace(task, frequencies={"persistence": task.frequencies["persistence"]})
    units = {"baselines": baseline_unit(known, learners={})}
    with tempfile.TemporaryDirectory() as folder:
        rows = cross_validate(task.samples.assign(observed=task.observed), folds, units, Path(folder), settings={})
    return verifiable(rows)


def beside_ours(rows: pd.DataFrame, beside: pd.DataFrame, keys: list[str], names: tuple[str, ...]) -> dict[str, Method]:
    """Baselines for the samples of `rows`: those that the recipe kept, else those of `kflare.crossvalidate`.

    Regressions on one number that the recipe kept besides come too.
    """
    found = {}
    for name in dict.fromkeys([*names, *(name for name in rows if name.endswith(" alone"))]):
        if name in rows and f"{name}, calibrated" in rows:
            found[name] = _issued(rows, name)
            continue
        own = beside[beside["method"] == name]
        chance = beside[beside["method"] == f"{name} calibrated"]
        output, calibrated = (
            rows[keys].merge(frame[[*keys, "probability"]], on=keys, how="left")["probability"].to_numpy(np.float64)
            for frame in (own, chance if len(chance) else own)
        )
        if np.isnan(output).any():
            raise DataError(f"the baseline {name} lacks {int(np.isnan(output).sum())} of {len(rows)} samples")
        found[name] = Method(output, float(own["threshold"].median()), calibrated)
    return found


def _issued(rows: pd.DataFrame, name: str) -> Method:
    return Method(rows[name].to_numpy(np.float64), 0.5, rows[f"{name}, calibrated"].to_numpy(np.float64))


def _part(method: Method, place: npt.NDArray[np.int64]) -> Method:
    return Method(method.output[place], method.threshold, method.chance[place])


def common(
    rows: pd.DataFrame, others: pd.DataFrame
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], dict[str, Method]]:
    """Places in `rows` (rising in time) that every other method has a forecast for, its outcomes, and the methods."""
    found = {
        str(name): matched(rows, other, tolerance_minutes=48) for name, other in others.groupby("method", sort=False)
    }
    first = next(iter(found.values()))
    if any(not one["sample"].equals(first["sample"]) for one in found.values()):
        raise DataError("the other methods are of different samples: compare them apart")
    theirs = {name: Method.of(one["probability"], float(one["threshold"].iloc[0])) for name, one in found.items()}
    return first["sample"].to_numpy(np.int64), first["observed"].to_numpy(bool), theirs


def numbered(flares: FlareList) -> pd.DataFrame:
    """Flares with a region: what `region_flux` and its kin take."""
    return flares.table.dropna(subset="noaa").assign(region=lambda table: table["noaa"])


def as_listed(path: Path) -> FlareList:
    """A flare list on the scale of its time, for outcomes that were published then."""
    return read_flares(path, scale="as listed")


def region_days(
    data: Path, *, until: str = "2018-07-01", read: Callable[[Path], FlareList] = read_flares
) -> pd.DataFrame:
    """NOAA's region days with spots from 1996 on, as of `read_srs`, with the flares ≥M of the day and the day `before`.

    Those of 1996 to 2009 and of 2010 on are of two lists, the second of which knows more regions.
    """
    srs = read_srs(data / "regions" / "srs_1996-2018.csv")
    days = srs[(srs["mcintosh"] != "") & (srs["time"] < pd.Timestamp(until, tz="UTC"))].reset_index(drop=True)
    old, new = (numbered(read(data / "goes" / f"swpc_flares_{span}.csv")) for span in ("1996-2018", "2010-2025"))
    change = pd.Timestamp("2010-01-01", tz="UTC")
    flares = pd.concat([old[old["start"] < change], new[new["start"] >= change]])
    large = flares[reaches(flares["flux"], EVENT)]
    counts = pd.MultiIndex.from_arrays([large["start"].dt.floor("D"), large["noaa"].astype("int64")]).value_counts()
    for name, day in (("flares", days["time"]), ("before", days["time"] - pd.Timedelta(days=1))):
        wanted = pd.MultiIndex.from_arrays([day.astype(counts.index.levels[0].dtype), days["noaa"]])
        days[name] = counts.reindex(wanted, fill_value=0).to_numpy()
    return days


def catalogue_forecasts(
    table: pd.DataFrame, srs: pd.DataFrame, flares: FlareList, past: pd.DataFrame
) -> dict[str, Method]:
    """What is known of regions (`time`, `region`, `noaa`) without an image of them; learnt from `past` region days."""
    own = numbered(flares)
    keyed = table.assign(region=table["noaa"])
    persistent = region_persistence(keyed, own, EVENT)
    observed = past["flares"].to_numpy() > 0
    chance, _ = persistence_climatology(np.minimum(past["before"], 1).to_numpy(np.float32), observed, persistent)
    classes = mcintosh_classes(table.assign(time=table["time"] + ISSUED), srs)
    rate = class_climatology(past["mcintosh"], past["flares"], classes)
    area = table.merge(srs[["time", "noaa", "area_uhem"]], how="left", on=["time", "noaa"])["area_uhem"]
    regression = logistic_regression(_logarithm(past["area_uhem"]), observed)
    methods = {
        "event statistics": region_event_statistics(keyed, own, flares, EVENT),
        "persistence": persistent,
        "persistence + climatology": chance,
        "McIntosh climatology": -np.expm1(-rate),
        "sunspot area alone": regression(_logarithm(area.fillna(past["area_uhem"].median()))),
    }
    return {name: Method.of(p) for name, p in methods.items()}


def disk_mcintosh(times: pd.Series, data: Path) -> tuple[npt.NDArray[np.float64], int]:
    """McIntosh climatology of the full disk, (N,), of the rates of all regions of the day; and how many there are."""
    past = region_days(data, until="2016-01-01", read=as_listed)
    srs = read_srs(data / "regions" / "srs_1996-2018.csv")
    known = srs[(srs["mcintosh"] != "") & srs["time"].isin(times)]
    rate = pd.Series(class_climatology(past["mcintosh"], past["flares"], known["mcintosh"]), known["time"])
    return -np.expm1(-rate.groupby(level=0).sum().reindex(times, fill_value=0).to_numpy(np.float64)), len(known)


def disk_of_regions(rows: pd.DataFrame, times: pd.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """P = 1 − ∏(1 − p) of the last sample of each region in the 96 minutes to a time, and how many there are, (N,)."""
    late = rows.assign(day=rows["time"].dt.ceil("D"))
    late = late[late["day"] - late["time"] < pd.Timedelta(minutes=96)]
    late = late.sort_values("time").drop_duplicates(["day", "region"], keep="last")
    quiet = np.log1p(-late["network, calibrated"].astype(np.float64)).groupby(late["day"])
    wanted = pd.DatetimeIndex(times).astype(late["day"].dtype)
    p = -np.expm1(quiet.sum().reindex(wanted, fill_value=0.0).to_numpy())
    return p, quiet.size().reindex(wanted, fill_value=0).to_numpy(np.int64)


def _logarithm(area: pd.Series) -> npt.NDArray[np.float32]:
    return np.log10(np.maximum(area.fillna(10).to_numpy(np.float64), 1.0))[:, None].astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
