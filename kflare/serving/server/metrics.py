"""What the server counts, under TensorFlow Serving's metric names, in the text format of Prometheus.

Names and labels are those of servables/tensorflow/util.cc, batching/batching_session.cc, batching/batching_util.h,
saved_model_warmup_util.cc and tensorflow/cc/saved_model/loader.cc; util/prometheus_exporter.cc turns "/" into ":".
"""

import threading
from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["Metrics"]


def _exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    return tuple(scale * growth**power for power in range(count))


_LATENCY = _exponential(10, 1.8, 33)  # microseconds, to about 20 minutes
_SIZE = _exponential(1, 2, 14)
_QUEUING = _exponential(100, 1.2, 52)

_COUNTERS = {
    ":tensorflow:serving:request_count": ("model_name", "status"),
    ":tensorflow:serving:batching_session:wrapped_run_count": (),
    ":tensorflow:cc:saved_model:load_attempt_count": ("model_path", "status"),
}
_GAUGES = {
    ":kflare:serving:requests_in_flight": (),
    ":kflare:serving:bytes_in_flight": (),
    ":kflare:serving:version_state": ("model_name", "version"),
}
_HISTOGRAMS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    ":tensorflow:serving:request_latency": (("model_name", "API", "entrypoint"), _LATENCY),
    ":tensorflow:serving:runtime_latency": (("model_name", "API", "runtime"), _LATENCY),
    ":tensorflow:serving:model_warmup_latency": (("model_path", "status"), _LATENCY),
    ":tensorflow:serving:batching_session:queuing_latency": (("thread_pool_name",), _QUEUING),
    ":tensorflow:serving:batching_session:input_batch_size": ((), _SIZE),
    ":tensorflow:serving:batching_session:processed_batch_size": ((), _SIZE),
    ":tensorflow:serving:batching_session:padding_size": (("execution_batch_size",), _SIZE),
    ":tensorflow:cc:saved_model:load_latency": (("model_path",), _LATENCY),
}

_Labels = tuple[str, ...]


class _Histogram:
    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0


class Metrics:
    """Counters, gauges and histograms of one server; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[_Labels, int]] = {name: {} for name in (*_COUNTERS, *_GAUGES)}
        self._histograms: dict[str, dict[_Labels, _Histogram]] = {name: {} for name in _HISTOGRAMS}

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
        limits = _HISTOGRAMS[name][1]
        with self._lock:
            histogram = self._histograms[name].setdefault(labels, _Histogram(len(limits)))
            histogram.counts[bisect_left(limits, value)] += 1
            histogram.sum += value

    def page(self) -> str:
        """All metrics as Prometheus reads them."""
        lines: list[str] = []
        with self._lock:
            for name, keys in (_COUNTERS | _GAUGES).items():
                lines.append(f"# TYPE {name} {'counter' if name in _COUNTERS else 'gauge'}")
                lines += [f"{name}{{{_pairs(keys, labels)}}} {n}" for labels, n in sorted(self._values[name].items())]
            for name, (keys, limits) in _HISTOGRAMS.items():
                lines.append(f"# TYPE {name} histogram")
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
