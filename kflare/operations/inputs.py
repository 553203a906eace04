"""What a cycle looks at: the near-real-time set fetched, flares taken into the ledger, and a record of every input."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from pathlib import Path
from typing import Final

import pandas as pd

from kflare.archives.jsoc import Jsoc
from kflare.archives.near_real_time import fetch_nrt
from kflare.archives.near_real_time_data import FEED_REACH, FEEDS, SOURCES, NrtResult, NrtSet
from kflare.archives.web import RetryPolicy, Web
from kflare.datasets.region_features import TOLERANCES
from kflare.errors import DataError, KflareError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.merging import merge_flares
from kflare.flares.repairing import read_flares
from kflare.flares.srs import read_srs
from kflare.io.atomic import make_folder, write_whole
from kflare.io.passwords import without_passwords
from kflare.observations.sets import ObservationSet
from kflare.operations.forecast import InputRecord, InputStatus
from kflare.operations.ledger import Ledger
from kflare.operations.settings import DataSettings, ForecastSettings
from kflare.operations.swpc import FEED, SwpcForecast
from kflare.sun.times import HOUR
from kflare.xray.flux import XrayFlux, read_xray_flux

# A flare is in SWPC's feed once it has ended, and may be corrected for hours.
FLARE_LAG: Final = timedelta(hours=3)
# An image for "one hour before" may be this much later than that.
_LATER: Final = timedelta(minutes=10)
_NEAR: Final = timedelta(minutes=30)
# What the changes over so many hours compare with (`kflare/regions/*_features.csv`).
_EARLIER = {24: ("magnetogram", "vector_field", "aia_131", "aia_1600"), 12: ("magnetogram",), 2: ("magnetogram",)}
_Fetch = Callable[..., NrtSet]
_PRESENT: Final = timedelta(hours=3)


@dataclass(frozen=True)
class CycleInputs:
    """What there is to forecast from."""

    records: tuple[InputRecord, ...]  # every input and what became of it
    flares: NrtResult  # SWPC's feed
    events: NrtResult  # SWPC's other feed, which names the regions of flares
    observations: ObservationSet | None  # files of the magnetogram's time; None without a magnetogram
    files: Mapping[str, Path]  # image files by source name, for the pictures
    xray: XrayFlux | None
    srs: pd.DataFrame | None  # NOAA's regions, as from `read_srs`
    earlier: tuple[ObservationSet, ...] = ()
    """What was to be seen 24, 12 and 2 h before the magnetogram, where no cycle has measured it."""
    swpc: SwpcForecast | None = None
    """To compare with."""


def fetch_inputs(
    issue: datetime, settings: ForecastSettings, *, now: datetime, measured: Collection[datetime] = ()
) -> CycleInputs:
    """Fetch the near-real-time set of an issue time (paper 2, section 2.2); what could not be fetched is recorded.

    The changes of regions are over 2, 12 and 24 h: what was to be seen so long before the magnetogram is fetched too,
    unless that time is among those that former cycles have `measured` (aware).

    So is a folder that cannot be written to: without observations there are still the flares of the past.
    """
    data, schedule = settings.data, settings.schedule
    folder = data.issue_folder(issue)
    first, last = schedule.data_age_first_hours * HOUR, schedule.data_age_last_hours * HOUR
    with _web(settings) as web:
        servers = {"jsoc": Jsoc(web, data.jsoc_url), "jsoc2": Jsoc(web, data.jsoc2_url)}
        fetch = partial(fetch_nrt, folder=folder, servers=servers, web=web, now=now)
        try:
            make_folder(folder)
            found = fetch(issue, swpc_url=data.swpc_url, first=first, last=last, policy=data.quality)
        except (SettingError, OSError) as error:
            names = [*(source.name for source in SOURCES), *(feed.name for feed in FEEDS)]
            found = NrtSet(issue, tuple(NrtResult(name, "", issue, reason=str(error)) for name in names))
        seen = found["magnetogram"].time
        hot = [] if seen is None else [_before(issue, seen, hours, ("aia_131",), fetch)["aia_131"] for hours in (1, 2)]
        earlier = {} if seen is None else {
            hours: _before(issue, seen, hours, names, fetch)
            for hours, names in _EARLIER.items()
            if all(abs(seen - time - hours * HOUR) / HOUR > TOLERANCES[hours] / 60 for time in measured)
        }  # fmt: skip
        srs, region_record = _noaa_regions(issue, web, data)
        swpc, swpc_record = _swpc_forecast(issue, web, data, past=now - issue > _PRESENT)
    records = [_record(result, first) for result in found.results]
    # These are meant to be older, so their age is no blemish.
    records += [_record(result, first + hours * HOUR) for hours, result in enumerate(hot, 1)]
    records += [_record(result, first + hours * HOUR) for hours, one in earlier.items() for result in one.values()]
    records += [region_record, swpc_record]
    xrays = found["goes_xrays"].files
    xray = read_xray_flux(xrays[0]) if xrays else None  # `fetch_nrt` has read it
    files = {result.name: result.files[0] for result in found.results if len(result.files) == 1}
    observations = None if seen is None else _observation_set(seen, {one.name: one for one in found.results}, hot)
    before = [_observation_set(one["magnetogram"].time, one) for one in earlier.values() if one["magnetogram"].time]
    # They are published: without passwords, and without where the office keeps its files.
    told = []
    for one in records:
        note = without_passwords(one.note).replace(f"{data.folder}/", "")
        told.append(replace(one, record=without_passwords(one.record), note=note))
    feeds = found["goes_flares"], found["goes_events"]
    return CycleInputs(tuple(told), *feeds, observations, files, xray, srs, tuple(before), swpc)


def newest_measurement(settings: ForecastSettings) -> datetime | None:
    """Time of the newest X-ray flux that SWPC has now, whatever the clock says; None if it cannot be had."""
    with suppress(KflareError, OSError), _web(settings) as web, tempfile.TemporaryDirectory() as folder:
        text = web.text(f"{settings.data.swpc_url.rstrip('/')}/{FEEDS[0].path}")
        table = read_xray_flux(write_whole(Path(folder) / "xrays.json", text)).table
        # Ten minutes are no slip of one row.
        newest: datetime = table["time"][table["flux"].notna()].nlargest(10).min().to_pydatetime()
        return newest
    return None


def _web(settings: ForecastSettings) -> Web:
    data = settings.data
    return Web(RetryPolicy(read=data.timeout_seconds, total=60 * data.file_minutes, attempts=data.attempts))


def _observation_set(seen: datetime, found: Mapping[str, NrtResult], hot: Sequence[NrtResult] = ()) -> ObservationSet:
    """What was fetched by source, as the measurement takes it, with the images at 131 Å of one and two hours before.

    An image too far in time from its hour is none of it.
    """

    def image(result: NrtResult | None, hours: int) -> Path | None:
        if result is None or result.time is None or abs(seen - hours * HOUR - result.time) > _NEAR:
            return None
        return result.files[0]

    vector = found["vector_field"].records if "vector_field" in found else ()
    first, second = hot or (None, None)
    of_harp = {int(record.group): record.files for record in vector if record.group.isdecimal()}
    farthest = max((record.time for record in vector), key=lambda time: abs(time - seen), default=None)
    hottest = image(found.get("aia_131"), 0), image(first, 1), image(second, 2)
    aia_1600 = image(found.get("aia_1600"), 0)
    return ObservationSet(seen, found["magnetogram"].files[0], of_harp, farthest, aia_1600, hottest)


def record_feed_flares(
    inputs: CycleInputs, settings: ForecastSettings, ledger: Ledger, *, now: datetime
) -> dict[str, int]:
    """Put the flares of SWPC's feed into the ledger; counts as of `Ledger.record_flares`, none without a feed.

    The feed names no regions: those that SWPC's events or `data.flares` name are taken from there.
    """
    result = inputs.flares
    if result.time is None:
        return {}
    since, until = result.time - FEED_REACH + FLARE_LAG, result.time - FLARE_LAG
    try:
        flares = read_flares(result.files[0])
        # A feed cut short says nothing of the days before its first flare: what is known of them is not withdrawn.
        # Where none is known since the ledger was told last, it is not cut short: nothing flared.
        known = ledger.flares(since, first := flares.span[0])
        begun = [] if len(known.table) else [begin for begin, end in known.covered if end > since]
        since = max(since, min(first, *begun) if begun else first)
        lists = [*inputs.events.files, *([] if settings.data.flares is None else [settings.data.flares])]
        if flares.table["noaa"].isna().any():
            flares = reduce(_numbered, lists, flares)
    except DataError:  # `fetch_nrt` has read it: there is no flare in it
        flares = FlareList(ledger.flares(since, since).table, settings.data.swpc_url, {})
        if len(ledger.flares(since, until).table):
            return {}
    if since >= until:
        return {}
    source = without_passwords(settings.data.swpc_url)
    return ledger.record_flares(flares, since=since, until=until, source=source, recorded=now)


def _numbered(flares: FlareList, path: Path) -> FlareList:
    """The flares of a list with the regions that another one names, and no more flares; without it, as they were."""
    with suppress(KflareError):
        both = merge_flares(flares, read_flares(path)).table
        ours, every = (pd.MultiIndex.from_frame(of[["start", "goes_class"]]) for of in (flares.table, both))
        return replace(flares, table=both[every.isin(ours)])
    return flares


def delete_old_inputs(settings: ForecastSettings, *, now: datetime) -> list[Path]:
    """Delete the folders of issues older than `data.keep_days`; returns what was deleted."""
    gone = []
    for folder in sorted(settings.data.folder.glob("[0-9]" * 8 + "T" + "[0-9]" * 4 + "Z")):
        issue = datetime.strptime(f"{folder.name}+0000", "%Y%m%dT%H%MZ%z")
        if now - issue > timedelta(days=settings.data.keep_days):
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(folder)
    return gone


def _before(issue: datetime, seen: datetime, hours: int, names: Collection[str], fetch: _Fetch) -> dict[str, NrtResult]:
    """By source, what was to be seen some hours before the magnetogram, which features compare with."""
    # The newest record at or before this and within half an hour of the full hours.
    upto = seen - hours * HOUR + _LATER
    span = timedelta(minutes=40)
    sources = [replace(source, span=span) for source in SOURCES if source.name in names]
    found = fetch(upto, sources=sources, feeds=(), first=timedelta(0), last=span)
    return {one.name: replace(one, name=f"{one.name}_{hours}h_before", issue=issue) for one in found.results}


def _noaa_regions(issue: datetime, web: Web, data: DataSettings) -> tuple[pd.DataFrame | None, InputRecord]:
    name, source = "noaa_regions", data.srs_url if data.regions_srs is None else data.regions_srs.name
    try:
        path = data.regions_srs
        if path is None:
            path = write_whole(data.issue_folder(issue) / "srs.txt", web.text(data.srs_url))
        table = read_srs(path)
        past = table["time"][table["time"] <= issue]
        if past.empty:
            raise DataError(f"`{path.name}` holds no regions of before {issue:%FT%TZ}")
    except KflareError as error:
        return None, InputRecord(name, source, None, None, None, str(error), "missing")
    time = past.max().to_pydatetime().astimezone(UTC)
    age = (issue - time).total_seconds() / 3600
    # Positions are for 00 UT of each day: older than a day and a half they are not used.
    return table, InputRecord(name, source, time, round(age, 3), None, "", "ok" if age <= 36 else "stale")


def _swpc_forecast(
    issue: datetime, web: Web, data: DataSettings, *, past: bool
) -> tuple[SwpcForecast | None, InputRecord]:
    url, texts = f"{data.swpc_url.rstrip('/')}/{FEED}", data.swpc_texts
    name, source = "swpc_probabilities", FEED if texts is None else texts.name
    try:
        if texts is None and past:
            raise DataError("the feed tells of the present only: set `data.swpc_texts` to forecast the past")
        found = SwpcForecast.of_feed(web.text(url), issue) if texts is None else SwpcForecast.of_texts(texts, issue)
    except KflareError as error:
        why = str(error).replace(url, FEED)  # a page does not tell the addresses of the office's machines
        return None, InputRecord(name, source, None, None, None, why, "missing")
    age = (issue - found.first).total_seconds() / 3600
    return found, InputRecord(name, source, found.first, round(age, 3), None, "its first day; not used", "ok")


def _record(result: NrtResult, usual: timedelta) -> InputRecord:
    note = "; ".join((result.reason, *result.notes) if result.reason else result.notes)
    if result.time is None:
        return InputRecord(result.name, result.series, None, None, None, note, "missing")
    age = (result.issue - result.time).total_seconds() / 3600
    # A record of the window next to the wanted age is at most an hour older than that.
    stale = result.issue - result.time > usual + HOUR
    degraded = any(text.startswith("degraded") for text in result.notes)
    status: InputStatus = "stale" if stale else "degraded" if degraded else "ok"
    return InputRecord(result.name, result.series, result.time, round(age, 3), result.quality, note, status)


def past_flares(issue: datetime, settings: ForecastSettings, ledger: Ledger) -> FlareList | None:
    """A year of flares, from the ledger and before its time from `data.flares`; None if there are none."""
    since = issue - timedelta(days=366)
    flares = ledger.flares(since, issue).flare_list()
    if settings.data.flares is not None:
        flares = merge_flares(flares, read_flares(settings.data.flares).between(since, issue))
    return flares if len(flares) else None
