"""NOAA's archives: daily reports of events and regions, GOES X-ray flux, and SWPC's feeds of the last days."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kflare.archives.downloads import FileRequest, FileResult, failure
from kflare.archives.web import NoAnswerError, TransientError, Web

#: NOAA's archive, and where below it are the daily reports of edited events and of active regions, 1996 to now, and the
#: yearly ones of flares, 1975 to 2016 (that of 2015 was distributed again, with rows that had been missing).
NOAA_URL: Final = "https://www.ngdc.noaa.gov/stp/space-weather/"
_DAILY: Final = "swpc-products/daily_reports/"
_REPORTS: Final = {"events": f"{_DAILY}solar_event_reports", "SRS": f"{_DAILY}solar_region_summaries"}
_YEARLY: Final = "solar-data/solar-features/solar-flares/x-rays/goes/xrs/goes-xrs-report_"
_YEARS: Final = {**{year: f"{year}" for year in range(1975, 2017)}, 2015: "2015_modifiedreplacedmissingrows"}
#: SWPC's feeds.
SWPC_URL: Final = "https://services.swpc.noaa.gov/json/"
#: Feeds below it with the flares, and with the X-ray flux, of the last days.
FLARE_FEEDS: Final = ("edited_events.json", "goes/primary/xray-flares-7-day.json")
XRAY_FEEDS: Final = ("goes/primary/xrays-7-day.json",)


def find_reports(
    days: Sequence[datetime], folder: Path, *, kind: str = "events", url: str | None = None, base: str | None = None
) -> Iterator[FileRequest]:
    """NOAA's daily texts: edited events (`20150301events.txt`), or with the kind "SRS" the regions (`20150301SRS.txt`).

    `days` begin at 0 UT and are aware; below `url` are `YYYY/MM/YYYYMMDDKIND.txt`, by default the place of the kind
    in NOAA's archive, or in a mirror of it at `base`. `read_flares` and `read_srs` read a text, and the folder of them.
    """
    url = (url or f"{(base or NOAA_URL).rstrip('/')}/{_REPORTS[kind]}").rstrip("/")
    for day in days:
        name = f"{day:%Y%m%d}{kind}.txt"
        yield FileRequest(f"{url}/{day:%Y/%m}/{name}", folder / name, "text", kind, day, day)


def find_yearly(years: Iterable[int], folder: Path, *, base: str | None = None) -> Iterator[FileRequest]:
    """NOAA's yearly reports of GOES flares, with regions, of those of the years that have one (to 2016)."""
    for year in (year for year in years if year in _YEARS):
        name, begin = f"{_YEARLY}{_YEARS[year]}.txt", datetime(year, 1, 1, tzinfo=UTC)
        path = folder / name.rpartition("/")[2]
        yield FileRequest(f"{(base or NOAA_URL).rstrip('/')}/{name}", path, "text", "yearly report", begin, begin)


def find_feeds(names: Sequence[str], folder: Path, *, now: datetime, url: str = SWPC_URL) -> Iterator[FileRequest]:
    """SWPC's JSON feeds, paths below `url`, with the present in the name: `xrays-7-day_20260101T0312Z.json`."""
    for name in names:
        path = folder / f"{Path(name).stem}_{now:%Y%m%dT%H%MZ}.json"
        yield FileRequest(f"{url.rstrip('/')}/{name}", path, "JSON", Path(name).stem, now, now)


def find_xrs(
    web: Web, since: datetime, until: datetime, folder: Path, *, satellite: int | None = None, url: str | None = None
) -> Iterator[FileRequest | FileResult]:
    """One-minute averages of the GOES X-ray sensors, reprocessed ("science quality"), one netCDF file per day.

    sunpy's XRS client knows where they are: GOES-8 to 15 at NCEI, GOES-16 and later at NOAA's platform archive; `url`
    is the server of a mirror with the same paths. `since` and `until` are aware: days from the first to before the
    second. By default the highest `satellite` of the day: but for months of hand-over the primary one.
    """
    try:
        found = _found_by_sunpy(web, since, until, satellite, url)
    except NoAnswerError as error:
        yield failure(error, "xrs", asked=since)
        return
    day = since
    while day < until:
        if (best := max(found.get(f"{day:%Y%m%d}", []), default=None)) is None:
            yield FileResult("missing", "xrs", day, reason="NOAA's archive has no file of the day")
        else:
            number, address = best
            yield FileRequest(address, folder / address.rpartition("/")[2], "netCDF", f"xrs goes-{number}", day, day)
        day += timedelta(days=1)


def _found_by_sunpy(
    web: Web, since: datetime, until: datetime, satellite: int | None, url: str | None
) -> dict[str, list[tuple[int, str]]]:
    """Satellite number and address of each file, by its day."""
    from sunpy.net import attrs as a
    from sunpy.net.dataretriever.sources.goes import XRSClient

    client = XRSClient()
    if url is not None:
        for pattern in ("pattern_new", "pattern_r"):
            path = getattr(client, pattern).split("/", 3)[3]
            setattr(client, pattern, f"{url.rstrip('/')}/{path}")
    span = a.Time(since.replace(tzinfo=None), (until - timedelta(seconds=1)).replace(tzinfo=None))
    wanted = [span, a.Instrument("XRS"), a.Resolution("avg1m")]
    if satellite is not None:
        wanted.append(a.goes.SatelliteNumber(satellite))

    def search(_: float) -> Any:
        try:
            with _socket_timeout(web.retry.read):
                return client.search(*wanted)
        except OSError as error:
            raise TransientError(f"NOAA's X-ray archive gave no answer: {error}") from error

    found: dict[str, list[tuple[int, str]]] = {}
    for row in web.with_retries("/".join(client.pattern_r.split("/")[:3]), search):
        address = str(row["url"])
        number, _, rest = address.rpartition("_g")[2].partition("_d")
        if number.isdigit() and rest[:8].isdigit():
            found.setdefault(rest[:8], []).append((int(number), address))
    return found


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """For sunpy, which opens URLs without a time-out: new sockets of this process get this one meanwhile."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
