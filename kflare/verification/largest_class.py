"""The largest flare class: which was forecast, which came, and what that is worth.

Nishizuka et al. (2021, eq. 2 and section 3.2) forecast the largest class that a method says yes to. Against the largest
that was observed it makes a table of three classes, and of four with X. Its scores: Wilks (2011), Statistical Methods
in the Atmospheric Sciences, chapter 8.2 [M]; Gerrity's (1992) is the mean TSS of the tables "this class or above".
"""

import json
from collections.abc import Mapping
from functools import partial, reduce
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, BoolArray, Float64Array, IndexArray, IntArray
from kflare.io.json_values import plain
from kflare.verification.comparison import VerificationSettings, clusters_of
from kflare.verification.evaluation import aligned_columns, number_cell
from kflare.verification.intervals import ClusteredSamples
from kflare.verification.plots import as_png, plot_classes
from kflare.verification.scores import Score, score_arrays
from kflare.verification.tables import ForecastTable

CLASS_SCORES: Final = {"accuracy": "Accuracy", "hss": "HSS (Heidke)", "peirce": "Peirce (TSS)", "gerrity": "Gerrity"}
"""Names and labels; all are 1 if perfect, all but the first 0 without skill, and NaN where undefined."""


class ClassTable:
    """How often each of K largest classes was forecast and came; scores itself as `TableScores` does.

    `yes` and `events`, (N,) each, are forecasts and outcomes of every class and above, in rising order; `codes` (N,)
    the clusters of samples, from 0 on. What came of a class came of those below.
    """

    def __init__(
        self, yes: Mapping[str, BoolArray], events: Mapping[str, BoolArray], codes: IndexArray | None = None
    ) -> None:
        said, came = (np.stack([one[name] for name in yes]) for one in (yes, events))
        self.names = (f"below {next(iter(yes))}", *yes)
        codes = np.zeros(said.shape[1], np.intp) if codes is None else codes
        rank = np.arange(1, len(yes) + 1)[:, None]
        self._sums = np.zeros((len(self.names), len(self.names), int(np.max(codes)) + 1))
        np.add.at(self._sums, ((rank * said).max(axis=0), (rank * came).max(axis=0), codes), 1.0)

    @property
    def counts(self) -> IntArray:
        """How often each class was forecast (rows) and came (columns), (K, K)."""
        return self._sums.sum(axis=2).astype(np.int64)

    def scores(self) -> dict[str, Score]:
        """`CLASS_SCORES` of the samples as they are."""
        return {name: Score(float(value)) for name, value in _scores(self.counts).items()}

    def resampled(self, weights: Float64Array) -> dict[str, Float64Array]:
        """Scores (R,) of the resamples whose cluster weights are the columns of `weights` (clusters, R)."""
        return _scores(self._sums @ weights)

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text, its head first."""
        counts = zip(self.names, self.counts, strict=True)
        return [("Forecast", *self.names), *((name, *map(str, row)) for name, row in counts)]


def _scores(counts: AnyArray) -> dict[str, Float64Array]:
    """Of tables (K, K, ...)."""
    above = [(counts[k:, k:], counts[k:, :k], counts[:k, k:], counts[:k, :k]) for k in range(1, len(counts))]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = counts / counts.sum(axis=(0, 1))
        came = p.sum(axis=0)
        right, chance = np.einsum("ii...->...", p), np.sum(p.sum(axis=1) * came, axis=0)
        tss = [score_arrays(*(part.sum(axis=(0, 1)) for part in one))["tss"] for one in above]
        skills = (right - chance) / (1 - chance), (right - chance) / (1 - np.sum(came**2, axis=0))
    return dict(zip(CLASS_SCORES, (right, *skills, np.mean(tss, axis=0)), strict=True))


def verify_classes(
    forecasts: Mapping[str, ForecastTable], settings: VerificationSettings, sources: Mapping[str, str]
) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """Score the largest class that methods forecast, from their forecasts of each class, rising, on shared samples.

    A class is forecast from the first threshold on, or from its own of `settings.own_thresholds`, by its name. Gives
    text, numbers for JSON, and the files of a report: these numbers and a picture for each method. `DataError` where
    the tables share no sample or method or a class came without the one below, `SettingError` where a threshold is of
    none of the classes.
    """
    least = dict.fromkeys(forecasts, settings.thresholds[0]) | dict(settings.own_thresholds)
    if unknown := least.keys() - forecasts.keys():
        raise SettingError(f"a threshold may be of the classes {', '.join(forecasts)}, got one of {', '.join(unknown)}")
    rows = [
        pd.DataFrame({"time": of.time, "region": "" if of.region is None else of.region, name: np.arange(len(of.time))})
        for name, of in forecasts.items()
    ]
    shared = reduce(partial(pd.merge, on=["time", "region"]), rows)
    first, *others = forecasts.values()
    methods = [method for method in first.probability if all(method in of.probability for of in others)]
    if shared.empty or not methods:
        raise DataError(f"the forecasts of {', '.join(forecasts)} share no {'sample' if methods else 'method'}")
    labels, length, notes = clusters_of(first, settings)
    events = {name: of.observed[shared[name]] for name, of in forecasts.items()}
    for (below, less), (name, came) in pairwise(events.items()):
        for row in shared[came & ~less].itertuples():
            one, other = (sources[of].split(",")[0] for of in (name, below))
            seen = f"at {row.time:%FT%H:%MZ} {row.region}".strip()
            fault = f"{one} has a flare of class {name} {seen}, {other} none of class {below}"
            raise DataError(f"`observed`: {fault}: take one flare list for all classes")
    name = next(iter(forecasts))
    samples = ClusteredSamples(events[name], labels[shared[name]])
    tables = {}
    for method in methods:
        yes = {name: of.probability[method][shared[name]] >= least[name] for name, of in forecasts.items()}
        tables[method] = ClassTable(yes, events, samples.codes)
    found = samples.resample(
        {method: [[table]] for method, table in tables.items()},
        block_length=min(length, samples.clusters),
        **settings.resampling(),
    )
    limits = ", ".join(f"{name} from {100 * threshold:g} %" for name, threshold in least.items())
    notes = [*notes, *(f"{name}: {note}" for name, of in forecasts.items() for note in of.notes)]
    lines = [f"{len(shared)} samples; forecast {limits} on", *notes]
    told, files = {}, {}
    for number, (method, table) in enumerate(tables.items(), 1):
        lines += ["", f"{method}; columns: largest class observed", *aligned_columns(table.rows(), left=1)]
        scores = {name: found.interval(method, name) for name in CLASS_SCORES}
        ends = {name: (of.value, of.lower, of.upper) for name, of in scores.items()}
        cells = {name: [number_cell(value) for value in three] for name, three in ends.items()}
        lines += [f"{CLASS_SCORES[name]} {value} ({low} to {high})" for name, (value, low, high) in cells.items()]
        told[method] = {"classes": table.names, "forecast_by_observed": table.counts.tolist(), "scores": plain(ends)}
        drawing = plot_classes(table.names, table.counts, title=f"Largest class, {method}")
        files[f"figures/classes-{number:02}.png"] = as_png(drawing)
    numbers = {"samples": len(shared), "sources": dict(sources), "thresholds": least, "notes": notes, "methods": told}
    return "\n".join(lines), numbers, files | {"verification.json": json.dumps(numbers, indent=1).encode()}
