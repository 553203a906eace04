"""Tables of forecasts: reading them, refusing what cannot be scored, and finding the samples that all methods share.

Long form: one row per time, method and region, with the columns `time` (or `valid_date`), `probability`, `observed`,
and optionally `method` and `region`. Wide form: one row per time (and region), `observed`, and a column per method.
Both may have columns `span`, such as validation or test, and `instrument`. An empty probability is a forecast that was
not issued, an empty `observed` an outcome that is not known yet.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.table_file import read_table
from kflare.verification.samples import Outcomes, Probabilities, probability_advice

_ZONE: Final = re.compile(r"[T ]\d.*?(Z|[+-]\d\d(?::?\d\d)?)$")
#: How JSON, XML and text begin.
_SUBMISSION: Final = re.compile(r"""\s*(\{"?|<\?xml|<message|<forecast|#?\s*forecasting method\s*:)""", re.IGNORECASE)
_MISSING: Final = ("", "nan", "na", "none", "null", "<na>", "nat")
_ONE_METHOD: Final = "probability"  # the name of its column, as in a wide table
_KEYS: Final = ("time", "region", "span", "instrument", "observed")


@dataclass(frozen=True)
class ForecastTable:
    """Forecasts of all methods for the same N samples, in arrays of shape (N,), and what was observed."""

    time: npt.NDArray[np.datetime64]  # datetime64[us]: begin of each forecast window, UTC, rising
    region: npt.NDArray[np.str_] | None  # None for forecasts of the full disk
    instrument: npt.NDArray[np.str_] | None  # what each image is of; None where the table does not say
    observed: Outcomes
    probability: Mapping[str, Probabilities]  # by method
    missing: Mapping[str, int]  # by method: forecasts not issued, of the samples with a known outcome
    history: tuple[npt.NDArray[np.datetime64], Outcomes]  # times and all known outcomes, for the climatology
    notes: tuple[str, ...]  # what was left out or filled in, for the report

    def shortest_step_hours(self) -> float:
        """Shortest time from one forecast to the next one (of the same region), in hours; inf for a single one."""
        order = np.arange(len(self.time)) if self.region is None else np.argsort(self.region, kind="stable")
        steps = np.diff(self.time[order]) / np.timedelta64(1, "h")
        if self.region is not None:
            steps = steps[self.region[order][1:] == self.region[order][:-1]]
        return float(np.min(steps, initial=np.inf))


def read_forecasts(path: Path, *, methods: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of forecasts (Parquet or CSV) in long or wide form, into the long one; `forecast_table` checks it.

    `methods` are those to keep, in a wide table the columns that hold their probabilities; () keeps all of a long
    table. DataError: no such file, unreadable, empty, or a column or method is missing.
    """
    path = Path(path)
    # All as text: a method named NA is a method, and what is no number gets a message that names its row.
    table = read_table(path, "table of forecasts", dtype=str, keep_default_na=False)
    if _SUBMISSION.match(str(table.columns[0])):
        fault = f"{path} is a submission to CCMC's scoreboard, which holds no outcomes"
        raise DataError(f"{fault}: write a table with `time`, `probability` and `observed`, a row for each submission")
    if "valid_date" in table and "time" not in table:
        table = table.rename(columns={"valid_date": "time"})
    if methods and "method" not in table:
        if absent := [name for name in ("time", "observed") if name not in table]:
            raise DataError(f"{path} lacks the column `{absent[0]}`: it has {_columns(table)}")
        keys = [name for name in _KEYS if name in table]
        values = table.columns.difference(keys, sort=False)  # of a run, one is named `probability`
        table = table.melt(keys, values, "method", "value").rename(columns={"value": "probability"})
    return of_methods(table, methods)


def forecast_table(
    frame: pd.DataFrame, *, missing: Literal["exclude", "zero"] = "exclude", percent: bool = False, span: str = "",
    since: datetime | None = None, until: datetime | None = None,
) -> ForecastTable:  # fmt: skip
    """Check a table of forecasts, and find the samples on which all methods can be compared.

    The `frame` is of long form: `time`, `probability`, `observed`, optionally `method`, `region`, `span` and
    `instrument`. Times without a zone are UTC; with `percent` the probabilities are percentages. A table with spans is
    scored by one, `span`, as several are not pooled; of samples only those of since <= time < until (aware), while
    outcomes of before still tell the trailing climatology.

    Of a forecast that was not issued ("exclude") the sample is left out for every method, or ("zero") it counts as
    probability 0, as in the comparison of Leka et al. 2019 [S]; another `missing` raises SettingError.

    DataError: a row that cannot be scored, one that occurs twice, methods that disagree about an outcome, no sample
    left, or a method whose probabilities are only the whole numbers 0 and 1, which may be percentages. With "zero" also
    where a method lacks rows that another has: absent rows are other samples, not forecasts that were not issued.
    """
    if missing not in ("exclude", "zero"):
        raise SettingError(f'`missing` must be "exclude" or "zero", got "{missing}"')
    for name in ("time", "probability", "observed"):
        if name not in frame:
            hint = "; name the columns of a wide table as its methods" if name == "probability" else ""
            raise DataError(f"the table of forecasts lacks the column `{name}`: it has {_columns(frame)}{hint}")
    if frame.empty:
        raise DataError("the table of forecasts holds no rows")
    frame = frame.reset_index(drop=True)
    frame = frame.assign(time=_utc(frame["time"]))
    inside, told = _inside(frame, span, since, until)
    named = {"region": "", "instrument": "", "method": _ONE_METHOD}
    texts = {name: _names(frame, name, default) for name, default in named.items()}
    numbers = {name: _numbers(frame[name], name) for name in ("probability", "observed")}
    spans = {"span": frame["span"].astype(str)} if "span" in frame else {}
    rows = pd.DataFrame({"time": frame["time"], **texts, **numbers, **spans})
    if percent:
        rows["probability"] /= 100
    else:
        _check_whole_numbers(frame["probability"], rows["method"])
    _check_rows(rows, percent=percent)
    sample = ["time", "region"]
    notes = [told] if told else []
    rows["observed"] = rows.groupby(sample)["observed"].transform("first")
    known = rows.groupby(sample)["observed"].first().dropna()
    rows = rows[inside]
    unknown = rows["observed"].isna()
    if unknown.all():
        raise DataError("`observed` is empty in every row: there is no outcome to verify against yet")
    if unknown.any():
        count = len(rows.loc[unknown, sample].drop_duplicates())
        notes.append(f"Samples left out because their outcome is not known: {count}.")
    rows = rows[~unknown]
    outcomes = rows.groupby(sample)["observed"].first()
    wide = rows.set_index([*sample, "method"])["probability"].unstack()  # noqa: PD010 - pivot_table drops empty rows
    wide = wide[list(dict.fromkeys(rows["method"]))]
    issued = wide.notna()
    kept = issued.all(axis=1) if missing == "exclude" else pd.Series(data=True, index=wide.index)
    if missing == "zero":
        _check_same_rows(rows, wide)
        wide = wide.fillna(0.0)
        verb = "count as probability 0"
    else:
        verb = "are left out, with their samples, for every method"
    if gaps := int((~issued).to_numpy().sum()):
        notes.append(f"Forecasts not issued: {gaps}. They {verb}: {int(kept.sum())} of {len(kept)} samples remain.")
    if not kept.any():
        seen = ", ".join(f"{name} {count}" for name, count in issued.sum().items())
        raise DataError(f"no sample was forecast by every method (forecasts: {seen}): compare fewer methods at a time")
    index = wide.index[kept]
    has_region = "region" in frame
    return ForecastTable(
        time=index.get_level_values("time").to_numpy().astype("datetime64[us]"),
        region=index.get_level_values("region").to_numpy().astype(np.str_) if has_region else None,
        instrument=rows.groupby(sample)["instrument"].first()[index].to_numpy(str) if "instrument" in frame else None,
        observed=outcomes[kept].to_numpy() == 1,
        probability={str(name): wide.loc[kept, name].to_numpy(np.float64) for name in wide},
        missing={str(name): int((~issued[name]).sum()) for name in wide},
        history=(known.index.get_level_values("time").to_numpy().astype("datetime64[us]"), known.to_numpy() == 1),
        notes=tuple(notes),
    )


def _columns(table: pd.DataFrame) -> str:
    """The first columns, cut to what a line holds: of a file that is no table there may be thousands, all long."""
    names = [str(name)[:40] for name in table.columns[:20]]
    return (", ".join(names) or "none") + (f" and {table.shape[1] - 20} more" if table.shape[1] > 20 else "")


def of_methods(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The rows of some methods of a long table, in their order; all without any; `DataError` if one is not there."""
    if not methods:
        return table
    if "method" not in table:
        raise DataError(f"the table of forecasts lacks the column `method`: it has {_columns(table)}")
    names = table["method"].astype(str)
    known = list(dict.fromkeys(names))
    for method in methods:
        if method not in known:
            raise DataError(f'there is no method "{method}": the table holds {", ".join(known)}')
    order = {method: number for number, method in enumerate(methods)}
    kept = table[names.isin(methods)]
    return kept.sort_values("method", key=lambda column: column.astype(str).map(order), kind="stable")


def _inside(frame: pd.DataFrame, span: str, since: datetime | None, until: datetime | None) -> tuple[pd.Series, str]:
    """Which rows are of the span and the time asked for, and a note that says so; `DataError` if none is."""
    low = pd.Timestamp.min if since is None else pd.Timestamp(since.astimezone(UTC).replace(tzinfo=None))
    if since is not None and until is not None and until <= since:
        raise SettingError(f"`until` must be later than `since`, got {since:%FT%H:%MZ} to {until:%FT%H:%MZ}")
    high = pd.Timestamp.max if until is None else pd.Timestamp(until.astimezone(UTC).replace(tzinfo=None))
    inside = frame["time"].between(low, high, inclusive="left")
    spans = list(dict.fromkeys(_names(frame[inside], "span", ""))) if "span" in frame else []
    if span and span not in spans:
        raise DataError(
            f'there is no span "{span}": the table holds {", ".join(spans) or "none, without a column `span`"}'
        )
    if not span and len(spans) > 1:
        fault = f"the table holds samples of the spans {', '.join(spans)}, which are not pooled"
        raise DataError(f"{fault}: choose one (`--span`)")
    if span:
        inside &= _names(frame, "span", "") == span
    if not inside.any():
        first, last = (f"{time:%Y-%m-%dT%H:%MZ}" for time in (frame["time"].min(), frame["time"].max()))
        raise DataError(f"no forecast lies in the time asked for: the table reaches from {first} to {last}")
    if inside.all():
        return inside, ""
    return inside, f"Only a part of the table was asked for: {int(inside.sum())} of {len(inside)} forecasts."


def _utc(times: pd.Series) -> pd.Series:
    """Times as datetime64[us] in UTC."""
    # pandas would take a bare number for nanoseconds since 1970.
    if pd.api.types.is_numeric_dtype(times):
        raise DataError(f"`time` must be a UTC time such as 2014-03-18T12:00Z, got the number {times.iloc[0]}")
    if times.dtype == object or pd.api.types.is_string_dtype(times):
        text = times.astype(str).str.strip()
        found = text.str.extract(_ZONE, expand=False).fillna("")
        if (other := np.flatnonzero(found != found.iloc[0])).size:
            first, second = (found.iloc[row] or "no zone" for row in (0, other[0]))
            fault = f"`time` must be in one time zone, got {first} in row 0 and {second} in row {other[0]}"
            raise DataError(f"{fault}: write all times in UTC, such as 2014-03-18T12:00Z")
        # A fixed format, since pandas would guess what 03/04/2014 means.
        given = text.where(~text.str.lower().isin(_MISSING), None)
        times = pd.to_datetime(given, utc=True, format="ISO8601", errors="coerce")
        if (wrong := np.flatnonzero(times.isna() & given.notna())).size:
            seen = f"{text.iloc[wrong[0]][:40]!r} in row {wrong[0]}"
            raise DataError(f"`time` must be a UTC time such as 2014-03-18T12:00Z, got {seen}")
    if times.dtype.kind != "M":
        raise DataError(f"`time` must be a UTC time such as 2014-03-18T12:00Z, got the type {times.dtype}")
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    if times.isna().any():
        raise DataError(f"`time` is empty in row {int(times.isna().to_numpy().argmax())}")
    if (beyond := ~times.dt.year.between(1900, 2200)).any():
        raise DataError(f"`time` must be a UTC time such as 2014-03-18T12:00Z, got {times[beyond].astype(str).iloc[0]}")
    return times.astype("datetime64[us]")


def _names(frame: pd.DataFrame, name: str, otherwise: str) -> pd.Series:
    if name not in frame:
        return pd.Series(otherwise, index=frame.index)
    values = frame[name].astype(object).where(frame[name].notna(), "")
    # A numbered region that has gaps elsewhere is read as 12673.0.
    text = values.map(lambda value: f"{value:.0f}" if isinstance(value, float) and value % 1 == 0 else str(value))
    text = text.str.strip()
    if (empty := np.flatnonzero(text == "")).size:
        apart = "(forecasts of the full disk and of regions are verified apart)"
        raise DataError(f"`{name}` is empty in row {empty[0]}: give it in every row or leave the column out {apart}")
    return text


def _numbers(values: pd.Series, name: str) -> pd.Series:
    """Numbers, NaN where empty; true and false are 1 and 0."""

    def number(value: Any) -> float:
        text = str(value).strip().lower()
        if text in _MISSING:
            return np.nan
        return {"true": 1.0, "false": 0.0}[text] if text in ("true", "false") else float(text)

    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    result = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            result[row] = number(value)
        except ValueError as error:
            raise DataError(f'`{name}` must be a number or empty, got "{value}" in row {row}') from error
    return pd.Series(result, index=values.index)


def _check_whole_numbers(probability: pd.Series, methods: pd.Series) -> None:
    """Refuse 0 and 1 written as whole numbers, a 1 among them: 1 % would be scored as a certainty."""
    text = probability.astype(str).str.strip()
    issued = ~text.str.lower().isin(_MISSING)
    for method, values in text[issued].groupby(methods[issued], sort=False):
        if values.str.fullmatch(r"\+?0*[01]").all() and (values.str[-1] == "1").any():
            raise DataError(
                f'the probability of "{method}" is never but 0 or 1, without decimals: if it is in per cent, say so '
                "(`--percent`) or divide by 100; of a yes/no forecast write 0.0 and 1.0"
            )


def _check_rows(rows: pd.DataFrame, *, percent: bool) -> None:
    issued = rows["probability"].dropna()
    wrong = np.flatnonzero(~issued.between(0, 1))
    if wrong.size:
        value, row = issued.iloc[wrong[0]], issued.index[wrong[0]]
        if percent:
            raise DataError(f"`probability` must lie in [0, 100] percent, got {100 * value:.10g} in row {row}")
        raise DataError(f"`probability` must lie in [0, 1], got {value:.10g} in row {row}: {probability_advice(value)}")
    wrong = np.flatnonzero(~rows["observed"].isin([0, 1]) & rows["observed"].notna())
    if wrong.size:
        raise DataError(f"`observed` must be 0, 1 or empty, got {rows['observed'][wrong[0]]:g} in row {wrong[0]}")
    keys = [name for name in ("time", "region", "method", "span") if name in rows]
    if (twice := rows.duplicated(keys)).any():
        row = int(twice.to_numpy().argmax())
        first = int((rows[keys] == rows.loc[row, keys]).all(axis=1).to_numpy().argmax())
        fault = f"row {row} repeats the time, method and region of row {first} ({_sample(rows.loc[row])})"
        raise DataError(f"{fault}: keep one forecast for each sample")
    outcomes = rows.groupby(keys[:2])["observed"].transform("nunique")
    if (outcomes > 1).any():
        row = int((outcomes > 1).to_numpy().argmax())
        fault = f"`observed` differs between the methods for one sample ({_sample(rows.loc[row])})"
        raise DataError(f"{fault}: score all methods against one flare list")


def _check_same_rows(rows: pd.DataFrame, wide: pd.DataFrame) -> None:
    counts = rows["method"].value_counts()
    fewest = counts.idxmin()
    if counts[fewest] < len(wide):
        raise DataError(
            f'method "{fewest}" has no row for {len(wide) - counts[fewest]} of the {len(wide)} samples: methods must '
            "have the same samples; write forecasts that were not issued as rows with an empty `probability`, "
            'or take `missing` "exclude"'
        )


def _sample(row: pd.Series) -> str:
    parts = [f"{row['time']:%Y-%m-%dT%H:%MZ}", row["method"]] + ([f"region {row['region']}"] if row["region"] else [])
    return ", ".join(parts)
