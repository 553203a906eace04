"""Labels of versions in `models.config`, and telling a running server of them.

Clients that ask for "stable" stay with the version before while "canary" is tried; those that ask for no version get
the newest one that is served, labelled or not, as TensorFlow Serving has it.
"""

import time
from collections.abc import Collection, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import grpc

from kflare.errors import ModelError, ServingError, SettingError
from kflare.io.atomic import write_whole
from kflare.serving.client.channel import open_channel
from kflare.serving.server.config_files import checked_config

STABLE, CANARY = "stable", "canary"
_CODE = grpc.StatusCode
_SECONDS = 60.0  # for a label to wait for its version


def labels_of(config: Path) -> dict[str, dict[str, int]]:
    """The labels of each model in a `models.config`; for the errors see `read_config`."""
    return {model.name: dict(model.version_labels) for model in _read(config).model_config_list.config}


def labels_after_publishing(
    model: str, version: int, labels: Mapping[str, int], published: Collection[int], *, canary: bool
) -> Mapping[str, int]:
    """The labels of a model once a version is published: a plain one becomes "stable", and ends an older canary.

    An older one does where "stable" names none published. With a canary "stable" stays with the version before, without
    which ModelError is raised.
    """
    before = sorted(number for number in published if number < version)
    if canary and not before:
        raise ModelError(f"{model} has no version before {version} to be stable: publish it plainly")
    if canary:
        stable = labels[STABLE] if labels.get(STABLE) in before else before[-1]
        return {**labels, STABLE: stable, CANARY: version}
    if labels.get(STABLE, version) in {version, *(number for number in published if number > version)}:
        return labels
    kept = {label: number for label, number in labels.items() if label != CANARY or number > version}
    return {**kept, STABLE: version}


def labels_after_withdrawing(version: int, labels: Mapping[str, int], *, newest: int) -> Mapping[str, int]:
    """The labels of a model without those of a withdrawn version; "stable", if it had it, goes to the `newest` left."""
    kept = {label: number for label, number in labels.items() if number != version}
    return {STABLE: newest, **kept} if STABLE in labels else kept


def set_labels(config: Path, model: str, labels: Mapping[str, int], *, published: Collection[int] = ()) -> None:
    """Give a model these labels and no others, and let the policy serve the versions that they name.

    Of the `published` versions as many of the latest are served as reach back to the oldest labelled one. The file is
    replaced whole; of its comments those above the first entry stay.
    """
    from google.protobuf import text_format

    message = _read(config)
    entries = [entry for entry in message.model_config_list.config if entry.name == model]
    if not entries:
        raise SettingError(f"{config} does not list `{model}`: add its config {{ ... }} first")
    entries[0].version_labels.clear()
    entries[0].version_labels.update(labels)
    policy = entries[0].model_version_policy
    if policy.WhichOneof("policy_choice") == "specific":
        policy.specific.versions[:] = sorted({*policy.specific.versions, *labels.values()})
    elif policy.WhichOneof("policy_choice") != "all" and labels:
        oldest = min(labels.values())
        served = sum(number >= oldest for number in {*published, *labels.values()})
        if served > (policy.latest.num_versions or 1):
            policy.latest.num_versions = served
    lines = config.read_text(encoding="utf-8").splitlines()
    head = takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), lines)
    write_whole(config, "\n".join([*head, text_format.MessageToString(message)]))


def reload_config(
    config: Path, target: str, *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> None:
    """Make a server read a `models.config` again, waiting for a minute until the versions of its labels are loaded.

    Its base paths are those that the server sees. SettingError, before anything is sent, where the file is none that
    TensorFlow Serving takes: after one bad configuration it refuses the good ones, too, until it is started again.
    ServingError where the server refuses it or does not answer.
    """
    from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
    from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

    request = ReloadConfigRequest(config=_read(config))
    end = time.monotonic() + _SECONDS
    with open_channel(target, timeout=_SECONDS, ca=ca, cert=cert, key=key) as channel:
        while True:
            try:
                answer = ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=_SECONDS)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
            else:
                # A server may refuse in the answer instead of the call.
                code = next(code for code in _CODE if code.value[0] == answer.status.error_code)
                details = answer.status.error_message
            if code is _CODE.OK:
                return
            if code is not _CODE.FAILED_PRECONDITION or time.monotonic() > end:
                again = "; start the server again, else it refuses good ones, too" * (code is _CODE.INVALID_ARGUMENT)
                raise ServingError(f"{target} did not take {config} up ({code.name}: {details}){again}")
            time.sleep(0.5)  # the version that a label names is being loaded


def _read(config: Path) -> Any:
    message, _ = checked_config(config)
    for model in message.model_config_list.config:
        if min(model.version_labels.values(), default=1) < 1:
            raise SettingError(f"{config}: a label of model {model.name} names a version below 1")
    return message
