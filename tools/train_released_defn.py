"""The released region models, defn-c and defn-m: cross-validated by years, then fitted once more and published."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distillation import Distillation, fit_distilled_network
from earlier_cycle import samples_of_smarp
from model_card import OLDEST_TENSORFLOW, ModelCard, reliability_png
from released_scores import method_scores

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY
from kflare.datasets.region_samples import samples_of_sharp
from kflare.datasets.splits import Split, chronological_split, utc_date
from kflare.flares.labels import reaches
from kflare.flares.repairing import read_flares
from kflare.io.atomic import write_whole
from kflare.models.baselines import region_persistence
from kflare.models.crossvalidation.folds import year_folds
from kflare.models.fitting import FittedNetwork, fingerprint, model_metadata
from kflare.models.region_models import publish_region_model
from kflare.models.training import TrainingRun
from kflare.regions.feature_table import features_named
from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import brier_skill_score

SHARP = ["AREA", "USFLUX", "MEANGBZ", "R_VALUE"]
CHANGES = ["dt24logAREA", "dt24logUSFLUX", "dt24MEANGBZ", "dt24R_VALUE"]
FEATURES = [*SHARP, *CHANGES, *REGION_HISTORY, *DISK_HISTORY]
HOW = {"c": Distillation(boosting_share=0.5), "m": Distillation(boosting_share=0.25)}
TEST_YEARS = range(2013, 2018)
TRAIN_UNTIL, VALIDATE_UNTIL = "2015-01-01", "2017-01-01"
METHODS = ("network", "logistic regression", "gradient boosting", "persistence")

LIMITS = """\
* A research model: no warning that lives or equipment depend on may rest on it alone.
* `USFLUX`, `MEANGBZ`, `AREA` and `R_VALUE` are those of the SHARP samples of Sun et al. (2022), computed from the
  *line-of-sight* field at the end of each day's window. JSOC's SHARP keywords of the same names are of the vector field
  and on another scale: never feed them in. `kflare.features` measures the right ones.
* It says nothing about a region that is not seen: beyond the limb, or not yet emerged.
* Flares without a region number (about one in ten of class C and above) count for no region, in training and in the
  scores.
* It knows the Sun of cycles 23 and 24 (1996 to 2014). In the minimum of 2017 to 2020 events are so few that its
  calibration is hardly tested there.
* `probability` is no frequency: 0.5 stands for the event rate of the training samples. Use `calibrated` as a chance.
* Samples are spaced by 96 minutes and repeat themselves: intervals are therefore by region, and wide.
"""


def defn(letter: str, *, data: Path, out: Path, work: Path) -> Path:
    """Cross-validate, fit and publish `defn-c` or `defn-m`; returns the version's directory."""
    name, event = f"defn-{letter}", letter.upper()
    flares = read_flares(data / "goes" / "swpc_flares_2010-2025.csv")
    before = read_flares(data / "goes" / "swpc_flares_1996-2018.csv")
    sharp = samples_of_sharp(data / "sharp", flares, harp_noaa=data / "regions" / "harp_noaa.parquet")
    table, observed = sharp.table, reaches(sharp.flux, event)
    features, regions = features_named(FEATURES), sharp.table["region"].to_numpy(str)
    persistent = region_persistence(table, sharp.region_flares, event)

    def fit(split: Split) -> FittedNetwork:
        smarp = samples_of_smarp(data / "smarp", before, reference=table[split.train])
        return fit_distilled_network(
            table, features, observed, split, earlier=(smarp.table, reaches(smarp.flux, event)),
            how=HOW[letter], run=TrainingRun(work / name, {}), clusters=regions,
        )  # fmt: skip

    parts = []
    for fold in year_folds(table["time"], TEST_YEARS):
        kept = work / f"{name}-{fold.name}.parquet"
        if not kept.exists():
            forecasts = _columns(fit(fold).forecasts.assign(persistence=persistent), table)
            forecasts[fold.test].assign(fold=int(fold.name)).to_parquet(kept)
        parts.append(pd.read_parquet(kept))
        print(f"{name}: test year {fold.name} done", file=sys.stderr, flush=True)
    tested = pd.concat(parts, ignore_index=True)
    scores = cross_validated(tested)
    write_whole(work / f"{name}-crossvalidation.json", json.dumps(scores, indent=2))

    split = chronological_split(
        table["time"], train_until=utc_date(TRAIN_UNTIL), validate_until=utc_date(VALIDATE_UNTIL)
    )
    fitted = fit(split)
    metadata = model_metadata(
        fitted, event=event, times=table["time"], split=split, fingerprint=fingerprint(table[FEATURES], observed),
        data={
            "sharp": "112,381 samples of SDO/HMI, 2010-10 to 2020-12",
            "smarp": "183,659 samples of SOHO/MDI, 1996-06 to 2010-10, training only",
            "flares": "swpc_flares_2010-2025.csv; for SMARP swpc_flares_1996-2018.csv",
        },
    ) | {"cross_validation": scores, "oldest_tensorflow": OLDEST_TENSORFLOW}  # fmt: skip
    card = ModelCard(
        name=name,
        use=f"The probability of a flare >= {event}1.0 in the next 24 h, for one active region from its line-of-sight "
        "magnetogram, its past day and the flare list; region by region, combined into the full disk by the client.",
        data=DATA, limits=LIMITS, calibration="calibration.png",
    )  # fmt: skip
    pooled = reliability_png(
        tested["observed"].to_numpy(), tested["network, calibrated"].to_numpy(), title=f"{name}, test years 2013-2017"
    )
    return publish_region_model(
        fitted, out, name, example=table[split.train].head(8), metadata=metadata,
        documents={"MODEL_CARD.md": card.text(metadata | {"features": fitted.scaling.as_json()}).encode(),
                   "calibration.png": pooled},
    )  # fmt: skip


DATA = """\
SHARP samples (SDO/HMI, 2010 to 2020; the spans below) and 183,659 SMARP samples (SOHO/MDI, 1996 to 2010; all for
training) of Sun et al. (2022, ApJ 931, 163; MIT licence), on a gap-free 96-minute grid; each region's flares from
NOAA/SWPC's GOES lists. MDI's parameters are brought to the mean and standard deviation of HMI's training samples.
"""


def _columns(forecasts: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    named = forecasts.rename(columns={"probability": "network", "calibrated": "network, calibrated"})
    named["persistence, calibrated"] = named["persistence"]
    return named.assign(time=table["time"], region=table["region"])


def cross_validated(rows: pd.DataFrame) -> dict[str, Any]:
    """Mean over the test years of each method's TSS at 0.5 and BSS, and the network's lead, resampled by region."""
    observed, regions, years = (rows[name].to_numpy() for name in ("observed", "region", "fold"))
    scores = method_scores(rows, METHODS, regions, scores=("tss", "bss"), folds=years, resamples=2000)
    for method, entry in scores.items():
        output, chance = rows[method].to_numpy(), rows[f"{method}, calibrated"].to_numpy()
        entry["by_year"] = {
            int(year): {
                "tss": float(ContingencyTable.from_probabilities(observed[m], output[m]).tss),
                "bss": float(brier_skill_score(observed[m], chance[m])),
                "samples": int(m.sum()), "events": int(observed[m].sum()),
            }
            for year, m in ((year, years == year) for year in np.unique(years))
        }  # fmt: skip
    return {"test_years": sorted({int(year) for year in years}), "resampled": "regions", **scores}
