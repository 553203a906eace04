"""SWPC's own probabilities of flares on the disk, to compare with: its feed, and its daily texts of the past.

Issued at 22 UT for the three UT days that follow, in percent, of a flare of the class or above (Leka et al. 2019 take
them so [M]). The texts are RSGA, the Report of Solar and Geophysical Activity (M and X, since 1996), and the 3-Day
Solar-Geomagnetic Predictions; the feed is `solar_probabilities.json` (C, M and X).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from kflare.errors import DataError
from kflare.io.payload import read_payload
from kflare.operations.forecast import FORECAST_CLASSES, Probability

FEED: Final = "solar_probabilities.json"
"""Below SWPC's address."""
_DAY: Final = timedelta(days=1)
_ISSUED: Final = re.compile(r"^:issued:\s+(\d{4} \w{3} \d{1,2} \d{4})", re.IGNORECASE | re.MULTILINE)
_FIRST: Final = re.compile(r"(?:event probabilities|:prediction_dates:\s+\d{4} \w{3})\s+(\d{1,2})\b", re.IGNORECASE)
_CLASS: Final = re.compile(r"^class[ _]([cmx])\s+(\d+)[/ ]+(\d+)[/ ]+(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class SwpcForecast:
    """One forecast of SWPC."""

    first: datetime
    """0 UT of the first of its three days."""
    percent: Mapping[str, tuple[float, float, float]]
    """Of each day, by class; a class that is not forecast is absent."""

    @classmethod
    def of_feed(cls, text: str, now: datetime) -> Self:
        """The one in force, of the newest row; DataError if the feed is none, or its newest row not of these days.

        SWPC does not document whether its `date` is that of issue or of the first day. A copy saved after 22:54 UT on
        2025-10-24 had no row after that date, which speaks for the issue, but leaves the first day possible. So the
        newest row is taken, whatever its date, for the day of `now`, and from 22 UT on for the next.
        """
        first = _midnight(now + timedelta(hours=2))
        try:
            row = max(json.loads(text), key=lambda row: str(row["date"]))
            date = datetime.fromisoformat(row["date"].removesuffix("Z")).replace(tzinfo=UTC)
            days = {name: [row.get(f"{name.lower()}_class_{n}_day") for n in (1, 2, 3)] for name in FORECAST_CLASSES}
            percent = {name: tuple(map(float, of)) for name, of in days.items() if None not in of}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"`{FEED}` is no list of SWPC's probabilities: {type(error).__name__} {error}") from error
        if abs(_midnight(date) - first) > _DAY:
            raise DataError(f"`{FEED}` is of {date:%F}, and says nothing of {first:%F}")
        return cls(first, _checked(percent, FEED))

    @classmethod
    def of_texts(cls, folder: Path, now: datetime) -> Self:
        """The newest of a folder of texts that was issued by a time; DataError if it has none of the day before."""
        found = {}
        for path in sorted(folder.glob("*.txt")):
            text = read_payload(path, limit=1 << 20, what="a text of SWPC", kinds=()).decode("ascii", "replace")
            issued, day = _ISSUED.search(text), _FIRST.search(text)
            percent = {name.upper(): tuple(map(float, of)) for name, *of in _CLASS.findall(text)}
            if issued is None or day is None or not percent:
                raise DataError(f"`{path}` is no forecast of SWPC: it must have :Issued:, its days and Class M a/b/c")
            time = datetime.strptime(f"{issued[1]}+0000", "%Y %b %d %H%M%z")
            if (first := _midnight(time + timedelta(hours=2))).day != int(day[1]):
                raise DataError(f"`{path}` was issued {time:%FT%H:%MZ}, but its first day is the {day[1]}.")
            found[time] = cls(first, _checked(percent, str(path)))
        newest = max((time for time in found if time <= now), default=None)
        if newest is None or now - newest > _DAY:
            raise DataError(f"`{folder}` has no forecast of SWPC issued in the day before {now:%FT%H:%MZ}")
        return found[newest]

    def of_window(self, begin: datetime, end: datetime) -> dict[str, Probability]:
        """Probability of each class in a window within its days: flares come at one rate through each day [R]."""
        shares = [
            max(min(end, self.first + (n + 1) * _DAY) - max(begin, self.first + n * _DAY), timedelta(0)) / _DAY
            for n in range(3)
        ]
        if not math.isclose(sum(shares), (end - begin) / _DAY):
            return {}
        rates = {
            name: sum(-math.log1p(-min(p, 99.9) / 100) * share for p, share in zip(of, shares, strict=True))
            for name, of in self.percent.items()
        }
        return {name: Probability.of(None, -math.expm1(-rate)) for name, rate in rates.items()}


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _checked(percent: Mapping[str, tuple[float, ...]], source: str) -> Mapping[str, tuple[float, float, float]]:
    for name, of in percent.items():
        if not all(0 <= p <= 100 for p in of):
            raise DataError(f"`{source}`: probabilities of class {name} must lie in 0..100 %, got {of}")
    return {name: (of[0], of[1], of[2]) for name, of in percent.items()}
