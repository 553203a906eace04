"""What a version must show before it is loaded: a graph may do whatever its operations can."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kflare.errors import ModelError
from kflare.models.publish import MANIFEST, verify_manifest

__all__ = ["Trust"]


@dataclass(frozen=True)
class Trust:
    """The rules of a server; a manifest that is there is checked in any case.

    `unpublished`: serve versions without a manifest, too. `any_operation`: also operations that kflare's own models do
    not have, such as those that read files. `key`: serve only versions signed with it
    (`kflare.models.signing.read_public_key`).
    """

    unpublished: bool = False
    any_operation: bool = False
    key: Any = None

    def check(self, path: Path) -> None:
        """`ModelError` where a version's folder breaks a rule."""
        if self.key is not None:
            from kflare.models.signing import verify_signature

            verify_signature(path, self.key)
        if (path / MANIFEST).is_file():
            verify_manifest(path)
        elif not self.unpublished:
            raise ModelError(f"{path} has no {MANIFEST}: publish it with kflare.fit, or --allow-unpublished serves it")
        if not self.any_operation:
            from kflare.models.savedmodel import check_ops

            check_ops(path)
