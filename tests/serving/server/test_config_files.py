from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kflare.errors import SettingError
from kflare.serving import Server
from kflare.serving.server.config_files import (
    ModelSettings,
    model_settings,
    numbered_versions,
    read_models_config,
)
from kflare.serving.server.servable import Trust

SHIPPED = Path(__file__).resolve().parents[3] / "serving" / "models.config"


def written(tmp_path, text):
    path = tmp_path / "models.config"
    path.write_text(text)
    return path


def one(entry):
    return f"model_config_list {{ config {{ {entry} }} }}"


def test_the_shipped_file_lists_the_four_models_at_the_containers_paths():
    settings = read_models_config(SHIPPED)
    assert {s.name: str(s.base_path) for s in settings} == {
        name: f"/models/{name}" for name in ("cnn-c", "cnn-m", "defn-c", "defn-m")
    }
    assert all(s.newest == 2 and s.only is None for s in settings)


def test_the_shipped_file_is_mapped_onto_this_machine(tmp_path):
    assert {s.base_path for s in read_models_config(SHIPPED, folder=tmp_path)} == {
        tmp_path / name for name in ("cnn-c", "cnn-m", "defn-c", "defn-m")
    }


def test_policies_and_labels(tmp_path):
    path = written(
        tmp_path,
        """model_config_list {
          config { name: "a" base_path: "/here/a" model_platform: "tensorflow" }
          config {
            name: "b" base_path: "/b" model_platform: "tensorflow" model_version_policy { latest { num_versions: 3 } }
          }
          config { name: "c" base_path: "file:///c" model_type: TENSORFLOW model_version_policy { all {} } }
          config {
            name: "d" base_path: "/d" model_platform: "tensorflow"
            model_version_policy { specific { versions: 2 versions: 5 } }
            version_labels { key: "stable" value: 2 }
          }
        }""",
    )
    a, b, c, d = read_models_config(path)
    assert (a.base_path, a.newest) == (Path("/here/a"), 1)
    assert b.newest == 3
    assert (c.base_path, c.newest, c.only) == (Path("/c"), None, None)
    assert (d.newest, d.only, d.labels) == (None, {2, 5}, {"stable": 2})
    assert d.allows(5)
    assert not d.allows(3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model_config_list {\n  config { nam: 'x' }\n}", "line 2"),
        ("model_config_list {", "line 1"),
        ("", "lists no model"),
        (one("name: 'a' base_path: '/a'"), "Illegal setting neither .* model name is a"),
        (one("name: 'a' base_path: '/a' model_platform: 'caffe'"), "unsupported platform caffe"),
        (one("name: 'a' base_path: '/a' model_platform: 'tensorflow' model_type: TENSORFLOW"), "Illegal setting both"),
        (one("name: 'a' model_platform: 'tensorflow'"), r"an absolute path or URI; got base_path\(\)="),
        (one("name: 'a' base_path: 'gs://b/a' model_platform: 'tensorflow'"), "local folder"),
        ("custom_model_config {}", "not supported"),
        (
            "model_config_list { "
            + 2 * "config { name: 'a' base_path: '/a' model_platform: 'tensorflow' } "
            + "}",
            "Illegal to list model a multiple times",
        ),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_one_line(tmp_path, text, why):
    with pytest.raises(SettingError, match=why) as caught:
        read_models_config(written(tmp_path, text))
    assert "models.config" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(SettingError, match="no models configuration"):
        read_models_config(tmp_path / "absent.config")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="cannot be read"):
        read_models_config(tmp_path / "binary")


def test_neither_a_request_nor_a_file_names_relative_paths(tmp_path):
    """A file's path was taken by `kflare serve` and refused by `kflare releases --notify`."""
    text = one("name: 'a' base_path: 'x/a' model_platform: 'tensorflow'")
    with pytest.raises(SettingError, match="Expected model a to have an absolute path"):
        model_settings(text_format.Parse(text, ModelServerConfig()))
    with pytest.raises(SettingError, match=r"models.config: Expected model a .*; got base_path\(\)=x/a"):
        read_models_config(written(tmp_path, text))
    (model,) = read_models_config(written(tmp_path, text), folder=tmp_path)  # where --models tells
    assert model.base_path == tmp_path / "a"


def test_a_name_that_is_a_path_cannot_be_a_folder(tmp_path):
    config = text_format.Parse(one("name: '../a' base_path: '/x' model_platform: 'tensorflow'"), ModelServerConfig())
    assert model_settings(config)[0].name == "../a"  # by its own base path it can be served
    for name in ("../a", ""):
        config.model_config_list.config[0].name = name
        with pytest.raises(SettingError, match="must be a plain name, got"):
            model_settings(config, folder=tmp_path)


def test_versions_are_numbered_folders_with_a_saved_model(tmp_path):
    for name in ("0", "1", "007", "2", ".tmp-3", "tmp", "3.part", "-4", "5", str(2**63), "9" * 250):
        (tmp_path / name).mkdir()
        if name != "5":  # still being copied
            (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "6").touch()  # a file
    assert {number: path.name for number, path in numbered_versions(tmp_path).items()} == {
        -4: "-4",
        0: "0",
        1: "1",
        2: "2",
        7: "007",
    }


@pytest.mark.parametrize("path", ["/a\\000b", "/" + "a" * 5000, "{0}/file", "{0}/file/below", "{0}/link"])
def test_a_reload_that_names_what_never_can_be_a_folder_changes_nothing(models, stubs, path, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "link")
    config = f'config {{ name: "x" base_path: "{path.format(tmp_path)}" model_platform: "tensorflow" }}'
    request = text_format.Parse(f"config {{ model_config_list {{ {config} }} }}", ReloadConfigRequest())
    trust = Trust(unpublished=True, any_operation=True)
    with Server([ModelSettings("defn-c", models / "defn-c")], port=0, trust=trust) as server:
        with pytest.raises(grpc.RpcError, match="`base_path` of model 'x' must be a folder, got '") as refused:
            stubs(server).models.HandleReloadConfigRequest(request, timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert server.models.available() == {"defn-c": [1]}
