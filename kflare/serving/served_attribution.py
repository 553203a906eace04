"""A served `cnn-*` model as a source of attributions, beside the one in process."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import Origin
from kflare.attribution.published import ATTRIBUTE, Ask
from kflare.errors import ServingError
from kflare.serving.client.client import Client

__all__ = ["MAPS", "PROBABILITIES", "ServedModel", "require_attribution"]

PROBABILITIES = ("probability", "calibrated")
MAPS = ("grad_cam", "guided_backprop")
"""With the probabilities, the outputs of the signature `attribute` that an attribution file needs."""


@dataclass(frozen=True)
class ServedModel:
    """One version of a full-disk model on a server.

    Parameters
    ----------
    target : str
        Address, as `Client` takes it.
    origin : Origin
        Name and version; the digest is not known.
    size : int
        Width and height of the network's input.
    timeout : float
        Deadline of a request in seconds.
    """

    target: str
    origin: Origin
    size: int
    timeout: float

    @classmethod
    def find(cls, target: str, model: str, *, timeout: float) -> "ServedModel":
        """The newest version of a model that a server serves.

        Raises
        ------
        ServingError
            No server, no such model, or one that does not attribute.
        """
        with Client(target, timeout=timeout) as client:
            version, size = require_attribution(client, model)
        return cls(target, Origin(model, version), size, timeout)

    def open(self) -> Ask:
        """Connect; the version found is asked for by number, so that a new one does not mix with it."""
        client = Client(self.target, timeout=self.timeout)

        def ask(magnetograms: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
            return client.predict(
                self.origin.model,
                {"magnetogram": magnetograms},
                signature=ATTRIBUTE,
                version=self.origin.version,
                outputs=(*PROBABILITIES, *MAPS),
            ).outputs

        return ask


def require_attribution(client: Client, model: str) -> tuple[int, int]:
    """Version of a served model, and the size of its input; `ServingError` where it has no signature `attribute`."""
    about = client.metadata(model)
    if ATTRIBUTE not in about.outputs:
        raise ServingError(
            f"{model} version {about.version} at {client.target} has no signature `{ATTRIBUTE}`, only "
            f"{', '.join(sorted(about.outputs))}: serve a cnn-c or cnn-m that kflare.fit published"
        )
    shape = about.outputs[ATTRIBUTE]["guided_backprop"].shape if "guided_backprop" in about.outputs[ATTRIBUTE] else None
    if shape is None or len(shape) != 4 or shape[1] is None:
        raise ServingError(
            f"{model} version {about.version} at {client.target} does not declare the size of its `guided_backprop`: "
            "serve a model that kflare.fit published"
        )
    return about.version, shape[1]
