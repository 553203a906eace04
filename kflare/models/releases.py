"""Published models as releases: put one into the served folder, list, verify, withdraw, and keep the newest few.

A version is served as soon as its folder `<root>/<model>/<number>/` is there and no longer when it is gone, so each
step is one rename. A number never returns with another content: a withdrawn version leaves `.withdrawn-<number>`.
"""

import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kflare.errors import ModelError, SettingError
from kflare.io.atomic import sync_folder, write_folder
from kflare.models.known_answer import WARMUP
from kflare.models.publish import MANIFEST, check_place, read_metadata, verify_manifest, versions

_WITHDRAWN = re.compile(r"\.withdrawn-(\d+)")


@dataclass(frozen=True)
class Release:
    """One version of a model in a served folder; `withdrawn` ones are kept aside and not served."""

    model: str
    version: int
    path: Path
    withdrawn: bool
    metadata: dict[str, Any]


def list_releases(root: Path, model: str | None = None) -> list[Release]:
    """All versions under a folder, or those of one model: by name, newest first; `ModelError` if there is none."""
    root = Path(root)
    if not root.is_dir():
        raise ModelError(f"no folder {root}: `--models` must hold <name>/<version>/saved_model.pb")
    homes = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if model is not None:
        homes = [home for home in homes if home.name == model]
        if not homes:
            raise ModelError(f"{root} holds no model `{model}`: publish one with python -m kflare.releases --publish")
    return [release for home in homes for release in _of_model(home)]


def verify_version(version: Path) -> None:
    """Verify a version: manifest, name, allowed operations, signatures, warm-up requests; else `ModelError`."""
    from kflare.models.savedmodel import check_ops, check_signatures

    verify_manifest(version)  # first: nothing of a changed file is parsed
    check_place(version)
    check_ops(version)
    check_signatures(version)
    if not (version / WARMUP).is_file() or not (version / WARMUP).stat().st_size:
        raise ModelError(f"{version} has no {WARMUP}: its first request would be slow; publish it with kflare.fit")


def add_release(source: Path, root: Path) -> Release:
    """Verify a published version `<name>/<version>` and copy it, under this name and number, into the served folder.

    A version that is there already, byte for byte, is left as it is. `ModelError` is raised where the version or its
    copy fails `verify_version`, the number is taken or withdrawn, or nothing can be written.
    """
    source = Path(source).resolve()
    verify_version(source)
    model, number = source.parent.name, int(source.name)
    home = Path(root) / model
    target = home / str(number)
    release = Release(model, number, target, withdrawn=False, metadata=read_metadata(source))
    if (home / f".withdrawn-{number}").exists():
        raise ModelError(f"{model} version {number} was withdrawn from {root}: publish under a new number")
    if target.exists():
        if (target / MANIFEST).is_file() and (target / MANIFEST).read_bytes() == (source / MANIFEST).read_bytes():
            verify_manifest(target)
            return release
        raise ModelError(f"{target} holds another model with this number: publish under a new number")

    def copy(part: Path) -> None:
        shutil.copytree(source, part, dirs_exist_ok=True)
        verify_manifest(part)

    try:
        home.mkdir(parents=True, exist_ok=True)
        write_folder(target, copy)
    except OSError as error:
        raise ModelError(f"cannot publish to {home}: {error}") from error
    return release


def withdraw(root: Path, model: str) -> tuple[Release, Release]:
    """Withdraw a model's newest version in favour of the next sound one (returns both); `ModelError` if none is."""
    served = [release for release in list_releases(root, model) if not release.withdrawn]
    wrong = ModelError(f"{root} holds {len(served)} version(s) of {model}, none to go back to; publish one first")
    for before in served[1:]:
        try:
            verify_version(before.path)
        except ModelError as error:
            wrong = error
        else:
            return replace(served[0], path=set_aside(served[0]), withdrawn=True), before
    raise wrong


def set_aside(release: Release) -> Path:
    """Rename a version so that no server takes it up; returns its new path, `.withdrawn-N`. Else `ModelError`."""
    aside = release.path.with_name(f".withdrawn-{release.version}")
    try:
        if release.path.exists() or not aside.exists():  # another server that starts may have done it
            release.path.rename(aside)
        sync_folder(aside.parent)
    except OSError as error:
        raise ModelError(f"cannot withdraw {release.path}: {error.strerror or error}") from error
    return aside


def discard_old(root: Path, model: str, *, keep: int, but: Collection[int] = ()) -> list[Release]:
    """Delete all but the newest `keep` versions of a model, and those withdrawn that are older; returns the deleted.

    The versions `but`, such as labelled ones, stay; of a withdrawn one the empty folder, as its number is taken.
    """
    if keep < 1:
        raise SettingError(f"`keep` must be 1 or more, got {keep}")
    every = list_releases(root, model)
    kept = [release.version for release in every if not release.withdrawn][:keep]
    passed = [one for one in every if one.version < min(kept, default=0) and one.version not in but]
    old = [release for release in passed if any(release.path.iterdir())]
    for release in old:
        # Aside first: a server must not see the version half deleted.
        gone = release.path.with_name(f".discarded-{release.version}")
        try:
            release.path.rename(gone)
            if release.withdrawn:
                release.path.mkdir()
            shutil.rmtree(gone)
        except OSError as error:
            raise ModelError(f"cannot delete {release.path}: {error.strerror or error}") from error
    return old


def _of_model(home: Path) -> list[Release]:
    numbers = [(number, home / str(number), False) for number in versions(home)]
    aside = [(_WITHDRAWN.fullmatch(path.name), path) for path in home.iterdir()]
    numbers += [(int(found[1]), path, True) for found, path in aside if found]
    return [Release(home.name, *one, _metadata(one[1])) for one in sorted(numbers)[::-1]]


def _metadata(version: Path) -> dict[str, Any]:
    with suppress(ModelError):
        return read_metadata(version)
    return {}
