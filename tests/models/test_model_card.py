"""Model cards say what the metadata say."""

import runpy
from pathlib import Path

import numpy as np

_TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "model_card.py"))
ModelCard, reliability_png = _TOOL["ModelCard"], _TOOL["reliability_png"]

METADATA = {
    "packages": {"tensorflow": "2.21.0"},
    "oldest_tensorflow": "2.19.1",
    "data": {"flare_scale": "irradiance"},
    "event": "largest flare >= M1.0 starting within 24 h",
    "spans": {"train": {"first": "2010-10-30T00:00:00", "last": "2014-12-31T00:00:00", "samples": 70000}},
    "features": [{"name": "AREA", "unit": "uHem", "scale": "log10", "definition": "area |A|"}],
    "scores": [
        {"method": "network", "span": "validation", "threshold": 0.5},
        {
            "method": "network", "span": "test", "threshold": 0.5, "tp": 5, "fp": 7, "fn": 1, "tn": 90,
            "tss": 0.761, "tss_interval": [0.5, 0.9], "bss": None, "bss_interval": None,
        },
    ],
    "calibration": {"method": "Platt scaling", "slope": 0.9, "offset": -3.5, "lowest": 0.001},
    "cross_validation": {
        "about": "Test years 2013 and 2014",
        "network": {"tss": [0.8, 0.7, 0.9], "bss": [0.3, 0.2, 0.4]},
        "persistence": {
            "tss": [0.4, 0.3, 0.5], "bss": [-0.1, -0.2, 0.0],
            "network_minus_tss": [0.4, 0.3, 0.5], "network_minus_bss": [0.4, 0.3, 0.5],
        },
    },
}  # fmt: skip


def test_the_card_holds_use_inputs_scores_calibration_and_limits():
    card = ModelCard("defn-m", "Regions.", "SHARP.", "* No warning rests on it alone.", "calibration.png")
    text = card.text(METADATA)
    assert text.startswith("# defn-m: largest flare >= M1.0 starting within 24 h\n")
    assert "| train | 2010-10-30 | 2014-12-31 | 70000 |" in text
    assert r"| `AREA` | uHem | log10 | area \|A\| |" in text
    # HSS 2(5·90 − 1·7)/(6·91 + 12·97), ApSS (5 − 7)/6, FB 12/6, event rate 6/103.
    scores = "0.518 | -0.333 | 2.000 | 0.058 | 0.761 (0.50 to 0.90) | – |"
    assert f"| network | 0.50 | 5 | 7 | 1 | 90 | {scores}" in text
    assert "Test years 2013 and 2014.\n\n| method | TSS | BSS (calibrated) | network's lead in TSS | in BSS |" in text
    assert "| persistence | 0.400 (0.30 to 0.50) | -0.100 (-0.20 to 0.00) | +0.400 (+0.30 to +0.50) |" in text
    assert "sigmoid(0.900 · logit(`probability`) -3.500), held to [0.001, 0.999]" in text
    assert "TensorFlow 2.19.1 and later, and so in TensorFlow Serving 2.19 and later.\n\n## Limits" in text
    assert text.endswith("## Limits\n\n* No warning rests on it alone.\n")


def test_further_tests_follow_with_the_scores_that_they_have():
    tests = {"Another archive": {"about": "SMARP", "network": {"tss": [0.7, 0.6, 0.8], "roc_area": [0.9, 0.8, 1.0]}}}
    text = ModelCard("defn-m", "Regions.", "SHARP.", "* Limits.", "c.png").text(METADATA | {"further_tests": tests})
    assert "## Another archive\n\nSMARP.\n\n| method | TSS | ROC area | network's lead in TSS | in ROC area |" in text
    assert "| network | 0.700 (0.60 to 0.80) | 0.900 (0.80 to 1.00) | – | – |" in text


def test_a_card_without_cross_validation_has_no_such_section():
    card = ModelCard("cnn-m", "Disk.", "HMI.", "* Limits.", "calibration.png")
    text = card.text(
        {
            key: METADATA[key]
            for key in ("event", "data", "spans", "scores", "calibration", "packages", "oldest_tensorflow")
        }
    )
    assert "cross-validation" not in text
    assert "## Inputs" not in text


def test_the_reliability_diagram_is_a_png_that_repeats():
    rng = np.random.default_rng(0)
    p = rng.random(200).astype(np.float32)
    first, second = (reliability_png(rng.random(200) < 0.5, p, title="a") for _ in range(2))
    assert first.startswith(b"\x89PNG")
    observed = p > 0.5
    assert reliability_png(observed, p, title="b") == reliability_png(observed, p, title="b")
    assert first != second
