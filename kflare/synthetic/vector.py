"""The vector field of the synthetic Sun: what its regions' radial field alone does not say.

The horizontal field of each flux patch is that of a magnetic charge below the surface, deep enough to give the patch
its width, so a region of several patches is sheared where they press together; then it is turned by an angle that
grows with the region's complexity and has the sign of its hemisphere (negative in the north), which makes vertical
currents and helicity. A reconstruction in broad strokes, as the rest of the synthetic Sun.
"""

from dataclasses import dataclass

import numpy as np

from kflare.io.arrays import Float64Array
from kflare.synthetic.regions import Patches
from kflare.synthetic.surface import Array32, DiskGrid

__all__ = ["SurfaceField", "horizontal_field"]

_TWIST = np.deg2rad(8.0), np.deg2rad(30.0)  # of a simple bipole, and what full complexity adds
# A Gaussian of width s and a charge at this depth times s have the same field at their centre: 2 π s² = 2 π d².
_DEPTH = 1.0


@dataclass(frozen=True, eq=False)
class SurfaceField:
    """Magnetic field at the surface, gauss, float32, shape (P,) each: towards west, north, and outward."""

    west: Array32
    north: Array32
    radial: Array32

    def seen(self, grid: DiskGrid) -> tuple[Array32, Array32, Array32]:
        """Components to the right, up, and towards the observer, for the orthographic view with B0 = 0, P = 0."""
        lon, lat = np.deg2rad(grid.lon).astype(np.float32), np.deg2rad(grid.lat).astype(np.float32)
        sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
        right = self.radial * cos_lat * sin_lon + self.west * cos_lon - self.north * sin_lat * sin_lon
        up = self.radial * sin_lat + self.north * cos_lat
        toward = self.radial * cos_lat * cos_lon - self.west * sin_lon - self.north * sin_lat * cos_lon
        return right, up, toward


def horizontal_field(
    grid: DiskGrid, patches: Patches, lon: Float64Array, lat: Float64Array, complexity: Float64Array
) -> tuple[Array32, Array32]:
    """Horizontal field of all regions towards west and north, gauss, float32, shape (P,) each; 0 outside of them."""
    west, north = np.zeros((2, len(grid.index)), dtype=np.float32)
    sigma, peak, reach = patches.seen(np.rad2deg(1 / grid.radius))
    turn = -np.sign(lat) * (_TWIST[0] + _TWIST[1] * complexity)
    for i in np.flatnonzero(np.abs(lon) < 90 + reach / np.cos(np.deg2rad(lat))):
        window, dx, dy = grid.near(lon[i], lat[i], reach[i])
        across, along = np.zeros((2, len(window)), dtype=np.float32)
        for k in range(peak.shape[1]):
            x, y, depth = dx - patches.x[i, k], dy - patches.y[i, k], _DEPTH * sigma[i, k]
            strength = (peak[i, k] * depth**2 * (x**2 + y**2 + depth**2) ** -1.5).astype(np.float32)
            across += strength * x
            along += strength * y
        # Fades to nothing at the edge of the region, where the radial field does.
        fade = np.clip(2 - 2 * np.hypot(dx, dy) / reach[i], 0, 1)
        cos, sin = np.cos(turn[i]) * fade, np.sin(turn[i]) * fade
        west[window] += (cos * across - sin * along).astype(np.float32)
        north[window] += (sin * across + cos * along).astype(np.float32)
    return west, north
