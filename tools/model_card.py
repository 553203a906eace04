"""Model cards: what a released model is for, what it learnt from, what it is worth, and where it must not be used."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.verification.contingency import ContingencyTable

__all__ = ["OLDEST_TENSORFLOW", "ModelCard", "reliability_png", "score_table", "software"]

OLDEST_TENSORFLOW = "2.19.1"
"""The oldest TensorFlow that runs the released models with the same answers; `oldest_tensorflow.py` holds it."""


_SCALES = {
    "irradiance": "Classes are on today's scale, that of SWPC's lists since 2019-12-09: M1.0 is C7.0 of the papers of "
    "before, C1.0 is their B7.0, and their M1.0 and C1.0 are M1.4 and C1.4 (docs/flare_scale.md).",
    "operational": "Classes are as listed at the time: up to GOES-15 0.7 of today's (docs/flare_scale.md).",
}


@dataclass(frozen=True)
class ModelCard:
    """The words of a card; its figures come from the model's own metadata."""

    name: str
    use: str  # intended use, a sentence
    data: str  # what it learnt from: source, time, licence
    limits: str  # what it cannot do and must not be used for, a Markdown list
    calibration: str  # file name of the reliability diagram beside the card

    def text(self, metadata: Mapping[str, Any]) -> str:
        """The card as Markdown, from the content of `model_metadata`.

        With `cross_validation` (`about`, and scores by method, each [value, lower, upper]), `further_tests` (the same
        by heading) and `features` (of `FeatureScaling.as_json`) where the model has them.
        """
        parts = [
            f"# {self.name}: {metadata['event']}\n\n{_SCALES[metadata['data'].get('flare_scale', 'irradiance')]}",
            f"## Intended use\n\n{self.use}",
            f"## Training data\n\n{self.data.strip()}\n\n{_spans(metadata)}",
        ]
        if "features" in metadata:
            parts.append(f"## Inputs\n\n{_features(metadata['features'])}")
        if "reads" in metadata:
            parts.append(f"## What it reads\n\n{_reads(metadata)}")
        parts.append(f"## Scores of this model\n\n{_held_out(metadata)}")
        if "cross_validation" in metadata:
            parts.append(f"## Scores of its recipe in cross-validation\n\n{score_table(metadata['cross_validation'])}")
        parts += [f"## {title}\n\n{score_table(scores)}" for title, scores in metadata.get("further_tests", {}).items()]
        parts += [
            f"## Calibration\n\n![Reliability of the calibrated probability]({self.calibration})\n\n{_platt(metadata)}",
            software(metadata),
            f"## Limits\n\n{self.limits.strip()}",
        ]
        return "\n\n".join(parts) + "\n"


def software(metadata: Mapping[str, Any]) -> str:
    """The section on what runs the model."""
    oldest = metadata["oldest_tensorflow"]
    return (
        f"## Software\n\nExported by TensorFlow {metadata['packages']['tensorflow']}. It loads, and answers the same, "
        f"in TensorFlow {oldest} and later, and so in TensorFlow Serving {oldest.rpartition('.')[0]} and later."
    )


def reliability_png(
    observed: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32], *, title: str, clusters: Any = None
) -> bytes:
    """Reliability diagram of the calibrated probability (N,) as PNG, with counts; `clusters`: each sample's region."""
    from kflare.verification.plots import as_png, plot_reliability

    return as_png(plot_reliability(observed, probability, title=title, clusters=clusters))


def _spans(metadata: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {span['first'][:10]} | {span['last'][:10]} | {span['samples']} |"
        for name, span in metadata["spans"].items()
    ]
    return "\n".join(["| span | first | last | samples |", "| --- | --- | --- | --- |", *rows])


def _features(features: list[dict[str, Any]]) -> str:
    rows = [
        f"| `{one['name']}` | {one['unit']} | {one['scale']} | {one['definition'].replace('|', chr(92) + '|')} |"
        for one in features
    ]
    return "\n".join(["| name | unit | taken as | definition |", "| --- | --- | --- | --- |", *rows])


def _reads(metadata: Mapping[str, Any]) -> str:
    reads, folds = metadata["reads"], metadata["cross_validation"]["correlation_of_reading_and_measure"]
    key = "rank_correlation_of_cnn-c_and_cnn-m"
    same = (
        f" Over the cross-validated days `cnn-c` and `cnn-m` have a rank correlation of {reads[key]}."
        if key in reads
        else ""
    )
    return (
        f"The score is the disk's mean of one map: {reads['map']}. On images that it has not seen the correlation of "
        f"its logit with that mean, measured, is {reads['correlation_on_test_span']:.3f} (test span), and "
        f"{', '.join(f'{value:.3f}' for value in folds)} in the blocks of the cross-validation.{same}"
    )


def _held_out(metadata: Mapping[str, Any]) -> str:
    head = "| method | threshold | hits | false alarms | misses | correct nulls | HSS | ApSS | FB | event rate "
    head += "| TSS (95 %) | BSS (95 %) |"
    rows = []
    for one in metadata["scores"]:
        if one["span"] == "test":
            table = ContingencyTable(*(one[count] for count in ("tp", "fp", "fn", "tn")))
            counts = " | ".join(map(str, astuple(table)))
            more = " | ".join(
                f"{value:.3f}" for value in (table.hss, table.apss, table.frequency_bias, table.base_rate)
            )
            rows.append(
                f"| {one['method']} | {one['threshold']:.2f} | {counts} | {more} "
                f"| {_score(one['tss'], one['tss_interval'])} | {_score(one['bss'], one['bss_interval'])} |"
            )
    return "\n".join(["On its own test span, which chose nothing:", "", head, "| --- |" + " --- |" * 11, *rows])


_COLUMNS = {"tss": "TSS", "roc_area": "ROC area", "bss": "BSS (calibrated)"}


def score_table(scores: Mapping[str, Any]) -> str:
    """What scores are of, and a Markdown table of them and of the network's leads, a row for each method."""
    methods = {method: entry for method, entry in scores.items() if isinstance(entry, Mapping)}
    shown = {key: name for key, name in _COLUMNS.items() if any(key in entry for entry in methods.values())}
    keys = [*shown, *(f"network_minus_{key}" for key in shown)]
    rows = []
    for method, entry in methods.items():
        cells = (
            _score(entry[key][0], entry[key][1:], sign="+" if key.startswith("network") else "")
            if key in entry
            else "–"
            for key in keys
        )
        rows.append(f"| {method} | {' | '.join(cells)} |")
    leads = [name.removesuffix(" (calibrated)") for name in shown.values()]
    head = ["method", *shown.values(), f"network's lead in {leads[0]}", *(f"in {name}" for name in leads[1:])]
    return "\n".join(
        [scores["about"].rstrip(".") + ".", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *rows]
    )


def _platt(metadata: Mapping[str, Any]) -> str:
    how = metadata["calibration"]
    rows = [
        f"| {name} | {year['samples']} | {year['events']} | {year['windows']} | {year['clusters']} |"
        for name, year in how.get("years", {}).items()
    ]
    head = ["", "| fitted to | samples | with event | windows of 24 h | regions or weeks |", "| --- |" + " --- |" * 4]
    interval = ""
    if "interval" in how:
        interval = f" `calibrated_lower` and `calibrated_upper`: {how['interval']['level']:.0%} interval, "
        interval += f"of {how['interval']['of']}."
    return (
        f"`calibrated` = sigmoid({how['slope']:.3f} · logit(`probability`) {how['offset']:+.3f}), held to "
        f"[{how['lowest']:.2g}, {1 - how['lowest']:.6g}]: {how['method']}.{interval}"
    ) + "\n".join(["", *head, *rows] if rows else [])


def _score(value: float | None, interval: Any, *, sign: str = "") -> str:
    if value is None:
        return "–"
    ends = f" ({interval[0]:{sign}.2f} to {interval[1]:{sign}.2f})" if interval else ""
    return f"{value:{sign}.3f}{ends}"
