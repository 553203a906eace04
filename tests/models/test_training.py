import csv
import json
import os
import random
import resource
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kflare.datasets.pipelines import image_dataset, one_hot, table_dataset
from kflare.errors import DataError, ModelError, SettingError
from kflare.models.defn import build_defn
from kflare.models.losses import WeightedCrossentropy
from kflare.models.training import Adam, Recipe, TrainingRun, load_weights, seeded, train

pytestmark = pytest.mark.trains

WEIGHTS = (1.0, 2.0)


def recipe(**changes):
    usual = {"epochs": 4, "batch_size": 40, "learning_rate": 0.01, "patience": 50, "class_weights": WEIGHTS}
    return Recipe(**usual | {"select": "loss", "steps_per_epoch": 3} | changes)


def samples(seed, *, turned=False):
    """Forty samples of three features and their labels, which follow from the first feature."""
    features = np.random.default_rng(seed).normal(size=(40, 3)).astype(np.float32)
    return features, (features[:, 0] > 0) ^ turned


TRAINING, VALIDATION = samples(1), samples(2)
# The training samples with the labels turned round: what is learnt makes the loss on these grow in every epoch.
OPPOSITE = samples(1, turned=True)


def batches(features, labels):
    """The same batch again and again, so that nothing depends on an order."""
    return tf.data.Dataset.from_tensors((features, one_hot(labels)))


def network(seed=7):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, activation="relu")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.0)(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def trained(run, recipe, *, validation=VALIDATION, model=None):
    model = model or network()
    train(model, batches(*TRAINING).repeat(), batches(*validation), validation[1], recipe=recipe, run=run)
    return model


def loss_of(model, features, labels):
    return float(np.mean(WeightedCrossentropy(WEIGHTS).call(one_hot(labels), model(features, training=False))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"patience": -1}, "`patience` must be at least 1, got -1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a number above 0, got 0.0"),
        ({"learning_rate": float("inf")}, "`learning_rate`.*got inf"),
        ({"learning_rate": float("nan")}, "`learning_rate`.*got nan"),
        ({"seed": -1}, r"`seed` must lie in \[0, 2\^32\), got -1"),
        ({"select": "accuracy"}, "`select` must be tss or loss, got 'accuracy'"),
        ({"class_weights": (1.0, 0.0)}, "`class_weights` must be two positive numbers"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_anything_is_written(change, message):
    with pytest.raises(SettingError, match=message):
        recipe(**change)


def test_what_a_network_begins_with_follows_from_the_seed_also_beside_threads_that_draw():
    def begin():
        with seeded(3):
            return build_defn(5, hidden=16).get_weights()

    def draw():
        while not over.is_set():
            random.random()

    alone, over = begin(), threading.Event()
    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        beside = begin()
    finally:
        over.set()
        thread.join()
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, other)
    keras.utils.set_random_seed(3)  # the weights of before
    np.testing.assert_array_equal(build_defn(5, hidden=16).get_weights()[0], alone[0])


def test_adam_takes_the_steps_of_keras_in_one_operation_for_each_variable():
    gradients = np.random.default_rng(0).normal(0, [[0.01, 1.0, 100.0]], (30, 2, 3)).astype(np.float32)

    def stepped(optimizer):
        variables = [keras.Variable(np.ones(3, np.float32)), keras.Variable(np.zeros(3, np.float32))]
        optimizer.build(variables)
        step = tf.function(lambda found: optimizer.apply(tf.unstack(found), variables))
        for each in gradients:
            step(each)
        kinds = [one.type for one in step.get_concrete_function(gradients[0]).graph.get_operations()]
        return [one.numpy() for one in (*variables, *optimizer.variables)], kinds

    (found, kinds), (expected, _) = (stepped(kind(0.01, epsilon=1e-8)) for kind in (Adam, keras.optimizers.Adam))
    assert kinds.count("ResourceApplyAdam") == 2
    for one, other in zip(found, expected, strict=True):  # 1 - 0.999 is rounded before it is used, or after
        np.testing.assert_allclose(one, other, rtol=1e-4)


class TestRun:
    settings = {"model": "defn-c", "epochs": 3, "class_weights": (1.0, 2.0)}  # noqa: RUF012

    def record(self, folder, epochs=1, settings=None):
        run = TrainingRun(folder, settings or self.settings)
        run.begin()
        for epoch in range(1, epochs + 1):
            row = {"epoch": epoch, "loss": 1.0, "val_loss": 1.0 / epoch, "val_tss": 0.5}
            run.weights(row).write_bytes(b"weights")
            run.record(row, better=epoch < max(epochs, 2))
        return run

    def test_nothing_is_written_before_training_begins(self, tmp_path):
        TrainingRun(tmp_path / "run", self.settings)
        assert not (tmp_path / "run").exists()

    def test_state_survives(self, tmp_path):
        run = self.record(tmp_path, epochs=3)
        run.state["published"] = "models/defn-c/1"
        run.save()
        again = TrainingRun(tmp_path, self.settings)
        assert [row["epoch"] for row in again.epochs] == [1, 2, 3]
        assert again.state["best"]["epoch"] == 2
        assert again.state["published"] == "models/defn-c/1"
        assert json.loads((tmp_path / "settings.json").read_text())["model"] == "defn-c"

    def test_only_the_best_and_the_last_weights_are_kept(self, tmp_path):
        run = self.record(tmp_path, epochs=4)
        assert [path.name for path in (run.best_weights, run.last_weights)] == [
            "epoch-0003.weights.npz",
            "epoch-0004.weights.npz",
        ]
        assert set(tmp_path.glob("*.weights.npz")) == {run.best_weights, run.last_weights}

    def test_the_log_has_a_row_per_epoch(self, tmp_path):
        self.record(tmp_path, epochs=3)
        with (tmp_path / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert rows[1] == {"epoch": "2", "loss": "1.0", "val_loss": "0.5", "val_tss": "0.5"}

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            (settings | {"epochs": 4}, "`epochs` \\(3, now 4\\)"),
            (settings | {"class_weights": (1.0, 3.0)}, "`class_weights`"),
            (settings | {"byte_range": 250.0}, "`byte_range` \\(null, now 250.0\\)"),
            ({"model": "defn-c", "epochs": 3}, "`class_weights` .*now null"),
        ],
    )
    def test_other_settings_are_refused_naming_the_key(self, tmp_path, settings, key):
        self.record(tmp_path)
        with pytest.raises(SettingError, match=f"holds a run with another {key}.*choose another --output"):
            TrainingRun(tmp_path, settings)

    def test_a_folder_without_an_epoch_holds_no_run_yet(self, tmp_path):
        TrainingRun(tmp_path, self.settings).begin()
        other = TrainingRun(tmp_path, self.settings | {"epochs": 4})
        other.begin()
        assert json.loads((tmp_path / "settings.json").read_text())["epochs"] == 4

    def test_a_folder_that_cannot_be_made_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(SettingError, match=r"cannot use .*file.* for the run.*choose another --output"):
            TrainingRun(tmp_path / "file" / "run", self.settings).begin()

    @pytest.mark.parametrize("name", ["state.json", "settings.json"])
    def test_a_damaged_folder_is_refused(self, tmp_path, name):
        self.record(tmp_path)
        (tmp_path / name).write_text("{")
        with pytest.raises(SettingError, match=r"cannot use .* for the run.*choose another --output"):
            TrainingRun(tmp_path, self.settings)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("state.json", ""),
            ("state.json", "[]"),
            ("state.json", "{}"),
            ("state.json", '{"epochs": 3, "best": null}'),
            ("state.json", '{"epochs": [{"epoch": 1}], "best": null}'),
            ("state.json", '{"epochs": [{"epoch": 1, "loss": "?", "val_loss": 1, "val_tss": 0}], "best": null}'),
            ("state.json", '{"epochs": [{"epoch": 1, "loss": 1, "val_loss": 1, "val_tss": 0}], "best": null}'),
            ("state.json", "\x00" * 40),
            ("settings.json", "[]"),
            ("settings.json", "null"),
            ("settings.json", None),
        ],
    )
    def test_files_that_hold_something_else_are_named(self, tmp_path, name, content):
        self.record(tmp_path)
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_text(content)
        with pytest.raises(SettingError, match=r"cannot use .* for the run: .*; choose another --output, or delete"):
            TrainingRun(tmp_path, self.settings)

    def test_a_loss_that_is_not_a_number_is_read_again(self, tmp_path):  # of layers that were read, not trained
        run = TrainingRun(tmp_path, self.settings)
        run.begin()
        row = {"epoch": 30, "loss": float("nan"), "val_loss": 1.0, "val_tss": 0.5}
        run.weights(row).write_bytes(b"weights")
        run.record(row, better=True)
        assert TrainingRun(tmp_path, self.settings).state["best"]["epoch"] == 30


class TestTrain:
    def test_learns_logs_and_chooses_by_tss_and_among_equals_by_loss(self, tmp_path):
        before = loss_of(network(), *VALIDATION)
        run = TrainingRun(tmp_path, {})
        model = trained(run, recipe(epochs=6, select="tss"))
        assert [row["epoch"] for row in run.epochs] == [1, 2, 3, 4, 5, 6]
        assert run.state["best"] == max(run.epochs, key=lambda row: (row["val_tss"], -row["val_loss"]))
        assert loss_of(model, *VALIDATION) < before
        assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))

    def test_stops_after_the_patience_and_loads_the_best_epoch(self, tmp_path):
        changes = {"epochs": 50, "patience": 3}
        run = TrainingRun(tmp_path, {})
        model = trained(run, recipe(**changes), validation=OPPOSITE)
        losses = [row["val_loss"] for row in run.epochs]
        assert losses == sorted(losses)
        assert run.state["best"]["epoch"] == 1
        assert len(losses) == 1 + 3
        assert loss_of(model, *OPPOSITE) == pytest.approx(losses[0], rel=1e-5)
        # Finished: the same again trains nothing and writes nothing.
        written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = trained(TrainingRun(tmp_path, {}), recipe(**changes), validation=OPPOSITE, model=network(99))
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
        np.testing.assert_array_equal(again(VALIDATION[0]), model(VALIDATION[0]))

    def test_resumed_training_equals_training_in_one_go(self, tmp_path):
        whole = trained(TrainingRun(tmp_path / "whole", {}), recipe(epochs=6))
        trained(TrainingRun(tmp_path / "parts", {}), recipe(epochs=3))
        # As a kill in epoch 4 leaves the folder: half of its weights, and a state that does not name them yet.
        (tmp_path / "parts" / "epoch-0004.weights.npz").write_bytes(b"half")
        (tmp_path / "parts" / ".part-x-state.json").write_text("{")
        # A second process knows nothing but the folder; its own initial weights must not matter.
        again = TrainingRun(tmp_path / "parts", {})
        resumed = trained(again, recipe(epochs=6), model=network(99))
        assert [row["epoch"] for row in again.epochs] == [1, 2, 3, 4, 5, 6]
        assert resumed.optimizer.iterations == 6 * 3
        for weight, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)

    def test_weights_are_on_the_disk_before_the_state_names_them(self, tmp_path, monkeypatch):
        synced, fsync = [], os.fsync

        def record(handle):
            synced.append(Path(f"/proc/self/fd/{handle}").readlink().name.partition("-")[2].partition("-")[2])
            fsync(handle)

        monkeypatch.setattr(os, "fsync", record)
        trained(TrainingRun(tmp_path, {}), recipe(epochs=1))
        assert synced.index("epoch-0001.weights.npz") < synced.index("state.json")

    def test_divergence_is_an_error_that_says_what_to_do(self, tmp_path):
        run = TrainingRun(tmp_path, {"learning_rate": 1e30})
        with pytest.raises(DataError, match=r"diverged in epoch 1.*lower --learning-rate \(now 1e\+30\)"):
            trained(run, recipe(learning_rate=1e30))
        # What it says can be done in the same folder, since no epoch was finished.
        assert TrainingRun(tmp_path, {"learning_rate": 0.01}).epochs == []

    def test_weights_that_vanished_or_are_damaged_are_an_error_naming_the_file(self, tmp_path):
        run = TrainingRun(tmp_path, {})
        trained(run, recipe(epochs=1))
        run.best_weights.write_bytes(b"no weights")
        with pytest.raises(ModelError, match=r"epoch-0001.weights.npz cannot be read.*delete .* to train anew"):
            trained(TrainingRun(tmp_path, {}), recipe(epochs=1))
        run.best_weights.unlink()
        with pytest.raises(ModelError, match=r"epoch-0001.weights.npz cannot be read"):
            trained(TrainingRun(tmp_path, {}), recipe(epochs=4))


def dropout_network():
    keras.utils.set_random_seed(7)
    return build_defn(3, hidden=8)


def image_network():
    keras.utils.set_random_seed(7)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))


def table_data(done):
    return table_dataset(*TRAINING, batch_size=9, training=True, seed=5, first=3 * done), batches(*VALIDATION)


def image_data(done):
    fields = np.random.default_rng(3).normal(0, 60, (40, 8, 8, 1)).astype(np.float32)
    rows, labels = np.arange(40), TRAINING[1]
    training = image_dataset(fields, rows, labels, batch_size=14, training=True, augmented=True, seed=5, epoch=done)
    return training, image_dataset(fields, rows, VALIDATION[1], batch_size=40)


@pytest.mark.parametrize(
    ("build", "data", "stops"), [(dropout_network, table_data, (1, 2, 4)), (image_network, image_data, (2, 3, 4))]
)
def test_one_go_and_several_pieces_give_the_same_weights(tmp_path, build, data, stops):
    def rows_and_weights(folder, stops):
        for epochs in stops:
            run, model = TrainingRun(folder, {"seed": 5}), build()
            training, validation = data(len(run.epochs))
            train(model, training, validation, VALIDATION[1], recipe=recipe(epochs=epochs), run=run)
        last = build()
        load_weights(last, run.last_weights)
        return run.epochs, last.get_weights()

    whole, weights = rows_and_weights(tmp_path / "whole", (4,))
    pieces, found = rows_and_weights(tmp_path / "pieces", stops)
    assert pieces == whole
    for one, other in zip(found, weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    first, second = (TrainingRun(tmp_path / f"seed-{seed}", {}, within=tmp_path) for seed in (0, 1))
    with first.held(), pytest.raises(SettingError, match=f"^another run is at work in `{tmp_path}`"):
        trained(second, recipe(epochs=1))
    assert second.epochs == []
    trained(second, recipe(epochs=1))  # the lock ends with its holder
    assert len(second.epochs) == 1


def test_what_another_process_has_done_since_counts(tmp_path):
    early = TrainingRun(tmp_path, {})
    trained(TrainingRun(tmp_path, {}), recipe(epochs=2))
    with early.held():
        assert len(early.epochs) == 2


@pytest.mark.parametrize("limit", [100, 4000])
def test_a_full_disk_ends_in_one_line_and_training_goes_on_later(tmp_path, limit, capfd):
    whole = TrainingRun(tmp_path / "whole", {})
    trained(whole, recipe(epochs=3))
    trained(TrainingRun(tmp_path / "run", {}), recipe(epochs=1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capfd.readouterr()
    # No file may grow beyond it, as where a disk or a quota is full; the weights take 6 kB.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(SettingError, match=r"^cannot write `[^`]*epoch-0002\.weights\.npz`: File too large"):
            trained(TrainingRun(tmp_path / "run", {}), recipe(epochs=3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Traceback" not in "".join(capfd.readouterr())
    assert not list((tmp_path / "run").glob(".part-*"))
    later = TrainingRun(tmp_path / "run", {})
    trained(later, recipe(epochs=3))
    assert later.epochs == whole.epochs
