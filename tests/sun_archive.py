"""The synthetic Sun as the archives of years would hold it, on the stand-in server: files are made when asked for.

`tools/synthetic_archive.py` runs it. Below its address are /soho (MDI's and HMI's JPEG), /events and /srs (NOAA's daily
texts, also below /noaa, as in its archive, with the yearly reports), /hek/her, NOAA's X-ray flux under its own paths,
and JSOC's programs with hmi.M_720s, hmi.B_720s, aia.lev1_uv_24s, aia.lev1_euv_12s, mdi.fd_M_96m_lev182 at every full
hour and hmi.sharp_cea_720s at every day's begin. As in the real ones some days have gaps: every 41st day has no image
at 00:00 but one at 22:24 of the day before; every 43rd has none, and records of HMI with a bad QUALITY.
"""

import io
import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
from PIL import Image

from kflare.synthetic.surface import disk_grid
from tests.observation_sets import surface, write_aia, write_los, write_vector, xray_flux
from tests.standin import StandIn, StoredRecord, encoded, leap_seconds, slot, tai_text, utc_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_MEMORY = 2**30
VECTOR = ("field", "inclination", "azimuth", "disambig")
# Slots of each series, its scale of time, segments and wavelengths.
SERIES = {
    "hmi.M_720s": (timedelta(minutes=12), "TAI", ("magnetogram",), (None,)),
    "hmi.B_720s": (timedelta(minutes=12), "TAI", VECTOR, (None,)),
    "mdi.fd_M_96m_lev182": (timedelta(minutes=96), "TAI", ("data",), (None,)),
    "aia.lev1_uv_24s": (timedelta(seconds=24), "UTC", ("image",), (1600, 1700)),
    "aia.lev1_euv_12s": (timedelta(seconds=12), "UTC", ("image",), (131, 193)),
    "hmi.sharp_cea_720s": (timedelta(minutes=12), "TAI", (), (None,)),
}
_SATELLITE = re.compile(r"(?:access/science/xrs/|goes/)goes(\d\d)/.*/(\d{4})/(\d\d)/(?:sci_.*_d(\d{8})_.*\.nc)?$")


class SunArchive(StandIn):
    """The archives of a synthetic Sun, of full disks of `size` pixels.

    GOES `satellite` measured the X-rays, on the first `xray_days` only if given. `observed` = (2, 90): JSOC has records
    of two days in every 90, and GOES of these and the day before, so that hourly features of many years cost no more
    than those of a few weeks.
    """

    def __init__(self, sun, *, size, satellite=15, xray_days=None, observed=(1, 1)):
        super().__init__()
        self.sun, self.size, self.satellite = sun, size, satellite
        self.observed = tuple(days * DAY for days in observed)
        self.xray_end = sun.end if xray_days is None else sun.start + xray_days * DAY
        # JSOC describes a series by one of its records.
        for name, (_, clock, segments, _) in SERIES.items():
            self.add(name, sun.start, primes=("T_REC",), segments=dict.fromkeys(segments), clock=clock)
        # Segments of one record are asked for one series after the other: what fits into a gigabyte is made once.
        kept = max(_MEMORY // (8 * size**2), 4)
        self.surface = lru_cache(maxsize=kept)(lambda utc: surface(sun, disk_grid(size), utc))
        self.written = lru_cache(maxsize=kept)(self.write)

    def covers(self, utc):
        return self.sun.start <= utc < self.sun.end

    def reply(self, address):
        path = urlsplit(address).path
        for kind, place in (("events", "solar_event_reports"), ("srs", "solar_region_summaries")):
            path = path.replace(f"/noaa/swpc-products/daily_reports/{place}/", f"/{kind}/")
        if found := re.fullmatch(r"/noaa/solar-data/.*/goes-xrs-report_(\d{4})\w*\.txt", path):
            text = self.yearly_report(int(found[1]))
            return (text.encode(), "text/plain", {}) if text else None
        if path == "/hek/her":
            return self.hek(parse_qs(urlsplit(address).query))
        if found := re.fullmatch(r"/soho/\d{4}/(\w+)/(\d{8})/(?:(\d{8}_\d{4})_\w+\.jpg)?", path):
            times = self.soho(found[1], datetime.strptime(found[2], "%Y%m%d").replace(tzinfo=UTC))
            if found[3]:
                return self.jpeg(datetime.strptime(found[3], "%Y%m%d_%H%M").replace(tzinfo=UTC)), "image/jpeg", {}
            return listing([f"{utc:%Y%m%d_%H%M}_{found[1]}_512.jpg" for utc in times]) if times else None
        if found := re.fullmatch(r"/(events|srs)/\d{4}/\d\d/(\d{8})(?:events|SRS)\.txt", path):
            day = datetime.strptime(found[2], "%Y%m%d").replace(tzinfo=UTC)
            text = {"events": self.events, "srs": self.regions}[found[1]](day) if self.covers(day) else None
            return None if text is None else (text.encode(), "text/plain", {})
        if found := _SATELLITE.search(path):
            first = datetime(int(found[2]), int(found[3]), 1, tzinfo=UTC)
            if int(found[1]) != self.satellite:
                return None
            if found[4]:
                return self.xrays(datetime.strptime(found[4], "%Y%m%d").replace(tzinfo=UTC)), "application/netcdf", {}
            days = [first + n * DAY for n in range(31) if (first + n * DAY).month == first.month]
            stem = f"sci_xrsf-l2-avg1m_g{self.satellite}"
            days = [day for day in days if self.sun.start <= day < self.xray_end]
            there = [day for day in days if self.measures(day) or self.measures(day + DAY)]
            return listing([f"{stem}_d{day:%Y%m%d}_v1-0-0.nc" for day in there])
        if path.startswith("/SUM/"):
            _, _, series, stamp, wavelength, segment = path.split("/")
            utc = datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
            return self.written(series, utc, int(wavelength))[segment.removesuffix(".fits")], "application/fits", {}
        return super().reply(address)

    def measures(self, utc):
        """Has JSOC records of this time?"""
        days, every = self.observed
        return self.covers(utc) and (utc - self.sun.start) % every < days

    # -- JPEG and texts --------------------------------------------------------------------------------------------

    def soho(self, product, day):
        """Times of the images of a day."""
        if not self.covers(day) or day.toordinal() % 43 == 0 or product not in {"mdimag", "hmimag"}:
            return []
        late = [day + timedelta(hours=22, minutes=24)] if (day + DAY).toordinal() % 41 == 0 else []
        return ([] if day.toordinal() % 41 == 0 else [day]) + late

    def jpeg(self, utc):
        stream, image = io.BytesIO(), self.sun.magnetogram(utc, self.size)
        # As noisy as the quiet Sun of MDI and HMI is, by which the scale of bytes is checked.
        noise = np.random.default_rng(int(utc.timestamp())).normal(0, 0.011 * self.size, image.data.shape)
        image = replace(image, data=image.data + noise.astype(np.float32))
        Image.fromarray(image.to_bytes(100.0)).save(stream, "JPEG", quality=90)
        return stream.getvalue()

    def events(self, day):
        table = self.sun.flares.table
        lines = [f":Product: {day:%Y%m%d}events.txt", f":Date: {day:%Y %m %d}", "#Event    Begin    Max       End"]
        # Flares are reported to the minute.
        for number, flare in enumerate(table[table["start"].dt.floor("D") == day].itertuples(), start=10):
            clocks = "   ".join(f"{clock:%H%M}" for clock in (flare.start, flare.peak, flare.end))
            region = "" if pd.isna(flare.noaa) else f"{flare.noaa % 10000:04d}"
            lines.append(f"{number:04d} +   {clocks}  G16  5   XRA  1-8A      {flare.goes_class}   1.0E-03   {region}")
        return "\n".join(lines) + "\n"

    def yearly_report(self, year):
        """NGDC's fixed columns: code and date, start, end and peak, class without its point, satellite, region."""
        table = self.sun.flares.table
        lines = []
        for flare in table[table["start"].dt.year == year].itertuples():
            clocks = "  ".join(f"{clock:%H%M}" for clock in (flare.start, flare.end, flare.peak))
            line = f"31777{flare.start:%y%m%d}  {clocks.replace('  ', ' ')}"
            letter, tenths = flare.goes_class[0], round(10 * float(flare.goes_class[1:]))
            line = f"{line:59}{letter}{tenths:4d}   G15 "
            lines.append(f"{line:79}{'' if pd.isna(flare.noaa) else flare.noaa}".rstrip())
        return "\n".join(lines)

    def hek(self, query):
        """The answer of the HEK to a question of flares, of SWPC alone."""
        begin, end = (pd.Timestamp(query[name][0], tz="UTC") for name in ("event_starttime", "event_endtime"))
        table = self.sun.flares.table
        rows = table[(table["start"] < end) & (table["end"] >= begin)]
        names = {"start": "event_starttime", "peak": "event_peaktime", "end": "event_endtime"}
        records = [
            {**{name: f"{getattr(row, of):%Y-%m-%dT%H:%M:00}" for of, name in names.items()}, "frm_name": "SWPC",
             "fl_goescls": row.goes_class, "hgs_x": 0, "hgs_y": 0,
             "ar_noaanum": 0 if pd.isna(row.noaa) else int(row.noaa)}
            for row in rows.itertuples()
        ]  # fmt: skip
        of_swpc = any("SWPC" in value for values in query.values() for value in values)
        return encoded({"overmax": False, "result": records if of_swpc else []})

    def regions(self, day):
        lines = [
            f":Product: {day:%m%d}SRS.txt", f":Issued: {day:%Y %b %d} 0030 UTC", "I.  Regions with Sunspots.",
            "Nmbr Location  Lo  Area  Z   LL   NN Mag Type",
        ]  # fmt: skip
        for row in self.sun.region_table([day]).itertuples():
            north, west = "S" if row.lat < 0 else "N", "E" if row.lon < 0 else "W"
            place = f"{north}{abs(round(row.lat)):02d}{west}{abs(round(row.lon)):02d}"
            lines.append(f"{row.noaa % 10000:04d} {place}     100  {round(row.AREA / 10):04d} Cao  08   05 Beta")
        return "\n".join([*lines, "IA. H-alpha Plages without Spots.", "II. Regions Due to Return", ""])

    def xrays(self, day):
        import h5py

        minutes = pd.date_range(day, periods=1440, freq="min", unit="us")
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            seconds = (minutes - pd.Timestamp("2000-01-01T12:00Z")) / pd.Timedelta(seconds=1)
            file["time"], file["xrsb_flux"] = seconds.to_numpy(), xray_flux(self.near(day), minutes)
            file["time"].attrs["units"] = "seconds since 2000-01-01 12:00:00 UTC"
            file["xrsb_flag"] = 0 * seconds.to_numpy("int32")
            file.attrs["platform"] = f"g{self.satellite}"
        return stream.getvalue()

    def near(self, day):
        table = self.sun.flares.table
        return table[(table["end"] > day - DAY) & (table["start"] < day + DAY + HOUR)]

    # -- JSOC ------------------------------------------------------------------------------------------------------

    def selected(self, text):
        series = re.match(r"[\w.]+", text)[0]
        if series not in SERIES:
            return None
        step, clock, segments, wavelengths = SERIES[series]
        if wanted := re.search(r"WAVELNTH\s*=\s*(\d+)", text):
            wavelengths = (int(wanted[1]),)
        if single := re.search(r"\[(\d{4}[\d.\-]+[_T][\d:]+(?:_TAI|Z))\](?:\[(\d+)\])?", text):
            times = [utc_of(single[1])]
            wavelengths = (int(single[2]),) if single[2] else wavelengths
        else:
            window = re.search(r"\[([^\[\]]+(?:_TAI|Z))-([^\[\]@]+)(?:@(\d+)s)?\]", text)
            since, until, every = utc_of(window[1]), utc_of(window[2]), int(window[3] or 0)
            hours = pd.date_range(since, until + 2 * HOUR, freq="h").floor("h").to_pydatetime()
            times = sorted({slot(hour, step) for hour in hours if self.measures(hour)})
            times = [utc for utc in times if since <= utc <= until]
            if every:  # counted without leap seconds
                first = since + leap_seconds(since)
                times = [utc for utc in times if not (utc + leap_seconds(utc) - first).total_seconds() % every]
        if series == "hmi.sharp_cea_720s":
            return [record for utc in times for record in self.sharps(series, utc)]
        return [self.record(series, utc, clock, segments, wave) for utc in times for wave in wavelengths]

    def record(self, series, utc, clock, segments, wavelength):
        text = tai_text(utc) if clock == "TAI" else f"{utc:%Y-%m-%dT%H:%M:%SZ}"
        bad = series.startswith("hmi") and (utc + HOUR).toordinal() % 43 == 0
        keywords = {"T_REC": text, "T_OBS": text, "QUALITY": "0x80000000" if bad else "0x00000000"}
        primes = (text,) if wavelength is None else (text, str(wavelength))
        return StoredRecord(series, utc, primes, keywords, dict.fromkeys(segments, b""))

    def sharps(self, series, utc):
        if (utc + HOUR).hour != 0 and utc.hour != 0:
            return []
        records = []
        for row in self.sun.region_table([utc]).itertuples():
            numbers = {"HARPNUM": row.harpnum, "NOAA_AR": row.noaa, "NOAA_ARS": row.noaa, "LON_FWT": row.lon}
            numbers |= {"LAT_FWT": row.lat, "USFLUX": row.USFLUX, "R_VALUE": row.R_VALUE, "AREA_ACR": row.AREA}
            keywords = {"T_REC": tai_text(utc), "QUALITY": "0x00000000"} | {key: str(v) for key, v in numbers.items()}
            records.append(StoredRecord(series, utc, (str(row.harpnum), tai_text(utc)), keywords, {}))
        return records

    def path_of(self, record, segment):
        wavelength = record.primes[1] if record.series.startswith("aia") else 0
        return f"/SUM/{record.series}/{record.time:%Y%m%dT%H%M%S}/{wavelength}/{segment}.fits"

    def write(self, series, utc, wavelength):
        """The files of a record by segment, with the header that a record's keywords leave as it is."""
        field, _ = self.surface(utc)
        grid = disk_grid(self.size)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            if wavelength:
                flares = self.near(utc)
                write_aia(grid, field.radial, flares, utc, folder, wavelength=wavelength, seed=self.sun.seed)
            elif series == "hmi.B_720s":
                write_vector(field, grid, utc, folder, cutouts=None)
            else:
                write_los(self.sun._measured(grid, field.seen(grid)[2], round(utc.timestamp() * 1e6)), utc, folder)
            found = {path.name.split(".")[-2]: path.read_bytes() for path in folder.iterdir()}
        return found if series == "hmi.B_720s" else dict.fromkeys(SERIES[series][2], *found.values())


def listing(names):
    return "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode(), "text/html", {}
