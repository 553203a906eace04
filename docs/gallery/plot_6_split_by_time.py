"""
Split by time, never shuffled
=============================

Samples of a region a few hours apart are nearly equal. A shuffled split puts one into training and its neighbour into
the test, so that a model may remember instead of forecast. :func:`kflare.datasets.chronological_split` also drops
samples whose 24 hours reach into the next span.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.ensemble import RandomForestClassifier

from kflare.datasets import chronological_split
from kflare.flares import class_to_flux, region_flux
from kflare.synthetic.sun import SyntheticSun
from kflare.verification import best_threshold, tss

sun = SyntheticSun(datetime(2013, 1, 1, tzinfo=UTC), days=360, seed=4)
table = sun.region_table(sun.times(cadence_hours=6))
flares = sun.flares.table.assign(region=sun.flares.table["noaa"])
samples = pd.DataFrame({"time": table["time"], "region": table["noaa"]})
observed = region_flux(samples, flares) >= class_to_flux("C1.0")
split = chronological_split(
    table["time"], train_until=pd.Timestamp("2013-07-01", tz="UTC"), validate_until=pd.Timestamp("2013-09-15", tz="UTC")
)
dropped = ~(split.train | split.validation | split.test)
print({name: int(part.sum()) for name, part in split.parts().items()}, "dropped between:", int(dropped.sum()))

# %%
# The same forest, taught and tested by both splits; the threshold is chosen on each one's validation part.

columns = table[["AREA", "USFLUX", "MEANGBZ", "R_VALUE", "lon", "lat"]].to_numpy()
order = np.random.default_rng(0).permutation(len(table))
sizes = np.cumsum([part.sum() for part in split.parts().values()])
shuffled = [np.isin(np.arange(len(table)), part) for part in np.split(order, sizes)[:3]]


def score(train, validation, test):
    forest = RandomForestClassifier(200, random_state=0).fit(columns[train], observed[train])
    threshold, _ = best_threshold(observed[validation], forest.predict_proba(columns[validation])[:, 1])
    return tss(observed[test], forest.predict_proba(columns[test])[:, 1] >= threshold)


scores = {"shuffled": score(*shuffled), "by time": score(*split.parts().values())}
print(", ".join(f"{name}: TSS {value:.2f}" for name, value in scores.items()))

# %%
# What the shuffled split claims more is memory. An operational forecast will not have it.

colours = {"train": "tab:blue", "validation": "tab:orange", "test": "tab:green"}
figure, (upper, lower) = plt.subplots(2, 1, figsize=(9.5, 4.8), sharex=True, layout="constrained")
latitude = table["lat"].to_numpy()
for axes, parts, name in (
    (upper, dict(zip(colours, shuffled, strict=True)), "shuffled"),
    (lower, split.parts(), "by time"),
):
    colour = np.select(list(parts.values()), list(colours.values()), "lightgray")
    axes.scatter(table["time"], latitude, s=2, c=colour)
    axes.set(ylabel="latitude (degrees)", title=f"Samples of regions, {name}: TSS {scores[name]:.2f}")
for part, colour in colours.items():
    lower.scatter([], [], c=colour, label=part)
lower.legend(loc="lower left", ncols=3)
plt.show()
