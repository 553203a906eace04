"""Every file of serving/ against the types, schemas and programs that will read it."""

import importlib
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import yaml

from kflare.models.registry import first_per_event, model_names
from kflare.operations.settings import read_settings
from kflare.serving.messages.declared_messages import CONFIG_MESSAGES, read_config
from kflare.serving.server.config_files import BatchingParameters, read_models_config

MODELS = first_per_event(model_names("image"), "image") + first_per_event(model_names("region"), "region")
SERVING = Path(__file__).parents[2] / "serving"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

# The options of tensorflow_model_server that are used here, from tensorflow/serving model_servers/main.cc (2.20).
FLAGS = {
    "port", "rest_api_port", "model_config_file", "model_config_file_poll_wait_seconds",
    "file_system_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models", "num_load_threads", "max_num_load_retries",
    "load_retry_interval_micros", "enable_batching", "batching_parameters_file",
    "enable_per_model_batching_parameters",
    "monitoring_config_file", "enable_grpc_healthcheck_service",
    "enable_profiler", "ssl_config_file", "grpc_channel_arguments",
}  # fmt: skip

# What tensorflow_model_server exports (servables/tensorflow/util.cc, batching/batching_session.cc, batching_util.h, and
# tensorflow/cc/saved_model/loader.cc), "/" written ":" by util/prometheus_exporter.cc.
METRICS = {
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency_bucket",
    ":tensorflow:serving:runtime_latency_bucket",
    ":tensorflow:serving:batching_session:processed_batch_size_sum",
    ":tensorflow:serving:batching_session:processed_batch_size_count",
    ":tensorflow:serving:batching_session:queuing_latency_bucket",
    ":tensorflow:cc:saved_model:load_attempt_count",
}

PARSE_WITH_THE_ORIGINAL_TYPES = """
import json, sys
from google.protobuf import json_format, text_format
from ovmsclient.tfs_compat.protos.tensorflow_serving.config import monitoring_config_pb2, ssl_config_pb2
types = {"MonitoringConfig": monitoring_config_pb2.MonitoringConfig, "SSLConfig": ssl_config_pb2.SSLConfig}
found = []
for name, path in zip(sys.argv[1::2], sys.argv[2::2]):
    message = text_format.Parse(open(path).read(), types[name]())
    found.append(json_format.MessageToDict(message, preserving_proto_field_name=True))
print(json.dumps(found))
"""


class Loader(yaml.SafeLoader):
    """Compose's tag for "instead of what the other file says"."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node, deep=True))


@cache
def load(name):
    return yaml.load((SERVING / name).read_text(), Loader)


@cache
def manifests():
    files = [SERVING / name for name in load("kustomization.yaml")["resources"]]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def one(kind, name):
    return next(m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name))


def pod(manifest):
    spec = manifest["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]


def options_of(arguments):
    return dict(re.fullmatch(r"--(\w+)=(.*)", argument).groups() for argument in arguments)


def original_types(*pairs):
    pytest.importorskip("ovmsclient", reason="its messages are TensorFlow Serving's own: pip install ovmsclient")
    # In a process of its own: its TensorFlow messages and TensorFlow's cannot both be registered.
    command = [sys.executable, "-W", "ignore", "-c", PARSE_WITH_THE_ORIGINAL_TYPES, *map(str, pairs)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_models():
    settings = read_models_config(SERVING / "models.config")
    assert tuple(sorted(s.name for s in settings)) == MODELS
    for each in settings:
        assert (each.newest, each.labels) == (2, {"stable": 1})
        assert each.base_path == Path("/models") / each.name


def test_batching():
    config = read_config(SERVING / "batching.config", CONFIG_MESSAGES["BatchingParameters"], what="batching file")
    assert BatchingParameters.read(SERVING / "batching.config").largest == 16  # within the ranges that the server takes
    most, runs = config.max_batch_size.value, config.max_execution_batch_size.value
    assert config.num_batch_threads.value == 2
    assert config.enable_large_batch_splitting.value
    assert runs <= most <= runs * config.max_enqueued_batches.value  # the largest request fits into the queue
    assert most >= 10_000
    assert not config.allowed_batch_sizes


@pytest.mark.parametrize("model", MODELS)
def test_each_released_version_brings_its_own_batching(model):
    found = list((SERVING.parent / "savedmodels" / model).glob("*/batching_params.pbtxt"))
    if not found:
        pytest.skip("the released models are not here")
    (path,) = found
    own = BatchingParameters.read(path)
    assert own.max_batch_size <= own.largest * own.max_enqueued_batches  # the largest request fits into the queue
    # A few images at a time, but 10,000 regions as one.
    assert (own.largest == 4 and own.max_batch_size >= 80) if model.startswith("cnn") else own.largest >= 10_000
    config = read_config(path, CONFIG_MESSAGES["BatchingParameters"], what="batching file")
    assert not config.HasField("num_batch_threads")  # not read there: threads are the server's


def test_monitoring():
    config = read_config(SERVING / "monitoring.config", CONFIG_MESSAGES["MonitoringConfig"], what="monitoring file")
    expected = {"enable": True, "path": "/monitoring/prometheus/metrics"}
    assert (config.prometheus_config.enable, config.prometheus_config.path) == (True, expected["path"])
    assert load("prometheus.yml")["scrape_configs"][0]["metrics_path"] == expected["path"]
    assert original_types("MonitoringConfig", SERVING / "monitoring.config") == [{"prometheus_config": expected}]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_tls(tmp_path):
    tmp_path = tmp_path / "of this server"  # a blank, as folders may have

    def script(name, *arguments):
        return subprocess.run([SERVING / "tls" / name, *arguments], capture_output=True, text=True, check=True).stdout

    script("make-test-certificates", tmp_path)
    server, key, ca = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem"
    for who in ("server", "client"):
        command = ["openssl", "verify", "-CAfile", ca, "-purpose", f"ssl{who}", tmp_path / f"{who}.pem"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.key"))
    (tmp_path / "tls.config").write_text(script("ssl-config", key, server))
    (tmp_path / "mtls.config").write_text(script("ssl-config", key, server, ca))
    assert all(path.stat().st_mode & 0o004 for path in tmp_path.glob("*.pem"))
    for wrong in ((SERVING / "README.md", server), (server, key), (key,), ()):
        with pytest.raises(subprocess.CalledProcessError):
            script("ssl-config", *wrong)
    wanted = {"server_key": key.read_text(), "server_cert": server.read_text()}
    both = {**wanted, "custom_ca": ca.read_text(), "client_verify": True}
    for name, content in (("tls.config", wanted), ("mtls.config", both)):
        read = read_config(tmp_path / name, CONFIG_MESSAGES["SSLConfig"], what="TLS file")
        assert {field.name: value for field, value in read.ListFields()} == content
    parsed = original_types("SSLConfig", tmp_path / "tls.config", "SSLConfig", tmp_path / "mtls.config")
    assert parsed == [wanted, both]


def test_compose_files_are_compose_files(tmp_path):
    pytest.importorskip("check_jsonschema", reason="it brings the schema of the Compose specification")
    files = [tmp_path / "compose.json", tmp_path / "compose.tls.json"]
    for file in files:
        file.write_text(json.dumps(load(f"{file.stem}.yaml")))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_keeps_to_the_rules():
    services = load("compose.yaml")["services"]
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), f"{name} is not pinned"
        assert service["cap_drop"] == ["ALL"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                # `verify` moves broken versions out of the server's way.
                assert volume.get("read_only") or (name, volume["target"]) == ("verify", "/models"), volume
                source = volume["source"]
                assert source.startswith("${KFLARE_MODELS") or (SERVING / source).exists()
    assert services["serving"]["depends_on"]["verify"]["condition"] == "service_completed_successfully"
    compose_tls = load("compose.tls.yaml")["services"]
    assert {Path(volume["source"]).name for volume in compose_tls["forecast"]["volumes"]} == {
        "ca.pem", "client.pem", "client.key", "kflare.tls.toml",
    }  # and not the server's key  # fmt: skip
    secure = options_of(compose_tls["serving"]["command"])
    assert secure.pop("ssl_config_file") == "/tls/ssl.config"
    assert secure == options_of(services["serving"]["command"])


def test_the_servers_options_are_its_own_and_the_same_everywhere():
    compose = options_of(load("compose.yaml")["services"]["serving"]["command"])
    kubernetes = pod(one("Deployment", "serving"))["containers"][0]
    assert options_of(kubernetes["args"]) == compose
    # It is applied to REST too, whose writer then reads past the end of an empty field: status 200, wrong numbers.
    assert not {"rest_api_port", "enable_serialization_as_tensor_content"} <= compose.keys()
    assert compose.keys() | {"ssl_config_file"} == FLAGS
    assert compose["enable_profiler"] == "false"
    for option in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (SERVING / Path(compose[option]).relative_to("/config")).is_file()
    assert kubernetes["image"] == load("compose.yaml")["services"]["serving"]["image"]


def servers():
    """Options of TensorFlow Serving in every shipped file that starts it."""
    for name in ("compose.yaml", "compose.tls.yaml"):
        yield name, options_of(load(name)["services"]["serving"]["command"])
    yield "kubernetes", options_of(pod(one("Deployment", "serving"))["containers"][0]["args"])
    unit = (SERVING / "tensorflow-serving.conf").read_text()
    yield "systemd", options_of(shlex.split(re.search(r"^ExecStart=\S*server (.*)$", unit, re.MULTILINE)[1]))


def test_every_file_that_starts_tensorflow_serving_is_found():
    texts = {path.name: path.read_text() for path in SERVING.rglob("*") if path.is_file() and path.suffix != ".md"}
    starting = {name for name, text in texts.items() if "--rest_api_port=" in text and "--port=" in text}
    assert starting == {"compose.yaml", "compose.tls.yaml", "serving.yaml", "tensorflow-serving.conf"}


@pytest.mark.parametrize(("name", "options"), list(servers()), ids=[name for name, _ in servers()])
def test_one_broken_version_or_label_neither_stalls_nor_stops_the_server(name, options):
    """What the real server does without them: cases s10, s12 to s14 and s17 of its core."""
    assert int(options["num_load_threads"]) >= len(MODELS)  # with one, a broken version holds all others up
    tries, pause = 1 + int(options["max_num_load_retries"]), int(options["load_retry_interval_micros"]) / 1e6
    assert tries * pause <= 5  # by default 6 of a minute each
    assert options["allow_version_labels_for_unavailable_models"] == "true"  # else any label at start ends the server
    assert not {"rest_api_port", "enable_serialization_as_tensor_content"} <= options.keys()


def test_health_checks_ask_known_answers_over_each_port():
    wanted = ["--rest", "127.0.0.1:8501", "--grpc", "127.0.0.1:8500"]
    services, secure = load("compose.yaml")["services"], load("compose.tls.yaml")["services"]
    check = services["serving"]["healthcheck"]["test"]
    assert check == ["CMD", "/config/check-models", *wanted, "/models", *MODELS]
    assert pod(one("Deployment", "serving"))["containers"][0]["readinessProbe"]["exec"]["command"] == [
        "/bin/bash", *check[1:]
    ]  # fmt: skip
    unit = (SERVING / "systemd" / "kflare-serve.service").read_text()
    (line,) = re.findall(r"^ExecStartPost=/bin/bash -c '/etc/kflare/check-models --wait \d+ (.*)'$", unit, re.MULTILINE)
    assert line.split() == [*wanted, "/var/lib/kflare/models", *MODELS, "||", "[", "$$?", "-ne", "3", "]"]
    # With TLS, gRPC is asked by kflare's own client.
    assert secure["serving"]["healthcheck"]["test"] == [*check[:4], "/models", *MODELS]
    asked = secure["check"]["command"]
    assert asked[:7] == ["kflare.releases", "--check", "serving:8500", *MODELS]
    assert {"--models", "--ca", "--cert", "--key"} <= set(asked)
    assert secure["forecast"]["depends_on"] == {"check": {"condition": "service_completed_successfully"}}


def test_broken_versions_are_out_of_the_way_before_the_server_starts():
    wanted = {"--verify", "--set-aside", "--config", "--models"}
    verify = pod(one("Deployment", "serving"))["initContainers"][0]
    unit = (SERVING / "systemd" / "kflare-serve.service").read_text()
    before = re.search(r"^ExecStartPre=-\+(.*)$", unit, re.MULTILINE)[1].split()
    for command in (load("compose.yaml")["services"]["verify"]["command"], verify["args"], before):
        assert wanted <= set(command)


def test_kubernetes_manifests_are_what_the_cluster_takes():
    validator = pytest.importorskip("kubernetes_validate", reason="it brings the schemas of Kubernetes")
    documents = list(manifests())
    if kubectl := shutil.which("kubectl"):
        done = subprocess.run([kubectl, "kustomize", SERVING], capture_output=True, text=True, check=True)
        built = list(yaml.safe_load_all(done.stdout))
        assert {m["kind"] for m in built} == {m["kind"] for m in documents} | {"ConfigMap"}
        documents += built
    assert len(documents) >= 14
    for manifest in documents:
        validator.validate(manifest, "1.32", strict=True)


def test_kustomization_names_every_file():
    kustomization = load("kustomization.yaml")
    assert {SERVING / name for name in kustomization["resources"]} == set((SERVING / "kubernetes").glob("*.yaml"))
    for generator in kustomization["configMapGenerator"]:
        assert all((SERVING / file.rpartition("=")[2]).is_file() for file in generator["files"])
    made = {generator["name"] for generator in kustomization["configMapGenerator"]}
    claims = {m["metadata"]["name"] for m in manifests() if m["kind"] == "PersistentVolumeClaim"}
    used_maps, used_claims = set(), set()
    for manifest in manifests():
        if manifest["kind"] in {"Deployment", "CronJob"}:
            volumes = pod(manifest)["volumes"]
            used_maps |= {v["configMap"]["name"] for v in volumes if "configMap" in v}
            used_claims |= {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
    assert (used_maps, used_claims) == (made, claims)


def test_kubernetes_keeps_to_the_rules():
    for manifest in manifests():
        if manifest["kind"] not in {"Deployment", "CronJob"}:
            continue
        spec = pod(manifest)
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["image"] == "kflare" or re.search(r":\d+\.\d+\.\d+", container["image"])
            models = [mount for mount in container["volumeMounts"] if mount["name"] == "models"]
            assert all(mount.get("readOnly") or container["name"] == "verify" for mount in models)
    labels = {"serving": one("Deployment", "serving"), "site": one("Deployment", "site")}
    for kind, name in (("Service", "serving"), ("Service", "site"), ("PodDisruptionBudget", "serving")):
        selector = one(kind, name)["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        assert selector.items() <= labels[name]["spec"]["template"]["metadata"]["labels"].items()
    assert one("Service", "serving")["spec"]["clusterIP"] == "None"


def test_the_cycle_runs_at_its_hours_and_asks_the_service():
    settings = read_settings(SERVING / "kflare.toml")
    hours = ",".join(f"{hour:g}" for hour in settings.schedule.hours)
    job = one("CronJob", "forecast")["spec"]
    assert (job["schedule"], job["timeZone"], job["concurrencyPolicy"]) == (f"0 {hours} * * *", "Etc/UTC", "Forbid")
    assert job["startingDeadlineSeconds"] < 60 * settings.schedule.grace_minutes
    assert settings.server.address == "dns:///serving:8500"
    state = {m["mountPath"] for m in pod(one("CronJob", "forecast"))["containers"][0]["volumeMounts"]}
    assert "/var/lib/kflare" in state
    assert settings.site.folder == Path("/var/lib/kflare/www/site")
    assert "root /srv/www/site;" in (SERVING / "site.conf").read_text()
    secure = read_settings(SERVING / "kflare.tls.toml")
    assert (secure.data, secure.ledger, secure.site) == (settings.data, settings.ledger, settings.site)
    assert secure.server.key == Path("/tls/client.key")
    local = read_settings(SERVING / "kflare.systemd.toml")
    unit = (SERVING / "systemd" / "kflare-forecast.service").read_text()
    (writable,) = re.findall(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE)
    assert local.data.folder.parent == local.site.folder.parent == Path(writable)
    assert local.ledger.url == f"sqlite:///{writable}/ledger.sqlite"


def commands():
    for service in load("compose.yaml")["services"].values():
        if service["image"].startswith("kflare:"):
            yield service["command"]
    yield pod(one("Deployment", "serving"))["initContainers"][0]["args"]
    script = pod(one("CronJob", "forecast"))["containers"][0]["args"][0]
    yield shlex.split(script.split(";")[0])[2:]
    for unit in sorted((SERVING / "systemd").glob("*.service")):
        for line in re.findall(r"^Exec\w+=[-+]*\S+ -m (.*)$", unit.read_text(), re.MULTILINE):
            yield shlex.split(line)
    yield load("compose.tls.yaml")["services"]["check"]["command"]
    for line in re.findall(r"^[\w/. ]*python -m (kflare\.[^|\n]*)", (SERVING / "README.md").read_text(), re.MULTILINE):
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_commands_exist_with_these_options(command):
    importlib.import_module(command[0].replace("kflare.", "kflare.commands.")).main.parser().parse_args(command[1:])


def test_systemd_units_name_each_other():
    units = {path.name for path in (SERVING / "systemd").iterdir()}
    for unit in units:
        text = (SERVING / "systemd" / unit).read_text()
        assert set(re.findall(r"kflare-\w+\.(?:service|timer)", text)) <= units
        assert {"Unit", "Service" if unit.endswith(".service") else "Timer"} <= set(
            re.findall(r"^\[(\w+)\]$", text, re.MULTILINE)
        )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze reads the units")
def test_systemd_takes_the_units(tmp_path):
    for path in (SERVING / "systemd").iterdir():
        unit = path.read_text().replace("/opt/kflare/.venv/bin/python", sys.executable)
        unit = unit.replace("/etc/kflare/check-models", str(SERVING / "check-models"))
        (tmp_path / path.name).write_text(unit)
    command = ["systemd-analyze", "--man=no", "verify", *sorted(tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "kflare-" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_the_dashboard_asks_for_metrics_that_there_are():
    parser = pytest.importorskip("promql_parser", reason="it reads Prometheus' queries")
    dashboard = load("grafana/kflare.json")
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    asked = set()
    for panel in panels:
        for target in panel["targets"]:
            parser.parse(target["expr"])
            asked |= set(re.findall(r":[a-z_:]+", target["expr"]))
    assert asked == METRICS
    (group,) = load("alerts.yml")["groups"]
    for rule in group["rules"]:
        parser.parse(rule["expr"])
        assert set(re.findall(r":[a-z_:]+", rule["expr"])) <= METRICS


def test_the_site_is_nginx_configuration(tmp_path):
    crossplane = pytest.importorskip("crossplane", reason="NGINX's own reader of its configuration")
    (tmp_path / "nginx.conf").write_text(f"events {{}}\nhttp {{ include {SERVING / 'site.conf'}; }}\n")
    parsed = crossplane.parse(str(tmp_path / "nginx.conf"), strict=True)
    assert parsed["status"] == "ok", parsed["errors"]
    (server,) = parsed["config"][1]["parsed"]
    assert {"directive": "listen", "line": 3, "args": ["8080"]} in server["block"]


@pytest.mark.skipif(not NGINX, reason="nginx serves the site")
def test_nginx_serves_the_site_and_nothing_unfinished(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = tmp_path / "www" / "site.versions" / "1"
    site.mkdir(parents=True)
    (site.parents[1] / "site").symlink_to(site)
    for name in ("index.html", "latest.json", "forecast.csv", ".part-1", "page.css"):
        (site / name).write_text("1")
    text = (
        (SERVING / "site.conf").read_text().replace("8080", f"127.0.0.1:{port}").replace("/srv/www", f"{tmp_path}/www")
    )
    (tmp_path / "site.conf").write_text(text)
    main = f"pid {tmp_path}/pid; error_log stderr; daemon off; master_process off; events {{}}\n"
    kept = " ".join(
        f"{kind}_temp_path {tmp_path}/tmp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    types = "types { text/html html; text/css css; application/json json; }"
    http = f"http {{ {kept} access_log off; default_type application/octet-stream; {types} include site.conf; }}\n"
    (tmp_path / "nginx.conf").write_text(main + http)

    def get(path, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers

    command = [NGINX, "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(100):
                with suppress(urllib.error.URLError):
                    status, headers = get("/")
                    break
                time.sleep(0.05)
            assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            assert (headers["Cache-Control"], headers["Server"]) == ("no-cache", "nginx")
            assert get("/", **{"If-None-Match": headers["ETag"]})[0] == 304
            assert get("/forecast.csv")[1]["Content-Type"] == "text/csv; charset=utf-8"
            assert get("/latest.json")[1]["X-Content-Type-Options"] == "nosniff"
            assert get("/page.css")[1]["Content-Type"] == "text/css; charset=utf-8"
            assert [get(path)[0] for path in ("/.part-1", "/absent", "/../site.versions/1/")] == [404, 404, 400]
        finally:
            process.terminate()
            process.communicate()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool reads Prometheus' configuration")
def test_prometheus_takes_its_configuration():
    command = ["promtool", "check", "config", SERVING / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_is_pinned_and_runs_as_nobody_special():
    lines = re.findall(r"^([A-Z]+) (.*)$", (SERVING / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", dict(lines)["FROM"])
    assert dict(lines)["USER"] == "10001"
    sources = [source for kind, value in lines if kind == "COPY" for source in value.split()[:-1]]
    assert all((SERVING.parent / source).exists() for source in sources)
    assert load("compose.yaml")["services"]["serving"]["user"] == "10001:10001"
