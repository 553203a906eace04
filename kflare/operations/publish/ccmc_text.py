"""CCMC Flare Scoreboard, text table. A cell that is not known is dashes, so that no column can slip."""

import re
from collections.abc import Mapping

from kflare.errors import DataError
from kflare.operations.forecast import utc_text
from kflare.operations.publish.ccmc_values import read_probability, read_time
from kflare.operations.publish.ccmc_xml import read_xml
from kflare.operations.publish.submission import Submission, SubmittedRegion

__all__ = ["plain_text", "read_text", "text_name"]

_UNKNOWN = "----"
_CLASSES = ("X", "M", "C")
_COLUMNS = " ".join(f"{name}_prob {name}_uncert {name}_Level" for name in _CLASSES)
_REGION_COLUMNS = 4


def text_name(submission: Submission) -> str:
    """File name that the scoreboard asks for: Flare_Forecast_modelname_yyyymmdd_hhmm.txt."""
    return f"Flare_Forecast_{submission.model}_{submission.issue:%Y%m%d_%H%M}.txt"


def plain_text(submission: Submission) -> str:
    """The submission as a text table; of several NOAA numbers of a region it takes the first."""
    classes = set(submission.full_disk).union(*(region.probability for region in submission.regions))
    hours = (submission.end - submission.start).total_seconds() / 3600
    lines = [
        f"Forecasting method: {submission.model}",
        f"Issue Time: {utc_text(submission.issue)}",
        f"Prediction Window Start Time: {utc_text(submission.start)}",
        f"Prediction Window End Time: {utc_text(submission.end)}",
        f"Probability Bins: {' '.join(f'{name}+' for name in sorted(classes))}",
        f"Input data: {submission.input_data or _UNKNOWN}",
        f"Prediction window (hours): {hours:g}",
        "#Full Disk Forecast",
        f"#{_COLUMNS}",
        _cells(submission.full_disk),
        "#Region Forecast",
        f"#Region Time Location NOAA {_COLUMNS}",
    ]
    for row, region in enumerate(submission.regions, start=1):
        number = row if region.number is None else region.number
        time = _UNKNOWN if region.time is None else utc_text(region.time)
        noaa = str(region.noaa[0]) if region.noaa else _UNKNOWN
        lines.append(f"{number} {time} {region.location or _UNKNOWN} {noaa} {_cells(region.probability)}")
    return "\n".join(lines) + "\n"


def read_text(text: str) -> Submission:
    """Read a submission in text; XML under a text file's name is read as what it is.

    Raises
    ------
    DataError
        It is none; names the line.
    """
    if text.lstrip().startswith("<"):
        return read_xml(text)
    head = {
        match[1].strip().lower(): match[2].strip()
        for match in re.finditer(r"(?m)^#?\s*([A-Za-z ()]+):[ \t]*(.*)$", text)
    }
    blocks = re.split(r"(?mi)^#?[ \t]*(full disk forecast|region forecast)[ \t]*$", text)
    tables = {name.lower(): rows.strip().splitlines() for name, rows in zip(blocks[1::2], blocks[2::2], strict=True)}
    try:
        disk = tables["full disk forecast"]
        columns, rows = disk[0].lstrip("# ").split(), disk[1:]
        found = tables.get("region forecast", [])
        return Submission(
            model=head["forecasting method"],
            issue=read_time(head["issue time"]),
            start=read_time(head["prediction window start time"]),
            end=read_time(head["prediction window end time"]),
            full_disk=_read_cells(columns, rows[0]),
            regions=tuple(_read_region(columns, row) for row in found if row.strip() and not row.startswith("#")),
            input_data=head.get("input data", ""),
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"no forecast submission in CCMC's text form: it lacks {error}") from error


def _cells(probability: Mapping[str, float]) -> str:
    cells = []
    for name in _CLASSES:
        cells += [f"{probability[name]:.4f}" if name in probability else _UNKNOWN, _UNKNOWN, _UNKNOWN]
    return " ".join(cells)


def _read_cells(columns: list[str], row: str) -> dict[str, float]:
    cells = row.split()
    if len(cells) != len(columns):
        raise DataError(f"a row of a submission must have {len(columns)} cells, got {len(cells)}: {row!r}")
    read = {
        name.removesuffix("_prob").upper(): read_probability(cell)
        for name, cell in zip(columns, cells, strict=True)
        if name.endswith("_prob")
    }
    return {name: read[name] for name in sorted(read) if read[name] is not None}  # type: ignore[misc]


def _read_region(columns: list[str], row: str) -> SubmittedRegion:
    cells = row.split()
    if len(cells) < _REGION_COLUMNS or not cells[0].isdigit():
        raise DataError(f"a region's row must begin with number, time, location and NOAA number, got {row!r}")
    number, time, location, noaa = cells[:_REGION_COLUMNS]
    return SubmittedRegion(
        _read_cells(columns, " ".join(cells[_REGION_COLUMNS:])),
        number=int(number),
        noaa=(int(noaa),) if noaa.isdigit() else (),
        location="" if location == _UNKNOWN else location,
        time=None if time == _UNKNOWN else read_time(time),
    )
