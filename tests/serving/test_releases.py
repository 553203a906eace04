"""Models as releases: the functions, and the commands as an operator gives them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kflare.commands.releases import main
from kflare.errors import ModelError, ServingError, SettingError
from kflare.models.publish import publish_version
from kflare.models.releases import add_release, discard_old, list_releases, verify_version, withdraw
from kflare.serving import Client, Server
from kflare.serving.server.config_files import BatchingParameters
from kflare.serving.server.version_labels import labels_of, set_labels

HEAD = "# What the test serves.\n# Two lines.\n\n"
CONFIG = (
    HEAD
    + """model_config_list {
  config { name: "defn-c" base_path: "%s/defn-c" model_platform: "tensorflow" }
}
"""
)


def write_network(path, *, version):
    """A region model of allowed operations: probability = sigmoid(version + AREA)."""
    import tensorflow as tf

    module = tf.Module()
    module.bias = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="AREA")])
    def serve(AREA):
        return {"probability": tf.sigmoid(AREA + module.bias)}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """What `kflare.fit` leaves: defn-c versions 1 to 3."""
    root = tmp_path_factory.mktemp("savedmodels")
    for number in (1, 2, 3):
        cases = [("serving_default", {"AREA": np.zeros(1, np.float32)}, {"probability": 1 / (1 + np.exp([-number]))})]
        export = lambda path, number=number: write_network(path, version=number)  # noqa: E731
        publish_version(root, "defn-c", export=export, cases=cases, metadata={"event": f"event {number}"})
    return root


@pytest.fixture
def served(published, tmp_path) -> Path:
    """A served folder with all three."""
    shutil.copytree(published, tmp_path / "served")
    return tmp_path / "served"


@pytest.fixture
def config(served) -> Path:
    path = served.parent / "models.config"
    path.write_text(CONFIG % served)
    return path


def command(*argv):
    return main([str(value) for value in argv])


def numbers(root):
    return [(r.version, r.withdrawn) for r in list_releases(root)]


def test_releasing_copies_what_is_verified(published, tmp_path):
    new = add_release(published / "defn-c" / "2", tmp_path / "served")
    assert (new.model, new.version, new.path) == ("defn-c", 2, tmp_path / "served" / "defn-c" / "2")
    verify_version(new.path)
    before = new.path.stat()
    add_release(published / "defn-c" / "2", tmp_path / "served")  # again: nothing to do
    assert new.path.stat().st_ino == before.st_ino
    assert [path.name for path in new.path.parent.iterdir()] == ["2"]


def test_what_is_not_whole_is_not_released(published, tmp_path):
    source = shutil.copytree(published / "defn-c" / "1", tmp_path / "staged" / "defn-c" / "1")
    for file, change, why in (
        ("saved_model.pb", b"x", r"saved_model\.pb differs from MANIFEST"),
        ("extra.txt", b"x", r"extra\.txt is not listed"),
        ("assets.extra/tf_serving_warmup_requests", None, "lacks assets.extra/tf_serving_warmup_requests"),
        ("MANIFEST.sha256", None, "has no MANIFEST"),
    ):
        path = source / file
        content = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        if change is not None:
            path.write_bytes(change)
        with pytest.raises(ModelError, match=why):
            add_release(source, tmp_path / "served")
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    assert not (tmp_path / "served").exists()
    shutil.copytree(source, tmp_path / "staged" / "defn-m" / "1")
    with pytest.raises(ModelError, match="says that it is defn-c version 1"):
        add_release(tmp_path / "staged" / "defn-m" / "1", tmp_path / "served")


def test_a_version_brings_its_batching_and_older_ones_without_are_released(published, tmp_path):
    import tensorflow as tf

    own = BatchingParameters.read(published / "defn-c" / "1" / "batching_params.pbtxt")
    assert (own.largest, own.max_batch_size) == (16384, 16384)  # a row of numbers: 10,000 of them run as one

    def export(path):
        module = tf.Module()

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, name="magnetogram")])
        def serve(magnetogram):
            return {"probability": tf.reduce_mean(magnetogram, axis=[1, 2, 3])}

        tf.saved_model.save(module, str(path), signatures={"serving_default": serve})

    case = ("serving_default", {"magnetogram": np.ones((1, 2, 2, 1), np.float32)}, {"probability": [1.0]})
    image = publish_version(tmp_path, "cnn-c", export=export, cases=[case], metadata={})
    own = BatchingParameters.read(image / "batching_params.pbtxt")
    assert (own.largest, own.max_batch_size) == (4, 80)  # an image: 4 at a time, more are split

    older = shutil.copytree(published / "defn-c" / "1", tmp_path / "older" / "defn-c" / "1")
    (older / "batching_params.pbtxt").unlink()
    manifest = (older / "MANIFEST.sha256").read_text().splitlines(keepends=True)
    (older / "MANIFEST.sha256").write_text("".join(line for line in manifest if "batching_params" not in line))
    verify_version(add_release(older, tmp_path / "served").path)


def test_a_model_with_foreign_operations_is_not_released(tmp_path, monkeypatch):
    import tensorflow as tf

    import kflare.models.savedmodel as savedmodel

    def export(path):
        module = tf.Module()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="name")])
        def serve(name):
            return {"content": tf.map_fn(tf.io.read_file, name)}

        tf.saved_model.save(module, str(path), signatures={"serving_default": serve})

    (tmp_path / "file").write_text("x")
    case = ("serving_default", {"name": np.array([str(tmp_path / "file").encode()])}, {})
    with monkeypatch.context() as patch:  # whoever made it did not ask
        patch.setattr(savedmodel, "check_ops", lambda _: None)
        version = publish_version(tmp_path / "staged", "defn-c", export=export, cases=[case], metadata={})
    with pytest.raises(ModelError, match=r"does not allow: .*ReadFile"):
        add_release(version, tmp_path / "served")


def test_a_number_never_returns_with_another_content(published, served, tmp_path):
    withdraw(served, "defn-c")
    with pytest.raises(ModelError, match="version 3 was withdrawn"):
        add_release(published / "defn-c" / "3", served)
    (served / "defn-c" / "2" / "MANIFEST.sha256").write_text("")
    with pytest.raises(ModelError, match="holds another model with this number"):
        add_release(published / "defn-c" / "2", served)


def test_withdrawing(served):
    gone, newest = withdraw(served, "defn-c")
    assert (gone.version, newest.version) == (3, 2)
    assert numbers(served) == [(3, True), (2, False), (1, False)]
    (served / "defn-c" / "1" / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"1: saved_model\.pb differs"):
        withdraw(served, "defn-c")  # the one before is no better
    assert numbers(served) == [(3, True), (2, False), (1, False)]
    shutil.rmtree(served / "defn-c" / "1")
    with pytest.raises(ModelError, match=r"holds 1 version\(s\) of defn-c"):
        withdraw(served, "defn-c")
    with pytest.raises(ModelError, match="no model `cnn-c`"):
        withdraw(served, "cnn-c")


def test_withdrawing_goes_back_beyond_a_broken_version(served):
    (served / "defn-c" / "2" / "MANIFEST.sha256").unlink()
    gone, newest = withdraw(served, "defn-c")
    assert (gone.version, newest.version) == (3, 1)
    assert numbers(served) == [(3, True), (2, False), (1, False)]


def test_a_copy_under_another_name_or_number_is_no_sound_version(served, tmp_path, capsys):
    """Whole, and what its manifest says: only its name tells that another model would answer, or an old version."""
    shutil.copytree(served / "defn-c" / "1", served / "defn-c" / "4")
    shutil.copytree(served / "defn-c" / "3", served / "defn-m" / "3")
    assert command("--models", served, "--verify", "--set-aside") == 0
    said = capsys.readouterr().out
    assert re.search("defn-c/4 broken: .* says that it is defn-c version 1", said)
    assert re.search("defn-m/3 broken: .* says that it is defn-c version 3", said)
    assert numbers(served) == [(4, True), (3, False), (2, False), (1, False), (3, True)]


def test_old_versions_are_discarded(served):
    assert [old.version for old in discard_old(served, "defn-c", keep=2, but=[1])] == []
    assert [old.version for old in discard_old(served, "defn-c", keep=2)] == [1]
    withdraw(served, "defn-c")
    assert discard_old(served, "defn-c", keep=1) == []  # 3 is newer than what is kept
    shutil.copytree(served / "defn-c" / "2", served / "defn-c" / "4")
    assert [old.version for old in discard_old(served, "defn-c", keep=1)] == [3, 2]
    assert numbers(served) == [(4, False), (3, True)]
    assert list((served / "defn-c" / ".withdrawn-3").iterdir()) == []  # the number stays taken
    assert discard_old(served, "defn-c", keep=1) == []
    with pytest.raises(SettingError, match="`keep` must be 1 or more"):
        discard_old(served, "defn-c", keep=0)


def test_labels_keep_the_head_of_the_file_and_widen_the_policy(config):
    set_labels(config, "defn-c", {"stable": 2, "canary": 3})
    assert config.read_text().startswith(HEAD)
    assert labels_of(config) == {"defn-c": {"stable": 2, "canary": 3}}
    from kflare.serving.server.config_files import read_models_config

    assert read_models_config(config)[0].newest == 2
    set_labels(config, "defn-c", {})
    assert labels_of(config) == {"defn-c": {}}
    with pytest.raises(SettingError, match="does not list `cnn-c`"):
        set_labels(config, "cnn-c", {})


def test_labels_stay_within_what_is_served(published, tmp_path, capsys):
    """A plain version takes "stable" along; canary after canary, the oldest that is labelled goes on being served."""
    from kflare.serving.server.config_files import read_models_config

    served, config = tmp_path / "served", tmp_path / "models.config"
    config.write_text(
        (CONFIG % served).replace('"tensorflow" }', '"tensorflow" version_labels { key: "stable" value: 1 } }')
    )
    options = ["--models", served, "--config", config]
    assert command(*options, "--publish", published / "defn-c" / "1") == 0
    assert config.read_text().startswith(HEAD + "model_config_list {\n  config { name")  # nothing to change: as it was
    for number in (2, 3):
        assert command(*options, "--publish", published / "defn-c" / str(number), "--canary") == 0
        assert labels_of(config) == {"defn-c": {"stable": 1, "canary": number}}
        assert read_models_config(config)[0].newest == number  # back to version 1
    shutil.rmtree(served)
    set_labels(config, "defn-c", {"stable": 1})
    for number in (1, 2):
        assert command(*options, "--publish", published / "defn-c" / str(number)) == 0
    assert labels_of(config) == {"defn-c": {"stable": 2}}
    assert command(*options, "--publish", published / "defn-c" / "1") == 0  # again: an older one takes nothing along
    assert labels_of(config) == {"defn-c": {"stable": 2}}
    set_labels(config, "defn-c", {"stable": 9})  # deleted by hand
    assert command(*options, "--publish", published / "defn-c" / "3", "--canary") == 0
    assert labels_of(config) == {"defn-c": {"stable": 2, "canary": 3}}


def test_publish_list_verify_and_roll_back(published, tmp_path, capsys):
    served = tmp_path / "served"
    for number in (1, 2, 3):
        assert command("--models", served, "--publish", published / "defn-c" / str(number), "--keep", 2) == 0
    assert "defn-c/1 deleted, as older than the newest 2" in capsys.readouterr().out
    assert command("--models", served, "--rollback", "defn-c") == 0
    assert "defn-c/2 is the newest" in capsys.readouterr().out
    assert command("--models", served, "--list") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"defn-c         3  {'event 3':45} withdrawn",
        "defn-c         2  event 2",
    ]
    assert command("--models", served, "--list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["withdrawn"], row["labels"]) for row in rows] == [(3, True, []), (2, False, [])]
    assert command("--models", served, "--verify") == 0
    assert capsys.readouterr().out == "defn-c/2 ok\n"
    (served / "defn-c" / "2" / "saved_model.pb").write_bytes(b"x")
    assert command("--models", served, "--verify") == 1
    assert "defn-c/2 broken: " in capsys.readouterr().out
    assert command("--models", tmp_path / "absent", "--list") == 1
    assert "no folder" in capsys.readouterr().err


def test_a_canary_comes_is_promoted_or_withdrawn(published, tmp_path, serve, until, capsys):
    from kflare.serving.server.config_files import read_models_config

    served, config = tmp_path / "served", tmp_path / "models.config"
    config.write_text(CONFIG % served)
    options = ["--models", served, "--config", config]
    assert command(*options, "--publish", published / "defn-c" / "1") == 0
    assert command(*options, "--publish", published / "defn-c" / "1", "--canary") == 1
    assert "no version before 1" in capsys.readouterr().err
    with Server(read_models_config(config), port=0, poll_seconds=0.05) as server, Client(server.address) as client:
        inputs = {"AREA": np.zeros(1, np.float32)}

        def answers(version):
            return client.predict("defn-c", inputs, version=version).version

        notify = [*options, "--notify", server.address]
        assert command(*notify, "--publish", published / "defn-c" / "2", "--canary") == 0
        assert (answers("stable"), answers("canary"), answers(None)) == (1, 2, 2)
        assert command(*notify, "--promote", "defn-c") == 0
        assert answers("stable") == 2
        with pytest.raises(ServingError, match="canary"):
            answers("canary")
        assert command(*notify, "--publish", published / "defn-c" / "3", "--canary") == 0
        assert (answers("stable"), answers("canary")) == (2, 3)
        assert command(*notify, "--rollback", "defn-c") == 0
        until(lambda: answers(None) == 2)
        assert answers("stable") == 2
        assert command(*notify, "--promote", "defn-c") == 1
        assert command("--check", server.address) == 0
        assert command("--check", server.address, "defn-c", "cnn-c") == 1
        out, err = capsys.readouterr()
        assert out.endswith("defn-c (2, 1)\n")
        assert "`cnn-c` is not served" in err
    assert command("--check", server.address) == 1
    assert "no server at" in capsys.readouterr().err


@pytest.mark.parametrize("warm", [True, False])
def test_warm_up_requests_run_once_a_server_has_started(served, warm, until):
    """What they gain, the first request beside the later ones, is shown by tools/bench serving."""
    from kflare.serving.server.config_files import ModelSettings
    from kflare.serving.server.servable import Trust

    trust = Trust(unpublished=not warm)
    if not warm:
        for version in (served / "defn-c").iterdir():
            (version / "assets.extra" / "tf_serving_warmup_requests").unlink()
            (version / "MANIFEST.sha256").unlink()
    with Server([ModelSettings("defn-c", served / "defn-c", newest=None)], port=0, trust=trust) as server:

        def runs():
            count = r':tensorflow:serving:runtime_latency_count\{model_name="defn-c",.*\} (\d+)'
            return re.findall(count, server.metrics.page())

        if warm:
            until(lambda: runs() == ["3"])  # three versions, one request each
    assert runs() == (["3"] if warm else [])


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Private and public keys: ours, a stranger's, and one that is not of Ed25519."""
    pytest.importorskip("cryptography")
    made, folder = {}, tmp_path_factory.mktemp("keys")
    for name, kind in (("ours", "ed25519"), ("stranger", "ed25519"), ("other", "x25519")):
        private, public = folder / f"{name}.key", folder / f"{name}.pub"
        openssl("genpkey", "-algorithm", kind, "-out", private)
        openssl("pkey", "-in", private, "-pubout", "-out", public)
        made[name] = (private, public)
    return made


def test_a_signed_version_is_verified_and_anything_else_is_not(served, keys, capsys):
    version, (private, public) = served / "defn-c" / "2", keys["ours"]
    for number in (1, 2, 3):
        assert command("--sign", served / "defn-c" / str(number), "--signing-key", private) == 0
    assert command("--verify", "--models", served, "--trusted-key", public) == 0
    assert capsys.readouterr().out.count(" ok") == 3
    # Others can verify it with nothing but openssl.
    names = ("-in", version / "MANIFEST.sha256", "-sigfile", version / "MANIFEST.sha256.sig")
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", *names)
    assert command("--verify", "--models", served, "--trusted-key", keys["stranger"][1]) == 1
    assert "was not made for its MANIFEST.sha256 by the trusted key" in capsys.readouterr().out
    copied = add_release(version, served.parent / "elsewhere").path
    assert (copied / "MANIFEST.sha256.sig").read_bytes() == (version / "MANIFEST.sha256.sig").read_bytes()
    signature, manifest = version / "MANIFEST.sha256.sig", version / "MANIFEST.sha256"
    whole = manifest.read_bytes()
    for path, content, why in (
        (signature, None, "has no MANIFEST.sha256.sig"),
        (signature, b"short", "was not made for its MANIFEST"),
        # Whoever can write here can make a manifest that fits, but no signature.
        (manifest, b"0" * 64 + b"  saved_model.pb\n", "was not made for its MANIFEST"),
    ):
        manifest.write_bytes(whole)
        command("--sign", version, "--signing-key", private)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        capsys.readouterr()
        assert command("--verify", "--models", served, "--trusted-key", public) == 1
        assert re.search(rf"defn-c/2 broken: .*{why}", capsys.readouterr().out)


def test_an_old_signed_version_cannot_take_the_place_of_the_newest(served, keys):
    from kflare.models.signing import read_public_key, sign_version, verify_signature

    sign_version(served / "defn-c" / "1", keys["ours"][0])
    (served / "defn-c" / "1").rename(served / "defn-c" / "9")
    with pytest.raises(ModelError, match="says that it is defn-c version 1"):
        verify_signature(served / "defn-c" / "9", read_public_key(keys["ours"][1]))


def test_keys_that_are_none(served, keys, tmp_path, capsys):
    version = served / "defn-c" / "1"
    (tmp_path / "text").write_text("no key")
    for key, why in (
        (tmp_path / "absent", "cannot be read: No such file"),
        (tmp_path / "text", "is no private key in PEM"),
        (keys["ours"][1], "is no private key in PEM"),
        (keys["other"][0], "must be a key of Ed25519"),
    ):
        assert command("--sign", version, "--signing-key", key) == 1
        assert why in capsys.readouterr().err
    assert command("--sign", version) == 1
    assert "--signing-key PEM" in capsys.readouterr().err


def test_a_link_or_a_foreign_file_is_a_change(served, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for number, (name, target) in enumerate({"saved_model.pb": None, "assets/extra": outside}.items(), start=1):
        version = served / "defn-c" / str(number)
        path = version / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target or path.rename(tmp_path / path.name))  # the same content, elsewhere
        with pytest.raises(ModelError, match=f"{name} is a link: do not serve it"):
            verify_version(version)
    os.mkfifo(served / "defn-c" / "3" / "assets.extra" / "pipe")
    with pytest.raises(ModelError, match="pipe is neither file nor folder"):
        verify_version(served / "defn-c" / "3")


def test_a_version_is_looked_at_when_it_is_loaded(published, tmp_path, keys):
    import tensorflow as tf

    from kflare.models.signing import read_public_key, sign_version
    from kflare.serving.server.servable import Trust

    def reading(path):
        """A graph that reads a file; here an empty one that is the test's own."""
        module = tf.Module()
        (tmp_path / "file").touch()
        name = str(tmp_path / "file")
        spec = [tf.TensorSpec([None], tf.float32, name="AREA")]
        serve = tf.function(lambda AREA: {"size": AREA + tf.cast(tf.strings.length(tf.io.read_file(name)), tf.float32)})
        tf.saved_model.save(module, str(path), signatures={"serving_default": serve.get_concrete_function(*spec)})

    models = tmp_path / "models"
    reading(models / "reads" / "1")
    shutil.copytree(published / "defn-c" / "1", models / "bare" / "1")
    (models / "bare" / "1" / "MANIFEST.sha256").unlink()
    for name in ("plain", "signed"):
        shutil.copytree(published / "defn-c" / "1", models / name / "1")
    (models / "signed").rename(models / "defn-c")
    sign_version(models / "defn-c" / "1", keys["ours"][0])
    every = {"bare", "defn-c", "plain", "reads"}
    for trust, served in (
        (Trust(), {"plain", "defn-c"}),
        (Trust(unpublished=True), {"plain", "defn-c", "bare"}),
        (Trust(unpublished=True, any_operation=True), every),
        (Trust(key=read_public_key(keys["ours"][1])), {"defn-c"}),
    ):
        with Server(folder=models, port=0, trust=trust) as server, Client(server.address) as client:
            assert set(client.served(every)) == served
            if trust == Trust(unpublished=True):
                assert "does not allow: ReadFile" in client.status("reads")[0].error


def test_a_broken_version_is_moved_out_of_the_servers_way(served, config, capsys):
    """With one broken version TensorFlow Serving would not start (case s18 of its core)."""
    from kflare.serving.server.config_files import read_models_config

    (served / "defn-c" / "3" / "saved_model.pb").write_bytes(b"garbage")
    (served / "defn-c" / "2" / "batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    rewrite_manifest(served / "defn-c" / "2")
    arguments = ["--models", served, "--config", config, "--verify"]
    assert command(*arguments) == 1  # told, and left
    assert numbers(served) == [(3, False), (2, False), (1, False)]
    assert command(*arguments, "--set-aside") == 0
    assert numbers(served) == [(3, True), (2, True), (1, False)]
    out = capsys.readouterr().out.splitlines()
    assert out[-5].startswith("defn-c/3 broken: ")
    assert out[-4].startswith("defn-c/3 set aside as ")
    assert "`max_batch_size` must lie in 1..16777216, got 0" in out[-3]
    assert out[-1] == "defn-c/1 ok"
    assert command(*arguments, "--set-aside") == 0  # as each start of a server does
    with Server(read_models_config(config), port=0) as server, Client(server.address) as client:
        assert client.served() == {"defn-c": [1]}
    # A model without any sound version keeps the server's port closed.
    (served / "defn-c" / "1" / "saved_model.pb").write_bytes(b"garbage")
    capsys.readouterr()
    assert command(*arguments, "--set-aside") == 1
    assert "defn-c has no sound version" in capsys.readouterr().out
    assert command(*arguments, "--set-aside") == 1
    assert "holds no published version" in capsys.readouterr().err


def test_a_model_of_the_configuration_without_a_version_is_named(served, config, capsys):
    other = 'config { name: "cnn-c" base_path: "/c" model_platform: "tensorflow" }'
    config.write_text(config.read_text().replace("}\n}", f"}}\n{other}\n}}"))
    assert command("--models", served, "--config", config, "--verify") == 1
    assert "cnn-c has no sound version" in capsys.readouterr().out


def test_what_cannot_be_moved_is_said(served, capsys, monkeypatch):
    (served / "defn-c" / "3" / "saved_model.pb").write_bytes(b"garbage")
    (served / "defn-c" / ".withdrawn-3").write_text("in the way")
    assert command("--models", served, "--verify", "--set-aside") == 1
    assert re.search(r"cannot withdraw \S+/defn-c/3: Not a directory", capsys.readouterr().err)


def test_a_version_without_a_known_answer_is_told_and_stays(served, capsys):
    (served / "defn-c" / "2" / "assets.extra" / "known_answer.txt").unlink()
    rewrite_manifest(served / "defn-c" / "2")
    assert command("--models", served, "--verify", "--set-aside") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("defn-c/2 ok, but health checks will fail: ")
    assert command("--models", served.parent / "elsewhere", "--publish", served / "defn-c" / "2") == 0
    assert "defn-c/2 published, but health checks will fail: " in capsys.readouterr().out
    assert numbers(served) == [(3, False), (2, False), (1, False)]


def rewrite_manifest(version):
    from kflare.models.publish import _write_manifest

    _write_manifest(version)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must grow and end with the largest batch, 8, got [4]"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 4", "must grow and end"),
        ("max_enqueued_batches { value: 0 }", "`max_enqueued_batches` must lie in 1.."),  # answers nothing there
        ("num_batch_threads { value: -1 }", "`num_batch_threads` must lie in 1..1024, got -1"),
        ("num_batch_threads { value: 9999999 }", "`num_batch_threads` must lie in 1..1024, got 9999999"),
        ("nonsense { value: 1 }", "is no valid batching configuration"),
        ("", "sets nothing"),
    ],
)
def test_batching_parameters_are_held_to_what_the_real_server_takes(served, lines, why, capsys):
    """Cases s32 and s33 of TensorFlow Serving's core."""
    version = served / "defn-c" / "2"
    (version / "batching_params.pbtxt").write_text(lines)
    rewrite_manifest(version)
    assert command("--models", served, "--verify") == 1
    assert why in capsys.readouterr().out
    assert command("--models", served.parent / "elsewhere", "--publish", version) == 1
    assert why in capsys.readouterr().err
    assert not (served.parent / "elsewhere").exists()


@pytest.mark.parametrize("part", ["input", "output"])
def test_signatures_that_no_server_can_batch_are_not_published(tmp_path, part):
    """Cases "scalar" and "total" of TensorFlow Serving's batching session: refused with each request."""
    import tensorflow as tf

    def export(path):
        module = tf.Module()
        spec = tf.TensorSpec([] if part == "input" else [None], tf.float32, name="AREA")
        serve = tf.function(lambda AREA: {"probability": tf.reduce_sum(AREA)}, input_signature=[spec])
        if part == "input":
            serve = tf.function(lambda AREA: {"probability": tf.fill([2], AREA)[:1]}, input_signature=[spec])
        tf.saved_model.save(module, str(path), signatures={"serving_default": serve})

    with pytest.raises(ModelError, match=r"its first size must be that of the batch"):
        publish_version(tmp_path, "defn-c", export=export, cases=[], metadata={})


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        ("", "model_platform"),
        ('model_platform: "pytorch"', "pytorch"),
        ('model_platform: "tensorflow" model_type: TENSORFLOW', "model_type"),
        ('model_platform: "tensorflow" logging_config {}', "logg"),
        ('model_platform: "tensorflow" version_labels { key: "a" value: -5 }', "names a version below 1"),
        ('model_platform: "tensorflow" } config { name: "defn-c" base_path: "/c"', "multiple times"),
    ],
)
def test_a_bad_configuration_is_not_sent(served, config, instead, why, capsys):
    """One of these and TensorFlow Serving refuses all later ones, good or not, until it is started (case s35)."""
    config.write_text(config.read_text().replace('model_platform: "tensorflow"', instead))
    before = config.read_text()
    arguments = ["--models", served, "--config", config, "--notify", "127.0.0.1:1"]
    for action in (["--publish", served / "defn-c" / "3"], ["--promote", "defn-c"], ["--rollback", "defn-c"]):
        assert command(*arguments, *action) == 1
        assert why in capsys.readouterr().err
        assert config.read_text() == before
        assert numbers(served) == [(3, False), (2, False), (1, False)]  # nothing is half done


def test_a_label_whose_version_was_set_aside_is_told_and_can_be_moved(served, published, config, capsys):
    """Compose, Kubernetes and systemd set aside by themselves, and cannot write the configuration."""
    set_labels(config, "defn-c", {"stable": 3})
    (served / "defn-c" / "3" / "saved_model.pb").write_bytes(b"x")
    assert command("--models", served, "--config", config, "--verify", "--set-aside") == 0
    assert "defn-c: `stable` is 3, which is no sound version: who asks for it gets none" in capsys.readouterr().out
    assert command("--models", served, "--config", config, "--publish", published / "defn-c" / "2") == 0
    assert labels_of(config) == {"defn-c": {"stable": 2}}
    capsys.readouterr()
    assert command("--models", served, "--config", config, "--verify") == 0
    assert "stable" not in capsys.readouterr().out


def test_a_relative_path_changes_nothing(served, config, capsys):
    config.write_text(
        (CONFIG % "here").replace('"tensorflow"', '"tensorflow" version_labels { key: "canary" value: 3 }')
    )
    before = config.read_text()
    arguments = ["--models", served, "--config", config]
    for action in (["--publish", served / "defn-c" / "3"], ["--promote", "defn-c"], ["--rollback", "defn-c"]):
        for sent in ([], ["--notify", "127.0.0.1:1"]):
            assert command(*arguments, *action, *sent) == 1
            assert "to have an absolute path" in capsys.readouterr().err
            assert config.read_text() == before
            assert numbers(served) == [(3, False), (2, False), (1, False)]


def test_a_canary_that_is_gone_or_broken_is_not_promoted(served, config, capsys):
    """`stable` would name what no server has, and who asks for it get NOT_FOUND."""
    set_labels(config, "defn-c", {"stable": 2, "canary": 3})
    before = config.read_text()
    (served / "defn-c" / "3" / "saved_model.pb").write_bytes(b"x")
    for why in ("saved_model.pb differs from MANIFEST", "defn-c/3 has no MANIFEST"):
        assert command("--models", served, "--config", config, "--promote", "defn-c") == 1
        assert why in capsys.readouterr().err
        assert config.read_text() == before
        assert command("--models", served, "--config", config, "--verify", "--set-aside") == 0
        capsys.readouterr()


def test_a_relative_path_is_not_sent_and_a_refused_configuration_says_how_to_recover(served, config):
    from kflare.serving.server.version_labels import reload_config

    with Server(folder=served, port=0) as server:
        config.write_text(CONFIG % "here")
        with pytest.raises(SettingError, match="to have an absolute path"):
            reload_config(config, server.address)
        config.write_text((CONFIG % served).replace('"defn-c"', '".."'))
        with pytest.raises(ServingError, match=r"INVALID_ARGUMENT.*start the server again, else it refuses good ones"):
            reload_config(config, server.address)


def test_without_a_folder_the_released_models_are_listed(tmp_path, monkeypatch, capsys):
    # Failed before, where `kflare serve` found them.
    monkeypatch.chdir(tmp_path)
    assert command("--list") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"cnn-c", "cnn-m", "defn-c", "defn-m"}
