"""Versions that appear, vanish and fail, without a network: poll by poll."""

import hashlib
import shutil
import threading
from functools import partial
from types import SimpleNamespace

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from kflare.serving.messages.statuses import RequestError
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor
from kflare.serving.server import model_manager, versions
from kflare.serving.server.config_files import BatchingParameters, ModelSettings
from kflare.serving.server.model_manager import ModelManager
from kflare.serving.server.servable import Servable, Trust
from kflare.serving.server.versions import State


def defn_request(model="defn-c", **features):
    request = PredictRequest(model_spec=ModelSpec(name=model))
    for name in ("AREA", "USFLUX", "R_VALUE"):
        fill_tensor(request.inputs[name], np.float32(features.get(name, [0])))
    return request


def states(manager, model="defn-c"):
    return {status.number: status.state for status in manager.status(ModelSpec(name=model))}


@pytest.fixture
def manager(models):
    made = ModelManager([ModelSettings("defn-c", models / "defn-c")])
    made.poll(trust=True)
    return made


def test_at_the_start_models_are_loaded_side_by_side(models, monkeypatch):
    monkeypatch.setattr(model_manager.os, "cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=60)

    def load(path, *, name, number):
        both.wait()  # breaks, and then neither is served, unless the other is being loaded too
        return SimpleNamespace(name=name, close=lambda: None, warm_up=lambda: None)

    manager = ModelManager([ModelSettings(name, models / "defn-c") for name in ("one", "other")], load=load)
    manager.poll(trust=True)
    assert manager.available() == {"one": [1], "other": [1]}
    with manager.use(ModelSpec(name="other")) as servable:
        assert servable.name == "other"


def test_a_new_version_replaces_the_old_after_two_looks(manager, models, toys, publish):
    publish(toys / "defn-2", models / "defn-c" / "2")
    manager.poll()
    assert manager.available() == {"defn-c": [1]}
    manager.poll()
    assert states(manager) == {1: State.END, 2: State.AVAILABLE}


def test_a_version_that_vanishes_gives_way_to_the_older_one(manager, models, toys, publish):
    publish(toys / "defn-2", models / "defn-c" / "2")
    manager.poll(trust=True)
    shutil.rmtree(models / "defn-c" / "2")
    manager.poll()
    assert manager.available() == {"defn-c": [2]}  # still: version 1 has to be looked at twice first
    manager.poll()
    assert states(manager) == {1: State.AVAILABLE, 2: State.END}


def test_answers_in_hand_are_finished_by_the_version_that_began_them(manager, models, toys, publish):
    spec = ModelSpec(name="defn-c")
    with manager.use(spec) as old:
        publish(toys / "defn-2", models / "defn-c" / "2")
        manager.poll(trust=True)
        assert states(manager) == {1: State.UNLOADING, 2: State.AVAILABLE}
        with manager.use(spec) as new:
            assert (old.number, new.number) == (1, 2)
        assert read_tensor(old.predict(defn_request()).outputs["probability"]) == 0.5
    assert states(manager)[1] is State.END


def test_a_model_whose_versions_all_vanish_is_no_longer_served(manager, models):
    shutil.rmtree(models / "defn-c" / "1")
    manager.poll()
    assert manager.available() == {"defn-c": []}


def test_a_base_path_out_of_reach_changes_nothing(manager, models, caplog):
    (models / "defn-c").rename(models / ".away")
    manager.poll()
    manager.poll()
    assert manager.available() == {"defn-c": [1]}
    assert len(caplog.records) == 1  # said once, not at every look


def test_a_version_being_copied_is_left_alone_until_it_is_whole(manager, models, toys):
    half = models / "defn-c" / "2"
    (half / "variables").mkdir(parents=True)
    manager.poll()
    manager.poll()
    assert states(manager) == {1: State.AVAILABLE}  # no saved_model.pb: not even looked at
    shutil.copy(toys / "defn-2" / "saved_model.pb", half)
    manager.poll()
    shutil.copytree(toys / "defn-2", half, dirs_exist_ok=True)
    manager.poll()  # changed since the last look
    assert states(manager) == {1: State.AVAILABLE, 2: State.START}
    manager.poll()
    assert manager.available() == {"defn-c": [2]}


@pytest.mark.parametrize("spoil", ["garbage", "empty", "without variables", "truncated variables"])
def test_a_broken_version_keeps_the_old_one_and_is_reported(manager, models, toys, spoil, publish):
    broken = publish(toys / "defn-2", models / "defn-c" / "2")
    if spoil == "garbage":
        (broken / "saved_model.pb").write_bytes(b"garbage garbage")
    elif spoil == "empty":
        (broken / "saved_model.pb").write_bytes(b"")
    elif spoil == "without variables":
        shutil.rmtree(broken / "variables")
    else:
        for data in (broken / "variables").glob("*.data*"):
            data.write_bytes(data.read_bytes()[:3])
    manager.poll(trust=True)
    assert states(manager) == {1: State.AVAILABLE, 2: State.END}
    (status,) = [s for s in manager.status(ModelSpec(name="defn-c")) if s.number == 2]
    assert status.code is not grpc.StatusCode.OK
    assert status.message
    manager.poll(trust=True)
    assert states(manager)[2] is State.END  # not tried at every look
    shutil.rmtree(broken)
    publish(toys / "defn-2", broken)
    manager.poll(trust=True)
    assert manager.available() == {"defn-c": [2]}  # its files changed, so it was tried again


def test_a_failed_version_is_tried_again_later_but_not_for_ever(manager, models, toys, monkeypatch, publish):
    broken = publish(toys / "defn-2", models / "defn-c" / "2")
    shutil.rmtree(broken / "variables")
    tries = []
    monkeypatch.setattr(versions, "_RETRY_SECONDS", 0.0)
    manager._models["defn-c"]._make = lambda path, **options: tries.append(path) or Servable(path, **options)
    for _ in range(10):
        manager.poll(trust=True)
    assert len(tries) == 6  # once, and five times more
    assert manager.available() == {"defn-c": [1]}


def test_a_start_with_a_broken_newest_version_serves_the_one_before(models, toys, publish):
    broken = publish(toys / "defn-2", models / "defn-c" / "2")
    (broken / "saved_model.pb").write_bytes(b"garbage garbage")
    manager = ModelManager([ModelSettings("defn-c", models / "defn-c")])
    manager.poll(trust=True)
    assert manager.available() == {"defn-c": [1]}
    assert manager.failures() == {}
    shutil.rmtree(models / "defn-c" / "1")
    alone = ModelManager([ModelSettings("defn-c", models / "defn-c")])
    alone.poll(trust=True)
    assert "version 2 cannot be loaded" in alone.failures()["defn-c"]


def test_version_policies(models, toys, publish):
    publish(toys / "defn-2", models / "defn-c" / "2")
    publish(toys / "defn-3", models / "defn-c" / "3")

    def served(**policy):
        manager = ModelManager([ModelSettings("defn-c", models / "defn-c", **policy)])
        manager.poll(trust=True)
        return manager.available()["defn-c"]

    assert served() == [3]
    assert served(newest=2) == [2, 3]
    assert served(newest=None) == [1, 2, 3]
    assert served(newest=None, only=frozenset({1, 3, 8})) == [1, 3]


def test_a_folder_of_models_is_looked_through_again(models, toys, tmp_path, publish):
    manager = ModelManager([], discover=models)
    manager.poll(trust=True)
    assert manager.available() == {"cnn-c": [1], "defn-c": [1]}
    publish(toys / "defn-3", models / "defn-m" / "5")
    (models / "notes").mkdir()
    publish(toys / "defn-3", models / ".hidden" / "1")
    manager.poll()
    manager.poll()
    assert manager.available() == {"cnn-c": [1], "defn-c": [1], "defn-m": [5]}


def test_reconfiguring_adds_removes_and_moves_labels(manager, models, toys, publish):
    publish(toys / "defn-2", models / "defn-c" / "2")

    def settings(**labels):
        return ModelSettings("defn-c", models / "defn-c", newest=None, labels=labels)

    manager.reconfigure([settings(stable=1), ModelSettings("cnn-c", models / "cnn-c")])
    assert manager.available() == {"cnn-c": [1], "defn-c": [1, 2]}
    with manager.use(ModelSpec(name="defn-c", version_label="stable")) as servable:
        assert servable.number == 1
    manager.reconfigure([settings(stable=2, ahead=3)])
    assert manager.available() == {"defn-c": [1, 2]}
    told = {(name, status.number): status.state for name, status in manager.known()}  # the metrics are made of it
    assert told[("cnn-c", 1)] is State.END
    with pytest.raises(RequestError, match="assign label to version 3 of model defn-c") as caught:
        manager.reconfigure([settings(stable=3)])
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(RequestError, match=r"1 model\(s\) did not become available: \{\{\{name: other\} has no"):
        manager.reconfigure([settings(stable=2), ModelSettings("other", models / "other")])


def warmup(folder, *logs):
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as file:
        for log in logs:
            file.write(log.SerializeToString())


def predict_log(request):
    log = PredictionLog()
    log.predict_log.request.CopyFrom(request)
    return log


def test_warm_up_requests_are_played_before_a_version_is_available(manager, models, toys, monkeypatch):
    version = shutil.copytree(toys / "defn-2", models / "defn-c" / ".2")
    warmup(version, predict_log(defn_request()), predict_log(defn_request(AREA=[1])))
    played = []
    predict = Servable.predict
    monkeypatch.setattr(
        Servable, "predict", lambda self, request: played.append(states(manager)[2]) or predict(self, request)
    )
    version.rename(models / "defn-c" / "2")
    manager.poll(trust=True)
    assert played == [State.LOADING, State.LOADING]
    assert manager.available() == {"defn-c": [2]}


def test_a_version_that_fails_its_own_warm_up_is_not_served(manager, models, toys, publish):
    bad = defn_request()
    del bad.inputs["AREA"]
    warmup(publish(toys / "defn-2", models / "defn-c" / "2"), predict_log(bad))
    other = PredictionLog()
    other.session_run_log.request.SetInParent()
    warmup(publish(toys / "defn-3", models / "defn-c" / "3"), other)
    broken = publish(toys / "defn-3", models / "defn-c" / "4")
    warmup(broken)
    (broken / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord at all, but long enough")
    manager.poll(trust=True)
    assert manager.available() == {"defn-c": [1]}
    codes = {status.number: status.code for status in manager.status(ModelSpec(name="defn-c"))}
    assert codes == {
        1: grpc.StatusCode.OK,
        2: grpc.StatusCode.INVALID_ARGUMENT,
        3: grpc.StatusCode.UNIMPLEMENTED,
        4: grpc.StatusCode.DATA_LOSS,
    }


def test_at_the_start_versions_are_warmed_up_while_they_answer(models, toys, publish, until, monkeypatch):
    warmup(publish(toys / "defn-2", models / "defn-c" / "2"), predict_log(defn_request()))
    bad = defn_request()
    del bad.inputs["AREA"]
    warmup(publish(toys / "defn-3", models / "defn-c" / "3"), predict_log(defn_request()), predict_log(bad))
    may, played, predict = threading.Event(), [], Servable.predict

    def held(servable, request):
        played.append(servable.number)
        return may.wait(60) and predict(servable, request)

    monkeypatch.setattr(Servable, "predict", held)
    starting = ModelManager([ModelSettings("defn-c", models / "defn-c")])
    starting.poll(trust=True, warm=False)
    assert (played, starting.available()) == ([], {"defn-c": [3]})
    starting.watch(0, after=lambda: None)
    try:
        until(lambda: played == [3])
        with starting.use(ModelSpec(name="defn-c")) as answering:  # as it does while it warms up
            may.set()
            until(lambda: starting.available() == {"defn-c": [2]})  # the next older one, warm before it answers
            assert states(starting) == {3: State.UNLOADING, 2: State.AVAILABLE}
            assert predict(answering, defn_request()).outputs["probability"].float_val[0] == pytest.approx(3 / 4)
        assert (states(starting)[3], played) == (State.END, [3, 3, 2])
        assert starting.status(ModelSpec(name="defn-c"))[0].code is grpc.StatusCode.INVALID_ARGUMENT
    finally:
        starting.stop()


def with_manifest(folder):
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    (folder / "MANIFEST.sha256").write_text("".join(lines))
    return folder


def test_a_version_that_does_not_match_its_manifest_is_not_loaded(manager, models, toys, publish):
    version = with_manifest(publish(toys / "defn-2", models / "defn-c" / "2"))
    data = next((version / "variables").glob("*.data*"))
    good = data.read_bytes()
    data.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))  # one bit: TensorFlow would load it
    manager.poll(trust=True)
    assert manager.available() == {"defn-c": [1]}
    (status,) = [s for s in manager.status(ModelSpec(name="defn-c")) if s.number == 2]
    assert status.code is grpc.StatusCode.DATA_LOSS
    assert "differs from" in status.message
    data.write_bytes(good)
    manager.poll(trust=True)
    assert manager.available() == {"defn-c": [2]}


def test_a_copy_that_lacks_a_listed_file_waits_for_it(manager, models, toys, publish):
    version = with_manifest(publish(toys / "defn-2", models / "defn-c" / "2"))
    index = next((version / "variables").glob("*.index"))
    away = index.rename(models / ".index")
    manager.poll()
    manager.poll()
    manager.poll()
    assert manager.available() == {"defn-c": [1]}
    away.rename(index)
    manager.poll()
    manager.poll()
    assert manager.available() == {"defn-c": [2]}


def test_a_manifest_can_be_required(models):
    with_manifest(models / "cnn-c" / "1")
    strict = ModelManager([], discover=models, load=partial(Servable, trust=Trust(any_operation=True)))
    strict.poll(trust=True)
    assert strict.available() == {"cnn-c": [1], "defn-c": []}
    assert "has no MANIFEST.sha256" in strict.failures()["defn-c"]


def test_a_version_may_say_itself_how_it_is_batched(models, toys, publish):
    ran = []

    class Recorder:
        parameters = BatchingParameters()

        def run(self, key, run, inputs, *, deadline, parameters):
            ran.append(parameters.max_batch_size)
            return run(inputs, deadline)

    (publish(toys / "defn-2", models / "defn-m" / "1") / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 7 }"
    )
    own = ModelManager([], discover=models, load=partial(Servable, scheduler=Recorder(), own_batching=True))
    own.poll(trust=True)
    for model in ("defn-c", "defn-m"):
        with own.use(ModelSpec(name=model)) as servable:
            servable.predict(defn_request(model))
    assert ran == [7]  # defn-c has no such file


def test_memory_is_given_back(models, toys, publish):
    process = psutil.Process()
    settings = ModelSettings("cnn-c", models / "cnn-c")
    manager = ModelManager([settings])
    sizes = []
    for number in range(2, 12):
        publish(toys / "cnn", models / "cnn-c" / str(number))
        manager.poll(trust=True)
        sizes.append(process.memory_info().rss)
    assert manager.available() == {"cnn-c": [11]}
    assert sizes[-1] - sizes[3] < 30e6
