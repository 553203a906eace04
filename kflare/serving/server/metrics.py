"""What the server counts, under TensorFlow Serving's metric names, in the text format of Prometheus.

Names and labels are those of servables/tensorflow/util.cc, batching/batching_session.cc, batching/batching_util.h,
saved_model_warmup_util.cc and tensorflow/cc/saved_model/loader.cc; util/prometheus_exporter.cc turns "/" into ":".
"""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from kflare.io.stored_table import stored_rows


class _Metric(NamedTuple):
    kind: str  # "counter", "gauge" or "histogram"
    labels: tuple[str, ...]
    limits: tuple[float, ...]  # of a histogram's buckets


def _declared() -> dict[str, _Metric]:
    """The rows of `metrics.csv`: a histogram's buckets are given by the first limit, its growth and the count."""
    found = {}
    for row in stored_rows("kflare.serving.server", "metrics.csv"):
        first, growth, count = (float(row[name] or 0) for name in ("first", "growth", "buckets"))
        limits = tuple(first * growth**power for power in range(int(count)))
        found[row["name"]] = _Metric(row["kind"], tuple(row["labels"].split()), limits)
    return found


_METRICS: Final = _declared()
_Labels = tuple[str, ...]


class _Histogram:
    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0


class Metrics:
    """Counters, gauges and histograms of one server; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[_Labels, int]] = {name: {} for name in _METRICS}
        self._histograms: dict[str, dict[_Labels, _Histogram]] = {name: {} for name in _METRICS}

    def count(self, name: str, *labels: str) -> None:
        """Add one to a counter."""
        with self._lock:
            values = self._values[name]
            values[labels] = values.get(labels, 0) + 1

    def set(self, name: str, value: int, *labels: str) -> None:
        """Give a gauge its value."""
        with self._lock:
            self._values[name][labels] = value

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add a value to a histogram; times are in microseconds."""
        limits = _METRICS[name].limits
        with self._lock:
            histogram = self._histograms[name].setdefault(labels, _Histogram(len(limits)))
            histogram.counts[bisect_left(limits, value)] += 1
            histogram.sum += value

    def page(self) -> str:
        """All metrics as Prometheus reads them."""
        lines: list[str] = []
        with self._lock:
            for name, (kind, keys, limits) in _METRICS.items():
                lines.append(f"# TYPE {name} {kind}")
                lines += [f"{name}{{{_pairs(keys, labels)}}} {n}" for labels, n in sorted(self._values[name].items())]
                for labels, histogram in sorted(self._histograms[name].items()):
                    lines += _histogram_lines(name, _pairs(keys, labels), histogram, limits)
        return "\n".join(lines) + "\n"


def _histogram_lines(name: str, pairs: str, histogram: _Histogram, limits: Sequence[float]) -> list[str]:
    lines, total = [], 0
    for limit, count in zip([*(f"{limit:g}" for limit in limits), "+Inf"], histogram.counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{{pairs}{"," if pairs else ""}le="{limit}"}} {total}')
    return [*lines, f"{name}_sum{{{pairs}}} {histogram.sum:.17g}", f"{name}_count{{{pairs}}} {total}"]


def _pairs(keys: Sequence[str], labels: _Labels) -> str:
    escaped = (label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for label in labels)
    return ",".join(f'{key}="{label}"' for key, label in zip(keys, escaped, strict=True))
