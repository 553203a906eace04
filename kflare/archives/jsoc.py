"""JSOC, the home of HMI, AIA and MDI data: records of a series in a window of time, and the files of a record.

Queries and exports are those of `drms.Client`, sent by `Web` (time-outs, retries, HTML with status 200 recognised).
Numbers in the answers are not converted by drms: drms 0.9 with pandas 3 turns hexadecimal ones (QUALITY) into NaN.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

import pandas as pd

from kflare.archives.web import NoAnswerError, NotFoundError, TransientError, Web, public_url
from kflare.errors import DataError, SettingError
from kflare.observations.quality import judge, judge_aia, parse_quality, policy_named
from kflare.sun.times import UNIT_SECONDS, parse_header_time, tai_from_utc, utc_from_tai

if TYPE_CHECKING:
    import drms

#: Where JSOC is.
JSOC_URL: Final = "http://jsoc.stanford.edu"
#: The internal server, for `aia.lev1_nrt2`; it asks for a name and password.
JSOC2_URL: Final = "http://jsoc2.stanford.edu"

_ALL = "**ALL**"
# What DRMS writes where it has no value, and no file on disk.
_NOTHING = frozenset({"", "MISSING", "Invalid KeyLink", "InvalidKeyname", "nan", "NaN", "-nan"})
_OFFLINE = frozenset({"", "NoDataDirectory", "NoDataFile", "InvalidSegName", "NA"})
# "Can't save new export-request hash" (sunpy/drms#56) and "has pending export requests" (sunpy/drms#59) pass.
_EXPORT_AGAIN = frozenset({4, 7})
_INTEGERS = frozenset({"char", "short", "int", "longlong"})
_REALS = frozenset({"float", "double"})


@dataclass(frozen=True)
class Record:
    """One record of a JSOC series."""

    name: str  # selects exactly this record, such as `hmi.M_720s[2026.01.01_00:00:00_TAI][3]`
    series: str
    time: datetime  # T_REC, or T_OBS where a series has no T_REC; aware, UTC
    quality: int | None  # QUALITY as a mask of 32 bits without sign; None if the series has none
    keywords: Mapping[str, str] = field(default_factory=dict)  # as JSOC writes them, without those that are missing
    segments: Mapping[str, str] = field(default_factory=dict)  # path on the server of each that was asked for


#: Gives a note on a record ("" for none), or raises DataError to refuse it.
QualityCheck = Callable[[Record], str]


def by_quality(policy: str = "default", *, instrument: str = "HMI") -> QualityCheck:
    """Check of QUALITY by a policy for HMI or MDI (`kflare.observations.quality`), and of MISSVALS where given."""
    chosen = policy_named(policy)
    if instrument == "AIA":  # its bits mean other things
        return lambda record: judge_aia(record.name, quality=record.quality)

    def check(one: Record) -> str:
        total, lost = pd.to_numeric([one.keywords.get(key) for key in ("TOTVALS", "MISSVALS")], errors="coerce")
        share = lost / total if 0 < lost <= total else 0.0
        return judge(one.name, policy=chosen, time=one.time, instrument=instrument, quality=one.quality, missing=share)

    return check


def newest(records: Iterable[Record], check: QualityCheck) -> tuple[list[tuple[Record, str]], list[str]]:
    """Records that pass a check, each with its note, newest first; and why others were refused."""
    good: list[tuple[Record, str]] = []
    refused: list[str] = []
    for record in sorted(records, key=lambda record: record.time, reverse=True):
        try:
            good.append((record, check(record)))
        except DataError as error:
            refused.append(str(error))
    return good, refused


def jsoc_time(time: datetime, *, clock: str = "TAI") -> str:
    """An aware time in JSOC's record sets: TAI for HMI and MDI (`2026.01.01_00:00:37_TAI` is 0 UT), UTC for AIA."""
    if clock == "UTC":
        return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tai_from_utc(time).strftime("%Y.%m.%d_%H:%M:%S_TAI")


def slot_length(series: str) -> timedelta:
    """The cadence that a slotted series has in its name, such as `hmi.M_720s`; SettingError if it has none."""
    named = re.search(r"_(\d+)([smhd])(?=_|$)", series)
    if named is None:
        raise SettingError(f"`series` must have its cadence in its name, such as hmi.M_720s, got {series!r}")
    return timedelta(seconds=int(named[1]) * UNIT_SECONDS[named[2]])


def slot_of(time: datetime, step: timedelta) -> datetime:
    """UTC of the slot that begins at or before an aware time; slots count from midnight TAI."""
    tai = tai_from_utc(time)
    midnight = tai.replace(hour=0, minute=0, second=0)
    return utc_from_tai(midnight + (tai - midnight) // step * step)


class Jsoc:
    """One JSOC server, or a mirror or NetDRMS site with the same interface; in `url` name and password may stand.

    With an `email` that is registered with JSOC files are requested by export (`url_quick`, as-is), which also brings
    data back from tape; without it only what is on JSOC's disks can be downloaded, as is everything near real time.
    """

    def __init__(self, web: Web, url: str = JSOC_URL, *, email: str | None = None) -> None:
        self.web = web
        self.url = url.rstrip("/") + "/"
        self.email = email

    @cached_property
    def client(self) -> "drms.Client":
        """The client of drms, whose queries are sent by `web`, with its time-outs and retries."""
        import drms
        from drms.config import ServerConfig
        from drms.json import HttpJsonClient

        web = self.web

        class Transport(HttpJsonClient):  # type: ignore[misc, unused-ignore]
            # drms opens URLs itself with a fixed time-out and takes any body for JSON (sunpy/drms#53).
            def _json_request(self, address: str) -> SimpleNamespace:
                data = web.json(address)
                # drms reads the records' names from an answer without records, too, and finds none there.
                if isinstance(data, dict) and data.get("count") == 0:
                    data.setdefault("recinfo", [])
                return SimpleNamespace(data=data)

        class Client(drms.Client):  # type: ignore[misc, unused-ignore]
            def __init__(self, server: ServerConfig) -> None:
                super().__init__(server)
                self._json = Transport(server)

        programs = {f"cgi_{name}": name for name in ("show_series", "jsoc_info", "jsoc_fetch")}
        programs |= {"cgi_baseurl": urljoin(self.url, "cgi-bin/ajax/"), "cgi_check_address": "checkAddress.sh"}
        return Client(ServerConfig(name="kflare", http_download_baseurl=self.url, **programs))

    def records(
        self, series: str, since: datetime, until: datetime, *, every: timedelta | None = None, before: str = "",
        where: str = "", clock: str = "TAI", keys: Sequence[str] | None = (), segments: Sequence[str] = ()
    ) -> list[Record]:  # fmt: skip
        """Records of a series such as `hmi.M_720s_nrt` in a window of time, both (aware) ends included, oldest first.

        `every` takes only the records at `since` and whole steps after it; `before` and `where` select further, before
        the time (such as "[]" where the first prime key is HARPNUM) and after it (such as `[? WAVELNTH = 131 ?]`). The
        `clock` of the series is "TAI" or "UTC", see `jsoc_time`. `keys` are wanted besides T_REC, T_OBS and
        QUALITY, None for all, `segments` are those whose paths are wanted. Records whose time is missing or outside the
        window, or whose QUALITY is unreadable, are left out. NoAnswerError: no answer; DataError: refused.
        """
        span = f"{jsoc_time(since, clock=clock)}-{jsoc_time(until, clock=clock)}"
        step = f"@{every.total_seconds():.0f}s" if every is not None else ""
        found = self._records(f"{series}{before}[{span}{step}]{where}", series, keys=keys, segments=segments)
        slack = timedelta(seconds=1)
        return [record for record in found if since - slack <= record.time <= until + slack]

    def record(self, name: str, *, segments: Sequence[str] = ()) -> Record:
        """One record by its name, with all keywords; NotFoundError if it is gone."""
        found = self._records(name, name.partition("[")[0], keys=None, segments=segments)
        if not found:
            raise NotFoundError(f"JSOC holds no `{name}` any more")
        return found[-1]

    def urls(self, record: Record, segments: Sequence[str]) -> dict[str, str]:
        """Where the files of a record can be downloaded from, by segment.

        NotFoundError if a segment is not on JSOC's disks or does not exist, NoAnswerError if JSOC gives no usable
        answer or does not finish the export in time, DataError if it refuses the export.
        """
        if self.email is not None:
            return self._export(record, segments, self.email)
        if offline := [name for name in segments if record.segments.get(name, "") in _OFFLINE]:
            fault = f"`{'`, `'.join(offline)}` of `{record.name}` is not on JSOC's disks"
            raise NotFoundError(f"{fault}; give a registered e-mail address, by which it is brought back from tape")
        return {name: self.url + record.segments[name].lstrip("/") for name in segments}

    def cards(self, record: Record) -> dict[str, object]:
        """Keywords of a record (from :meth:`record`) with their types, under their names in JSOC's FITS headers."""
        described = self._asked(lambda: self.client.info(record.series)).keywords
        kinds, notes = described["type"].to_dict(), described["note"].to_dict()
        cards: dict[str, object] = {}
        for name, text in record.keywords.items():
            # DRMS knows no "-" in names: DATE__OBS carries its FITS name in its note, "[DATE-OBS] ...".
            named = re.match(r"\s*\[([A-Z0-9_\-]{1,8})\]", str(notes.get(name) or ""))
            card = named[1] if named else name.upper()
            value = _typed(text, str(kinds.get(name, "string")))
            if value is not None and re.fullmatch(r"[A-Z0-9_\-]{1,8}", card):
                cards[card] = value
        if record.quality is not None:
            cards["QUALITY"] = record.quality
        return cards

    def _records(self, query: str, series: str, *, keys: Sequence[str] | None, segments: Sequence[str]) -> list[Record]:
        wanted = _ALL if keys is None else list(dict.fromkeys(("T_REC", "T_OBS", "QUALITY", *keys)))
        options = {"key": wanted, "seg": list(segments) or None, "convert_numeric": False, "rec_index": True}
        answer = self._asked(lambda: self.client.query(query, **options))
        table, paths = answer if segments else (answer, None)
        found = []
        for place, name in enumerate(table.index):
            texts = {str(key): str(value).strip() for key, value in table.iloc[place].items()}
            keywords = {key: text for key, text in texts.items() if text not in _NOTHING}
            where = {} if paths is None else {str(k): str(v).strip() for k, v in paths.iloc[place].items()}
            try:
                time = parse_header_time(keywords.get("T_REC", keywords.get("T_OBS", "")))
                quality = parse_quality(keywords.get("QUALITY"), source=str(name))
            except (ValueError, DataError):  # JSOC's "missing" time is a day of the year -4712
                continue
            if time is not None:
                found.append(Record(str(name), series, time, quality, keywords, where))
        return sorted(found, key=lambda record: record.time)

    def _export(self, record: Record, segments: Sequence[str], email: str) -> dict[str, str]:
        import drms

        selection = f"{record.name}{{{','.join(segments)}}}"
        retry = self.web.retry

        def requested(_: float) -> Any:
            request = self._asked(lambda: self.client.export(selection, email=email, filenamefmt=False))
            if int(request.status) in _EXPORT_AGAIN:
                try:
                    request.wait()  # raises at once what JSOC says
                except drms.DrmsExportError as error:
                    raise TransientError(f"JSOC does not export `{selection}`: {error}") from error
            return request

        try:
            request = self.web.with_retries(self.url, requested)
            if not self._asked(lambda: request.wait(timeout=retry.total, sleep=retry.poll)):
                raise NoAnswerError(f"JSOC did not finish the export of `{selection}` within {retry.total:g} s")
            listed = self._asked(lambda: request.urls)
        except drms.DrmsExportError as error:
            message = f"JSOC does not export `{selection}`: {error}"
            raise (NoAnswerError(message) if int(request.status) in _EXPORT_AGAIN else DataError(message)) from error
        found = {}
        for name, url in zip(listed["record"], listed["url"], strict=True):
            if str(url).rpartition("/")[2] in _OFFLINE:
                continue
            if not str(url).startswith(self.url):
                raise DataError(f"JSOC's export of `{record.name}` points to another server: `{public_url(str(url))}`")
            inside = re.search(r"\{([^{}]+)\}", str(name))
            found[inside[1].strip() if inside else segments[0]] = str(url)
        if absent := [name for name in segments if name not in found]:
            raise NotFoundError(f"JSOC's export of `{record.name}` holds no `{'`, `'.join(absent)}`")
        return {name: found[name] for name in segments}

    def _asked(self, question: Callable[[], Any]) -> Any:
        import drms

        try:
            return question()
        except drms.DrmsQueryError as error:
            raise DataError(f"JSOC refuses the query: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            # The answer was JSON but not of the form that drms expects.
            raise NoAnswerError(f"`{public_url(self.url)}` does not answer as JSOC does: {error!r}") from error


def _typed(text: str, kind: str) -> object:
    try:
        if kind in _INTEGERS:
            return int(text, 16) if text.lower().startswith("0x") else int(text)
        if kind in _REALS:
            number = float(text)
            return number if abs(number) < float("inf") else None
    except ValueError:
        return None
    return text if text.isascii() and text.isprintable() else None
