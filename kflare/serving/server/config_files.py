"""TensorFlow Serving's `models.config`, which models are served from where, and `batching.config`."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kflare.errors import SettingError
from kflare.serving.messages.declared_messages import CONFIG_MESSAGES, read_config

_NUMBER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)


@dataclass(frozen=True)
class ModelSettings:
    """One model of the configuration."""

    name: str
    base_path: Path  # holds one numeric folder per version
    newest: int | None = 1  # how many of the newest versions to serve; None = as many as `only` allows
    only: frozenset[int] | None = None  # the versions that may be served; None = any
    labels: Mapping[str, int] = field(default_factory=dict)  # names that clients may use for a version

    def allows(self, number: int) -> bool:
        """Whether the version policy allows this version to be served."""
        return self.only is None or number in self.only


def numbered_versions(base_path: Path) -> dict[int, Path]:
    """Folders of complete-looking versions: a decimal number (int64) as name, and `saved_model.pb` in it.

    A sign and white space around it count as part of it, and of "1" and "01" the last in alphabetical order, as in
    TensorFlow Serving (file_system_storage_path_source.cc: ParseVersionNumber, IndexChildrenByVersion). OSError: it
    cannot be listed.
    """
    numbered = [path for path in sorted(base_path.iterdir()) if _NUMBER.fullmatch(path.name)]
    found = {int(path.name): path for path in numbered if (path / "saved_model.pb").is_file()}
    return {number: path for number, path in found.items() if -(2**63) <= number < 2**63}


def read_models_config(path: Path, *, folder: Path | None = None) -> list[ModelSettings]:
    """Read a `models.config`. SettingError if it is not valid or empty.

    With `folder` each model's base path becomes `folder`/<name>, whatever the file says.
    """
    _, settings = checked_config(Path(path), folder=folder)
    if not settings:
        raise SettingError(f"{path} lists no model: it needs model_config_list {{ config {{ ... }} }}")
    return settings


def checked_config(path: Path, *, folder: Path | None = None) -> tuple[Any, list[ModelSettings]]:
    """The ModelServerConfig of a file and its models, checked as by `model_settings`; SettingError names the file."""
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = read_config(path, ModelServerConfig, what="models configuration")
    try:
        return config, model_settings(config, folder=folder)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def model_settings(config: Any, *, folder: Path | None = None) -> list[ModelSettings]:
    """Check a ModelServerConfig by TensorFlow Serving's rules (model_servers/server_core.cc) and read its models.

    `folder` replaces every base path by `folder`/<name>.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise SettingError("`custom_model_config` is not supported: list the models in `model_config_list`")
    settings: dict[str, ModelSettings] = {}
    for model in config.model_config_list.config:
        if model.name in settings:
            raise SettingError(f"Illegal to list model {model.name} multiple times in config list")
        settings[model.name] = _one_model(model, _can_be_folder(model.name, _base_path(model, folder)))
    return list(settings.values())


def _base_path(model: Any, folder: Path | None) -> Path:
    if folder is not None:
        if Path(model.name).name != model.name or model.name in {"", ".", ".."}:
            raise SettingError(f"`name` of a model in {folder} must be a plain name, got {model.name!r}")
        return folder / model.name
    location = model.base_path.removeprefix("file://")
    if "://" in location:
        raise SettingError(f"`base_path` of model {model.name} must be a local folder, got {model.base_path!r}")
    if not Path(location).is_absolute():
        raise SettingError(f"Expected model {model.name} to have an absolute path or URI; got base_path()={location}")
    return Path(location)


def _can_be_folder(name: str, path: Path) -> Path:
    """The path, unless it never can be a folder; one that is not there may come."""
    try:
        wrong = None if stat.S_ISDIR(path.stat().st_mode) else "it is a file"
    except (FileNotFoundError, PermissionError):
        wrong = None
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        wrong = str(getattr(error, "strerror", None) or error)
    if wrong:
        raise SettingError(f"`base_path` of model {name!r} must be a folder, got {str(path)[:200]!r}: {wrong}")
    return path


def _one_model(model: Any, base_path: Path) -> ModelSettings:
    if bool(model.model_platform) == bool(model.model_type):
        which, joined = ("both", "and") if model.model_type else ("neither", "nor")
        both = f"ModelServerConfig::model_type (deprecated) {joined} ModelServerConfig::model_platform"
        raise SettingError(f"Illegal setting {which} {both}, model name is {model.name}")
    if model.model_type not in {0, 1}:  # 1 is TENSORFLOW, the older way of saying model_platform: "tensorflow"
        raise SettingError(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    if model.model_platform not in {"", "tensorflow"}:
        raise SettingError(f"Model {model.name} requests unsupported platform {model.model_platform}")
    if model.HasField("logging_config"):
        raise SettingError(f"No request-logger-creator provided. Remove `logging_config` of model {model.name}")
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")  # none means the newest version
    newest = None if choice in {"all", "specific"} else max(1, policy.latest.num_versions)
    only = frozenset(policy.specific.versions) if choice == "specific" else None
    return ModelSettings(model.name, base_path, newest, only, dict(model.version_labels))


@dataclass(frozen=True)
class BatchingParameters:
    """The options of `batching.config`; the defaults are those of shared_batch_scheduler.h."""

    max_batch_size: int = 1000  # rows of a batch, and of a request
    batch_timeout_micros: int = 0  # to wait for more rows once a thread is free; only while another batch runs
    max_enqueued_batches: int = 10  # in one queue; what comes then is refused with UNAVAILABLE
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)  # batches that run at a time
    thread_pool_name: str = "model_server_batch_threads"  # label of the queueing times in the metrics
    allowed_batch_sizes: tuple[int, ...] = ()  # that batches are padded to; empty = any
    max_execution_batch_size: int | None = None  # larger requests run in pieces (enable_large_batch_splitting)

    def __post_init__(self) -> None:
        # Below, TensorFlow Serving ends or never answers; above, it may end for want of threads or memory.
        for name, least, most in (
            ("max_batch_size", 1, 2**24), ("batch_timeout_micros", 0, 60_000_000), ("max_enqueued_batches", 1, 2**24),
            ("num_batch_threads", 1, 1024),
        ):  # fmt: skip
            if not least <= getattr(self, name) <= most:
                raise SettingError(f"`{name}` must lie in {least}..{most}, got {getattr(self, name)}")
        if not 1 <= self.largest <= self.max_batch_size:
            raise SettingError(f"`max_execution_batch_size` must lie in 1..{self.max_batch_size}, got {self.largest}")
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[0] < 1 or sizes[-1] != self.largest or list(sizes) != sorted(set(sizes))):
            rule = f"`allowed_batch_sizes` must grow and end with the largest batch, {self.largest}"
            raise SettingError(f"{rule}, got {list(sizes)}")

    @property
    def largest(self) -> int:
        """Most rows that run together."""
        return self.max_batch_size if self.max_execution_batch_size is None else self.max_execution_batch_size

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file in the text form of `tensorflow.serving.BatchingParameters`; `SettingError` if it is none."""
        config = read_config(path, CONFIG_MESSAGES["BatchingParameters"], what="batching configuration")
        if not config.ListFields():
            raise SettingError(f"{path} sets nothing: give at least one of the parameters in serving/batching.config")
        if config.pad_variable_length_inputs:
            raise SettingError(f"`pad_variable_length_inputs` in {path} must be false: an image is not to be padded")
        names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
                 "thread_pool_name")  # fmt: skip
        given: dict[str, Any] = {name: getattr(config, name).value for name in names if config.HasField(name)}
        if config.enable_large_batch_splitting.value and config.HasField("max_execution_batch_size"):
            given["max_execution_batch_size"] = config.max_execution_batch_size.value
        try:
            return cls(allowed_batch_sizes=tuple(config.allowed_batch_sizes), **given)
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from error
