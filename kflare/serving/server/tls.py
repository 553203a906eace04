"""The server's TLS from TensorFlow Serving's `ssl.config` (its option `--ssl_config_file`), renewed while in use."""

import logging
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from kflare.errors import SettingError
from kflare.serving.messages.declared_messages import CONFIG_MESSAGES, read_config

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Identity:
    """Key, certificate and, to verify clients, authority; each the content of a PEM file."""

    key: bytes
    certificate: bytes
    authority: bytes | None

    @classmethod
    def read(cls, path: Path) -> Self:
        config = read_config(path, CONFIG_MESSAGES["SSLConfig"], what="TLS configuration")
        for name in ("server_key", "server_cert"):
            if "-----BEGIN " not in getattr(config, name):
                raise SettingError(f"`{name}` in {path} must be the content of a PEM file")
        if config.client_verify and not config.custom_ca:
            raise SettingError(f"`client_verify` in {path} needs `custom_ca`, who may sign the clients' certificates")
        made = cls(
            config.server_key.encode(),
            config.server_cert.encode(),
            # gRPC takes an authority only to verify clients by; without `client_verify` no certificate is asked for.
            config.custom_ca.encode() if config.client_verify else None,
        )
        try:
            made.context()
        except (ssl.SSLError, ValueError) as error:
            raise SettingError(f"key, certificate or authority in {path} cannot be used: {error}") from error
        return made

    def for_grpc(self) -> Any:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.authority)

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # OpenSSL reads key and certificate from a file only: one that nobody else can read, for a moment.
        descriptor, name = tempfile.mkstemp(suffix=".pem")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.certificate.rstrip() + b"\n" + self.key)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()
        if self.authority is not None:
            context.load_verify_locations(cadata=self.authority.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class ServerTls:
    """Key, certificate and authority from a `tensorflow.serving.SSLConfig`; `SettingError` if they cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _content(path)
        self._identity = _Identity.read(path)
        self._context = self._identity.context()

    def renew(self) -> None:
        """Take up what the file holds by now, for connections yet to be made; log a file that cannot be used, once."""
        content = _content(self._path)
        if content == self._content:
            return
        self._content = content
        try:
            identity = _Identity.read(self._path)
        except SettingError as error:
            _LOG.warning("the TLS configuration stays as it was: %s", error)
            return
        if (identity.authority is None) != (self._identity.authority is None):
            what = f"`client_verify` in {self._path} cannot change while the server runs: restart it"
            _LOG.warning("the TLS configuration stays as it was: %s", what)
            return
        self._identity, self._context = identity, identity.context()
        _LOG.info("the TLS configuration was renewed from %s", self._path)

    def grpc_credentials(self) -> Any:
        """For the gRPC port."""
        shown = self._identity

        def newer() -> Any:  # asked at each handshake; None = as before
            nonlocal shown
            if shown is self._identity:
                return None
            shown = self._identity
            return shown.for_grpc()

        return grpc.dynamic_ssl_server_credentials(shown.for_grpc(), newer, self._identity.authority is not None)

    def context(self) -> ssl.SSLContext:
        """For the HTTP port."""
        context = self._identity.context()

        def take_newer(connection: Any, *_: Any) -> None:
            connection.context = self._context

        context.sni_callback = take_newer  # called at each handshake, whether or not it names the server
        return context


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
