"""Agreement with the package `scores` (nci/scores), an independent implementation, wherever it has the same score."""

import numpy as np
import pytest

from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import brier_score, roc_area, roc_curve

pytest.importorskip("scores", reason="the package `scores` is not installed: pip install kflare[test]")

import xarray as xr
from scores.categorical import BinaryContingencyManager
from scores.probability import brier_score as scores_brier
from scores.probability import roc_auc, roc_curve_data

NAMES = {
    "accuracy": "accuracy",
    "pod": "probability_of_detection",
    "pofd": "probability_of_false_detection",
    "far": "false_alarm_ratio",
    "tss": "true_skill_statistic",
    "hss": "heidke_skill_score",
    "ets": "equitable_threat_score",
    "csi": "critical_success_index",
    "frequency_bias": "frequency_bias",
    "base_rate": "base_rate",
}


@pytest.fixture(params=[(0.03, 1), (0.5, 2), (0.9, 3)])
def sample(request):
    """Rounded probabilities, so that ties and a value on the threshold occur."""
    rate, seed = request.param
    random = np.random.default_rng(seed)
    observed = random.random(2000) < rate
    probability = np.clip(0.4 * observed + 0.6 * random.random(2000), 0, 1).round(2)
    return observed, probability


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_contingency_scores(sample, threshold):
    observed, probability = sample
    ours = ContingencyTable.from_probabilities(observed, probability, threshold=threshold)
    theirs = BinaryContingencyManager(
        xr.DataArray((probability >= threshold).astype(float), dims="t"), xr.DataArray(observed.astype(float), dims="t")
    ).transform()
    for name, theirs_name in NAMES.items():
        assert getattr(ours, name) == pytest.approx(float(getattr(theirs, theirs_name)())), name


def test_probability_scores(sample):
    observed, probability = sample
    forecast, outcome = xr.DataArray(probability, dims="t"), xr.DataArray(observed.astype(float), dims="t")
    assert brier_score(observed, probability) == pytest.approx(float(scores_brier(forecast, outcome)))
    assert roc_area(observed, probability) == pytest.approx(float(roc_auc(forecast, outcome)))
    curve = roc_curve(observed, probability)
    theirs = roc_curve_data(forecast, outcome, curve.threshold[:0:-1])  # adds the threshold inf itself
    np.testing.assert_allclose(theirs.POD, curve.pod[::-1])
    np.testing.assert_allclose(theirs.POFD, curve.pofd[::-1])
