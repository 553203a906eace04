"""Policies, folders, labels, reloads and starts, row by row (README.md), asked of servers of their own."""

import json
import re

from kflare.errors import KflareError
from kflare.serving import Server

from .answers import ALL, ONES, SETUPS, Asked, break_version, http_line, model, parsed, rows
from .conftest import TRUST


def labelled(**versions):
    return " ".join(f'version_labels {{ key: "{key}" value: {value} }}' for key, value in versions.items())


POLICIES = {
    "deflt": "", "latest2": "latest { num_versions: 2 }", "spec13": "specific { versions: 1 versions: 3 }",
    "all": "all {}", "latest9": "latest { num_versions: 9 }", "spec19": "specific { versions: 1 versions: 9 }",
    "latest0": "latest { num_versions: 0 }",
}  # fmt: skip


def test_policies_folders_and_labels(put, serve_models):
    asked = Asked("policies")
    put("m", "1", "2", "3")
    models = [model("slash", "m/")]
    for name, policy in POLICIES.items():
        labels = labelled(stable=2, ahead=9, old=1) if name == "latest2" else ""
        models.append(model(name, "m", (f"model_version_policy {{ {policy} }} " if policy else "") + labels))
    for name, folder in json.loads(re.search(r"\{.*\}", SETUPS["s1"])[0]).items():
        put(f"odd_{name}", "7")
        if name == "link":
            (put("odd_link") / folder).symlink_to("7")
        else:
            put(f"odd_{name}", folder)
        models.append(model(f"odd_{name}", f"odd_{name}", ALL))
    server, channel = serve_models("".join(models), rest_port=0)
    for row in rows("server_core", "s1"):
        method, _, request = row["request"].partition(" ")
        if method == "GET":
            asked.http(server.rest_address, row, *http_line(row["request"])[:2])
        else:
            asked.grpc(channel, row, method, parsed(method, request))
    asked.verdict()


def test_reloads(put, serve_models, folder):
    asked = Asked("reloads")
    put("m", "1", "2", "3")
    put("n", "1")
    put("other", "2", "3", "4")
    break_version(put("broken", "1") / "1")
    beginning = model("m", "m", ALL + labelled(stable=1)) + model("n", "n")
    _, channel = serve_models(beginning)
    for row in rows("server_core", "s4"):
        after, request = re.fullmatch(r"(?:after )?(\w+ )?\[.*?\] (.*)", row["request"]).groups()
        method = (after or request).split()[0]
        request = request if after else request.removeprefix(method).strip()
        if after and "[negative label]" in row["request"]:  # the real one was started again: see "after refusals"
            _, channel = serve_models(beginning)
        if method == "HandleReloadConfigRequest":
            message = parsed(method, request.replace("/models/", f"{folder}/"))
        elif method == "GetModelStatus":
            message = parsed(method, f'model_spec {{ name: "{request}" }}')
        else:
            message = parsed(method, f"{request} {ONES}")
        asked.grpc(channel, row, method, message)
    asked.verdict()


def test_reloads_after_refusals(put, serve_models, folder):
    asked = Asked("reloads after refusals")
    put("m", "1", "2")
    put("n", "1")
    _, channel = serve_models(model("m", "m") + model("n", "n"))
    for row in rows("server_core", "s35"):
        method, config = re.fullmatch(r"(\w+) \[.*?\] (.*)", row["request"]).groups()
        config = config.replace("/models/", f"{folder}/")
        asked.grpc(channel, row, method, parsed(method, f"config {{ {config} }}"))
    asked.verdict()


STARTS = {
    "s9": model("m", "good", labelled(stable=1)), "s10": model("m", "good", labelled(stable=9)), "s18": model("m", "m"),
    "s19": model("m", "m", ALL), "s20": 'config { name: "m" base_path: "/models/m" }', "s21": 2 * model("m", "m"),
    "s22": "", "s23": None, "s24": 'config { name: "m" base_pth: "/models/m" }',
    "s25": model("m", "m", "logging_config {}"),
    "s26": 'config { name: "m" base_path: "/models/m" model_type: TENSORFLOW }', "s27": model("m", "file"),
    "s28": model("m", "m").replace("/models/m", "m"), "s29": model("", "m"), "s30": model("m", "same", ALL),
}  # fmt: skip
STARTS |= {"s15": STARTS["s9"], "s16": STARTS["s10"], "s17": STARTS["s10"]}


def test_starts(put, read, folder):
    asked = Asked("starts")
    break_version(put("m", "1", "2", "3") / "3")
    put("good", "1")
    put("same", "1", "01", "+1")
    (put("file", "1", "2") / "5").write_text("no folder")
    for row in rows("server_core", *STARTS):
        models = STARTS[row["setup"]]
        try:
            settings = read(folder, "" if models is None else f"model_config_list {{ {models} }}")
            with Server(settings, port=0, trust=TRUST):
                here = "OK", ""
        except KflareError as error:
            here = "exits", str(error)
        there = row["code"].split()[0], row["reply"].partition("Error: ")[2].partition(": ")[2]
        same = here[0] == there[0] and there[1] in here[1]
        asked.note(f"{row['setup']} {SETUPS[row['setup']]}", there, here, same=same)
    asked.verdict()


def test_labels_of_versions_that_are_not_there(put, serve_models, folder):
    asked = Asked("labels")
    put("toy", "1", "2")
    _, channel = serve_models(model("toy", "toy", ALL))
    for row in rows("server_core", "s34"):
        words = row["request"]
        if "Predict" in words:
            method, request = "Predict", f'model_spec {{ name: "toy" version_label: "{words[-1]}" }} {ONES}'
            row["reply"] = row["reply"] or 'name: "toy" version { value: 1 } signature_name: "serving_default"'
        else:
            method = "HandleReloadConfigRequest"
            if "again" not in words:
                labels = labelled(**dict(re.findall(r"(\w)=(\d)", words)))
                listed = model("toy", "toy", labels if "latest" in words else ALL + labels)
                config = f"config {{ model_config_list {{ {listed} }} }}".replace("/models/", f"{folder}/")
            request, row["reply"] = config, row["reply"] or "status { }"
        asked.grpc(channel, row, method, parsed(method, request))
    asked.verdict()
