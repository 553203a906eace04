"""The release side of `python -m kflare.serve`: publish, list, verify, roll back, label, check, describe."""

import argparse
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.errors import ModelError, ServingError, SettingError

if TYPE_CHECKING:
    from kflare.models.releases import Release

__all__ = ["add_release_options", "release_command"]


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Add what `release_command` reads, beside `--models` and `--config`."""
    group = parser.add_argument_group("releases (instead of serving)")
    what = group.add_mutually_exclusive_group()
    what.add_argument(
        "--publish", type=Path, metavar="VERSION", help="verify a folder <name>/<version> and copy it to --models"
    )
    what.add_argument("--list", action="store_true", help="print the versions in --models")
    what.add_argument(
        "--verify", action="store_true", help="check manifests, operations and warm-up requests of --models"
    )
    what.add_argument("--rollback", metavar="NAME", help="take the newest version of a model back")
    what.add_argument("--promote", metavar="NAME", help="label the canary of a model as the stable version")
    what.add_argument(
        "--check",
        nargs="+",
        metavar=("ADDRESS", "NAME"),
        help="ask a server which models answer; status 1 if none does, or one of the NAMEs does not",
    )
    what.add_argument(
        "--protoset",
        type=Path,
        metavar="FILE",
        help="write the services' description, for clients in other languages: grpcurl -protoset FILE",
    )
    group.add_argument(
        "--canary", action="store_true", help='with --publish: label it "canary" in --config, the one before "stable"'
    )
    group.add_argument("--keep", type=int, default=3, metavar="N", help="versions to keep on --publish (default: 3)")
    group.add_argument("--notify", metavar="ADDRESS", help="server that shall take changed labels up now")
    group.add_argument("--ca", type=Path, metavar="PEM", help="TLS to --check or --notify: authority to trust")
    group.add_argument("--cert", type=Path, metavar="PEM", help="mutual TLS: own certificate")
    group.add_argument("--key", type=Path, metavar="PEM", help="mutual TLS: own key")
    group.add_argument("--json", action="store_true", help="with --list: print JSON")


def release_command(options: argparse.Namespace, models: Path) -> int | None:
    """Do what the release options ask for; returns the exit status, or None where none is given.

    Parameters
    ----------
    options : Namespace
        Of a parser with `add_release_options`, and `config` (Path or None).
    models : Path
        The served folder.

    Raises
    ------
    KflareError
        See the functions called.
    """
    if options.check:
        _check(options)
    elif options.list:
        _list(options, models)
    elif options.verify:
        return _verify(models)
    elif options.publish:
        _publish(options, models)
    elif options.rollback:
        _rollback(options, models)
    elif options.promote:
        _promote(options, options.promote)
    elif options.protoset:
        _protoset(options.protoset)
    else:
        return None
    return 0


def _list(options: argparse.Namespace, models: Path) -> None:
    from kflare.models.releases import releases

    labels: Mapping[str, Mapping[str, int]] = {}
    if options.config:
        from kflare.serving.version_labels import labels_of

        labels = labels_of(options.config)
    rows = [_row(release, labels.get(release.model, {})) for release in releases(models)]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        notes = [*row["labels"], *(["withdrawn"] if row["withdrawn"] else [])]
        print(f"{row['model']:10} {row['version']:>5}  {row['event'] or '':45} {', '.join(notes)}".rstrip())


def _row(release: "Release", labels: Mapping[str, int]) -> dict[str, Any]:
    return {
        "model": release.model,
        "version": release.version,
        "event": release.metadata.get("event"),
        "labels": sorted(label for label, number in labels.items() if number == release.version),
        "withdrawn": release.withdrawn,
        "path": str(release.path),
    }


def _verify(models: Path) -> int:
    from kflare.models.releases import releases, verify

    command_line.quiet_tensorflow()
    found = [release for release in releases(models) if not release.withdrawn]
    if not found:
        raise ModelError(f"{models} holds no published version: publish one with python -m kflare.serve --publish")
    broken = 0
    for release in found:
        try:
            verify(release.path)
        except ModelError as error:
            broken += 1
            print(f"{release.model}/{release.version} broken: {error}")
        else:
            print(f"{release.model}/{release.version} ok")
    return 1 if broken else 0


def _publish(options: argparse.Namespace, models: Path) -> None:
    from kflare.models.releases import discard_old, release, releases

    if options.canary and options.config is None:
        raise SettingError("--canary writes labels: give the server's models.config as --config")
    command_line.quiet_tensorflow()
    new = release(options.publish, models)
    print(f"{new.model}/{new.version} published")
    labels: Mapping[str, int] = {}
    if options.config:
        from kflare.serving.version_labels import labels_of

        given = labels_of(options.config).get(new.model, {})
        published = [r.version for r in releases(models, new.model) if not r.withdrawn]
        labels = _labels_with(new, given, published, canary=options.canary)
        if labels != given:
            _write_labels(options, new.model, labels, published)
    for old in discard_old(models, new.model, keep=options.keep, but=labels.values()):
        print(f"{old.model}/{old.version} deleted, as older than the newest {options.keep}")


def _labels_with(new: "Release", labels: Mapping[str, int], published: list[int], *, canary: bool) -> Mapping[str, int]:
    """The labels once `new` is published: a canary leaves "stable" where it is, a plain version takes it along."""
    from kflare.serving.version_labels import CANARY, STABLE

    before = [number for number in published if number < new.version]
    if canary and not before:
        raise ModelError(f"{new.model} has no version before {new.version} to be stable: publish it plainly")
    if canary:
        stable = labels[STABLE] if labels.get(STABLE) in before else before[0]
        return {**labels, STABLE: stable, CANARY: new.version}
    if labels.get(STABLE, new.version) >= new.version:
        return labels
    kept = {label: number for label, number in labels.items() if label != CANARY or number > new.version}
    return {**kept, STABLE: new.version}


def _rollback(options: argparse.Namespace, models: Path) -> None:
    from kflare.models.releases import withdraw

    command_line.quiet_tensorflow()
    gone, newest = withdraw(models, options.rollback)
    print(f"{gone.model}/{gone.version} withdrawn to {gone.path}; {newest.model}/{newest.version} is the newest")
    if options.config:
        from kflare.serving.version_labels import STABLE, labels_of

        labels = labels_of(options.config).get(gone.model, {})
        kept = {label: number for label, number in labels.items() if number != gone.version}
        if STABLE in labels:
            kept.setdefault(STABLE, newest.version)
        if kept != labels:
            _write_labels(options, gone.model, kept)


def _promote(options: argparse.Namespace, model: str) -> None:
    from kflare.serving.version_labels import CANARY, STABLE, labels_of

    if options.config is None:
        raise SettingError("--promote changes labels: give the server's models.config as --config")
    command_line.quiet_tensorflow()
    labels = labels_of(options.config).get(model, {})
    if CANARY not in labels:
        raise SettingError(f'{options.config} has no label "canary" for {model}: publish one with --publish --canary')
    canary = labels.pop(CANARY)
    _write_labels(options, model, {**labels, STABLE: canary})


def _write_labels(
    options: argparse.Namespace, model: str, labels: Mapping[str, int], published: Collection[int] = ()
) -> None:
    from kflare.serving.version_labels import reload_config, set_labels

    set_labels(options.config, model, labels, published=published)
    told = ", ".join(f"{label} = {number}" for label, number in sorted(labels.items())) or "no labels"
    print(f"{model}: {told} in {options.config}")
    if options.notify:
        reload_config(options.config, options.notify, ca=options.ca, cert=options.cert, key=options.key)
        print(f"{options.notify} took it up")
    else:
        print("a running server takes it up with --notify ADDRESS", file=sys.stderr)


def _protoset(file: Path) -> None:
    command_line.quiet_tensorflow()
    from kflare.io.atomic import write_whole
    from kflare.serving.protoset import protoset

    write_whole(file, protoset())


def _check(options: argparse.Namespace) -> None:
    from kflare.serving import MODELS, Client

    address, *names = options.check
    with Client(address, timeout=5, max_attempts=1, ca=options.ca, cert=options.cert, key=options.key) as client:
        served = client.served(names or MODELS)
        for name in [name for name in names if name not in served] or ([] if served else MODELS[:1]):
            states = client.status(name)  # raises with the reason where the server is out of reach or does not know it
            told = ", ".join(f"{state.version} {state.state} {state.error}".strip() for state in states)
            raise ServingError(f"no version of `{name}` answers at {address}: {told}")
    print(", ".join(f"{name} ({', '.join(map(str, numbers))})" for name, numbers in served.items()))
