"""The tool that holds the oldest TensorFlow of the cards, with the one that is installed here."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

pytestmark = [pytest.mark.trains, pytest.mark.slow]

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOLS))
    try:
        yield runpy.run_path(str(TOOLS / "oldest_tensorflow.py"))
    finally:
        sys.path.remove(str(TOOLS))


def graph_of(folder):
    return SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes()).meta_graphs[0]


def ask(tool, asked):
    command = [sys.executable, "-c", tool["ASK"], json.dumps(asked)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def test_every_output_is_compared_and_a_changed_one_is_found(tool, tmp_path):
    asked = tool["ask_here"](tmp_path)
    assert len(asked) == 4
    found = ask(tool, asked)["outputs"]
    outputs = [list(graph.signature_def.values()) for graph in map(graph_of, (folder for folder, _ in asked))]
    assert len(found) == sum(len(one.outputs) for each in outputs for one in each if one.method_name)
    assert max(found.values()) <= tool["LARGEST_DIFFERENCE"]
    (version, file) = next(one for one in asked if "defn-c" in one[0])
    questions = np.load(file, allow_pickle=True)["questions"]
    questions[0][2]["probability"] = questions[0][2]["probability"] + np.float32(1e-3)
    np.savez(file, questions=questions)
    changed = ask(tool, [(version, file)])["outputs"]
    assert {key.split()[-1] for key, worst in changed.items() if worst > tool["LARGEST_DIFFERENCE"]} == {"probability"}
    assert tool["image_version"]() >= "2.20.0"
