"""States, warm-up and batching of versions, row by row (README.md), asked of servers of their own."""

import json
import re
import shutil

from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from kflare.errors import KflareError
from kflare.serving.server.config_files import BatchingParameters

from .answers import ALL, ONES, SETUPS, Asked, break_version, call, model, parsed, rows


def states(channel, name):
    """As in the table: 2:END[11] 1:AVAILABLE."""
    _, answer = call(channel, "GetModelStatus", parsed("GetModelStatus", f'model_spec {{ name: "{name}" }}'))
    return " ".join(
        f"{entry.version}:{ModelVersionStatus.State.Name(entry.state)}"
        + (f"[{entry.status.error_code}]" if entry.status.error_code else "")
        for entry in answer.model_version_status
    )


GOOD = f'predict_log {{ request {{ model_spec {{ name: "x" }} {ONES} }} }}'
BAD = GOOD.replace('"x" value', '"nope" value')
WARMUPS = {  # what the files hold, by model; bytes are a record as it is
    "w_good": [GOOD], "w_bad_input": [BAD], "w_good_then_bad": [GOOD, BAD], "w_many": 1001 * [GOOD],
    "w_bad_sig": [GOOD.replace('name: "x" }', 'name: "x" signature_name: "nope" }')],
    "w_bad_shape": [GOOD.replace("size: 2", "size: 3")], "w_other_name": [GOOD.replace('name: "x"', 'name: "other"')],
    "w_garbage": [b"garbage"], "w_empty_rec": [""], "w_emptyfile": [], "w_trunc": [GOOD],
    "w_classify": ["classify_log { request { model_spec { } input { example_list { examples { } } } } }"],
    "w_session": ["session_run_log { }"], "w_streamed": ["predict_streamed_log { }"],
}  # fmt: skip


def write_warmup(version, records, *, cut):
    import tensorflow as tf

    path = version / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            log = record if isinstance(record, bytes) else text_format.Parse(record, PredictionLog())
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())
    if cut:
        path.write_bytes(path.read_bytes()[:-5])


def test_states(put, serve_models, folder, toys, until):
    asked = Asked("states")
    for name in ("s", "b", *WARMUPS):
        put(name, "1")
    models = [model("s", "s"), *(model(name, name, ALL) for name in ("b", *WARMUPS))]
    server, channel = serve_models("".join(models), rest_port=0, poll_seconds=0.25)  # long enough to be seen in between
    broken = shutil.copytree(toys / "toy" / "2", folder / ".broken")
    for name, records in WARMUPS.items():
        write_warmup(broken, records, cut=name == "w_trunc")
        put(name, "2", source=broken)
    break_version(broken)
    put("b", "2", source=broken)
    for name in ("b", *WARMUPS):
        until(lambda name=name: re.match("2:(AVAILABLE|END)", states(channel, name)))
    s = folder / "s"
    steps = {
        "version 2 appears": lambda: put("s", "2"),
        "broken version 3 appears": lambda: put("s", "3", source=broken),
        "broken version 3 vanishes": lambda: shutil.rmtree(s / "3"),
        "version 2 vanishes": lambda: shutil.rmtree(s / "2"),
        "version 2 returns": lambda: put("s", "2"),
        "all versions vanish, folder stays": lambda: (shutil.rmtree(s / "2"), shutil.rmtree(s / "1")),
        "base path vanishes": lambda: s.rename(folder / ".s"),
        "base path returns with version 4": lambda: put("s", "4"),
        "version 4 replaced in place by a broken one": lambda: (s / "4" / "saved_model.pb").write_bytes(b"garbage"),
    }
    for row in rows("server_core", "s7"):
        row["reply"] = row["reply"].replace("/models/", f"{folder}/")
        if sequence := re.fullmatch(r"s: (.*): sequence of GetModelStatus answers", row["request"]):
            there = [re.sub(r"\[(\d+) .*?\]", r"[\1]", one) for one in json.loads(row["reply"])]
            seen = [states(channel, "s")]
            steps[sequence[1]]()

            def watch(there=there, seen=seen):
                if seen[-1] != (now := states(channel, "s")):
                    seen.append(now)
                return now == there[-1]

            until(watch)
            settled = {one for one in seen if "LOADING" not in one}  # which may be over between two looks
            new = {one for one in there if "START" in one and re.search("appears|returns", sequence[1])}
            same = (seen[0], seen[-1]) == (there[0], there[-1]) and new <= settled <= {*there}
            asked.note(row["request"], (row["code"], there), ("OK", seen), same=same)
            continue
        method, _, name = row["request"].partition(" ")
        name = name.split(" after ")[0]
        if method == "GET":
            asked.http(server.rest_address, row, "GET", name)
        else:
            request = f'model_spec {{ name: "{name}" }} {ONES if method == "Predict" else ""}'
            asked.grpc(channel, row, method, parsed(method, request))
    asked.verdict()


def test_batching(put, serve_models, batcher, tmp_path):
    # Requests alone: which of several at once run together is chance, and other rules on purpose (batching.py).
    asked = Asked("batching")
    put("bt", "1", source=batcher)
    for setup in ("s5", "s6", "s8"):
        parameters = SETUPS[setup].split("parameters: ")[1].split("; model")[0]
        (tmp_path / "batching.config").write_text(parameters)
        try:
            batching = BatchingParameters.read(tmp_path / "batching.config")
        except KflareError as error:
            asked.note(f"{setup} {parameters}", ("OK", ""), ("exits", str(error)), same=False)
            continue
        _, channel = serve_models(model("bt", "bt"), batching=batching)
        for row in rows("server_core", setup):
            if row["request"] != "start" and not re.search("at once|among", row["request"]):
                request = "model_spec" + row["request"].split("model_spec")[1]
                asked.grpc(channel, row, "Predict", parsed("Predict", request))
    asked.verdict()


def test_batching_of_a_versions_own(put, serve_models, batcher, folder, until):
    asked = Asked("own batching")
    own = json.loads(re.search(r"\{\".*\}", SETUPS["s32"])[0])
    cases = [re.search(r"\[(.*)\]", row["request"])[1] for row in rows("server_core", "s33")]
    own |= {f"b{count}": text for count, text in enumerate(cases)}
    for name in own:
        put(name, "1", source=batcher)
    _, channel = serve_models("".join(map(model, own, own)), batching=BatchingParameters(), own_batching=True)
    for name, text in own.items():
        new = shutil.copytree(batcher, folder / ".version")
        if text is not None:
            (new / "batching_params.pbtxt").write_text(text)
        put(name, "2", source=new)
        shutil.rmtree(new)
    for name in own:
        until(lambda name=name: re.match("2:(AVAILABLE 1:END|END)", states(channel, name)))
    for row in rows("server_core", "s32", "s33"):
        row["reply"] = row["reply"].replace("/models/", f"{folder}/")
        if found := re.fullmatch(r"GetModelStatus (\w+)(?: \[(.*)\])?", row["request"]):
            name = f"b{cases.index(found[2])}" if found[2] else found[1]
            asked.grpc(channel, row, "GetModelStatus", parsed("GetModelStatus", f'model_spec {{ name: "{name}" }}'))
        elif found := re.fullmatch(r"(\w+): (\w+) rows? #0", row["request"]):
            size = {"one": "1", "three": "3"}.get(found[2], found[2])
            values = ONES.replace("size: 1", f"size: {size}").replace("[1, 2]", "1")
            asked.grpc(channel, row, "Predict", parsed("Predict", f'model_spec {{ name: "{found[1]}" }} {values}'))
    asked.verdict()
