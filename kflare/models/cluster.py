"""Training on the workers of `TF_CONFIG`, in step: `tf.distribute.MultiWorkerMirroredStrategy`.

Keras 3 cannot fit under this strategy (keras-team/keras#20585), so the steps are made here; callbacks, checkpoints and
all that follows see a plain network. Each worker draws the same batches and takes its part of each: gradients, loss and
batch normalisation are of the whole batch, so that all learn what one process would, but for what dropout draws.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.errors import ModelError, SettingError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_FORM = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}'


@dataclass(frozen=True)
class Workers:
    """Which worker of how many this process is, and their strategy if there are several."""

    index: int = 0
    count: int = 1
    strategy: Any = None


_here = Workers()


def workers_here() -> Workers:
    """The workers of the block `joined_workers` in which this process is; outside it is alone."""
    return _here


def task_of(text: str | None) -> tuple[int, int]:
    """Which worker of how many `TF_CONFIG` makes this process, (0, 1) without it; `SettingError` for a wrong one."""
    if not text:
        return 0, 1
    try:
        about = json.loads(text)
        places, kind, index = about["cluster"]["worker"], about["task"]["type"], about["task"]["index"]
        known = all(place.rpartition(":")[2].isdigit() for place in places) and len(set(places)) == len(places)
        if known and [*about["cluster"]] == ["worker"] == [kind] and index in range(len(places)):
            return index, len(places)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise SettingError(f"TF_CONFIG must be {_FORM}, each address once and N one of 0, 1, ..., got {text}")


@contextmanager
def joined_workers(folder: Path) -> Iterator[Path]:
    """Join the workers of `TF_CONFIG`, if there are any, before anything else of TensorFlow; gives the run's folder.

    For the first worker, the chief, that is `folder`; for others a copy that is thrown away, so that the chief alone
    writes. `SettingError` for a wrong `TF_CONFIG`.
    """
    global _here  # noqa: PLW0603 (a process is one worker)
    index, count = task_of(os.environ.get("TF_CONFIG"))
    if count == 1:
        yield folder
        return
    import tensorflow as tf

    print(f"worker {index} of {count} waits for the others of TF_CONFIG", file=sys.stderr)
    try:
        _here = Workers(index, count, tf.distribute.MultiWorkerMirroredStrategy())
    except (tf.errors.OpError, RuntimeError) as error:
        raise SettingError(f"cannot join the workers of TF_CONFIG: {str(error).splitlines()[0]}") from error
    with tempfile.TemporaryDirectory(prefix="kflare-worker-") as scratch:
        if index and folder.exists():
            ignored = shutil.ignore_patterns(".*", "savedmodels", "tensorboard")
            shutil.copytree(folder, Path(scratch) / folder.name, ignore=ignored)
        yield Path(scratch) / folder.name if index else folder
    _here = Workers()


def fit_in_step(
    model: "keras.Model", data: "tf.data.Dataset", *, first: int, epochs: int, steps: int | None,
    callbacks: "Sequence[keras.callbacks.Callback]", same: str
) -> list[float]:  # fmt: skip
    """Fit a compiled network as `model.fit` does from epoch `first` on, on all workers; gives the losses of the epochs.

    `steps` batches of the `data` are an epoch; `same` must be so on all workers. ModelError: it is not, or one is gone.
    """
    if _here.count == 1:
        done = model.fit(
            data, initial_epoch=first, epochs=epochs, steps_per_epoch=steps, callbacks=list(callbacks), verbose=0,
            shuffle=False,  # the pipeline does it
        )  # fmt: skip
        return list(done.history.get("loss", []))
    import keras
    import tensorflow as tf

    from kflare.models.inference import train_by_infer

    assert steps is not None
    strategy, together = _here.strategy, model.steps_per_execution
    with strategy.scope():
        twin = keras.models.clone_model(model)
        train_by_infer(twin)
        for layer in twin.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        optimizer.build(twin.trainable_variables)
    model.optimizer.build(model.trainable_variables)
    ours, theirs = [*model.variables, *model.optimizer.variables], [*twin.variables, *optimizer.variables]

    def summed(value: Any) -> Any:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = model.loss.call(batch[1], twin(batch[0], training=True))
            loss = tf.reduce_sum(losses)
        seen = summed(tf.stack([loss, tf.cast(tf.size(losses), tf.float32)]))
        gradients = tape.gradient(loss, twin.trainable_variables)
        optimizer.apply([gradient / seen[1] for gradient in gradients], twin.trainable_variables)  # which sums them
        return seen

    @tf.function
    def steps_of(batches: Any) -> Any:
        seen = tf.zeros(2)
        for _ in tf.range(together):
            seen += strategy.experimental_local_results(strategy.run(step, args=(next(batches),)))[0]
        return seen

    @tf.function
    def mean(value: Any) -> Any:
        sums = strategy.run(lambda: summed(tf.identity(value)))
        return strategy.experimental_local_results(sums)[0] / strategy.num_replicas_in_sync

    losses = []
    try:
        digest = int(hashlib.sha256(f"{first} {same}".encode()).hexdigest()[:8], 16)
        if mean(tf.constant(digest, tf.float64)) != digest:
            raise ModelError(
                "the workers of TF_CONFIG would not train the same: give all of them the same data and options, and an "
                "--output that all see"
            )
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        batches = iter(strategy.experimental_distribute_dataset(data.with_options(options)))
        told = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs, steps=steps)
        model.stop_training = False
        told.on_train_begin()
        for epoch in range(first, epochs):
            told.on_epoch_begin(epoch)
            _assign(theirs, ours)
            total = count = 0.0
            for last in range(together - 1, steps, together):
                seen = steps_of(batches).numpy()
                total, count = total + seen[0], count + seen[1]
                told.on_train_batch_end(last)
            _assign(ours, theirs)
            losses.append(float(total / count))
            told.on_epoch_end(epoch, {"loss": losses[-1]})
            # The chief decides: another's processor may round otherwise.
            if mean(tf.constant(float(model.stop_training and _here.index == 0))) > 0:
                break
        told.on_train_end()
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise ModelError(
            "another worker of TF_CONFIG is gone: start all of them again, and they go on from the last whole epoch"
        ) from error
    return losses


def _assign(targets: Sequence[Any], sources: Sequence[Any]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)
