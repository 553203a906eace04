"""The released region models, defn-c and defn-m: tested by years and archives, then fitted once more and published."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from disk_record import disk_record, disk_times, yearly_calibrated, years_of
from distillation import Distillation, fit_distilled_network
from earlier_cycle import samples_of_smarp
from model_card import OLDEST_TENSORFLOW, ModelCard, reliability_png, score_table
from released_scores import method_scores

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY
from kflare.datasets.region_samples import RegionSamples, samples_of_sharp
from kflare.datasets.splits import Split, chronological_split
from kflare.flares.labels import disk_flux, reaches
from kflare.flares.merging import merge_flares
from kflare.flares.repairing import AskedScale, read_flares
from kflare.io.arrays import BoolArray, Float32Array
from kflare.io.atomic import write_whole
from kflare.models.baselines import (
    climatology,
    one_number_regressions,
    persistence_climatology,
    region_persistence,
)
from kflare.models.cross_fitting import OutOfSample, cross_fitted
from kflare.models.crossvalidation.folds import year_folds
from kflare.models.disk_calibration import calibrate_disk, disk_samples
from kflare.models.fitting import FittedNetwork, fingerprint, model_metadata
from kflare.models.region_models import publish_region_model
from kflare.models.training import TrainingRun
from kflare.regions.feature_table import features_named
from kflare.sun.times import read_date
from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import brier_skill_score

SHARP = ["AREA", "USFLUX", "MEANGBZ", "R_VALUE"]
CHANGES = ["dt24logAREA", "dt24logUSFLUX", "dt24MEANGBZ", "dt24R_VALUE"]
# X flares are so few that a network of one cycle learns the wrong thing of them.
FEATURES = [*SHARP, *CHANGES, *(name for name in REGION_HISTORY if not name.startswith("X")), *DISK_HISTORY]
HOW = {
    "c": Distillation(boosting_share=0.5),
    "m": Distillation(boosting_share=0.25, sizes=(3e-6, 5e-6, 2e-5)),
}
# Years of the two archives whose forecasts, each by a network that knew nothing later than two years before, chose the
# recipe and take part in the calibration of every later year.
INNER_YEARS = (2002, 2004, 2006, 2012)
TEST_YEARS = range(2013, 2018)
TRAIN_UNTIL, VALIDATE_UNTIL = "2015-01-01", "2017-01-01"
OWN = "own"

LIMITS = """\
* A research model: no warning that lives or equipment depend on may rest on it alone.
* `USFLUX`, `MEANGBZ`, `AREA` and `R_VALUE` are those of the SHARP samples of Sun et al. (2022), computed from the
  *line-of-sight* field at the end of each day's window. JSOC's SHARP keywords of the same names are of the vector field
  and on another scale: never feed them in. `kflare.features` measures the right ones.
* It says nothing about a region that is not seen: beyond the limb, or not yet emerged.
* Flares without a region number (about one in ten of class C and above) count for no region, in training and in the
  scores.
* It knows the Sun of cycles 23 and 24 (1996 to 2014). In the minimum of 2018 to 2020 events are so few that its
  calibration is hardly tested there.
* Classes are on today's scale (GOES-16 and later): its M1.0 is M0.7 of the lists before, and the papers' >= M1.0 is
  today's >= M1.4. Histories (`Chis` ...) count flares on the same scale.
* 2013 to 2017 have been looked at in earlier versions: their scores are of a recipe that was chosen by years before
  2013, but with those in view. 2018 to 2020 by themselves, and one archive by the other, had not been scored before.
* `probability` is no frequency: 0.5 stands for the event rate of the training samples. Use `calibrated` as a chance.
* Samples are spaced by 96 minutes and repeat themselves: intervals are therefore by region, and wide.
"""


class Archives:
    """SHARP and SMARP samples with a flare list each, all on one scale of flare classes."""

    def __init__(self, data: Path, scale: AskedScale) -> None:
        read = partial(read_flares, scale=scale)
        self._smarp = data / "smarp"
        self.flares = read(data / "goes" / "swpc_flares_2010-2025.csv")
        # The list with region numbers holds no flare below C1.0 of its time, and so none of today's C1.0 to C1.3.
        both = merge_flares(
            *(read(data / "goes" / name) for name in ("swpc_flares_1996-2018.csv", "flares_1996-2024.csv"))
        )
        self.before = both.between(*(read_date(day) for day in ("1996-01-01", "2011-01-01")))
        self.sharp = samples_of_sharp(data / "sharp", self.flares, harp_noaa=data / "regions" / "harp_noaa.parquet")

    def smarp(self, reference: pd.DataFrame | None) -> RegionSamples:
        """SMARP samples on the scale of the `reference`, rows of SHARP; None: on their own."""
        return samples_of_smarp(self._smarp, self.before, reference=reference)


def _whole(samples: RegionSamples, event: str) -> pd.DataFrame:
    """The table with `flux` and `persistence`, of the rows whose label is known."""
    persistent = region_persistence(samples.table, samples.region_flares, event)
    table = samples.table.assign(flux=samples.flux, persistence=persistent)
    return table[table["flux"].notna()].reset_index(drop=True)


def _fit(
    letter: str, table: pd.DataFrame, split: Split, earlier: pd.DataFrame | None, run: TrainingRun, **calibration: Any
) -> FittedNetwork:
    """The network and all other methods, fitted to a split of a table with `flux` and `persistence`."""
    event = letter.upper()

    def also(training: pd.DataFrame, observed: BoolArray) -> dict[str, Float32Array]:
        # Without the earlier archive, on the scale of which a single number depends the most. Where SHARP has no event
        # yet (>= M in 2010), it knows nothing.
        rate = climatology(observed)
        alone = {"R_VALUE alone": np.full(len(table), 0.5, np.float32)}
        if observed.any():
            weights = (1.0, (1 - rate) / rate)
            alone = one_number_regressions(training[["R_VALUE"]], observed, table, class_weights=weights)
        before = table["persistence"].to_numpy()
        chance, _ = persistence_climatology(before[split.train], observed, before)
        return {
            "R_VALUE alone, without the earlier archive": alone["R_VALUE alone"],
            "persistence": before,
            # Its 0.5 is the event rate too.
            "persistence + climatology": chance * (1 - rate) / (chance * (1 - rate) + (1 - chance) * rate),
        }

    return fit_distilled_network(
        table, features_named(FEATURES), table["flux"].to_numpy(), split, event=event, how=HOW[letter], run=run,
        earlier=None if earlier is None else (earlier, earlier["flux"].to_numpy()), also=also, **calibration,
    )  # fmt: skip


def _forecasts(fitted: FittedNetwork, table: pd.DataFrame, split: Split, name: str) -> pd.DataFrame:
    """What every method says of the validation and test spans of a fold."""
    shown = [column for column in fitted.forecasts if "calibrated" not in column]
    rows = fitted.forecasts[shown].rename(columns={"probability": "network"})
    rows = rows.assign(time=table["time"], region=table["region"].astype(str), fold=name)
    rows["span"] = np.where(split.test, "test", "validation")
    return rows[split.test | split.validation].reset_index(drop=True)


def defn(letter: str, *, data: Path, out: Path, work: Path, scale: AskedScale = "irradiance") -> Path:
    """Test, fit and publish `defn-c` or `defn-m`; returns the version's directory.

    Of classes "as listed", the papers' scale, it makes the cross-validation alone and returns the file of its scores.
    """
    name, event = f"defn-{letter}", letter.upper()
    work = work / name / scale.replace(" ", "-")
    work.mkdir(parents=True, exist_ok=True)
    archives = Archives(data, scale)
    sharp = _whole(archives.sharp, event)

    def kept(fold: str, forecast: Any) -> pd.DataFrame:
        path = work / f"{fold}.parquet"
        if not path.exists():
            rows = forecast()
            write_whole(path, partial(rows.to_parquet, index=False))
            print(f"{name}: {fold} done", file=sys.stderr, flush=True)
        return pd.read_parquet(path)

    def of(fold: str, table: pd.DataFrame, split: Split, earlier: pd.DataFrame | None) -> pd.DataFrame:
        return _forecasts(_fit(letter, table, split, earlier, TrainingRun(work, {})), table, split, fold)

    def of_year(year: int) -> pd.DataFrame:
        """Forecasts of a year by what was known two years before, of the archive that holds the year."""
        if year < 2010:
            table = _whole(archives.smarp(None), event)
            return of(str(year), table, year_folds(table["time"], [year])[0], None)
        fold = year_folds(sharp["time"], [year])[0]
        return of(str(year), sharp, fold, _whole(archives.smarp(sharp[fold.train]), event))

    parts = [kept(str(year), partial(of_year, year)) for year in (*INNER_YEARS, *TEST_YEARS)]
    tested = pd.concat([calibrated(part, parts[:number]) for number, part in enumerate(parts)], ignore_index=True)
    years = tested["fold"].astype(int).isin(TEST_YEARS)
    scores = scored(tested[years], "Test years 2013 to 2017, each by what was known two years before; means over them")
    inner = f"{', '.join(map(str, INNER_YEARS))}, by which the recipe was chosen; means over them"
    further = {"Inner years": scored(tested[~years], inner)}

    if scale != "irradiance":
        return _written(work / "scores.md", scores, further)

    def from_sharp() -> pd.DataFrame:
        """SMARP 1999 to 2007 by what SHARP samples of 2010 to 2016 teach."""
        train, valid = (_span(sharp, *span) for span in (("2010", "2015"), ("2015", "2017")))
        test = _span(_whole(archives.smarp(train), event), "1999", "2008")
        return of("SMARP by SHARP", *_joined(train, valid, test), None)

    def from_smarp() -> pd.DataFrame:
        """SHARP 2013 to 2020 by what SMARP samples teach, scaled by SHARP before, but told none of its flares."""
        smarp = _whole(archives.smarp(_span(sharp, "2010", "2013")), event)
        train, valid = (_span(smarp, *span) for span in (("1996", "2004"), ("2004", "2008")))
        return of("SHARP by SMARP", *_joined(train, valid, _span(sharp, "2013", "2021")), None)

    for fold, forecast in (("SMARP by SHARP", from_sharp), ("SHARP by SMARP", from_smarp)):
        rows = calibrated(kept(fold, forecast), [])
        further[fold] = scored(rows.assign(fold="all"), f"{(forecast.__doc__ or '').rstrip('.')}; all years together")

    split = chronological_split(
        sharp["time"], train_until=read_date(TRAIN_UNTIL), validate_until=read_date(VALIDATE_UNTIL)
    )
    # Of the years 2015 and 2016 the released model speaks itself.
    before = [part for part, year in zip(parts, (*INNER_YEARS, *TEST_YEARS), strict=True) if year < 2015]
    fitted = _fit(
        letter, sharp, split, _whole(archives.smarp(sharp[split.train]), event), TrainingRun(work, {}),
        clusters=sharp["region"].to_numpy(str), others=OutOfSample.joined(_outputs(part, "network") for part in before),
    )  # fmt: skip
    # P_FD inherits every error of the regions' calibration, and two years say little of another: all before the test
    # span take part.
    lists = {name: archives.before if int(name) < 2010 else archives.flares for name in tested["fold"].unique()}
    disk = disk_times(tested, event, lists)
    smarp = "SMARP by SHARP"
    other_archive = disk_times(calibrated(kept(smarp, from_sharp), []), event, {smarp: archives.before})
    valid = sharp[split.validation]
    own, before_own = disk_samples(
        valid["time"], fitted.forecasts.loc[split.validation, "calibrated"],
        reaches(disk_flux(valid["time"], archives.flares), event), valid[list(DISK_HISTORY)],
    )  # fmt: skip
    earlier = disk[disk["fold"].astype(int) < 2015]
    counts = pd.concat([before_own, earlier[list(DISK_HISTORY)]], ignore_index=True)
    fitted = replace(fitted, disk_calibration=calibrate_disk(OutOfSample.joined([own, years_of(earlier)]), counts))
    scaling = fitted.scaling
    assert scaling is not None
    last = _forecasts(fitted, sharp, split, "released")
    rows = calibrated(last, before)
    further["2017 to 2020"] = scored(rows.assign(fold="all"), "The released model on its own test span")
    late = rows[rows["time"] >= read_date("2018-01-01")]
    about = "The released model on years by which nothing was ever chosen, nor scored by themselves before"
    further["2018 to 2020"] = scored(late.assign(fold="all"), about)
    _written(work / "scores.md", scores, further)
    metadata = model_metadata(
        fitted, event=event, times=sharp["time"], split=split,
        fingerprint=fingerprint(sharp[FEATURES], reaches(sharp["flux"], event)),
        data={
            "sharp": "112,381 samples of SDO/HMI, 2010-10 to 2020-12",
            "smarp": "183,659 samples of SOHO/MDI, 1996-06 to 2010-10, training only",
            "flares": archives.flares.report(),
        },
    ) | {
        "cross_validation": scores, "further_tests": further, "oldest_tensorflow": OLDEST_TENSORFLOW,
        "full_disk_record": disk_record(disk.assign(calibrated=yearly_calibrated(disk)), other_archive),
    }  # fmt: skip
    card = ModelCard(
        name=name,
        use=f"The probability of a flare >= {event}1.0 in the next 24 h, for one active region from its line-of-sight "
        "magnetogram, its past day and the flare list; region by region, combined into the full disk by the client.",
        data=DATA, limits=LIMITS, calibration="calibration.png",
    )  # fmt: skip
    shown = tested[years]
    pooled = reliability_png(
        shown["observed"].to_numpy(),
        shown["network, calibrated"].to_numpy(),
        title=f"{name}, test years 2013-2017",
        clusters=shown["region"].to_numpy(),
    )
    return publish_region_model(
        fitted, out, name, example=sharp[split.train].head(8), metadata=metadata,
        documents={"MODEL_CARD.md": card.text(metadata | {"features": scaling.as_json()}).encode(),
                   "calibration.png": pooled},
    )  # fmt: skip


def _written(path: Path, scores: dict[str, Any], further: dict[str, dict[str, Any]]) -> Path:
    """The tables as Markdown, and all of it as JSON beside them."""
    every = {"Cross-validation": scores} | further
    write_whole(path.with_suffix(".json"), json.dumps(every, indent=2))
    parts = []
    for title, one in every.items():
        rows = [
            f"| {fold} | {year['samples']:,} | {year['events']} ({year['event_regions']}) | {year['tss']:.2f} "
            f"| {year['bss']:.2f} |"
            for fold, year in one["network"]["by_year"].items()
        ]
        head = ["| year | samples | events (regions) | network's TSS | BSS |", "| --- | --- | --- | --- | --- |"]
        parts.append("\n".join([f"## {title}", "", score_table(one), "", *head, *rows, ""]))
    write_whole(path, "\n".join(parts))
    return path


def _span(table: pd.DataFrame, begin: str, end: str) -> pd.DataFrame:
    """Rows of the years from `begin` to before `end` whose windows end before it."""
    time = table["time"]
    return table[(time >= read_date(f"{begin}-01-01")) & (time + pd.Timedelta(days=1) <= read_date(f"{end}-01-01"))]


def _joined(*parts: pd.DataFrame) -> tuple[pd.DataFrame, Split]:
    """One table of training, validation and test rows, and its split."""
    number = np.repeat(range(3), [len(part) for part in parts])
    return pd.concat(parts, ignore_index=True), Split(*(number == which for which in range(3)))


def _outputs(rows: pd.DataFrame, method: str, span: str = "test", year: str | None = None) -> OutOfSample:
    """A method's outputs for a span of a fold."""
    part = rows[rows["span"] == span]
    return OutOfSample.of(
        part["observed"].to_numpy(), part[method].to_numpy(np.float32), part["time"], regions=part["region"],
        years=part["fold"] if year is None else np.full(len(part), year),
    )  # fmt: skip


def calibrated(rows: pd.DataFrame, before: list[pd.DataFrame]) -> pd.DataFrame:
    """The test rows of a fold with each method's calibrated output.

    All are fitted as the released network's: to the fold's validation span, shrunk to the common fit of it and of the
    test spans of all folds `before` whose end lies before it.
    """
    test = rows[rows["span"] == "test"].reset_index(drop=True)
    begin = rows.loc[rows["span"] == "validation", "time"].min()
    before = [part for part in before if part.loc[part["span"] == "test", "time"].max() < begin]
    for method in methods(rows):
        own = _outputs(rows, method, "validation", OWN)
        fit = cross_fitted(
            OutOfSample.joined([own, *(_outputs(part, method) for part in before)]), own=OWN, resamples=2
        )
        test[f"{method}, calibrated"] = np.asarray(fit(test[method].to_numpy(np.float32)))
    return test


def methods(rows: pd.DataFrame) -> list[str]:
    """The methods whose forecasts some rows hold, the network first."""
    keys = {"observed", "time", "region", "fold", "span"}
    return [name for name in rows if name not in keys and not name.endswith(", calibrated")]


DATA = """\
SHARP samples (SDO/HMI, 2010 to 2020; the spans below) and 183,659 SMARP samples (SOHO/MDI, 1996 to 2010; all for
training) of Sun et al. (2022, ApJ 931, 163; MIT licence), on a gap-free 96-minute grid; each region's flares from
NOAA/SWPC's GOES lists. MDI's parameters are brought to the mean and standard deviation of HMI's training samples.
"""


def scored(rows: pd.DataFrame, about: str) -> dict[str, Any]:
    """Each method's TSS at 0.5, ROC area and BSS, means over the folds, and the network's lead, resampled by region."""
    observed, regions, folds = (rows[name].to_numpy() for name in ("observed", "region", "fold"))
    names = methods(rows)
    scores = method_scores(rows, names, regions, scores=("tss", "roc_area", "bss"), folds=folds, resamples=1000)
    for method, entry in scores.items():
        output, chance = rows[method].to_numpy(), rows[f"{method}, calibrated"].to_numpy()
        entry["by_year"] = {
            str(fold): {
                "tss": float(ContingencyTable.from_probabilities(observed[m], output[m]).tss),
                "bss": float(brier_skill_score(observed[m], chance[m])),
                "samples": int(m.sum()), "events": int(observed[m].sum()),
                "event_regions": len(np.unique(regions[m & observed])),
            }
            for fold, m in ((fold, folds == fold) for fold in np.unique(folds))
        }  # fmt: skip
    return {"about": f"{about}; 95 % intervals by resampling regions", **scores}
