"""
Regions found, and their features
=================================

Deep Flare Net begins with frames around all fields above 140 G. Each frame is put on a map of equal areas, where its
features are measured: areas and lengths are on the Sun, not in the image.
"""

from datetime import UTC, datetime

import pandas as pd
from matplotlib import pyplot as plt

from kflare.regions import cea_patch, detect_regions, line_of_sight_features
from kflare.synthetic.sun import SyntheticSun

sun = SyntheticSun(datetime(2014, 2, 1, tzinfo=UTC), days=30, seed=4)
magnetogram = sun.magnetogram(datetime(2014, 2, 18, tzinfo=UTC), size=1024)
detection = detect_regions(magnetogram)

figure, axes = plt.subplots(figsize=(6.5, 6.5), layout="constrained")
axes.imshow(magnetogram.data, cmap="gray", vmin=-200, vmax=200)
for region in detection.regions:
    colour = "tab:red" if region.status == "forecast" else "tab:gray"
    size = (region.x1 - region.x0, region.y1 - region.y0)
    axes.add_patch(plt.Rectangle((region.x0, region.y0), *size, fill=False, color=colour, lw=1.5))
    axes.text(region.x0, region.y0 - 6, region.number, color=colour, weight="bold")
axes.set(title="Regions; grey: at the limb, not forecast", xticks=[], yticks=[])
plt.show()

# %%
# Eleven of the 79 features are of the line-of-sight field. A feature that cannot be measured is NaN.

rows = {
    region.number: line_of_sight_features(cea_patch(magnetogram, region.box, geometry=detection.geometry))
    for region in detection.regions
    if region.status == "forecast"
}
features = pd.DataFrame(rows).T
print(features[["Area", "USflux", "TotNL", "NumNL", "MaxGraB"]].to_string(float_format="{:.3g}".format))
