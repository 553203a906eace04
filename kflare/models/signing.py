"""Signatures of published versions: who made the manifest, which the manifest itself cannot tell.

Ed25519 by the package `cryptography`, keys in PEM: `openssl genpkey -algorithm ed25519 -out kflare.key` makes one,
`openssl pkey -in kflare.key -pubout -out kflare.pub` the part that servers hold. A signature is the 64 bytes that
`openssl pkeyutl -verify -rawin` reads, too.
"""

from pathlib import Path
from typing import Any

from kflare.errors import ModelError, SettingError
from kflare.io.atomic import write_whole
from kflare.models.publish import MANIFEST, SIGNATURE, check_place, verify_manifest


def sign_version(version: Path, key: Path) -> Path:
    """Verify a published version's manifest and sign it with a private key; returns the signature's file.

    SettingError where the key is none of Ed25519, `ModelError` where the version is not what its manifest says.
    """
    signer = _read_key(key, "private")
    verify_manifest(version)
    write_whole(version / SIGNATURE, signer.sign((version / MANIFEST).read_bytes()))
    return version / SIGNATURE


def read_public_key(key: Path) -> Any:
    """A public key for `verify_signature`; SettingError where it is none of Ed25519."""
    return _read_key(key, "public")


def verify_signature(version: Path, key: Any) -> None:
    """Check that a version's manifest was signed with the key for its place (`check_place`), else `ModelError`."""
    from cryptography.exceptions import InvalidSignature

    version = Path(version)
    try:
        key.verify((version / SIGNATURE).read_bytes(), (version / MANIFEST).read_bytes())
    except OSError as error:
        raise ModelError(f"{version} has no {Path(error.filename).name}, which the trusted key asks for") from error
    except InvalidSignature as error:
        raise ModelError(f"{version}: {SIGNATURE} was not made for its {MANIFEST} by the trusted key") from error
    check_place(version)


def _read_key(path: Path, part: str) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SettingError('signatures need the package cryptography: pip install "kflare[signing]"') from error
    try:
        content = Path(path).read_bytes()
        if part == "public":
            key: Any = serialization.load_pem_public_key(content)
        else:
            key = serialization.load_pem_private_key(content, password=None)
    except OSError as error:
        raise SettingError(f"the {part} key {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SettingError(f"{path} is no {part} key in PEM without a password: {error}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        raise SettingError(f"{path} must be a key of Ed25519: make one with openssl genpkey -algorithm ed25519")
    return key
