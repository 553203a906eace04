"""NOAA's archives: daily event reports, GOES X-ray flux of the past, and SWPC's feeds of the last days."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from kflare.archives.downloads import Outcome, Wanted
from kflare.archives.web import NoAnswerError, Web

__all__ = ["EVENTS_URL", "FLARE_FEEDS", "SWPC_URL", "XRAY_FEEDS", "plan_events", "plan_feeds", "plan_xrs"]

#: NOAA's daily reports of edited events, 1996 to now.
EVENTS_URL: Final = "https://www.ngdc.noaa.gov/stp/space-weather/swpc-products/daily_reports/solar_event_reports/"
#: SWPC's feeds.
SWPC_URL: Final = "https://services.swpc.noaa.gov/json/"
#: Feeds below it with the flares, and with the X-ray flux, of the last days.
FLARE_FEEDS: Final = ("edited_events.json", "goes/primary/xray-flares-7-day.json")
XRAY_FEEDS: Final = ("goes/primary/xrays-7-day.json",)

_DAY = timedelta(days=1)


def plan_events(days: Sequence[datetime], folder: Path, *, url: str = EVENTS_URL) -> Iterator[Wanted]:
    """NOAA's edited events, one text file per day (`20150301events.txt`), which `read_flares` reads.

    Parameters
    ----------
    days : sequence of datetime.datetime
        Begin of each day, aware, UTC.
    folder : pathlib.Path
        Where to.
    url : str
        The archive; below it are `YYYY/MM/YYYYMMDDevents.txt`.
    """
    for day in days:
        name = f"{day:%Y%m%d}events.txt"
        yield Wanted(f"{url.rstrip('/')}/{day:%Y/%m}/{name}", folder / name, "text", "events", day, day)


def plan_feeds(names: Sequence[str], folder: Path, *, now: datetime, url: str = SWPC_URL) -> Iterator[Wanted]:
    """SWPC's JSON feeds as they are now, with the time of asking in the name: `xrays-7-day_20260101T0312Z.json`.

    Parameters
    ----------
    names : sequence of str
        Paths below `url`.
    folder : pathlib.Path
        Where to.
    now : datetime.datetime
        The present, aware, UTC.
    url : str
        Where the feeds are.
    """
    for name in names:
        path = folder / f"{Path(name).stem}_{now:%Y%m%dT%H%MZ}.json"
        yield Wanted(f"{url.rstrip('/')}/{name}", path, "JSON", Path(name).stem, now, now)


def plan_xrs(
    web: Web, since: datetime, until: datetime, folder: Path, *, satellite: int | None = None, url: str | None = None
) -> Iterator[Wanted | Outcome]:
    """One-minute averages of the GOES X-ray sensors, reprocessed ("science quality"), one netCDF file per day.

    sunpy's XRS client knows where they are: GOES-8 to 15 at NCEI, GOES-16 and later at NOAA's platform archive.

    Parameters
    ----------
    web : Web
        Its patience; sunpy asks by itself, under the same time-outs.
    since, until : datetime.datetime
        Aware; days from the first to before the second.
    folder : pathlib.Path
        Where to; files keep NOAA's names.
    satellite : int, optional
        GOES number. By default the highest that has the day, which is the primary one but for months of hand-over.
    url : str, optional
        Server of a mirror with the same paths, instead of NOAA's two.

    Yields
    ------
    Wanted or Outcome
        One per day.
    """
    try:
        found = _found_by_sunpy(web, since, until, satellite, url)
    except NoAnswerError as error:
        yield Outcome("missing", "xrs", since, reason=str(error), again=True)
        return
    day = since
    while day < until:
        best = max(found.get(f"{day:%Y%m%d}", []), default=None)
        if best is None:
            yield Outcome("missing", "xrs", day, reason="NOAA's archive has no file of the day")
        else:
            number, address = best
            yield Wanted(address, folder / address.rpartition("/")[2], "netCDF", f"xrs goes-{number}", day, day)
        day += _DAY


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
    patience = web.patience
    for attempt in range(1, patience.attempts + 1):
        try:
            with _socket_timeout(patience.read):
                table = client.search(*wanted)
            break
        except OSError as error:
            if attempt == patience.attempts:
                raise NoAnswerError(f"NOAA's X-ray archive gave no answer {attempt} times: {error}") from error
            web.pause(attempt)
    found: dict[str, list[tuple[int, str]]] = {}
    for row in table:
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
