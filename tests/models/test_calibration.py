import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, logit

from kflare.errors import DataError
from kflare.models.calibration import Calibration, fit_calibration


def test_recovers_the_slope_and_offset_of_simulated_data():
    rng = np.random.default_rng(1)
    slope, offset = 0.7, -1.2
    x = rng.normal(0, 2, 20_000)
    frequency = expit(slope * x + offset)
    fitted = fit_calibration(rng.random(len(x)) < frequency, expit(x).astype(np.float32))
    # Standard errors of a logistic regression: inverse Fisher information, sum of p (1 - p) [[x², x], [x, 1]].
    weight = frequency * (1 - frequency)
    information = np.array([[np.sum(weight * x**2), np.sum(weight * x)], [np.sum(weight * x), np.sum(weight)]])
    slope_error, offset_error = np.sqrt(np.diag(np.linalg.inv(information)))
    assert slope_error < 0.02
    assert fitted.slope == pytest.approx(slope, abs=4 * slope_error)
    assert fitted.offset == pytest.approx(offset, abs=4 * offset_error)
    assert fitted.lowest == pytest.approx(1 / 20_002)


def test_undoes_the_class_weights():
    # A network that is right for weights (1, 50) gives 50 p / (50 p + 1 - p), so slope 1 and offset -ln 50.
    rng = np.random.default_rng(2)
    frequency = rng.beta(0.5, 10, 50_000)
    network = (50 * frequency / (50 * frequency + 1 - frequency)).astype(np.float32)
    fitted = fit_calibration(rng.random(len(frequency)) < frequency, network)
    assert fitted.slope == pytest.approx(1, abs=0.1)
    assert fitted.offset == pytest.approx(-np.log(50), abs=0.2)
    p = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(fitted(tf.constant(p, tf.float32)), p / (p + 50 * (1 - p)), rtol=0.1)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("offset", [-20.0, 0.0, 3.0])
def test_monotone_and_never_0_or_1(slope, offset):
    calibrated = Calibration(slope, offset, 0.01)(tf.linspace(0.0, 1.0, 2001)).numpy()
    assert calibrated.dtype == np.float32
    assert (np.diff(calibrated) >= 0).all()
    assert calibrated.min() >= np.float32(0.01)
    assert calibrated.max() <= np.float32(0.99)


def test_is_the_sigmoid_that_it_says():
    p = np.array([0.1, 0.5, 0.8])
    expected = expit(0.5 * logit(p) - 1)
    np.testing.assert_allclose(Calibration(0.5, -1.0, 1e-3)(tf.constant(p, tf.float32)), expected, rtol=1e-6)


def test_few_samples_allow_no_certainty():
    # Perfectly separated: the likelihood asks for certainty, Laplace's rule allows 1 - 1/(4 + 2).
    observed = np.array([False, False, True, True])
    fitted = fit_calibration(observed, np.array([0.01, 0.02, 0.98, 0.99], np.float32))
    np.testing.assert_allclose(fitted(tf.constant([0.0, 0.01, 0.99, 1.0])), [1 / 6, 1 / 6, 5 / 6, 5 / 6], rtol=1e-6)


def test_a_network_that_is_wrong_way_round_gives_the_event_rate():
    observed = np.arange(100) % 4 == 0
    fitted = fit_calibration(observed, np.where(observed, 0.2, 0.8).astype(np.float32))
    assert fitted.slope == 0
    np.testing.assert_allclose(fitted(tf.constant([0.1, 0.9])), 0.25, atol=1e-3)


def test_in_a_graph_the_same_numbers():
    calibration = Calibration(1.3, -0.4, 0.02)
    p = tf.linspace(0.0, 1.0, 11)
    np.testing.assert_allclose(tf.function(calibration)(p), calibration(p), rtol=1e-6)


@pytest.mark.parametrize(("observed", "seen"), [(False, "no event"), (True, "no quiet sample")])
def test_one_class_cannot_be_calibrated(observed, seen):
    with pytest.raises(DataError, match=f"the validation span holds {seen}.*move the split dates"):
        fit_calibration(np.full(5, observed), np.linspace(0.1, 0.9, 5, dtype=np.float32))


def test_plain_numbers_need_no_tensorflow():
    code = (
        "import sys; from kflare.models import Calibration, fit_calibration; Calibration(1.0, 0.0, 0.01); "
        "import numpy as np; fit_calibration(np.array([False, True]), np.array([0.2, 0.8], np.float32)); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
