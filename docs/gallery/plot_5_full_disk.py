"""
The full disk from its regions
==============================

With regions taken as independent the probability of at least one flare on the disk is
:math:`P_{FD} = 1 - \\prod_i (1 - P_i)` (Nishizuka et al. 2021, section 3.1). It inherits the errors of all regions: if
each is forecast a third too high, the disk is, too.
"""

import numpy as np
from matplotlib import pyplot as plt

from kflare.errors import DataError
from kflare.serving import full_disk_probability

print(f"{full_disk_probability([0.30, 0.10, 0.05]):.4f} = 1 - 0.70 * 0.90 * 0.95")

# %%
# A region that was not measured has no probability. The disk has none then, too, instead of one that is too small.

try:
    full_disk_probability([0.30, np.nan])
except DataError as error:
    print(error)

# %%
# Equal regions of 2 % to 20 %, as they are and forecast a third too high.

numbers = np.arange(1, 16)
figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
for each, colour in ((0.02, "tab:blue"), (0.08, "tab:orange"), (0.20, "tab:red")):
    right = [full_disk_probability(np.full(number, each)) for number in numbers]
    wrong = [full_disk_probability(np.full(number, each * 4 / 3)) for number in numbers]
    axes.plot(numbers, right, "o-", color=colour, label=f"each region {each:.0%}")
    axes.plot(numbers, wrong, "--", color=colour)
    axes.fill_between(numbers, right, wrong, color=colour, alpha=0.15)
axes.plot([], [], "--", color="gray", label="each a third too high")
axes.set(xlabel="regions on the disk", ylabel="probability of the full disk", ylim=(0, 1), xlim=(1, 15))
axes.legend(loc="lower right")
plt.show()
