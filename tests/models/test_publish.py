import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from kflare.errors import ModelError
from kflare.models.publish import MANIFEST, METADATA, publish_version, read_metadata, verify_manifest, versions
from kflare.models.savedmodel import load_signatures

pytestmark = pytest.mark.trains

X = np.array([1.0, -2.0], np.float32)
CASES = [("serving_default", {"x": X}, {"y": 2 * X}), ("negative", {"x": X}, {"y": -X})]


class Toy(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def double(self, x):
        return {"y": x * 2.0}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def negative(self, x):
        return {"y": -x}


def export(directory):
    toy = Toy()
    tf.saved_model.save(toy, str(directory), signatures={"serving_default": toy.double, "negative": toy.negative})


def publish_toy(root, **changes):
    return publish_version(root, "toy", **{"export": export, "cases": CASES, "metadata": {}} | changes)


def content(root):
    return sorted(path.name for path in (root / "toy").iterdir())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return publish_toy(tmp_path_factory.mktemp("models"), metadata={"threshold": 0.4, "note": "≥C1.0"})


@pytest.fixture
def version(published, tmp_path):
    """A version's directory to damage."""
    return shutil.copytree(published, tmp_path / "1")


def test_a_published_version_runs_and_lies_in_its_number(published):
    assert (published.parent.name, published.name) == ("toy", "1")
    np.testing.assert_array_equal(load_signatures(published)("serving_default", {"x": X})["y"], [2, -4])
    assert content(published.parent.parent) == ["1"]


def test_every_file_can_be_read_by_the_servers_user(published):
    modes = {path.name: path.stat().st_mode for path in [published, *published.rglob("*")]}
    assert all(mode & 0o444 == 0o444 for mode in modes.values()), modes


def test_metadata_is_what_was_given_and_model_and_version(published):
    assert json.loads((published / METADATA).read_text(encoding="utf-8")) == read_metadata(published)
    assert read_metadata(published) == {"model": "toy", "version": 1, "threshold": 0.4, "note": "≥C1.0"}


def test_metadata_that_cannot_be_read_is_an_error(version):
    (version / METADATA).write_text("{")
    with pytest.raises(ModelError, match=r"no readable assets.extra/kflare.json"):
        read_metadata(version)
    (version / METADATA).unlink()
    with pytest.raises(ModelError, match=r"no readable assets.extra/kflare.json"):
        read_metadata(version)


def test_the_warm_up_file_plays_the_verified_requests(published):
    file = published / "assets.extra" / "tf_serving_warmup_requests"
    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    requests = [log.predict_log.request for log in logs]
    assert [(r.model_spec.name, r.model_spec.signature_name) for r in requests] == [
        ("toy", "serving_default"),
        ("toy", "negative"),
    ]
    for request in requests:
        assert list(request.inputs) == ["x"]
        np.testing.assert_array_equal(tf.make_ndarray(request.inputs["x"]), X)
    # Played before any version number is known to a client, so for whatever version is loaded.
    assert not any(request.model_spec.HasField("version") for request in requests)


def test_the_manifest_is_one_that_sha256sum_reads(published):
    listed = dict(line.split("  ")[::-1] for line in (published / MANIFEST).read_text().splitlines())
    files = {path.relative_to(published).as_posix(): path for path in published.rglob("*") if path.is_file()}
    assert listed == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != MANIFEST
    }
    assert {"saved_model.pb", "assets.extra/kflare.json", "assets.extra/tf_serving_warmup_requests"} <= listed.keys()
    verify_manifest(published)


def change(version):
    with (version / "saved_model.pb").open("ab") as file:
        file.write(b"\0")


def remove(version):
    (version / "variables" / "variables.index").unlink()


def add(version):
    (version / "assets" / "more.txt").touch()


def add_named_as_the_manifest(version):
    (version / "assets.extra" / MANIFEST).touch()


def without_manifest(version):
    (version / MANIFEST).unlink()


def binary_manifest(version):
    (version / MANIFEST).write_bytes(b"\xff\xfe\0")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change, "saved_model.pb differs from MANIFEST.sha256: do not serve it"),
        (remove, "lacks variables/variables.index, which its MANIFEST.sha256 lists"),
        (add, "assets/more.txt is not listed in MANIFEST.sha256"),
        (add_named_as_the_manifest, "assets.extra/MANIFEST.sha256 is not listed in"),
        (without_manifest, "has no MANIFEST.sha256: it was not published by kflare"),
        (binary_manifest, "lacks |is not listed in"),
    ],
)
def test_the_manifest_detects(version, damage, message):
    verify_manifest(version)
    damage(version)
    with pytest.raises(ModelError, match=message):
        verify_manifest(version)


def test_versions_count_up_and_ignore_what_is_none(tmp_path):
    home = tmp_path / "toy"
    for name in ("7", "9.part", ".part-x", "latest"):
        (home / name).mkdir(parents=True)
    (home / "30").touch()
    assert versions(home) == [7]
    assert [publish_toy(tmp_path).name for _ in range(3)] == ["8", "9", "10"]
    assert versions(home) == [7, 8, 9, 10]


def test_what_killed_publications_left_goes_after_a_day(tmp_path):
    home = tmp_path / "toy"
    for name in (".part-older", ".part-old", ".part-new"):
        (home / name / "model").mkdir(parents=True)
        if name != ".part-new":  # which may be another's work
            os.utime(home / name, (1e9, 1e9))
    (home / ".withdrawn-4").mkdir()
    assert publish_toy(tmp_path).name == "5"
    assert content(tmp_path) == [".part-new", ".withdrawn-4", "5"]


@pytest.mark.parametrize("name", [".withdrawn-x", ".withdrawn-", ".withdrawn-2.old"])
def test_what_looks_withdrawn_and_has_no_number_is_named(tmp_path, name):
    (tmp_path / "toy" / name).mkdir(parents=True)
    with pytest.raises(ModelError, match=f"/toy/{name}` is no withdrawn version.*rename or delete it"):
        publish_toy(tmp_path)
    assert content(tmp_path) == [name]


@pytest.mark.timeout(60)
def test_a_file_in_the_place_of_the_next_version_is_passed_over(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "1").touch()
    path = publish_toy(tmp_path)
    assert path.name == "2"
    assert read_metadata(path)["version"] == 2


def no_model(directory):
    raise RuntimeError("no memory")


def half_a_model(directory):
    directory.mkdir()
    (directory / "saved_model.pb").write_bytes(b"half")
    raise OSError("no space left on device")


def reading_files(directory):
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string, name="x")])
        def run(self, x):
            return {"y": tf.io.read_file(x)}

    reader = Reader()
    tf.saved_model.save(reader, str(directory), signatures={"serving_default": reader.run})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"export": no_model}, RuntimeError, "no memory"),
        ({"export": half_a_model}, ModelError, "cannot publish to .*toy: no space left on device"),
        ({"export": reading_files}, ModelError, "does not allow: ReadFile"),
        (
            {"cases": [("serving_default", {"x": X}, {"y": 2 * X + 1e-3})]},
            ModelError,
            "output `y` of signature `serving_default` changed by 0.001 in the export",
        ),
        (
            {"cases": [("serving_default", {"x": np.array([np.nan], np.float32)}, {"y": np.zeros(1, np.float32)})]},
            ModelError,
            "changed by nan",
        ),
        ({"metadata": {("no", "key"): 1}}, TypeError, "keys must be str"),
    ],
    ids=["crash", "disk full", "foreign operation", "other outputs", "nan", "metadata"],
)
def test_a_failure_leaves_no_version_and_the_next_publication_works(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        publish_toy(tmp_path, **changes)
    assert content(tmp_path) == []
    assert publish_toy(tmp_path).name == "1"


def test_large_outputs_are_compared_relatively(tmp_path):
    # 2e5 differs by 1, that is 5e-6 of it: float32 rounding of a sum, no other model.
    x = np.array([1e5, 1.0], np.float32)
    publish_toy(tmp_path, cases=[("serving_default", {"x": x}, {"y": 2 * x + [1, 0]})])
    with pytest.raises(ModelError, match="changed by 3"):
        publish_toy(tmp_path, cases=[("serving_default", {"x": x}, {"y": 2 * x + [3, 0]})])


KILLED = """
import os, sys
from pathlib import Path
from kflare.models.publish import publish_version

def export(directory):
    directory.mkdir()
    (directory / "saved_model.pb").write_bytes(b"half a model")
    print("exporting", flush=True)
    os._exit(9)

publish_version(Path(sys.argv[1]), "toy", export=export, cases=[], metadata={})
"""


def test_a_kill_during_the_export_leaves_no_version(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (9, "exporting\n"), done.stderr
    left = content(tmp_path)
    assert len(left) == 1
    assert left[0].startswith(".part-")
    assert versions(tmp_path / "toy") == []
    assert publish_toy(tmp_path).name == "1"
    assert versions(tmp_path / "toy") == [1]


class Meeting:
    """A value of the metadata: who writes it waits until both publishers have chosen their version."""

    def __init__(self):
        self.both, self.met = threading.Barrier(2, timeout=60), set()

    def __str__(self):
        if threading.get_ident() not in self.met:
            self.met.add(threading.get_ident())
            self.both.wait()
        return "met"


@pytest.mark.timeout(120)
def test_two_publishers_at_once_get_different_versions(tmp_path):
    meeting, paths = Meeting(), []

    def work():
        paths.append(publish_toy(tmp_path, metadata={"meeting": meeting}))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(tmp_path) == ["1", "2"]
    for path in paths:
        # The one that had to take the next number says so inside as well.
        assert read_metadata(path)["version"] == int(path.name)
        verify_manifest(path)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot write to .*file/toy.*choose another --publish directory"):
        publish_toy(tmp_path / "file")
