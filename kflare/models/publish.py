"""Publishing: a SavedModel becomes `<root>/<name>/<version>/` whole or not at all.

TensorFlow Serving loads a numeric directory as soon as it appears, even half-written. So a version is built in a hidden
directory on the same file system, verified by reloading, given its manifest, flushed to the disk, and renamed once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from kflare.errors import ModelError
from kflare.io.atomic import move_into_place, remove_abandoned, temporary_folder
from kflare.models.known_answer import WARMUP, write_known_answer

MANIFEST = "MANIFEST.sha256"
SIGNATURE = f"{MANIFEST}.sig"  # of the manifest, see `kflare.models.signing`
METADATA = Path("assets.extra") / "kflare.json"
BATCHING = "batching_params.pbtxt"  # servables/tensorflow/bundle_factory_util.cc, kBatchingParamsFilename
_ABANDONED_SECONDS = 86_400  # what a killed publication left, and no publication of another process takes so long

SignatureCase = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""A signature's name, its inputs and the outputs that the Keras model gives for them; also a warm-up request."""


def publish_version(
    root: Path, name: str, *, export: Callable[[Path], None], cases: list[SignatureCase], metadata: Mapping[str, Any],
    documents: Mapping[str, bytes] | None = None, tolerance: float = 1e-5
) -> Path:  # fmt: skip
    """Export, verify and publish a model as the next version below `root`; returns the version's directory.

    `export` writes the SavedModel into a directory; reloaded, it must give the outputs of the cases within `tolerance`,
    a share of an output's largest value where that is above 1, else absolute. The cases' inputs are also the warm-up
    requests that TensorFlow Serving plays before it serves the version, give the known answer (`known_answer.py`), and
    decide on `batching_params.pbtxt`: a row is one number of each input, or an image. `metadata`, with `model` and
    `version`, becomes `assets.extra/kflare.json`; `documents` are further files beside it. `ModelError` is raised where
    the reloaded model differs, holds a foreign operation or cannot be batched, or the directory cannot be written.
    """
    from kflare.models.savedmodel import check_ops, check_signatures, load_signatures

    home = Path(root) / name
    with ExitStack() as stack:
        try:
            home.mkdir(parents=True, exist_ok=True)
            remove_abandoned(home, seconds=_ABANDONED_SECONDS)
            # Hidden, so no server takes it for a version; in the same directory, so it can be renamed.
            saved = stack.enter_context(temporary_folder(home)) / "model"
        except OSError as error:
            raise ModelError(f"cannot write to {home}: {error.strerror}; choose another --publish directory") from error
        try:
            export(saved)
            check_ops(saved)
            check_signatures(saved)
            run = load_signatures(saved)
            _verify_outputs(run, cases, tolerance)
            (saved / "assets.extra").mkdir(exist_ok=True)
            _write_warmup(saved / WARMUP, name, cases)
            for document, text in (documents or {}).items():
                (saved / "assets.extra" / document).write_bytes(text)
            (saved / BATCHING).write_bytes(_batching(cases))
            # The number of a withdrawn version (`kflare.models.releases`) is not given again.
            withdrawn = [_withdrawn_number(path) for path in home.glob(".withdrawn-*")]
            version = max([*versions(home), *withdrawn], default=0) + 1
            while True:
                content = {"model": name, "version": version, **metadata}
                (saved / METADATA).write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
                write_known_answer(saved, name, version, run)
                _write_manifest(saved)
                try:
                    move_into_place(saved, home / str(version))
                except OSError:
                    if not (home / str(version)).exists():
                        raise
                    version += 1  # Another publisher took this number: take the next.
                    continue
                return home / str(version)
        except OSError as error:
            raise ModelError(f"cannot publish to {home}: {error}") from error


def _withdrawn_number(path: Path) -> int:
    number = path.name.removeprefix(".withdrawn-")
    if not number.isdecimal():
        raise ModelError(f"`{path}` is no withdrawn version, whose name would end in its number: rename or delete it")
    return int(number)


def versions(home: Path) -> list[int]:
    """Published version numbers of a model's directory, ascending."""
    return sorted(int(path.name) for path in Path(home).glob("*") if path.name.isdecimal() and path.is_dir())


def verify_manifest(version: Path) -> None:
    """Compare a published version with its `MANIFEST.sha256`; `ModelError` names a missing, changed or added file.

    A link is a change, too: what it points at lies elsewhere and is none of the published files.
    """
    manifest = Path(version) / MANIFEST
    if not manifest.is_file():
        raise ModelError(f"{version} has no {MANIFEST}: it was not published by kflare, or not wholly copied")
    odd = [one for one in sorted(Path(version).rglob("*")) if one.is_symlink() or not (one.is_file() or one.is_dir())]
    if odd:
        what = "a link" if odd[0].is_symlink() else "neither file nor folder"
        raise ModelError(f"{version}: {odd[0].relative_to(version)} is {what}: do not serve it, copy it again")
    lines = (line.partition("  ") for line in manifest.read_text(encoding="utf-8", errors="replace").splitlines())
    listed = {path: digest for digest, _, path in lines}
    found = _digests(Path(version))
    for path in sorted(listed.keys() | found.keys()):
        if path not in found:
            raise ModelError(f"{version} lacks {path}, which its {MANIFEST} lists: copy it again")
        if listed.get(path) != found[path]:
            what = "differs from" if path in listed else "is not listed in"
            raise ModelError(f"{version}: {path} {what} {MANIFEST}: do not serve it, copy it again")


def read_metadata(version: Path) -> dict[str, Any]:
    """The `kflare.json` of a published version; without one `ModelError` is raised."""
    try:
        content: dict[str, Any] = json.loads((Path(version) / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{version} has no readable {METADATA}: {error}") from error
    return content


def check_place(version: Path) -> None:
    """`ModelError` where a version's folder has not the name and number of its `kflare.json`.

    It is a copy of another model then, or an old version in the place of the newest.
    """
    about = read_metadata(version)
    model, number = about.get("model"), about.get("version")
    if (model, str(number)) != (version.parent.name, version.name):
        fault = f"{version} says that it is {model} version {number}"
        raise ModelError(f"{fault}: serve it as {model}/{number} or not at all")


def _verify_outputs(run: Callable[..., Mapping[str, Any]], cases: list[SignatureCase], tolerance: float) -> None:
    for signature, inputs, expected in cases:
        outputs = run(signature, inputs)
        for key, value in expected.items():
            wanted, given = np.asarray(value, np.float64), outputs[key].astype(np.float64)
            none = np.isnan(wanted) & np.isnan(given)  # of nothing measured there is no forecast
            difference = float(np.max(np.abs(np.where(none, 0.0, given - wanted))))
            if not difference <= tolerance * max(1.0, float(np.max(np.abs(np.where(none, 0.0, wanted))))):
                raise ModelError(f"output `{key}` of signature `{signature}` changed by {difference:.3g} in the export")


def _write_warmup(path: Path, name: str, cases: list[SignatureCase]) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs, _ in cases:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _batching(cases: list[SignatureCase]) -> bytes:
    inputs = [np.asarray(value) for _, inputs, _ in cases for value in inputs.values()]
    small = all(value.ndim == 1 and value.dtype.kind in "fiu" for value in inputs)  # one number of each input
    return Path(__file__).with_name(f"batching_of_{'rows' if small else 'images'}.pbtxt").read_bytes()


def _digests(version: Path) -> dict[str, str]:
    aside = {version / MANIFEST, version / SIGNATURE}
    files = (path for path in version.rglob("*") if path.is_file() and path not in aside)
    return {path.relative_to(version).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _write_manifest(version: Path) -> None:
    lines = [f"{digest}  {path}\n" for path, digest in sorted(_digests(version).items())]
    (version / MANIFEST).write_text("".join(lines), encoding="utf-8")
