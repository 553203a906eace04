"""CCMC Flare Scoreboard, XML in the manner of ISES: written with an escaper, read by defusedxml with entities off."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kflare.errors import DataError
from kflare.operations.forecast import utc_text
from kflare.operations.publish.ccmc_values import read_class, read_probability, read_time
from kflare.operations.publish.submission import Submission, SubmittedRegion

__all__ = ["read_xml", "xml_text"]

_NOAA, _HARP = "NOAA_AR_numbering_scheme", "HARP_numbering_scheme"


def xml_text(submission: Submission, *, plus: bool = True) -> str:
    """The submission as XML: one group for the full disk, one for each region; see `json_text` for `plus`."""
    message = ET.Element("message")
    forecast = ET.SubElement(message, "forecast")
    _add(forecast, "method", submission.model)
    _add(forecast, "issuetime", utc_text(submission.issue))
    window = ET.SubElement(forecast, "predictionwindow")
    _add(window, "starttime", utc_text(submission.start))
    _add(window, "endtime", utc_text(submission.end))
    _entries(_group(forecast, "Full Disk"), submission.full_disk, plus=plus)
    for region in submission.regions:
        group = _group(forecast, "Region")
        ids = [(_NOAA, number) for number in region.noaa] + [(_HARP, number) for number in region.harp]
        for scheme, number in ids or [("", 0)]:
            source = ET.SubElement(group, "sourceregion")
            if scheme:
                _add(source, "id", str(number)).set("scheme", scheme)
            if region.location and region.time is not None:
                _add(source, "location", region.location).set("time", utc_text(region.time))
        _entries(group, region.probability, plus=plus)
    ET.indent(message)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(message, encoding="unicode") + "\n"


def read_xml(text: str) -> Submission:
    """Read a submission in XML, also as the Met Office and SIDC write it (`begin`/`end`, `endttime`, "M" for "M+").

    Raises
    ------
    DataError
        It is none, or it brings entities or a document type.
    """
    try:
        root = fromstring(text.encode(), forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException) as error:
        raise DataError(f"no forecast submission in XML: {type(error).__name__} {error}") from error
    forecast = root if root.tag == "forecast" else root.find("forecast")
    if forecast is None:
        raise DataError(f"a submission in XML must hold a `forecast`, got <{root.tag}> without one")
    disk: dict[str, float] = {}
    regions = []
    for group in forecast.iterfind("group"):
        if (group.findtext("forecasttype") or "").strip().lower() == "region":
            regions += [_region(one) for one in group.findall("group") or [group]]
        else:
            disk |= _probabilities(group)
    return Submission(
        model=_text(forecast, "method"),
        issue=read_time(_text(forecast, "issuetime")),
        start=read_time(_text(forecast, "predictionwindow/starttime", "predictionwindow/begin")),
        end=read_time(
            # "endttime" is what Met Office and Solar Monitor have written.
            _text(forecast, "predictionwindow/endtime", "predictionwindow/end", "predictionwindow/endttime")
        ),
        full_disk=disk,
        regions=tuple(regions),
    )


def _add(parent: ET.Element, name: str, text: str) -> ET.Element:
    child = ET.SubElement(parent, name)
    child.text = text
    return child


def _group(forecast: ET.Element, kind: str) -> ET.Element:
    group = ET.SubElement(forecast, "group")
    _add(group, "forecasttype", kind)
    return group


def _entries(group: ET.Element, probability: Mapping[str, float], *, plus: bool) -> None:
    for name, p in probability.items():
        entry = ET.SubElement(group, "entry")
        ET.SubElement(entry, "fluxbin", name=f"{name}+" if plus else name)
        _add(ET.SubElement(entry, "probability"), "value", f"{p:.4f}")


def _text(element: ET.Element, *paths: str) -> str:
    for path in paths:
        text = (element.findtext(path) or "").strip()
        if text:
            return text
    raise DataError(f"a submission in XML must hold `{paths[0]}`, found none")


def _region(group: ET.Element) -> SubmittedRegion:
    numbers: dict[str, list[int]] = {_NOAA: [], _HARP: []}
    for one in group.iterfind("sourceregion/id"):
        if (one.get("scheme") or "") in numbers and (one.text or "").strip().isdigit():
            numbers[one.get("scheme") or ""].append(int(one.text or ""))
    place = group.find("sourceregion/location")
    seen = None if place is None else place.get("time")
    return SubmittedRegion(
        _probabilities(group),
        noaa=tuple(numbers[_NOAA]),
        harp=tuple(numbers[_HARP]),
        location="" if place is None else (place.text or "").strip(),
        time=None if seen is None else read_time(seen),
    )


def _probabilities(group: ET.Element) -> dict[str, float]:
    read = {}
    for entry in group.iterfind("entry"):
        flux = entry.find("fluxbin")
        p = read_probability(entry.findtext("probability/value") or entry.findtext("value"))
        if flux is not None and p is not None:
            read[read_class(flux.get("name") or "")] = p
    return read
