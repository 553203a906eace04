"""Training on the workers of `TF_CONFIG`: real processes on this machine, in step with what one process learns."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from kflare.errors import SettingError
from kflare.models.cluster import fit_in_step, joined_workers, task_of, workers_here
from kflare.synthetic.sun import SyntheticSun


def config(places, index, **changes):
    return json.dumps({"cluster": {"worker": places}, "task": {"type": "worker", "index": index}} | changes)


TWO = ["a:2222", "b:2222"]


def test_which_worker_this_process_is():
    assert task_of(None) == (0, 1)
    assert task_of("") == (0, 1)
    assert task_of(config(TWO, 1)) == (1, 2)
    assert task_of(config(["a:2222"], 0)) == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        config(TWO, 2),
        config(TWO, "1"),
        config(["a:1", "a:1"], 0),
        config(["a", "b:1"], 0),
        config(TWO, 0, task={"type": "ps", "index": 0}),
        config(TWO, 0, cluster={"worker": TWO, "chief": ["c:1"]}),
    ],
)
def test_a_wrong_tf_config_is_told_in_one_line(text, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(SettingError, match=r"^TF_CONFIG must be \{[^\n]*, got ") as error, joined_workers(tmp_path):
        pass
    assert str(error.value).endswith(f"got {text}")


def test_one_process_is_alone_and_writes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with joined_workers(tmp_path / "run") as folder:
        assert folder == tmp_path / "run"
        assert (workers_here().index, workers_here().count) == (0, 1)
    assert fit_in_step.__module__ == "kflare.models.cluster"


# A toy network with batch normalisation. Batches of 40, 40 and 1 sample: of the last one a worker gets none.
TOY = """
import os, signal, sys
from pathlib import Path
import numpy as np
import keras
from kflare.models.cluster import joined_workers, workers_here
from kflare.errors import KflareError

folder, epochs, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
try:
    with joined_workers(folder) as own:
        import tensorflow as tf
        from kflare.datasets.pipelines import one_hot
        from kflare.models import training

        def samples(seed):
            features = np.random.default_rng(seed).normal(size=(81, 3)).astype(np.float32)
            return features, features[:, 0] > 0

        def batches(features, labels):
            return tf.data.Dataset.from_tensor_slices((features, one_hot(labels))).batch(40)

        keras.utils.set_random_seed(7)
        inputs = keras.Input((3,))
        x = keras.layers.Dense(4, activation="relu")(inputs)
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
        recipe = training.Recipe(epochs, 40, rate, 50, (1.0, 2.0), select="loss", steps_per_epoch=3)
        run = training.TrainingRun(own, {"rate": rate})
        if os.environ.get("KILLED") == str(workers_here().index):
            run.record = lambda row, better, keep=run.record: (
                os.kill(os.getpid(), signal.SIGKILL) if row["epoch"] == 3 else keep(row, better=better)
            )
        training.train(
            model, batches(*samples(1)).repeat(), batches(*samples(2)), samples(2)[1], recipe=recipe, run=run
        )
except KflareError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


def free_places(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    places = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return places


def together(*lines, **environment):
    """Status and stderr of each of the workers that run these command lines."""
    places = free_places(len(lines))
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, line)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": config(places, index), **environment},
        ) for index, line in enumerate(lines)
    ]  # fmt: skip
    try:
        told = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(processes, told, strict=True)]


def curve(folder):
    with (folder / "history.csv").open() as file:
        return [[float(row[name]) for name in ("epoch", "loss", "val_loss")] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The script, and the loss curve of one process."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(TOY)
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    subprocess.run([sys.executable, folder / "toy.py", folder / "one", "5", "0.02"], check=True, env=environment)
    return folder


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_workers_learn_what_one_does_with_the_whole_batch(toy, tmp_path):
    line = [toy / "toy.py", tmp_path / "two", 5, 0.02]
    results = together(line, line, TMPDIR=str(tmp_path))
    assert [status for status, *_ in results] == [0, 0], results
    assert curve(toy / "one")[-1][1] < 0.7 * curve(toy / "one")[0][1]  # it learns
    for two, one in zip(curve(tmp_path / "two"), curve(toy / "one"), strict=True):
        assert two == pytest.approx(one, rel=2e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["two"]  # what the other wrote is gone


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("killed", [0, 1])
def test_one_killed_all_are_started_again_and_learn_the_same(toy, tmp_path, killed):
    line = [toy / "toy.py", tmp_path / "two", 5, 0.02]
    results = together(line, line, KILLED=str(killed))
    assert results[killed][0] == -signal.SIGKILL
    assert results[1 - killed][0] != 0
    if killed == 1:  # the chief tells what to do; where it is gone itself TensorFlow may end the others
        assert results[0][2].splitlines()[-1] == (
            "another worker of TF_CONFIG is gone: start all of them again, and they go on from the last whole epoch"
        )
    assert len(curve(tmp_path / "two")) in {2, 3}
    assert [status for status, *_ in together(line, line)] == [0, 0]
    for two, one in zip(curve(tmp_path / "two"), curve(toy / "one"), strict=True):
        assert two == pytest.approx(one, rel=2e-5)


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_workers_that_would_not_train_the_same_are_told(toy, tmp_path):
    results = together(
        [toy / "toy.py", tmp_path / "a", 5, 0.02], [toy / "toy.py", tmp_path / "a", 5, 0.03], TMPDIR=str(tmp_path)
    )
    for status, _, stderr in results:
        assert status == 1
        assert "the workers of TF_CONFIG would not train the same: give all of them the same data and" in stderr
    assert not (tmp_path / "a" / "history.csv").exists()


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_command_publishes_once_and_counts_the_batch_of_all_workers(tmp_path):
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 60, seed=0)
    sun.region_table(sun.times(12)).to_parquet(tmp_path / "regions.parquet")
    sun.flares.write_csv(tmp_path / "flares.csv")
    line = [
        "-m", "kflare.fit", "defn-c", "--regions", tmp_path / "regions.parquet", "--flares", tmp_path / "flares.csv",
        "--train-until", "2014-02-01", "--validate-until", "2014-02-15", "--epochs", 1, "--batch-size", 15,
        "--output", tmp_path / "run",
    ]  # fmt: skip
    chief, other = together(line, line)
    assert (chief[0], other[0]) == (0, 0), (chief, other)
    assert chief[1] == (tmp_path / "run" / "summary.txt").read_text()
    assert other[1] == ""
    assert [path.name for path in (tmp_path / "run" / "savedmodels" / "defn-c").iterdir() if path.is_dir()] == ["1"]
    assert json.loads((tmp_path / "run" / "seed-0" / "settings.json").read_text())["batch_size"] == 30
