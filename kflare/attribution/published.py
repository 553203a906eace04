"""Models that attribute: the protocol, and a published SavedModel that is run in this process."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from kflare.attribution.attribution_file import Origin, require_methods
from kflare.errors import ModelError
from kflare.io.arrays import AnyArray, Float32Array
from kflare.models.publish import MANIFEST, read_metadata, verify_manifest, versions
from kflare.models.registry import model_names, model_spec
from kflare.models.released import released_models

if TYPE_CHECKING:
    import keras

ATTRIBUTE = "attribute"
"""The signature: `magnetogram` float32 (N, H, W, 1) in gauss to probabilities and maps."""

_LOADING = Lock()

Ask = Callable[[Float32Array], dict[str, AnyArray]]
"""Magnetograms (N, H, H, 1) in gauss, NaN off disk, to the outputs of the signature `attribute`."""


@dataclass(frozen=True, kw_only=True)
class AttributionModel(ABC):
    """A model that attributes: small and picklable, so that it can be sent to workers, which open it there."""

    origin: Origin
    size: int  # width and height of the network's input
    methods: tuple[str, ...] = ()  # maps that it is asked for beside those of the signature
    reference: bool = False  # whether tf-keras-vis's own classes make the maps: see `network_maps`
    byte_range: float | None = None  # of the images that it learnt from

    @abstractmethod
    def open(self) -> Ask:
        """Load or connect; slow, done once per process by `open_once`."""


def open_once(source: AttributionModel) -> Ask:
    """The model's function in this process: loaded at the first call, also where several threads call at once."""
    with _LOADING:
        return _opened(source)


@lru_cache(maxsize=1)
def _opened(source: AttributionModel) -> Ask:
    return source.open()


@dataclass(frozen=True, kw_only=True)
class PublishedModel(AttributionModel):
    """The SavedModel of an image model that kflare published, to be run in process."""

    folder: Path  # the version's own, such as `savedmodels/cnn-m/1`
    event: str  # class of the flares that it forecasts: "C" or "M"
    threshold: float  # probability from which its forecast is "yes"

    @classmethod
    def find(cls, place: Path, *, methods: Sequence[str] = (), reference: bool = False) -> "PublishedModel":
        """The model in a version's folder, or the newest in a model's folder; `SettingError`: unknown method.

        `ModelError` where there is none, it is not whole or changed since it was published, or is no full-disk model.
        """
        place, methods = Path(place), require_methods(methods)
        if not place.is_dir():
            raise ModelError(f"no model {place}: give a published one, such as {released_models() / 'cnn-m'}")
        if not (place / "saved_model.pb").is_file():
            found = versions(place)
            if not found:
                raise ModelError(f"{place} holds no version of a model: publish one with python -m kflare.fit")
            place /= str(found[-1])
        verify_manifest(place)
        about = read_metadata(place)
        missing = [key for key in ("model", "version", "class", "decision_threshold") if key not in about]
        if missing:
            raise ModelError(f"{place}: its kflare.json lacks `{missing[0]}`: publish the model with kflare.fit")
        if "image_size" not in about:
            fault = f"{place} is no full-disk model, so it has no attribution maps"
            raise ModelError(f"{fault}: give one of {', '.join(model_names('image'))}")
        digest = hashlib.sha256((place / MANIFEST).read_bytes()).hexdigest()[:16]
        own: dict[str, Any] = {"size": int(about["image_size"]), "event": str(about["class"])[0]}
        own |= {"threshold": float(about["decision_threshold"]), "byte_range": about.get("data", {}).get("byte_range")}
        origin = Origin(str(about["model"]), int(about["version"]), digest)
        return cls(folder=place.resolve(), origin=origin, methods=methods, reference=reference, **own)

    def open(self) -> Ask:
        """Load the signature `attribute`; without one `ModelError` is raised."""
        import tensorflow as tf

        loaded = tf.saved_model.load(str(self.folder))
        if ATTRIBUTE not in loaded.signatures:
            fault = f"{self.folder} has no signature `{ATTRIBUTE}`, only {', '.join(sorted(loaded.signatures))}"
            raise ModelError(f"{fault}: publish the model with kflare.fit")

        missing = [name for name in self.methods if name not in loaded.signatures[ATTRIBUTE].structured_outputs]
        more = None
        if missing or self.reference:
            from kflare.attribution.network_maps import network_maps

            more = network_maps(self.network(), missing, reference=self.reference)

        def ask(magnetograms: Float32Array) -> dict[str, AnyArray]:
            # Through `loaded`, which owns the variables and must live as long as the signature is used.
            outputs = loaded.signatures[ATTRIBUTE](magnetogram=tf.constant(magnetograms))
            answered = {name: value.numpy() for name, value in outputs.items()}
            return answered if more is None else more(answered, magnetograms)

        return ask

    def network(self) -> "keras.Model":
        """The dense CNN with the published weights; where they are those of another network `ModelError` is raised."""
        import tensorflow as tf

        network = model_spec(self.origin.model).build((self.size, self.size, 1))
        loaded = tf.saved_model.load(str(self.folder))
        saved = {value.name.removesuffix(":0"): value for value in loaded.signatures["serving_default"].variables}
        shapes = {weight.path: weight.shape for weight in network.weights}
        if shapes != {name: value.shape for name, value in saved.items()}:
            raise ModelError(f"{self.folder} holds another network than kflare's {self.origin.model}: fit it anew")
        for weight in network.weights:
            weight.assign(saved[weight.path])
        return network
