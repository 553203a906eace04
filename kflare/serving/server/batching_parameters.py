"""How requests are put together into batches: TensorFlow Serving's `batching.config`."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kflare.errors import SettingError
from kflare.serving.messages.config_messages import MESSAGES, read_config

__all__ = ["BatchingParameters"]


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
        for name, least in (
            ("max_batch_size", 1), ("batch_timeout_micros", 0), ("max_enqueued_batches", 1), ("num_batch_threads", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise SettingError(f"`{name}` must be {least} or more, got {getattr(self, name)}")
        if not 1 <= self.largest <= self.max_batch_size:
            raise SettingError(f"`max_execution_batch_size` must lie in 1..{self.max_batch_size}, got {self.largest}")
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[0] < 1 or sizes[-1] != self.largest or list(sizes) != sorted(set(sizes))):
            raise SettingError(
                f"`allowed_batch_sizes` must grow and end with the largest batch, {self.largest}, got {list(sizes)}"
            )

    @property
    def largest(self) -> int:
        """Most rows that run together."""
        return self.max_batch_size if self.max_execution_batch_size is None else self.max_execution_batch_size

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file in the text form of `tensorflow.serving.BatchingParameters`; `SettingError` if it is none."""
        config = read_config(path, MESSAGES["BatchingParameters"], what="batching configuration")
        if config.pad_variable_length_inputs:
            raise SettingError(f"`pad_variable_length_inputs` in {path} must be false: an image is not to be padded")
        given: dict[str, Any] = {
            name: getattr(config, name).value
            for name in (
                "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
                "thread_pool_name",
            )
            if config.HasField(name)
        }  # fmt: skip
        if config.enable_large_batch_splitting.value and config.HasField("max_execution_batch_size"):
            given["max_execution_batch_size"] = config.max_execution_batch_size.value
        try:
            return cls(allowed_batch_sizes=tuple(config.allowed_batch_sizes), **given)
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from error
