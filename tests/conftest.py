"""What all tests share: a quiet TensorFlow and the place of the real data."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Observed data of others, never committed: $KFLARE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("KFLARE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}: set KFLARE_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def full_disk_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models' folder with cnn-m version 1: a dense CNN of 128 pixels with random weights, published as usual."""
    import keras
    import numpy as np

    from kflare.attribution.compiled import CompiledAttribution
    from kflare.models.calibration import Calibration
    from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
    from kflare.models.fitting import Fitted
    from kflare.models.release import release_dense_cnn

    keras.utils.set_random_seed(3)
    model = build_dense_cnn((128, 128, 1))
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            parts = (*rng.normal(1, 0.3, (1, n)), *rng.normal(0, 0.3, (2, n)), rng.random(n) + 0.5)
            layer.set_weights([part.astype(np.float32) for part in parts])
    folder = tmp_path_factory.mktemp("full-disk-models")
    release_dense_cnn(
        Fitted(model, None, Calibration(1.2, -0.3, 0.01), 0.5, [], None),
        folder,
        "cnn-m",
        attribution=CompiledAttribution(model, layer=LAST_CONVOLUTION),
        metadata={"class": "M+", "decision_threshold": 0.5},
    )
    return folder
