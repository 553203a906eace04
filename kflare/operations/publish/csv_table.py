"""The forecast as CSV: one row for the full disk, one for the full-disk network, one for each region."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from kflare.io.atomic import write_whole
from kflare.operations.forecast import FORECAST_CLASSES, Forecast, Probability, cycle_name, forecast_class
from kflare.operations.publish.publication import Publication
from kflare.operations.records import utc_text
from kflare.sun.disk import FULL_DISK

_KINDS = ("calibrated", "calibrated_lower", "calibrated_upper", "calibrated_text", "score")
_PROBABILITIES = tuple(f"{name}_{kind}" for name in FORECAST_CLASSES for kind in _KINDS)
_COLUMNS = (
    "cycle_id", "issue", "data_time", "window_start", "window_end", "rung", "scope", "number", "region", "noaa", "harp",
    "location", "lon", "lat", "status", *_PROBABILITIES, "forecast_class", "imputed", "recent_flares", "remarks",
    "mark", "score_mark",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def publish_csv(publication: Publication, folder: Path) -> None:
    """The publisher: one file for each forecast."""
    if isinstance(publication.cycle, Forecast):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"forecast_{cycle_name(publication.cycle.issue)}.csv", csv_text(publication.cycle))


def rows_of(forecast: Forecast) -> list[dict[str, str]]:
    """The rows as text by column, "" for what is not known; `scope` is "full disk", "full disk CNN" or "region"."""
    issue, start, end = (utc_text(time) for time in (forecast.issue, forecast.window_start, forecast.window_end))
    seen = "" if forecast.data_time is None else utc_text(forecast.data_time)
    common = {"cycle_id": forecast.cycle_id, "issue": issue, "data_time": seen}
    common |= {"window_start": start, "window_end": end, "rung": forecast.rung}
    marks = {"mark": forecast.mark or "", "score_mark": forecast.score_mark or ""}
    rows = [_row({**common, **marks, "scope": FULL_DISK, "remarks": "; ".join(forecast.remarks)}, forecast.full_disk)]
    if forecast.cnn:
        rows.append(_row({**common, "scope": "full disk CNN"}, forecast.cnn))
    for region in forecast.regions:
        own = {
            "scope": "region", "number": str(region.number), "region": region.region,
            "noaa": " ".join(map(str, region.noaa)), "harp": " ".join(map(str, region.harp)),
            "location": region.location, "lon": f"{region.lon:.2f}", "lat": f"{region.lat:.2f}",
            "status": region.status, "imputed": "" if region.imputed is None else str(region.imputed),
            "recent_flares": "; ".join(region.recent_flares), "remarks": "; ".join(region.remarks),
        }  # fmt: skip
        rows.append(_row({**common, **own}, region.probability))
    return rows


def csv_text(forecast: Forecast) -> str:
    """The forecast as CSV (RFC 4180, UTF-8, header row, "." for decimals); unknown cells are empty, never 0.

    A class has its calibrated probability (0 to 1) first, then the network's score (0 to 100). Text that a spreadsheet
    would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for row in rows_of(forecast):
        # Coordinates are numbers and may begin with a minus.
        formulas = {name for name, cell in row.items() if cell.startswith(_FORMULA)} - {"lon", "lat"}
        writer.writerow([f"'{row[name]}" if name in formulas else row[name] for name in _COLUMNS])
    return out.getvalue()


def _row(values: Mapping[str, str], probability: Mapping[str, Probability]) -> dict[str, str]:
    cells = dict.fromkeys(_COLUMNS, "") | dict(values)
    for name, one in probability.items():
        given = {kind: p for kind in _KINDS if kind != "calibrated_text" and (p := getattr(one, kind)) is not None}
        cells |= {f"{name}_{kind}": repr(p) for kind, p in given.items()}
        cells[f"{name}_calibrated_text"] = "" if one.calibrated is None else one.frequency
    cells["forecast_class"] = forecast_class(probability) or ""
    return cells
