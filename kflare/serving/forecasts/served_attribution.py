"""Attribution maps from a served image model; a source of attributions beside the model in process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import Origin
from kflare.attribution.published import ATTRIBUTE, Ask
from kflare.errors import ServingError
from kflare.serving.client.client import Client
from kflare.serving.messages.replies import Reply

__all__ = ["MAPS", "ServedModel", "predict_maps", "require_attribution"]

MAPS = ("grad_cam", "guided_backprop")
"""The attribution maps of the signature `attribute`."""
_SERVE = "serve a cnn-c or cnn-m that kflare.fit published"


@dataclass(frozen=True)
class ServedModel:
    """One version of a full-disk model on a server; `size` is the width and height of the network's input."""

    target: str
    origin: Origin
    size: int
    timeout: float

    @classmethod
    def find(cls, target: str, model: str, *, timeout: float) -> "ServedModel":
        """The newest version of a model that a server serves; `ServingError` where none of it attributes."""
        with Client(target, timeout=timeout) as client:
            version, size = require_attribution(client, model)
        return cls(target, Origin(model, version), size, timeout)

    def open(self) -> Ask:
        """Connect; the version found is asked for by number, so that a new one does not mix with it."""
        client = Client(self.target, timeout=self.timeout)

        def ask(magnetograms: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
            return predict_maps(client, self.origin.model, magnetograms, version=self.origin.version).outputs

        return ask


def predict_maps(
    client: Client,
    model: str,
    magnetograms: npt.NDArray[np.float32],
    *,
    maps: Sequence[str] = MAPS,
    version: int | str | None = None,
) -> Reply:
    """Ask a full-disk model about magnetograms (N, H, W, 1), gauss, for its probabilities and attribution maps."""
    outputs = ("probability", "calibrated", *maps)
    return client.predict(model, {"magnetogram": magnetograms}, signature=ATTRIBUTE, version=version, outputs=outputs)


def require_attribution(client: Client, model: str) -> tuple[int, int]:
    """Version of a served model, and the size of its input; `ServingError` where it has no signature `attribute`."""
    about = client.metadata(model)
    who = f"{model} version {about.version} at {client.target}"
    if ATTRIBUTE not in about.outputs:
        found = ", ".join(sorted(about.outputs))
        raise ServingError(f"{who} has no signature `{ATTRIBUTE}`, only {found}: {_SERVE}")
    info = about.outputs[ATTRIBUTE].get("guided_backprop")
    shape = None if info is None else info.shape
    if shape is None or len(shape) != 4 or shape[1] is None:
        raise ServingError(f"{who} does not declare the size of its `guided_backprop`: {_SERVE}")
    return about.version, shape[1]
