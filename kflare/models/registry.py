"""Every model that kflare trains, serves and asks. A new architecture is one file that builds its network, and one row.

Nothing heavy is imported before a network is built, so that clients, settings and `--help` may read the table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from kflare.errors import SettingError

Kind = Literal["image", "region"]

OUTPUTS: Mapping[Kind, tuple[str, ...]] = {
    "image": ("probability", "calibrated"),
    "region": ("probability", "calibrated", "imputed"),
}
"""The outputs of a SavedModel that make a forecast: of each kind of model, what clients ask for."""

INTERVAL = ("calibrated_lower", "calibrated_upper")
"""Outputs beside `calibrated`, its interval; older versions have none."""

DISK = "full_disk"
"""Signature of a region model that calibrates P_FD, `combined`, and may ask for flares before; older ones have none."""

BYTE_RANGE = "byte_range"
"""Signature of an image model, its input and its output: the scale of the 8-bit images that it learnt from, where there
were any; older versions have none."""


@dataclass(frozen=True)
class ModelSpec:
    """One model: an architecture and the class of the flares that it forecasts."""

    name: str
    # "image": a full-disk magnetogram in, a forecast of the disk out; "region": an active region's features in, its
    # forecast out. The kind determines how a model is fitted, exported and asked.
    kind: Kind
    event: str  # "C" or "M": the largest flare that starts within 24 h is at least of C1.0 or M1.0
    builder: str  # `MODULE:FUNCTION`, from (height, width, 1) or the number of features to the network
    recipe: Mapping[str, Any]  # how it is trained by default, as fields of `kflare.models.training.Recipe`
    documentation: str  # what it is, in one line
    smallest_size: int = 1  # image models: least side of the input, in pixels
    pretraining: Mapping[str, Any] | None = None  # recipe on line maps (`kflare.models.pretraining`), if there is one

    @property
    def event_text(self) -> str:
        """The event in words: "flare >= M1.0"."""
        return f"flare >= {self.event}1.0"

    def build(self, shape: Any) -> Any:
        """The untrained network, a `keras.Model` with the outputs (N, 2): [no flare, flare]."""
        module, _, function = self.builder.partition(":")
        return getattr(import_module(module), function)(shape)


def _of_both_classes(architecture: str, **common: Any) -> tuple[ModelSpec, ...]:
    return tuple(ModelSpec(f"{architecture}-{event.lower()}", event=event, **common) for event in "CM")


MODELS: tuple[ModelSpec, ...] = (
    *_of_both_classes(
        "cnn", kind="image", builder="kflare.models.dense_cnn:build_dense_cnn",
        smallest_size=128,  # seven poolings by two
        recipe={"epochs": 100, "batch_size": 8, "learning_rate": 2e-4, "patience": 20, "select": "tss"},
        # Without early stopping: `patience` and `select` are not used.
        pretraining={"epochs": 30, "batch_size": 8, "learning_rate": 3e-3, "patience": 30, "select": "tss"},
        documentation="dense CNN of Yi et al. (2021)",
    ),
    *_of_both_classes(
        "defn", kind="region", builder="kflare.models.defn:build_defn",
        recipe={"epochs": 160, "batch_size": 150, "learning_rate": 1e-3, "patience": 40, "select": "loss",
                "steps_per_epoch": 100},
        documentation="Deep Flare Net of Nishizuka et al. (2018, 2021)",
    ),
)  # fmt: skip
"""One row per architecture; of two models of one kind and class the first is the default."""


def model_spec(name: str) -> ModelSpec:
    """The model of a name; an unknown one raises `SettingError`."""
    named = {spec.name: spec for spec in MODELS}
    if name not in named:
        raise SettingError(f"unknown model `{name}`: the known ones are {', '.join(named)}")
    return named[name]


def model_names(kind: Kind | None = None) -> tuple[str, ...]:
    """Names of all models, or of those of a kind."""
    return tuple(spec.name for spec in MODELS if kind in (None, spec.kind))


def first_per_event(names: Iterable[str], kind: Kind) -> tuple[str, ...]:
    """Of the names of models, the first of the kind for each class: those that are asked unless told otherwise."""
    present = set(names)
    first: dict[str, str] = {}
    for spec in (spec for spec in MODELS if spec.kind == kind and spec.name in present):
        first.setdefault(spec.event, spec.name)
    return tuple(first.values())


def one_per_event(names: Sequence[str], kind: Kind, *, name: str = "models") -> Sequence[str]:
    """The names as they are, if each is of a model of the kind and no two are for one class, else `SettingError`."""
    known = model_names(kind)
    for model in names:
        if model not in known:
            raise SettingError(f"`{name}` may hold {' and '.join(known)}, got {model}")
    events = [model_spec(model).event for model in names]
    if len(set(events)) < len(events):
        raise SettingError(f"`{name}` may hold one model for each class, got {', '.join(names)}")
    return names
