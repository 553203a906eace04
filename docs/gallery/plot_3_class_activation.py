"""
A model asked in process, and where it looked
=============================================

A published SavedModel needs no server: :class:`kflare.attribution.PublishedModel` opens it here. The class activation
map of all channels (CAM) adds up to the score, so that it says which part of the Sun the score is from. This is the
released ``cnn-c``, which learnt from the real Sun.
"""

from datetime import UTC, datetime

import numpy as np
from matplotlib import pyplot as plt

from kflare.attribution import PublishedModel
from kflare.models import released_models
from kflare.synthetic.sun import SyntheticSun

sun = SyntheticSun(datetime(2014, 2, 1, tzinfo=UTC), days=30, seed=4)
magnetogram = sun.magnetogram(datetime(2014, 2, 18, tzinfo=UTC), size=512)
model = PublishedModel.find(released_models() / "cnn-c")
ask = model.open()
answer = ask(magnetogram.data[np.newaxis, ..., np.newaxis])
print(
    f"calibrated probability {answer['calibrated'][0]:.0%}, network's score {100 * answer['probability'][0]:.0f} of 100"
)

# %%
# The last axis of a map is [no flare, flare]. What speaks for a flare is positive.

cam = answer["cam"][0, ..., 1]
print("shape of the map:", cam.shape)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4), layout="constrained")
left.imshow(magnetogram.data, cmap="gray", vmin=-200, vmax=200)
left.set(title="Magnetogram", xticks=[], yticks=[])
right.imshow(magnetogram.data, cmap="gray", vmin=-400, vmax=400)
limit = np.abs(cam).max() / 2
extent = (-0.5, 511.5, 511.5, -0.5)
shown = right.imshow(cam, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent, alpha=0.7)
right.set(title="CAM of the label “flare”", xticks=[], yticks=[])
figure.colorbar(shown, ax=right, label="part of the score", shrink=0.8)
plt.show()
