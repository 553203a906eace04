"""A whole world for the operational cycle: the synthetic Sun behind stand-ins for JSOC and SWPC, over real HTTP.

with World(sun, size=256) as world:
    settings = world.settings(tmp_path, server="127.0.0.1:8500")
    world.observe(issue - timedelta(hours=1))
    world.tell(issue)
"""

import copy
import io
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits

from kflare.operations.settings import (
    DataSettings,
    ForecastSettings,
    LedgerSettings,
    LogSettings,
    ScheduleSettings,
    ServerSettings,
    SiteSettings,
)
from kflare.sun.geometry import earth_at
from kflare.synthetic.files import swpc_probabilities
from kflare.synthetic.sun import SyntheticSun
from kflare.synthetic.surface import disk_grid
from tests.observation_sets import (
    surface,
    write_aia,
    write_los,
    write_regions_of_the_day,
    write_vector,
    xray_flux,
)
from tests.standin import HMI_KEYS, StandIn, slot

HOUR = timedelta(hours=1)
XRAYS = "/json/goes/primary/xrays-7-day.json"
FLARES = "/json/goes/primary/xray-flares-7-day.json"
EVENTS = "/json/edited_events.json"


_OBSERVED = {}  # records by what was to be seen


def rsga(issued, first, m, x):
    """The lines of a Report of Solar and Geophysical Activity that matter, as those of 1997 to 2024 have them."""
    return (
        f":Product: {issued:%m%d}RSGA.txt\n:Issued: {issued:%Y %b %d} 2200 UTC\n# Prepared jointly by NOAA\n"
        f"III.  Event probabilities {first:%d %b}-{first + 2 * timedelta(days=1):%d %b}\n"
        f"Class M    {m}\nClass X    {x}\nProton     05/05/05\nPCAF       green\n"
    )


class World(StandIn):
    """The synthetic Sun as JSOC and SWPC tell of it, as far as they have been told.

    Parameters
    ----------
    sun : SyntheticSun
        The truth.
    size : int
        Width and height of the images.
    """

    def __init__(self, sun: SyntheticSun, *, size: int = 256) -> None:
        super().__init__()
        self.sun, self.size = sun, size
        self.swpc = StandIn()  # another server than JSOC's: one may be down without the other
        self.classes: dict[pd.Timestamp, str] = {}  # classes as they are reported, where they are not the true ones
        self._grid = disk_grid(size)
        days = pd.date_range(sun.start, sun.end, freq="D", unit="us")
        self._regions = sun.region_table(days)

    def __enter__(self):
        self.swpc.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.swpc.__exit__(*error)

    def settings(self, folder: Path, *, server: str, ledger: str | None = None, **schedule: object) -> ForecastSettings:
        """Settings of a forecasting office that asks this world."""
        folder.mkdir(parents=True, exist_ok=True)
        write_regions_of_the_day(self._regions, folder / "srs.csv")
        return ForecastSettings(
            schedule=ScheduleSettings(**schedule),
            data=DataSettings(
                folder=folder / "data",
                jsoc_url=self.url,
                jsoc2_url=self.url,
                swpc_url=f"{self.swpc.url}/json/",
                regions_srs=folder / "srs.csv",
                timeout_seconds=2.0,
                file_minutes=0.2,
                attempts=2,
            ),
            server=ServerSettings(address=server, timeout_seconds=30.0),
            ledger=LedgerSettings(ledger or f"sqlite:///{folder / 'ledger.sqlite'}"),
            site=SiteSettings(folder=folder / "site", ccmc_folder=folder / "ccmc", csv_folder=folder / "csv"),
            log=LogSettings(str(folder / "events.log")),
        )

    def observe(self, time, *, quality=0x400, roll=180.0, without=(), seen=lambda image, _: image):
        """SDO observes at the HMI slot of a time: field, vector field, 131 and 1600 Å, and 131 Å in the hours before.

        `without` names kinds that are missing ("vector", "aia", "all"); `seen` alters the line-of-sight image, which it
        is given with the distance from the disk's centre in radii; `roll` is CROTA2.
        """
        time = slot(time)
        if "all" in without:
            return
        # Most tests look at the same Sun at the same time: it is made once.
        key = (self.sun, self.size, time, quality, roll, without, seen)
        if key not in _OBSERVED:
            before = len(self.records)
            self._observe(time, quality=quality, roll=roll, without=without, seen=seen)
            if len(_OBSERVED) == 8:
                del _OBSERVED[next(iter(_OBSERVED))]
            _OBSERVED[key] = self.records[before:]
            del self.records[before:]
        self.records += map(copy.copy, _OBSERVED[key])

    def _observe(self, time, *, quality, roll, without, seen):
        grid = self._grid
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            field, cutouts = surface(self.sun, grid, time)
            _, _, toward = field.seen(grid)
            image = np.full((self.size, self.size), np.nan, dtype=np.float32)
            image.ravel()[grid.index] = toward
            rows, columns = np.indices(image.shape)
            away = np.hypot(rows - grid.centre, columns - grid.centre) / grid.radius
            path = write_los(seen(image, away).astype(np.float32), time, folder)
            content, keywords = _content(path, roll)
            # From Earth, as the stand-in's own place is not; the synthetic Sun has no B0.
            from_earth = {"CRLN_OBS": earth_at(time).lon, "CRLT_OBS": 0.0}
            self.add_hmi("hmi.M_720s_nrt", time, quality=quality, content=content, **from_earth | keywords)
            white = np.where(np.isfinite(image), np.sqrt(np.clip(1 - away**2, 0, 1)), np.nan).astype(np.float32)
            content, keywords = _content(write_los(white, time, folder))
            self.add_hmi(
                "hmi.Ic_noLimbDark_720s_nrt",
                time,
                content=content,
                segment="continuum",
                **from_earth | keywords | {"CONTENT": "CONTINUUM INTENSITY"},
            )
            if "vector" not in without:
                self._add_harps(write_vector(field, grid, time, folder, cutouts=cutouts), time)
            if "aia" not in without:
                for hours, wavelengths in ((0, (131, 1600)), (1, (131,)), (2, (131,))):
                    for wavelength in wavelengths:
                        self._add_aia(time - hours * HOUR, wavelength, field.radial, folder)

    def tell(self, now, *, hole=timedelta(0)):
        """SWPC's feeds as of a moment; the X-ray flux lacks the last `hole`."""
        minutes = pd.date_range(now - timedelta(days=2), now - hole, freq="min", unit="us", inclusive="left")
        flux = xray_flux(self.sun.flares.table, minutes)
        self.swpc.feeds[XRAYS] = [
            {"time_tag": f"{time:%Y-%m-%dT%H:%M:%SZ}", "satellite": 18, "flux": float(value), "energy": "0.1-0.8nm"}
            for time, value in zip(minutes, flux, strict=True)
        ]
        table = self.sun.flares.table
        known = table[(table["end"] <= now) & (table["start"] >= now - timedelta(days=7))]
        self.swpc.feeds[FLARES] = [
            {
                "begin_time": f"{row.start:%Y-%m-%dT%H:%MZ}",
                "max_time": f"{row.peak:%Y-%m-%dT%H:%MZ}",
                "end_time": f"{row.end:%Y-%m-%dT%H:%MZ}",
                "max_class": self.classes.get(row.start, row.goes_class),
                "satellite": 18,
            }
            for row in known.itertuples()
        ]
        # The feed reaches back seven days, however young the Sun is: its first flare, a small one, says so.
        first = f"{now - timedelta(days=7) + timedelta(minutes=1):%Y-%m-%dT%H:%MZ}"
        small = {"begin_time": first, "max_time": first, "end_time": first, "max_class": "B1.0", "satellite": 18}
        self.swpc.feeds[FLARES].insert(0, small)
        self.swpc.feeds["/json/solar_probabilities.json"] = swpc_probabilities(table, now)
        # A forecaster has looked at what ended an hour ago: four digits of the region, and the start a minute off.
        self.swpc.feeds[EVENTS] = [
            {
                "begin_datetime": f"{row.start + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}",
                "max_datetime": f"{row.peak:%Y-%m-%dT%H:%M:%S}",
                "end_datetime": f"{row.end:%Y-%m-%dT%H:%M:%S}",
                "observatory": "G18",
                "type": "XRA",
                "particulars1": self.classes.get(row.start, row.goes_class),
                "region": None if pd.isna(row.noaa) else int(row.noaa) % 10_000,
            }
            for row in known[known["end"] <= now - HOUR].itertuples()
        ]

    def _add_harps(self, paths, time):
        parts: dict[int, dict[str, Path]] = {}
        for path in paths:
            harpnum, segment = int(path.name.split(".")[2]), path.name.split(".")[-2]
            parts.setdefault(harpnum, {})[segment] = path
        for harpnum, segments in parts.items():
            contents = {segment: _content(path) for segment, path in segments.items()}
            keywords = next(iter(contents.values()))[1]
            self.add(
                "hmi.bharp_720s_nrt",
                time,
                primes=("HARPNUM", "T_REC"),
                segments={segment: content for segment, (content, _) in contents.items()},
                **keywords | {"HARPNUM": harpnum},
            )

    def _add_aia(self, time, wavelength, radial, folder):
        path = write_aia(
            self._grid, radial, self.sun.flares.table, time, folder, wavelength=wavelength, seed=self.sun.seed
        )
        content, keywords = _content(path)
        self.add(
            "aia.lev1_nrt2",
            time,
            primes=("T_REC", str(wavelength)),
            segments={"image_lev1": content},
            quality=0x40000000,
            clock="UTC",
            **keywords | {"WAVELNTH": wavelength},
        )

    def forget(self, before):
        """Records of before a time are gone, as near-real-time data are after some days."""
        for record in self.records:
            if record.time < before:
                record.segments = dict.fromkeys(record.segments)


def limb_only(image, away):
    """A disk whose only regions cross the limb."""
    rows = np.abs(np.indices(image.shape)[0] / image.shape[0] - 0.5)
    return np.where((away > 0.93) & (away < 1) & (rows < 0.04), 600.0, np.clip(image, -20, 20))


def quiet(image, _):
    """A disk without active regions."""
    return np.clip(image, -20, 20)


def _content(path: Path, roll: float = 180.0) -> tuple[bytes, dict[str, object]]:
    """A file as JSOC has it, and what JSOC tells of it."""
    with fits.open(path) as hdus:
        header = hdus[-1].header
        if roll == 0.0:  # the same image the other way up
            header["CROTA2"] = roll
            hdus[-1].data = hdus[-1].data[::-1, ::-1]
        told = {
            key: header[key] for key, _, _ in HMI_KEYS if key in header and key not in ("T_REC", "T_OBS", "QUALITY")
        }
        out = io.BytesIO()
        hdus.writeto(out)
        return out.getvalue(), told
