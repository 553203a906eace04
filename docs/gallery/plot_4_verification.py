"""
Verification: reliability, scores and intervals
===============================================

Half a year of forecasts of regions by a regression, trained on the year before. First the contingency table, then
scores with 95 % intervals. Regions are drawn as a whole when samples are drawn anew, as the days of one are alike.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kflare.datasets import chronological_split
from kflare.flares import class_to_flux, region_flux
from kflare.synthetic.sun import SyntheticSun
from kflare.verification import ContingencyTable, brier_skill_score, reliability, roc_area

sun = SyntheticSun(datetime(2013, 1, 1, tzinfo=UTC), days=640, seed=4)
table = sun.region_table(sun.times(cadence_hours=24))
flares = sun.flares.table.assign(region=sun.flares.table["noaa"])
samples = pd.DataFrame({"time": table["time"], "region": table["noaa"]})
table["observed"] = region_flux(samples, flares) >= class_to_flux("C1.0")
split = chronological_split(
    table["time"], train_until=pd.Timestamp("2014-01-01", tz="UTC"), validate_until=pd.Timestamp("2014-03-01", tz="UTC")
)

columns = np.log10(table[["AREA", "USFLUX"]]).join(table["R_VALUE"])
regression = make_pipeline(StandardScaler(), LogisticRegression())
regression.fit(columns[split.train], table["observed"][split.train])
test = table[split.test]
probability = regression.predict_proba(columns[split.test])[:, 1]
observed = test["observed"].to_numpy()

# %%
# The threshold is that of the climatological rate of the training span; nothing is chosen on the test span.

threshold = table["observed"][split.train].mean()
counts = ContingencyTable.from_forecasts(observed, probability >= threshold)
print(counts)
print(f"TSS {counts.tss:.2f}, HSS {counts.hss:.2f}, ROC area {roc_area(observed, probability):.3f}")

# %%
# Intervals: whole regions drawn with replacement.

random = np.random.default_rng(0)
rows_of = [np.flatnonzero(test["region"].to_numpy() == name) for name in test["region"].unique()]
drawn = []
for _ in range(500):
    rows = np.concatenate([rows_of[one] for one in random.integers(len(rows_of), size=len(rows_of))])
    again = ContingencyTable.from_forecasts(observed[rows], probability[rows] >= threshold)
    drawn.append((again.tss, again.hss, brier_skill_score(observed[rows], probability[rows])))
values = np.array([counts.tss, counts.hss, brier_skill_score(observed, probability)])
low, high = np.percentile(drawn, [2.5, 97.5], axis=0)

curve = reliability(observed, probability, bins=10)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained", width_ratios=[3, 2])
left.plot([0, 1], [0, 1], color="gray", ls=":", label="perfectly reliable")
left.errorbar(curve.forecast, curve.frequency, yerr=curve.sigma, fmt="o-", capsize=3, label="regression")
left.axhline(observed.mean(), color="tab:orange", lw=1, label="climatology of the span")
left.set(xlabel="forecast probability", ylabel="observed frequency", title="Reliability, flares of class C and above")
left.legend()
right.errorbar(range(3), values, yerr=[values - low, high - values], fmt="o", capsize=6)
right.set(
    xticks=range(3),
    xticklabels=["TSS", "HSS", "BSS"],
    ylim=(0, 1),
    title="Scores with 95 % intervals",
    xlim=(-0.5, 2.5),
)
plt.show()
