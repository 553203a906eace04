"""`python -m kflare.serve` as a user runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.commands.serve import main
from kflare.models.released import released_models
from kflare.serving import Client
from kflare.serving.messages.tensor_values import fill_tensor

TABLE = pd.DataFrame({"AREA": [0.0], "USFLUX": [0.0], "R_VALUE": [0.0]})


@contextmanager
def served(*options, cwd):
    command = [sys.executable, "-m", "kflare.serve", "--port", "0", *map(str, options)]
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr.readline().startswith("kflare.serve: loads ")
            line = process.stderr.readline()
            address = re.search(r"listening on ([^,\s]+)", line)
            assert address, line + process.stderr.read()
            yield process, line, address[1]
        finally:
            process.kill()


def test_the_shipped_configuration_with_two_of_four_models(models, request):
    shipped = request.config.rootpath / "serving"
    options = ("--config", shipped / "models.config", "--models", models, "--poll-seconds", "0.1")
    options += ("--batching-parameters-file", shipped / "batching.config", "--rest-api-port", 0)
    options += ("--allow-unpublished", "--allow-any-operation")  # toys
    options += ("--monitoring-config-file", shipped / "monitoring.config", "--max-requests", 16)
    with served(*options, cwd=models.parent) as (process, line, address):
        assert "serving cnn-c (1), defn-c (1); waiting for a version of cnn-m, defn-m" in line
        with Client(address) as client:
            assert client.predict_regions("defn-c", TABLE).outputs["probability"].tolist() == [0.5]
        rest = re.search(r" and (http://[^,]+),", line)[1]
        with urllib.request.urlopen(f"{rest}/monitoring/prometheus/metrics") as reply:
            page = reply.read().decode()
        assert ':tensorflow:serving:request_count{model_name="defn-c",status="OK"} 1' in page
        assert ":tensorflow:serving:batching_session:wrapped_run_count{} 1" in page
        (models / "defn-m").mkdir()
        (models / "defn-c" / "1").rename(models / "defn-m" / "4")
        assert "defn-m version 4 is served" in "".join(process.stderr.readline() for _ in range(2))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.slow
def test_in_an_empty_folder_the_released_models_are_served(tmp_path):
    command = [sys.executable, "-m", "kflare.serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr.readline() == f"kflare.serve: serves the models in {released_models()}\n"
            assert process.stderr.readline() == "kflare.serve: loads cnn-c, cnn-m, defn-c, defn-m\n"
            line = next(line for line in process.stderr if "listening on" in line)  # TensorFlow may have its say before
            assert re.findall(r"(\S+) \(\d+\)", line) == ["cnn-c", "cnn-m", "defn-c", "defn-m"]
        finally:
            process.kill()


@contextmanager
def begun(models, *options):
    command = [sys.executable, "-m", "kflare.serve", "--models", str(models), "--port", "0"]
    command += ["--allow-unpublished", "--allow-any-operation", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_signal_is_heard_while_models_load(models):
    weights = models / "cnn-c" / "1" / "variables" / "variables.data-00000-of-00001"
    weights.unlink()
    os.mkfifo(weights)  # who reads it waits for ever
    with begun(models) as process:
        end = time.monotonic() + 60
        while "libtensorflow" not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "stopped while models were loaded" in process.stderr.read()


def test_it_answers_while_it_warms_up_and_can_be_stopped_then(models):
    from tensorflow.io import TFRecordWriter
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    log = PredictionLog()
    log.predict_log.request.model_spec.name = "cnn-c"
    log.predict_log.request.model_spec.signature_name = "work"
    fill_tensor(log.predict_log.request.inputs["rounds"], np.array(2**31 - 1, np.int32))  # a warm-up of minutes
    (models / "cnn-c" / "1" / "assets.extra").mkdir()
    with TFRecordWriter(str(models / "cnn-c" / "1" / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    with begun(models, "--drain-seconds", "2") as process:
        line = next(line for line in process.stderr if "listening on" in line)
        with Client(re.search(r"listening on ([^,\s]+)", line)[1]) as client:
            assert client.predict_regions("defn-c", TABLE).outputs["probability"].tolist() == [0.5]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def refused(capsys, *argv):
    assert main([str(value) for value in argv]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_bad_settings_end_with_one_line_and_status_1(capsys, tmp_path, models):
    assert "no folder" in refused(capsys, "--models", tmp_path / "absent")
    (tmp_path / "bad.config").write_text("model_config_list {\n config { nam: 1 }\n}")
    assert "line 2" in refused(capsys, "--config", tmp_path / "bad.config", "--port", 0)
    (tmp_path / "empty").mkdir()
    assert "no model to serve" in refused(capsys, "--models", tmp_path / "empty", "--port", 0)
    (tmp_path / "batching.config").write_text("max_batch_size: 3")
    options = ("--models", models, "--port", 0, "--batching-parameters-file", tmp_path / "batching.config")
    assert "no valid batching configuration, line 1" in refused(capsys, *options)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "Address already in use" in refused(capsys, "--models", models, "--port", port)


def test_the_handlers_of_signals_are_put_back(capsys, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    refused(capsys, "--models", tmp_path / "absent")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("option", [["--port", "70000"], ["--port", "x"], ["--poll-seconds", "-1"], ["--batch"]])
def test_wrong_usage_is_status_2(option):
    with pytest.raises(SystemExit) as caught:
        main(option)
    assert caught.value.code == 2


def test_help_imports_no_tensorflow():
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "kflare.serve", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "--poll-seconds" in done.stdout
    assert not re.search(r"\b(tensorflow|keras|pandas|grpc)\b", done.stderr)
