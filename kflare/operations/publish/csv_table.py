"""The forecast as CSV: one row for the full disk, one for the full-disk network, one for each region."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kflare.errors import DataError
from kflare.io.atomic import write_whole
from kflare.operations.forecast import THRESHOLDS, Forecast, Probability, forecast_class, utc_text

__all__ = ["Row", "csv_text", "read_csv", "rows_of", "write_csv"]

_PROBABILITIES = tuple(f"{name}_{kind}" for name in THRESHOLDS for kind in ("network", "calibrated"))
_COLUMNS = (
    "cycle_id", "issue", "data_time", "window_start", "window_end", "rung", "scope", "number", "region", "noaa", "harp",
    "location", "lon", "lat", "status", *_PROBABILITIES, "forecast_class", "imputed", "recent_flares", "remarks",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True)
class Row:
    """One row: `values` as text by column, "" for what is not known, and its probabilities by class."""

    values: Mapping[str, str]
    probability: Mapping[str, Probability]


def rows_of(forecast: Forecast) -> list[Row]:
    """The rows of a forecast; `scope` is "full disk", "full disk CNN" or "region"."""
    common = {
        "cycle_id": forecast.cycle_id,
        "issue": utc_text(forecast.issue),
        "data_time": "" if forecast.data_time is None else utc_text(forecast.data_time),
        "window_start": utc_text(forecast.window_start),
        "window_end": utc_text(forecast.window_end),
        "rung": forecast.rung,
    }
    rows = [_row({**common, "scope": "full disk", "remarks": _join(forecast.remarks)}, forecast.full_disk)]
    if forecast.cnn:
        rows.append(_row({**common, "scope": "full disk CNN"}, forecast.cnn))
    for region in forecast.regions:
        own = {
            "scope": "region",
            "number": str(region.number),
            "region": region.region,
            "noaa": " ".join(map(str, region.noaa)),
            "harp": " ".join(map(str, region.harp)),
            "location": region.location,
            "lon": f"{region.lon:.2f}",
            "lat": f"{region.lat:.2f}",
            "status": region.status,
            "imputed": "" if region.imputed is None else str(region.imputed),
            "recent_flares": _join(region.recent_flares),
            "remarks": _join(region.remarks),
        }
        rows.append(_row({**common, **own}, region.probability))
    return rows


def csv_text(forecast: Forecast) -> str:
    """The forecast as CSV (RFC 4180, UTF-8, header row, "." for decimals); unknown cells are empty, never 0.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, which `read_csv` takes away.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for row in rows_of(forecast):
        # Coordinates are numbers and may begin with a minus.
        writer.writerow([row.values[name] if name in ("lon", "lat") else _safe(row.values[name]) for name in _COLUMNS])
    return out.getvalue()


def write_csv(forecast: Forecast, path: Path) -> Path:
    """Write `csv_text` in one step; SettingError if the folder cannot be written to."""
    return write_whole(path, csv_text(forecast))


def read_csv(text: str) -> list[Row]:
    """Read what `csv_text` wrote.

    Raises
    ------
    DataError
        The columns are others, or a probability is none.
    """
    table = list(csv.reader(io.StringIO(text, newline="")))
    if not table or tuple(table[0]) != _COLUMNS:
        raise DataError(f"a forecast in CSV must have the columns {', '.join(_COLUMNS)}")
    rows = []
    for cells in table[1:]:
        if len(cells) != len(_COLUMNS):
            raise DataError(f"a row of a forecast in CSV must have {len(_COLUMNS)} cells, got {len(cells)}: {cells}")
        values = dict(zip(_COLUMNS, (cell.removeprefix("'") for cell in cells), strict=True))
        probability = {}
        for name in THRESHOLDS:
            network, calibrated = (_number(values[f"{name}_{kind}"]) for kind in ("network", "calibrated"))
            if network is not None or calibrated is not None:
                probability[name] = Probability(network, calibrated)
        rows.append(Row(values, probability))
    return rows


def _row(values: Mapping[str, str], probability: Mapping[str, Probability]) -> Row:
    cells = dict.fromkeys(_COLUMNS, "") | dict(values)
    for name, one in probability.items():
        cells[f"{name}_network"] = "" if one.network is None else repr(one.network)
        cells[f"{name}_calibrated"] = "" if one.calibrated is None else repr(one.calibrated)
    cells["forecast_class"] = forecast_class(probability) or ""
    return Row(cells, dict(probability))


def _join(texts: Sequence[str]) -> str:
    return "; ".join(texts)


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"a probability in CSV must be a number, got {text!r}") from error
