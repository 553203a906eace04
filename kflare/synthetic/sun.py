"""The synthetic Sun: full-disk magnetograms, region tables and flare lists for the quickstart and the tests.

It exists so that everything can be tried without downloading a byte. Its regions follow Hale's and Joy's laws, the
measured differential rotation, and flare the more, the more opposite flux is pressed together at their polarity
inversion lines, so a forecast can be learned from it. It is a reconstruction in broad strokes, not a simulation: a
score obtained on it is a check of the programs, never a claim about skill on the real Sun.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from kflare.errors import SettingError
from kflare.flares.catalogue import FlareList
from kflare.io.arrays import Float32Array, Float64Array, IntArray
from kflare.observations.magnetogram import Magnetogram
from kflare.sharp.keywords import write_sharp_table
from kflare.sun.disk import Disk
from kflare.sun.times import in_utc, within
from kflare.synthetic.flares import simulate_flares
from kflare.synthetic.regions import LONGEST_LIFE_DAYS, Regions, days_to_times, emerge_regions, generator, times_to_days
from kflare.synthetic.sharp import SHARP_UNITS, patch_parameters
from kflare.synthetic.surface import DiskGrid, Network, disk_grid, paint

_FIRST_NOAA = 10001
_NOISE = 10.0  # gauss per pixel of a 1024² image (MDI's scale); larger pixels average it down, 5 G at 512²
_FORECAST_WINDOW = timedelta(days=1)
_TABLE_LONGITUDE = 70.0  # degrees: nearer to the limb SHARP parameters are not usable
_SMALLEST_FLUX = 5e20  # Mx, measured: less is no active region yet, or not any more


class SyntheticSun:
    """A seeded Sun over some days. The same seed is the same Sun on the same date, in whatever order it is asked.

    The observer is in the plane of the solar equator (B0 = 0, P = 0). `start` is aware; `days` at least 1, `seed` at
    least 0; `activity`, above 0, is the number of regions relative to a solar maximum; `belt` the mean unsigned
    latitude of emergence, degrees; `leading_north` the polarity of leading spots in the north, -1 as in even cycles
    (24), +1 as in odd ones (25). `SettingError`: out of its range.

    Attributes
    ----------
    start, end : datetime.datetime
        Time covered, UTC.
    regions : pandas.DataFrame
        One row per region that exists in that time, also on the far side, in order of emergence: `region`
        ("HARP 1", ...), `harpnum`, `noaa` (Int64, 10001, ...), `emergence` (datetime64[us, UTC]), `lat` and
        `carrington_lon` at emergence (degrees), `flux` (Mx, unsigned, at its largest), `tilt` (degrees, positive =
        leading polarity nearer to the equator), `leading` (+1 or -1), `separation` (degrees), `complexity` (0 to 1).
    flares : FlareList
        Flares from B5 to X10 on the visible hemisphere that start in [`start`, `end`).
    """

    def __init__(
        self, start: datetime, days: int, *, seed: int = 0, activity: float = 1.0, belt: float = 16.0,
        leading_north: int = -1
    ) -> None:  # fmt: skip
        if days < 1:
            raise SettingError(f"`days` must be at least 1, got {days}")
        if seed < 0:
            raise SettingError(f"`seed` must be at least 0, got {seed}")
        if not 0 < activity <= 10:
            raise SettingError(f"`activity` must be above 0 (1 = solar maximum) and at most 10, got {activity}")
        if not 2 <= belt <= 40:
            raise SettingError(f"`belt` must lie in [2, 40] degrees of latitude, got {belt}")
        if leading_north not in (-1, 1):
            raise SettingError(f"`leading_north` must be -1 (even cycles) or +1 (odd cycles), got {leading_north}")
        self.seed = seed
        self.start = in_utc(start, "start")
        self.end = self.start + timedelta(days=days)
        first, last = times_to_days(pd.DatetimeIndex([self.start, self.end]))
        days_of_birth = int(first - LONGEST_LIFE_DAYS), int(last)
        born = emerge_regions(*days_of_birth, seed=seed, activity=activity, belt=belt, leading_north=leading_north)
        self._born: Regions = born.take((born.born < last) & (born.born + LONGEST_LIFE_DAYS > first))
        self._network = Network(seed)
        self.regions = _tabulate(self._born)
        happened = simulate_flares(self._born, self.regions["noaa"].to_numpy(dtype=np.int64), seed=seed)
        happened = happened[within(happened["start"], self.start, self.end)]
        told = ((self.start - timedelta(days=1), self.end),)  # nothing flared before its first day
        self.flares = FlareList(happened, f"synthetic Sun, seed {seed}", told=told)

    def magnetogram(self, time: datetime, size: int = 512) -> Magnetogram:
        """Render the full disk, its radius 0.44 of the width: line-of-sight field, gauss, noise 10 G per 1024² pixel.

        SettingError if `time` is naive or not covered, or `size` is below 16.
        """
        if size < 16:
            raise SettingError(f"`size` must be at least 16 pixels, got {size}")
        day = float(self._covered(pd.DatetimeIndex([in_utc(time, "time")]))[0])
        grid = disk_grid(size)
        alive = self._born.take(self._born.flux_at(day) > 0)
        field, clumps = self._network.sample(grid, day)
        field += paint(grid, alive.patches_at(day), alive.longitude(day), alive.lat, clumps)
        data = self._measured(grid, field * grid.mu, round(day * 86400e6))
        disk = Disk(x=grid.centre, y=grid.centre, radius=grid.radius)
        return Magnetogram(data, time.astimezone(UTC), disk, instrument="synthetic", source=self.flares.source)

    def region_table(self, times: pd.DatetimeIndex | list[datetime]) -> pd.DataFrame:
        """SHARP parameters of every region within 70 degrees of the central meridian, one row per time and region.

        In the order of the (aware) times: `time` (datetime64[us, UTC]), `region` ("HARP 1"), `harpnum`, `noaa` (Int64;
        unlike a real one, a region keeps its numbers when it comes back after half a turn), `lon`, `lat` (degrees;
        central-meridian longitude, west positive), AREA (µHem), USFLUX (Mx), MEANGBZ (G/Mm) and R_VALUE (log10; 0
        without a strong polarity inversion line). SettingError if a time is naive or not covered.
        """
        times = pd.DatetimeIndex(times)
        days = self._covered(times)
        at, one = self._visible(days, _TABLE_LONGITUDE, _SMALLEST_FLUX)
        seen = self._born.take(one)
        table = self.regions[["region", "harpnum", "noaa"]].iloc[one].reset_index(drop=True)
        table.insert(0, "time", times.tz_convert("UTC").as_unit("us")[at])
        table["lon"], table["lat"] = seen.longitude(days[at]), seen.lat
        table = table.assign(**patch_parameters(seen.patches_at(days[at])))
        return table[table["USFLUX"] > _SMALLEST_FLUX].reset_index(drop=True)

    def times(self, cadence_hours: float = 24.0) -> pd.DatetimeIndex:
        """Times from `start` whose following 24 hours are covered by the flare list, datetime64[us, UTC]."""
        if not cadence_hours > 0:
            raise SettingError(f"`cadence_hours` must be above 0, got {cadence_hours}")
        step = pd.Timedelta(hours=cadence_hours)
        return pd.date_range(self.start, self.end - _FORECAST_WINDOW, freq=step, unit="us")

    def write(
        self, folder: str | Path, *, cadence_hours: float = 24.0, table_cadence_hours: float = 6.0, size: int = 512,
        byte_range: float = 100.0
    ) -> None:  # fmt: skip
        """Write an archive as it might be downloaded; only times whose next 24 hours the flare list covers.

        The folder, made if absent, gets `magnetograms/synthetic_YYYYMMDD_HHMMSS.jpg` (grey JPEG, quality 95, off disk
        0, `size` pixels wide and high, `byte_range` gauss = byte 255), `flares.csv` (start, peak, end, goes_class,
        noaa, lon, lat) and `regions.parquet` (as `region_table`, every `table_cadence_hours`; units in the schema's
        metadata). SettingError or DataError if a number is out of its range.
        """
        from PIL import Image
        from tqdm import tqdm

        folder = Path(folder)
        images = folder / "magnetograms"
        images.mkdir(parents=True, exist_ok=True)
        for time in tqdm(self.times(cadence_hours), unit="magnetogram", disable=None):
            pixels = self.magnetogram(time.to_pydatetime(), size).to_bytes(byte_range)
            Image.fromarray(pixels).save(images / f"synthetic_{time:%Y%m%d_%H%M%S}.jpg", quality=95)
        self.flares.write_csv(folder / "flares.csv")
        table = self.region_table(self.times(table_cadence_hours))
        table.attrs["units"] = {"lon": "degree", "lat": "degree", **SHARP_UNITS}
        write_sharp_table(table, folder / "regions.parquet")

    def _measured(self, grid: DiskGrid, field: Float32Array, number: int) -> Float32Array:
        """Image of the line-of-sight field on the disk, with the noise that belongs to a number; NaN off the disk."""
        random = generator(self.seed, "noise", grid.size, number)
        noise = np.float32(_NOISE * grid.size / 1024) * random.standard_normal(len(field), dtype=np.float32)
        image = np.full((grid.size, grid.size), np.nan, dtype=np.float32)
        image.ravel()[grid.index] = field + noise
        return image

    def _covered(self, times: pd.DatetimeIndex) -> Float64Array:
        """Day numbers of `times`, or SettingError."""
        if times.tz is None:
            raise SettingError("`times` must carry a time zone (UTC)")
        outside = (times < pd.Timestamp(self.start)) | (times > pd.Timestamp(self.end))
        if outside.any():
            rule = f"`times` must lie between {self.start:%FT%TZ} and {self.end:%FT%TZ}"
            raise SettingError(f"{rule}, got {times[outside][0]}")
        return times_to_days(times)

    def _visible(self, days: Float64Array, longitude: float, flux: float) -> tuple[IntArray, IntArray]:
        """Index of the time and of the region for each region above `flux` Mx and within `longitude`, by time."""
        seen = [
            np.flatnonzero((self._born.flux_at(day) > flux) & (np.abs(self._born.longitude(day)) <= longitude))
            for day in days
        ]
        at = np.repeat(np.arange(len(days)), [len(regions) for regions in seen])
        return at, np.concatenate([np.empty(0, dtype=np.int64), *seen])


def _tabulate(born: Regions) -> pd.DataFrame:
    """The public table of `SyntheticSun.regions`."""
    number = np.arange(1, len(born) + 1)
    # Mean Carrington longitude of the central meridian (Meeus 1998, Astronomical Algorithms, chapter 29); day 1 is
    # Julian date 1721425.5.
    turns = (born.born + 1721424.5 - 2398140.2270) / 27.2752316
    columns = {
        "region": pd.Series([f"HARP {n}" for n in number], dtype="str"), "harpnum": number,
        "noaa": pd.array(number + _FIRST_NOAA - 1, dtype="Int64"), "emergence": days_to_times(born.born),
        "lat": born.lat, "carrington_lon": (born.longitude0 - 360 * turns) % 360, "flux": born.flux, "tilt": born.tilt,
        "leading": born.leading.astype(np.int64), "separation": born.separation, "complexity": born.complexity,
    }  # fmt: skip
    return pd.DataFrame(columns)
