"""The kinds of data that a forecast is made from, near real time: which series and feeds, and how each is asked for.

Nishizuka et al. 2021, section 2.2: line-of-sight and vector magnetograms, white light, AIA 131, 193, 304 and 1600 Å and
GOES X-ray flux; here also the list of flares, for the history of each region.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from kflare.archives.jsoc import QualityCheck
from kflare.observations.quality import judge_aia
from kflare.sun.times import HOUR

__all__ = ["FEEDS", "FEED_REACH", "SOURCES", "Feed", "JsocSource"]


@dataclass(frozen=True)
class JsocSource:
    """One kind of data of JSOC."""

    name: str  # in results
    series: str
    segments: tuple[str, ...]  # files of each record
    server: str = "jsoc"  # or "jsoc2"
    clock: str = "TAI"  # time scale of T_REC: "TAI" for HMI, "UTC" for AIA
    before: str = ""  # as of `Jsoc.records`
    where: str = ""
    each: str = ""  # keyword of which every value has a newest record of its own (HARPNUM)
    span: timedelta = HOUR  # of a window; regions lag behind each other by up to 20 min, so theirs is longer
    #: Refuses records; None = by the HMI quality policy that `fetch_nrt` is given.
    check: QualityCheck | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Feed:
    """One kind of data of SWPC: a JSON file of the last seven days, always under the same name."""

    name: str  # in results
    path: str  # below SWPC's address
    measured: bool  # its newest time is the time of the data; not so of a list of flares, since none may have happened


def _aia(wavelength: int) -> JsocSource:
    return JsocSource(
        f"aia_{wavelength}",
        "aia.lev1_nrt2",
        ("image_lev1",),
        server="jsoc2",
        clock="UTC",
        where=f"[? WAVELNTH = {wavelength} ?]",
        # The bits of AIA's QUALITY mean other things than HMI's.
        check=lambda record: judge_aia(record.name, quality=record.quality),
    )


#: Paper, section 2.2. Its "ambig" is the segment `disambig` of JSOC; white light, which it took from jsoc2, is public.
SOURCES: Final = (
    JsocSource("magnetogram", "hmi.M_720s_nrt", ("magnetogram",)),
    JsocSource(
        "vector_field",
        "hmi.bharp_720s_nrt",
        ("field", "inclination", "azimuth", "disambig"),
        before="[]",
        each="HARPNUM",
        span=2 * HOUR,
    ),
    JsocSource("continuum", "hmi.Ic_noLimbDark_720s_nrt", ("continuum",)),
    *(_aia(wavelength) for wavelength in (131, 193, 304, 1600)),
)
#: How far back SWPC's feeds go.
FEED_REACH: Final = timedelta(days=7)
#: X-ray flux, and the flares before the forecast.
FEEDS: Final = (
    Feed("goes_xrays", "goes/primary/xrays-7-day.json", measured=True),
    Feed("goes_flares", "goes/primary/xray-flares-7-day.json", measured=False),
)
