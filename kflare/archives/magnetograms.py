"""Image archives over years: which file stands for each time of a date range.

Each `find_...` yields, for one time after the other, a `FileRequest` or a `FileResult` that says why there is none, for
`kflare.archives.downloads.download_all`. The rule is that of Yi et al. 2021, section 2: the image at the time asked
for, else the nearest *earlier* one within a limit, never a later one. Times are aware.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from kflare.archives.downloads import FileRequest, FileResult, failure
from kflare.archives.jsoc import Jsoc, Record, by_quality, newest, slot_length, slot_of
from kflare.archives.record_headers import complete_header
from kflare.archives.web import NoAnswerError, NotFoundError, Web
from kflare.errors import DataError
from kflare.io.integrity import damage
from kflare.sun.times import in_hours, name_of_time, time_from_name

#: Helioviewer's API.
HELIOVIEWER_URL: Final = "https://api.helioviewer.org/v2/"
#: SOHO's image archive: magnetograms of MDI (`mdimag`) and HMI (`hmimag`) as JPEG, ±100 G (docs/science.md).
SOHO_URL: Final = "https://sohowww.nascom.nasa.gov/data/REPROCESSING/Completed/"

Found = FileRequest | FileResult
# Slots of one query, few enough that its answer with all keywords stays below 1 MB.
_TOGETHER = 30


def find_jsoc(
    jsoc: Jsoc, times: Sequence[datetime], folder: Path, *, series: str = "hmi.M_720s", segment: str = "magnetogram",
    within: timedelta = timedelta(hours=12), policy: str = "default", wavelength: int | None = None
) -> Iterator[Found]:  # fmt: skip
    """Images of a slotted JSOC series of the full disk, such as `hmi.M_720s`, `mdi.fd_M_96m_lev182`, `aia.lev1_uv_24s`.

    The record at or up to one slot before each of the `times` is the one of that time (00:00 UT is 00:00:37 TAI); where
    it is missing or refused, one that is up to `within` earlier stands in for it. `series` has its cadence in its name,
    of its files the `segment` is taken; records of HMI and MDI are refused by the quality `policy`
    (`kflare.observations.quality`). AIA's series, in UTC, have a record of each `wavelength` (Å).

    Files are named as JSOC names them, `hmi.M_720s.20131023_000000_TAI.magnetogram.fits`, those of AIA
    `aia.lev1_uv_24s.20131023T000025Z.1600.image.fits`.
    """
    check = by_quality(policy, instrument=series.partition(".")[0].upper())
    select: dict[str, Any] = {"segments": (segment,), "keys": None}
    if wavelength is not None:
        select |= {"where": f"[? WAVELNTH = {wavelength} ?]", "clock": "UTC"}
    step = slot_length(series)
    exact = {time: slot_of(time, step) for time in times}
    known: dict[datetime, Record] = {}
    queried: set[datetime] = set()

    def path(record_time: datetime) -> Path:
        name = name_of_time(record_time) if wavelength is None else f"{record_time:%Y%m%dT%H%M%SZ}.{wavelength}"
        return folder / f"{series}.{name}.{segment}.fits"

    def chosen(time: datetime) -> tuple[Record, str]:
        if time not in queried:
            together = _even_run(times[times.index(time) :], step)
            every = together[1] - together[0] if len(together) > 1 else None
            first, last = exact[together[0]], exact[together[-1]]
            found = jsoc.records(series, first, last, every=every, **select)
            known.update({record.time: record for record in found})
            queried.update(together)
        good, refused = newest([known[exact[time]]] if exact[time] in known else [], check)
        if not good and within > timedelta(0):
            found = jsoc.records(series, time - within, exact[time], **select)
            good, refused = newest(found, check)
        if not good:
            why = f"; newest: {refused[0]}" if refused else ""
            raise NotFoundError(f"no usable record of `{series}` up to {in_hours(within)} before{why}")
        return good[0]

    def ask(time: datetime) -> FileRequest:
        record, note = chosen(time)
        address = jsoc.urls(record, (segment,))[segment]
        finish = partial(complete_header, cards=jsoc.cards(record))
        return FileRequest(address, path(record.time), "FITS", series, record.time, time, note, finish=finish)

    for time in times:
        file = path(exact[time])
        if file.is_file() and damage(file, "FITS") is None:
            yield FileResult("already there", series, time, exact[time], file, size=file.stat().st_size)
        else:
            yield _requested(time, series, ask)


def find_helioviewer(
    web: Web, times: Sequence[datetime], folder: Path, *, url: str = HELIOVIEWER_URL, source: int = 19,
    within: timedelta = timedelta(hours=12)
) -> Iterator[Found]:  # fmt: skip
    """JPEG 2000 images of Helioviewer, named as there, never later ones and none from further back than `within`.

    `source` is Helioviewer's number of the image: 19 = HMI magnetogram, 18 = HMI continuum. Helioviewer itself gives
    the nearest image, however far away.
    """
    base = url.rstrip("/") + "/"
    label = f"helioviewer source {source}"
    product = {18: "HMI_continuum", 19: "HMI_magnetogram"}.get(source, f"source_{source}")

    def address(method: str, time: datetime) -> str:
        return f"{base}{method}/?{urlencode({'date': f'{time:%Y-%m-%dT%H:%M:%SZ}', 'sourceId': source})}"

    def closest(time: datetime) -> datetime:
        answer = web.json(address("getClosestImage", time))
        answer = answer.get("data", answer) if isinstance(answer, dict) else {}
        try:
            found = datetime.fromisoformat(str(answer["date"]).strip())
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"Helioviewer names no image but answers {str(answer)[:120]}") from error

    def ask(time: datetime) -> FileRequest:
        target = time
        found = closest(target)
        while found > time:
            # The nearest to `target` lies behind it, so there is none as near before it: look from there on.
            distance = found - target
            if (time - target) + distance > within:
                raise NotFoundError(f"no image up to {in_hours(within)} before, the next is of {found:%FT%TZ}")
            target -= distance
            found = closest(target)
        if time - found > within:
            raise NotFoundError(f"the nearest earlier image is of {found:%FT%TZ}, more than {in_hours(within)} before")
        path = folder / f"{found:%Y_%m_%d__%H_%M_%S}_000__SDO_HMI_{product}.jp2"
        return FileRequest(address("getJP2Image", found), path, "JP2", label, found, time, check=_names_time(found))

    for time in times:
        yield _requested(time, label, ask)


def find_soho(
    web: Web, times: Sequence[datetime], folder: Path, *, url: str = SOHO_URL, product: str = "mdimag",
    size: int = 512, within: timedelta = timedelta(hours=12)
) -> Iterator[Found]:  # fmt: skip
    """Magnetograms of SOHO's image archive as byte-scaled JPEG: the newest at or before each time.

    `product` is `mdimag`, or `hmimag` from 2011 on, `size` 512 or 1024 pixels; below `url` are
    `YYYY/PRODUCT/YYYYMMDD/`, each with a listing. Files keep their names, `20010311_0000_mdimag_512.jpg`.
    """
    base = url.rstrip("/") + "/"
    listed: dict[date, list[datetime]] = {}

    def images_of(day: date) -> list[datetime]:
        if day not in listed:
            try:
                text = web.text(f"{base}{day:%Y}/{product}/{day:%Y%m%d}/")
            except NotFoundError:
                text = ""
            stems = re.findall(rf"\b({day:%Y%m%d}_(?:[01]\d|2[0-3])[0-5]\d)_{re.escape(product)}_{size}\.jpg", text)
            listed[day] = sorted({datetime.strptime(stem, "%Y%m%d_%H%M").replace(tzinfo=UTC) for stem in stems})
        return listed[day]

    def ask(time: datetime) -> FileRequest:
        day = time.date()
        while day >= (time - within).date():
            if earlier := [found for found in images_of(day) if time - within <= found <= time]:
                name = f"{earlier[-1]:%Y%m%d_%H%M}_{product}_{size}.jpg"
                address = f"{base}{day:%Y}/{product}/{day:%Y%m%d}/{name}"
                return FileRequest(address, folder / name, "JPEG", product, earlier[-1], time)
            day -= timedelta(days=1)
        raise NotFoundError(f"no `{product}` image up to {in_hours(within)} before")

    for time in times:
        file = folder / f"{time:%Y%m%d_%H%M}_{product}_{size}.jpg"
        if file.is_file() and damage(file, "JPEG") is None:
            yield FileResult("already there", product, time, time, file, size=file.stat().st_size)
        else:
            yield _requested(time, product, ask)


def _requested(time: datetime, label: str, ask: Callable[[datetime], FileRequest]) -> Found:
    """What is to be downloaded for a time, or the reason why there is nothing."""
    try:
        return ask(time)
    except (DataError, NoAnswerError) as error:
        return failure(error, label, asked=time)


def _even_run(times: Sequence[datetime], step: timedelta) -> list[datetime]:
    """As many of the first times as one query can ask for: evenly spaced, in whole slots."""
    run = list(times[:2])
    if len(run) < 2 or (run[1] - run[0]) % step:
        return run[:1]
    for time in times[2:_TOGETHER]:
        if time - run[-1] != run[1] - run[0]:
            break
        run.append(time)
    return run


def _names_time(time: datetime) -> Callable[[dict[str, str]], str | None]:
    """Check of the file name that a reply suggests: Helioviewer may have got a nearer image in the meantime."""

    def check(headers: dict[str, str]) -> str | None:
        sent = time_from_name(headers.get("Content-Disposition", ""))
        if sent is None or abs(sent - time) <= timedelta(seconds=1):
            return None
        return f"it is the image of {sent:%FT%TZ}, not of {time:%FT%TZ}"

    return check
