"""
A magnetogram and its polarity inversion lines
==============================================

Flares happen where strong fields of opposite polarity are pressed together. :func:`kflare.regions.polarity_lines` finds
these lines on a whole disk, the way in which the first paper's Table 2 is measured.
"""

from datetime import UTC, datetime

import numpy as np
from matplotlib import pyplot as plt
from scipy import ndimage

from kflare.regions import polarity_lines
from kflare.synthetic.sun import SyntheticSun

sun = SyntheticSun(datetime(2014, 2, 1, tzinfo=UTC), days=30, seed=4)
magnetogram = sun.magnetogram(datetime(2014, 2, 18, tzinfo=UTC), size=1024)
lines = polarity_lines(magnetogram.data, threshold=100.0)

# %%
# The whole disk in gauss, and beside it the place with most inversion lines within 40 pixels.

crowd = ndimage.uniform_filter(lines.inversion.astype(float), 40)
row, column = (int(place) for place in np.unravel_index(crowd.argmax(), crowd.shape))
window = (slice(row - 50, row + 50), slice(column - 50, column + 50))

figure, (whole, part) = plt.subplots(1, 2, figsize=(11, 5.4), layout="constrained")
shown = whole.imshow(magnetogram.data, cmap="gray", vmin=-200, vmax=200)
whole.add_patch(plt.Rectangle((column - 50, row - 50), 100, 100, fill=False, color="tab:orange", lw=1.5))
whole.set(title=f"Line-of-sight field, {magnetogram.time:%Y-%m-%d %H:%M} UT", xticks=[], yticks=[])
part.imshow(magnetogram.data[window], cmap="gray", vmin=-600, vmax=600)
part.contour(lines.boundary[window], [0.5], colors="tab:blue", linewidths=0.8)
part.contourf(lines.inversion[window], [0.5, 1.5], colors=["tab:red"], alpha=0.7)
part.set(title="Inversion lines (red), other edges of polarities (blue)", xticks=[], yticks=[])
figure.colorbar(shown, ax=whole, label="gauss", shrink=0.8)
plt.show()
