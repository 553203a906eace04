"""What a forecast is made from, near real time: the newest good data of every kind, or "no data" and why.

The rule is that of operational DeFN (Nishizuka et al. 2021, sections 2.2 and 3.2): data are wanted from one hour before
the forecast is issued, since HMI takes up to 90 min to process; where they are not there yet, older ones serve, down to
five hours before; then there are no data. Here each step back asks for a window of an hour and takes its newest good
record, since the newest record of all may be late, empty or taken in eclipse. Each kind of data is fetched on its own.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

from kflare.archives.downloads import FileRequest, FileResult, download, failure
from kflare.archives.jsoc import Jsoc, QualityCheck, Record, by_quality, newest
from kflare.archives.near_real_time_data import (
    FEED_REACH,
    FEEDS,
    SOURCES,
    Feed,
    NrtRecord,
    NrtResult,
    NrtSet,
    Source,
)  # fmt: skip
from kflare.archives.noaa import SWPC_URL
from kflare.archives.record_headers import complete_header
from kflare.archives.web import NoAnswerError, NotFoundError, StoppedError, Web
from kflare.errors import DataError, KflareError, SettingError
from kflare.flares.repairing import read_flares
from kflare.io.atomic import move_into_place
from kflare.io.integrity import damage
from kflare.sun.times import HOUR, in_hours, in_utc, name_of_time
from kflare.xray.flux import read_xray_flux

# Records of one window whose files are tried one after the other before the window is given up.
_TRIES = 3
# SWPC's flux is a few minutes behind; one that lags more was fetched too early.
_LAG = timedelta(minutes=15)


def fetch_nrt(
    issue: datetime, folder: Path, *, servers: Mapping[str, Jsoc], web: Web, swpc_url: str = SWPC_URL,
    sources: Sequence[Source] = SOURCES, feeds: Sequence[Feed] = FEEDS, first: timedelta = HOUR,
    last: timedelta = 5 * HOUR, policy: str = "default", now: datetime | None = None,
    done: Callable[[NrtResult], object] = lambda _: None
) -> NrtSet:  # fmt: skip
    """Fetch what a forecast is made from.

    For a forecast issued at `issue` (aware), into `folder`, where files that are there and whole are not fetched again.
    `servers` are "jsoc" and "jsoc2"; `web` and `swpc_url` serve for SWPC's feeds. Data are from `first` to `last` old
    at issue, HMI's judged by the quality `policy`. A feed that is fetched long after the issue, at `now` (aware), no
    longer reaches back to it. `done` is called with each result as it is there, such as to move a progress bar.

    Gives one result per source and feed, in their order; what could not be fetched is in it, not raised. SettingError
    if `issue` has no time zone, or `first` and `last` are not in order.
    """
    issue = in_utc(issue, "issue")
    if not timedelta(0) <= first < last:
        raise SettingError(f"`first` must be at least 0 and below `last`, got {first} and {last}")
    results = []
    for source in sources:
        check = source.check or by_quality(policy)
        results.append(_Search(source, servers[source.server], folder, check, issue, first, last).result())
        done(results[-1])
    for feed in feeds:
        results.append(_of_feed(feed, folder, web, url=swpc_url, issue=issue, last=last, now=now or datetime.now(UTC)))
        done(results[-1])
    return NrtSet(issue, tuple(results))


@dataclass
class _Search:
    """The search for one kind of data, window by window back in time."""

    source: Source
    jsoc: Jsoc
    folder: Path
    check: QualityCheck
    issue: datetime
    first: timedelta
    last: timedelta
    refused: str = ""  # why the newest record that was seen is not used
    notes: list[str] = field(default_factory=list)
    outcomes: list[FileResult] = field(default_factory=list)

    def result(self) -> NrtResult:
        """The newest good records with all their files, or the reason why there are none."""
        source = self.source
        try:
            for since, until in self._windows():
                if found := self._newest_of(since, until):
                    return self._result(found)
        except StoppedError:
            raise
        except KflareError as error:
            return self._result(reason=f"no answer: {error}" if isinstance(error, NoAnswerError) else str(error))
        span = f"{in_hours(self.first)} to {in_hours(self.last)} before issue"
        newest_one = self.refused and f"; newest: {self.refused}"
        return self._result(reason=f"`{source.series}` has no usable record from {span}{newest_one}")

    def _windows(self) -> Iterator[tuple[datetime, datetime]]:
        earliest = self.issue - self.last
        until = self.issue - self.first
        while until > earliest:
            yield max(until - self.source.span, earliest), until
            until -= HOUR

    def _newest_of(self, since: datetime, until: datetime) -> list[tuple[Record, dict[str, Path]]]:
        source = self.source
        keys = [source.each] if source.each else []
        records = self.jsoc.records(
            source.series, since, until, before=source.before, where=source.where, clock=source.clock,
            keys=[*keys, "TOTVALS", "MISSVALS"],
        )  # fmt: skip
        good, refused = newest(records, self.check)
        if refused:
            self.refused = self.refused or refused[0]
            self.notes.append(f"{len(refused)} records passed over, such as: {refused[0]}")
        groups: dict[str, list[tuple[Record, str]]] = {}
        for record, note in good:
            group = self._group(record)
            if group.isalnum() or not source.each:  # it becomes part of file names
                groups.setdefault(group, []).append((record, note))
        found = []
        for group, candidates in groups.items():
            if (one := self._first_whole(candidates)) is not None:
                found.append(one)
            elif group:
                self.notes.append(f"{source.each} {group} left out: {self.outcomes[-1].reason}")
        return found

    def _first_whole(self, candidates: Sequence[tuple[Record, str]]) -> tuple[Record, dict[str, Path]] | None:
        for record, note in candidates[:_TRIES]:
            outcomes = self._fetched(record, note)
            self.outcomes += outcomes
            paths = [outcome.path for outcome in outcomes if outcome.path is not None]
            if len(paths) == len(self.source.segments):
                if note:
                    self.notes.append(f"{record.name}: {note}")
                return record, dict(zip(self.source.segments, paths, strict=True))
            failed = next(outcome for outcome in outcomes if outcome.path is None)
            self.refused = self.refused or failed.reason
            self.notes.append(f"{record.name} could not be fetched: {failed.reason}")
        return None

    def _fetched(self, record: Record, note: str) -> list[FileResult]:
        """The files of a record; the first that fails is the last that is tried."""
        source = self.source
        told: dict[str, Any] = {"asked": self.issue, "time": record.time, "note": note}
        paths = {segment: self.folder / self._file_name(record, segment) for segment in source.segments}
        if all(path.is_file() and damage(path, "FITS") is None for path in paths.values()):
            return [
                FileResult("already there", source.name, path=path, size=path.stat().st_size, **told)
                for path in paths.values()
            ]
        try:
            whole = self.jsoc.record(record.name, segments=source.segments)
            urls = self.jsoc.urls(whole, source.segments)
            finish = partial(complete_header, cards=self.jsoc.cards(whole))
        except NotFoundError as error:
            return [failure(error, source.name, **told)]
        outcomes = []
        for segment, path in paths.items():
            request = FileRequest(urls[segment], path, "FITS", source.name, finish=finish, **told)
            outcomes.append(download(request, self.jsoc.web))
            if outcomes[-1].path is None:
                break
        return outcomes

    def _file_name(self, record: Record, segment: str) -> str:
        source = self.source
        time = f"{record.time:%Y%m%dT%H%M%SZ}" if source.clock == "UTC" else name_of_time(record.time)
        group = f".{record.keywords.get(source.each, '0')}" if source.each else ""
        channel = f".{source.name.removeprefix('aia_')}" if source.name.startswith("aia_") else ""
        return f"{source.series}{group}.{time}{channel}.{segment}.fits"

    def _result(self, found: Sequence[tuple[Record, Mapping[str, Path]]] = (), reason: str = "") -> NrtResult:
        masks = [record.quality for record, _ in found if record.quality is not None]
        quality = reduce(or_, masks) if masks else None
        records = tuple(NrtRecord(record.time, files, self._group(record)) for record, files in found)
        about, told = (self.source.name, self.source.series, self.issue), (tuple(self.notes), tuple(self.outcomes))
        return NrtResult(*about, records, quality, reason, *told)

    def _group(self, record: Record) -> str:
        return record.keywords.get(self.source.each, "") if self.source.each else ""


def _of_feed(
    feed: Feed, folder: Path, web: Web, *, url: str, issue: datetime, last: timedelta, now: datetime
) -> NrtResult:
    nothing = NrtResult(feed.name, feed.path, issue)
    path = folder / f"{feed.name}_{issue:%Y%m%dT%H%MZ}.json"
    request = FileRequest(f"{url.rstrip('/')}/{feed.path}", path, "JSON", feed.name, asked=issue)
    if not path.exists() and now - issue > FEED_REACH - last:
        return replace(nothing, reason=f"the feed goes back {FEED_REACH.days} days, not to the time of the forecast")
    try:
        outcome = download(request, web)
        if outcome.path is None:
            return replace(nothing, reason=outcome.reason, outcomes=(outcome,))
    except DataError as error:  # no room for it
        return replace(nothing, reason=str(error))
    try:
        time = _covered_until(feed, path, issue, now)
        if outcome.status == "already there" and issue - time > _LAG:
            # Fetched for this issue before its time: the feed has gone on since.
            fresh = download(replace(request, path=path.with_suffix(".new.json")), web)
            if fresh.path is not None:
                move_into_place(fresh.path, path)
                outcome, time = replace(fresh, path=path), _covered_until(feed, path, issue, now)
    except DataError as error:
        path.unlink()  # JSON, but no data: the next run asks again
        return replace(nothing, reason=str(error), outcomes=(outcome,))
    if issue - time > last:
        reason = f"the newest measurement before issue is of {time:%FT%TZ}, more than {in_hours(last)} before"
        return replace(nothing, reason=reason, outcomes=(outcome,))
    return replace(nothing, records=(NrtRecord(time, {"": path}),), outcomes=(outcome,))


def _covered_until(feed: Feed, path: Path, issue: datetime, now: datetime) -> datetime:
    """Up to when a feed covers what happened: the newest minute with a flux before the issue; for flares the issue."""
    if not feed.measured:
        if json.loads(path.read_bytes()) != []:  # no flare in all its days is an answer
            read_flares(path)
        return min(issue, now)
    table = read_xray_flux(path).table
    times = table["time"][table["flux"].notna() & (table["time"] < issue)]
    if times.empty:
        raise DataError(f"`{path.name}` holds no measurement before {issue:%FT%TZ}")
    last: datetime = times.iloc[-1].to_pydatetime()
    return last
