"""Handle served models as releases: publish, list, verify, roll back, label, check."""

import argparse
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.errors import KflareError, ModelError, ServingError, SettingError
from kflare.io.atomic import write_whole
from kflare.models.registry import model_names
from kflare.models.released import released_models

if TYPE_CHECKING:
    from kflare.serving import Client


def _list(options: argparse.Namespace) -> None:
    from kflare.models.releases import list_releases
    from kflare.serving.server.version_labels import labels_of

    labels = labels_of(options.config) if options.config else {}
    rows: list[dict[str, Any]] = []
    for one in list_releases(options.models):
        own = sorted(name for name, number in labels.get(one.model, {}).items() if number == one.version)
        row = {"model": one.model, "version": one.version, "event": one.metadata.get("event"), "labels": own}
        rows.append(row | {"withdrawn": one.withdrawn, "path": str(one.path)})
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        notes = [*row["labels"], *(["withdrawn"] if row["withdrawn"] else [])]
        print(f"{row['model']:10} {row['version']:>5}  {row['event'] or '':45} {', '.join(notes)}".rstrip())


def _verify(options: argparse.Namespace) -> int:
    from kflare.models.releases import list_releases, set_aside, verify_version
    from kflare.models.signing import read_public_key, verify_signature
    from kflare.serving.server.version_labels import labels_of

    command_line.quiet_tensorflow()
    found = [release for release in list_releases(options.models) if not release.withdrawn]
    if not found:
        raise ModelError(f"{options.models} holds no published version: publish one with --publish")
    status = 0
    labels = labels_of(options.config) if options.config else {}
    wanted, sound = set(labels), set()
    key = options.trusted_key and read_public_key(options.trusted_key)
    for release in found:
        name = f"{release.model}/{release.version}"
        try:
            if key:
                verify_signature(release.path, key)
            verify_version(release.path)
            _check_batching(release.path)
        except KflareError as error:
            print(f"{name} broken: {error}")
            if options.set_aside:
                print(f"{name} set aside as {set_aside(release)}: the server starts without it")
            else:
                status, wanted = 1, wanted | {release.model}
            continue
        wanted.discard(release.model)
        sound.add((release.model, release.version))
        print(f"{name} ok{_but_unknown(release.path)}")
    for model in sorted(wanted):
        print(f"{model} has no sound version in {options.models}: a server that lists it would not start")
    gone = [(m, *one) for m in sorted(labels) for one in sorted(labels[m].items()) if (m, one[1]) not in sound]
    for model, label, number in gone:
        print(f"{model}: `{label}` is {number}, which is no sound version: who asks for it gets none; publish one")
    return status or bool(wanted)


def _check_batching(version: Path) -> None:
    from kflare.models.publish import BATCHING
    from kflare.serving.server.config_files import BatchingParameters

    if (version / BATCHING).exists():
        BatchingParameters.read(version / BATCHING)


def _but_unknown(version: Path) -> str:
    from kflare.models.known_answer import known_answer

    try:
        known_answer(version)
    except ModelError as error:
        return f", but health checks will fail: {error}"
    return ""


def _sign(options: argparse.Namespace) -> None:
    from kflare.models.signing import sign_version

    if options.signing_key is None:
        raise SettingError("--sign needs a private key: give it as --signing-key PEM")
    print(f"signed: {sign_version(options.sign, options.signing_key)}")


def _publish(options: argparse.Namespace) -> None:
    from kflare.models.releases import add_release, discard_old, list_releases
    from kflare.serving.server.version_labels import labels_after_publishing, labels_of

    if options.canary and options.config is None:
        raise SettingError("--canary writes labels: give the server's models.config as --config")
    command_line.quiet_tensorflow()
    # First: with a bad configuration nothing is half done.
    every = labels_of(options.config) if options.config else {}
    _check_batching(options.publish)
    new = add_release(options.publish, options.models)
    print(f"{new.model}/{new.version} published{_but_unknown(new.path)}")
    labels: Mapping[str, int] = {}
    if options.config:
        before = every.get(new.model, {})
        published = [r.version for r in list_releases(options.models, new.model) if not r.withdrawn]
        labels = labels_after_publishing(new.model, new.version, before, published, canary=options.canary)
        if labels != before:
            _write_labels(options, new.model, labels, published)
    for old in discard_old(options.models, new.model, keep=options.keep, but=labels.values()):
        print(f"{old.model}/{old.version} deleted, as older than the newest {options.keep}")


def _rollback(options: argparse.Namespace) -> None:
    from kflare.models.releases import withdraw
    from kflare.serving.server.version_labels import labels_after_withdrawing, labels_of

    command_line.quiet_tensorflow()
    every = labels_of(options.config) if options.config else {}
    gone, newest = withdraw(options.models, options.rollback)
    print(f"{gone.model}/{gone.version} withdrawn to {gone.path}; {newest.model}/{newest.version} is the newest")
    if options.config:
        before = every.get(options.rollback, {})
        labels = labels_after_withdrawing(gone.version, before, newest=newest.version)
        if labels != before:
            _write_labels(options, gone.model, labels)


def _promote(options: argparse.Namespace) -> None:
    from kflare.models.releases import verify_version
    from kflare.serving.server.version_labels import CANARY, STABLE, labels_of

    if options.config is None:
        raise SettingError("--promote changes labels: give the server's models.config as --config")
    command_line.quiet_tensorflow()
    labels = labels_of(options.config).get(options.promote, {})
    if CANARY not in labels:
        raise SettingError(f'{options.config} has no label "canary" for {options.promote}: publish one with --canary')
    canary = labels.pop(CANARY)
    verify_version(options.models / options.promote / str(canary))
    _write_labels(options, options.promote, {**labels, STABLE: canary})


def _write_labels(
    options: argparse.Namespace, model: str, labels: Mapping[str, int], published: Collection[int] = ()
) -> None:
    from kflare.serving.server.version_labels import reload_config, set_labels

    set_labels(options.config, model, labels, published=published)
    written = ", ".join(f"{label} = {number}" for label, number in sorted(labels.items())) or "no labels"
    print(f"{model}: {written} in {options.config}")
    if options.notify:
        reload_config(options.config, options.notify, ca=options.ca, cert=options.cert, key=options.key)
        print(f"{options.notify} has read it")
    else:
        print("--notify ADDRESS makes a running server read it", file=sys.stderr)


def _check(options: argparse.Namespace) -> None:
    from kflare.serving import Client

    address, *names = options.check
    with Client(address, timeout=5, max_attempts=1, ca=options.ca, cert=options.cert, key=options.key) as client:
        served = client.served(names or model_names())
        for name in [name for name in names if name not in served] or ([] if served else model_names()[:1]):
            states = client.status(name)  # raises with the reason where the server does not answer or know it
            known = ", ".join(f"{state.version} {state.state} {state.error}".strip() for state in states)
            raise ServingError(f"no version of `{name}` answers at {address}: {known}")
        for model in served if options.models else ():
            for number in served[model]:
                _require_known_answer(client, options.models / model / str(number), model, number)
    print(", ".join(f"{name} ({', '.join(map(str, numbers))})" for name, numbers in served.items()))


def _require_known_answer(client: "Client", version: Path, name: str, number: int) -> None:
    from kflare.models.known_answer import KNOWN_QUESTION, known_answer, wrong_output
    from kflare.models.publish import check_place
    from kflare.serving.messages.declared_messages import PredictRequest
    from kflare.serving.messages.tensor_values import read_tensor

    known = known_answer(version)
    check_place(version)
    question = PredictRequest.FromString((version / KNOWN_QUESTION).read_bytes())
    inputs = {key: read_tensor(value) for key, value in question.inputs.items()}
    signature = question.model_spec.signature_name
    reply = client.predict(name, inputs, signature=signature, version=number, outputs=list(known))
    if wrong := wrong_output(reply.outputs, known):
        raise ServingError(f"{name} version {number} at {client.target} answers wrongly, stop that server: {wrong}")


def _protoset(options: argparse.Namespace) -> None:
    command_line.quiet_tensorflow()
    from kflare.serving.messages.declared_messages import protoset

    write_whole(options.protoset, protoset())


# Each has the name of its option.
_ACTIONS = (_publish, _list, _verify, _sign, _rollback, _promote, _check, _protoset)


def _act(options: argparse.Namespace) -> int | None:
    home = Path("savedmodels")
    if (options.list or options.verify) and not home.is_dir():
        home = released_models()  # as kflare.serve
    options.models = options.models or (None if options.check else home)
    return next(action for action in _ACTIONS if getattr(options, action.__name__[1:]))(options)


main = command_line.Command("releases", __doc__, _act)
