"""Event statistics: the probability of a flare from nothing but the flares before (Wheatland 2004, 2005).

Flares are a Poisson process of piecewise constant rate (Bayesian blocks, Scargle 1998) whose peak fluxes follow a power
law. The rate of small flares in the last block, carried along the power law to the class wanted, gives the posterior of
the probability. Only the abstracts and Wheatland's own page on his forecasts were read. What they leave open is marked
[R]: our choice, made on the flares of 1998 to 2012.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
import pandas as pd

from kflare.errors import SettingError
from kflare.flares.catalogue import CLASS_THRESHOLDS, FlareList
from kflare.flares.labels import HALF_DAY, LEAD_HOURS, in_seconds, known_from, reaches, region_codes, require_covered
from kflare.io.arrays import ArrayLike, Float32Array, Float64Array
from kflare.sun.times import DAY_SECONDS

_YEAR, _DAY = 365 * DAY_SECONDS, pd.Timedelta(days=1)
_SMALL = 4e-6  # W m^-2: smaller flares are lost in the background of an active Sun [M]
_SMALL_OF_REGION = 1e-6  # a region has too few flares above 4e-6 [R]
_USUAL_INDEX = 2.0  # of a list without a single flare [R]
_POOLED = 10.0  # a region's index starts as the disk's, worth this many flares [R]
_REGIONS = 10.0  # a region that nothing is known of has one part in this many of the rate of the disk [R]
_FALSE_ALARM = 0.05  # chance of one change point too many: Scargle et al. 2013, eq. (21) [M]


@dataclass(frozen=True)
class EventForecast:
    """A probability with what it was estimated from."""

    probability: float  # posterior mean of the probability of at least one flare in the window, in (0, 1)
    lower: float
    upper: float  # ends of the credible interval; of the rate only, the index counts as known
    index: float  # Power-law index γ of the peak fluxes
    rate: float  # posterior mean rate of small flares, per day
    flares: int  # small flares in the last block
    days: float  # length of the last block


def event_statistics(flares: FlareList, time: datetime, threshold: str, *, level: float = 0.95) -> EventForecast:
    """Forecast flares of at least class `threshold` on the full disk from the flares of the year before the window.

    The 24 h from `time` (UTC, aware) on; flares that peak later than it are not looked at. `threshold` is "C", "M" or
    "X", else `SettingError`; `level`, in (0, 1), is that of the credible interval. `DataError` where the list does not
    reach to `time`, as what it lacks would make the forecast too quiet. Source: Wheatland (2004, 2005), see the module.
    """
    moment = pd.Series([pd.Timestamp(time)])
    require_covered(moment - _DAY, flares, untold=HALF_DAY)
    return _Disk(flares, threshold).posterior(float(in_seconds(moment)[0])).forecast(level)


def disk_event_statistics(times: pd.Series, flares: FlareList, threshold: str) -> Float32Array:
    """Probability of `event_statistics` for the full disk and each of N times, float32 (N,)."""
    require_covered(times - _DAY, flares, untold=HALF_DAY)
    disk = _Disk(flares, threshold)
    distinct, place = np.unique(in_seconds(times), return_inverse=True)
    return np.array([disk.posterior(float(now)).mean() for now in distinct], np.float32)[place]


def region_event_statistics(
    table: pd.DataFrame, region_flares: pd.DataFrame, flares: FlareList, threshold: str
) -> Float32Array:
    """Probability of `event_statistics` for each row of a region table, float32 (N,).

    `table` has the columns `time` (UTC) and `region`; `region_flares`, which say which flares are whose, `region`,
    `start`, `peak` (UTC) and `flux` (W m^-2). A region is first seen at its first row; `flares` are of the disk.
    """
    require_covered(table["time"] - _DAY, flares, untold=HALF_DAY)
    disk = _Disk(flares, threshold)
    seconds = in_seconds(table["time"]).astype(np.float64)
    rows, owners = region_codes(table["region"], region_flares["region"])
    records = {code: _Record.of(region_flares[owners == code]) for code in np.unique(owners)}
    nothing = _Record(np.zeros(0), np.zeros(0))
    result = np.zeros(len(table), np.float32)
    for code in np.unique(rows):
        mine = np.flatnonzero(rows == code)
        record, first = records.get(code, nothing), seconds[mine].min()
        for row in mine:
            now = seconds[row]
            result[row] = _of_region(disk, record, max(first, now - _YEAR), now).mean()
    return result


def power_law_index(flux: ArrayLike, *, smallest: float, usual: float = _USUAL_INDEX, weight: float = 0.0) -> float:
    """Maximum-likelihood index γ = 1 + M / Σ ln(s/S1), S1 = `smallest`; `usual` counts for `weight` flares."""
    sizes = np.asarray(flux, np.float64)
    logarithms = float(np.log(sizes / smallest).clip(min=0).sum()) + weight / (usual - 1)
    return 1 + (len(sizes) + weight) / logarithms if logarithms > 0 else usual


def probability_of_larger(probability: float, index: float, *, ratio: float) -> float:
    """Of a flare `ratio` times as large as those of this probability: 1 − (1 − P)^(ratio^(1 − γ)), index γ.

    Wheatland (2004): a Poisson process whose rate λ above a flux is λ (S2/S1)^(1 − γ) above another.
    """
    return float(-np.expm1(np.log1p(-min(probability, 1 - 1e-9)) * ratio ** (1 - index)))


def last_block(events: ArrayLike, *, begin: float, now: float) -> tuple[int, float]:
    """Find the Bayesian block that reaches to `now`, the last stretch of constant rate: its events and its begin.

    The optimal partition of Scargle et al. 2013 for rising event times in [begin, now], with cells that end at an
    event, so that also the quiet before the first event and after the last counts.
    """
    edges = np.append(begin, np.asarray(events, np.float64))
    count = len(edges) - 1
    prior = 4 - np.log(73.53 * _FALSE_ALARM * count**-0.478) if count else 0.0
    best = np.zeros(count + 1)  # fitness of the optimal partition up to each edge

    def fitness(cells: int, end: float, before: int) -> Float64Array:
        """Of the best partition whose last block begins at each of the edges before `end`."""
        length = np.maximum(end - edges[:cells], 1e-9)
        inside = before - np.arange(cells)
        # Where no event is inside, the likelihood of the rate 0 is 1.
        return best[:cells] + inside * np.log(np.maximum(inside, 1) / length) - prior

    for k in range(1, count + 1):
        best[k] = fitness(k, edges[k], k).max()
    start = int(fitness(count + 1, now, count).argmax())
    return count - start, float(edges[start])


@dataclass(frozen=True)
class _Posterior:
    """Of the rate of small flares (per day), a gamma distribution, and how the power law carries it to large ones.

    With M' flares in the T' days of the last block and the prior Λ(λ) ∝ exp(−λ/λ0) it is Gamma(M' + 1, T' + 1/λ0), and
    ε = 1 − exp(−λ (S2/S1)^(1−γ) ΔT) has the density of docs/science.md.
    """

    flares: int
    days: float
    usual_rate: float | None
    index: float
    ratio: float

    @property
    def _exposure(self) -> float:
        return self.days + (1 / self.usual_rate if self.usual_rate else 0.0)

    @property
    def _reach(self) -> float:
        return float(self.ratio ** (1 - self.index) * (LEAD_HOURS / 24))

    def mean(self) -> float:
        """Posterior mean of ε: 1 − [b/(b + r ΔT)]^a."""
        return float(-np.expm1(-(self.flares + 1) * np.log1p(self._reach / self._exposure)))

    def forecast(self, level: float) -> EventForecast:
        from scipy.stats import gamma

        ends = gamma.ppf([(1 - level) / 2, (1 + level) / 2], self.flares + 1, scale=1 / self._exposure)
        lower, upper = -np.expm1(-ends * self._reach)
        rate = (self.flares + 1) / self._exposure
        return EventForecast(self.mean(), float(lower), float(upper), self.index, rate, self.flares, self.days)


@dataclass(frozen=True)
class _Record:
    """Flares by the time from which they are known: arrays of shape (M,), in seconds (rising) and W m^-2."""

    known: Float64Array
    flux: Float64Array

    @classmethod
    def of(cls, flares: pd.DataFrame) -> Self:
        # The class is known from the peak on; of the few flares without one, most peak within an hour.
        known = known_from(flares).astype(np.float64)
        order = np.argsort(known, kind="stable")
        return cls(known[order], flares["flux"].to_numpy(np.float64)[order])

    def between(self, begin: float, now: float, smallest: float) -> Self:
        """Flares of at least the flux in (begin, now]."""
        first, last = np.searchsorted(self.known, [begin, now], side="right")
        large = reaches(self.flux[first:last], smallest)
        return type(self)(self.known[first:last][large], self.flux[first:last][large])


class _Disk:
    """The whole list, from which also a region's forecast takes what it does not know of itself."""

    def __init__(self, flares: FlareList, threshold: str) -> None:
        if threshold not in CLASS_THRESHOLDS:
            raise SettingError(f"`threshold` must be one of {', '.join(CLASS_THRESHOLDS)}, got {threshold!r}")
        self.large = CLASS_THRESHOLDS[threshold]
        self.small = min(_SMALL, self.large)
        self._record = _Record.of(flares.table)
        self._first = float(self._record.known[0])

    def posterior(self, now: float) -> _Posterior:
        begin = self._begin(now)
        year = self._record.between(begin, now, self.small)
        index = power_law_index(year.flux, smallest=self.small)
        inside, start = last_block(year.known / DAY_SECONDS, begin=begin / DAY_SECONDS, now=now / DAY_SECONDS)
        earlier = len(year.known) - inside
        # "The previous blocks give information about how the rate might be expected to vary" (Wheatland's page): their
        # mean rate is that of the exponential prior [R]; without an earlier flare the prior is flat.
        usual = earlier / (start - begin / DAY_SECONDS) if earlier else None
        return _Posterior(inside, now / DAY_SECONDS - start, usual, index, self.large / self.small)

    def usual(self, now: float, smallest: float) -> tuple[float, float]:
        """Index of the year before, and a region's usual rate of flares of at least the flux, per day."""
        begin = self._begin(now)
        year = self._record.between(begin, now, smallest)
        index = power_law_index(year.flux, smallest=smallest)
        return index, (len(year.flux) + 1) / ((now - begin) / DAY_SECONDS) / _REGIONS

    def _begin(self, now: float) -> float:
        # Of a list that has just begun, a day: its first flare is not the begin of all flares.
        return min(max(now - _YEAR, self._first), now - DAY_SECONDS)


def _of_region(disk: _Disk, record: _Record, first: float, now: float) -> _Posterior:
    small = min(_SMALL_OF_REGION, disk.large)
    own = record.between(first, now, small)
    usual_index, usual_rate = disk.usual(now, small)
    index = power_law_index(own.flux, smallest=small, usual=usual_index, weight=_POOLED)
    inside, start = last_block(own.known / DAY_SECONDS, begin=first / DAY_SECONDS, now=now / DAY_SECONDS)
    return _Posterior(inside, now / DAY_SECONDS - start, usual_rate, index, disk.large / small)
