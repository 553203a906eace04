"""The server's TLS from TensorFlow Serving's `ssl.config` (its option `--ssl_config_file`), renewed while in use."""

import logging
import ssl
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from kflare.errors import SettingError
from kflare.serving.messages.declared_messages import CONFIG_MESSAGES, read_config

_LOG = logging.getLogger(__name__)


class _Identity(NamedTuple):
    certificates: Any  # for gRPC
    context: ssl.SSLContext  # for HTTP
    verifies: bool  # the clients


class ServerTls:
    """Key, certificate and authority from a `tensorflow.serving.SSLConfig`; `SettingError` if they cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _content(path)
        self._identity = _read(path)

    def renew(self) -> None:
        """Take up what the file holds by now, for connections yet to be made; log a file that cannot be used, once."""
        content = _content(self._path)
        if content == self._content:
            return
        self._content = content
        try:
            identity = _read(self._path)
        except SettingError as error:
            _LOG.warning("the TLS configuration stays as it was: %s", error)
            return
        if identity.verifies != self._identity.verifies:
            what = f"`client_verify` in {self._path} cannot change while the server runs: restart it"
            _LOG.warning("the TLS configuration stays as it was: %s", what)
            return
        self._identity = identity
        _LOG.info("the TLS configuration was renewed from %s", self._path)

    def grpc_credentials(self) -> Any:
        """For the gRPC port."""
        shown = self._identity

        def newer() -> Any:  # asked at each handshake; None = as before
            nonlocal shown
            if shown is self._identity:
                return None
            shown = self._identity
            return shown.certificates

        return grpc.dynamic_ssl_server_credentials(shown.certificates, newer, shown.verifies)

    def context(self) -> ssl.SSLContext:
        """For the HTTP port."""

        def take_newer(connection: Any, *_: Any) -> None:
            connection.context = self._identity.context

        context = self._identity.context
        context.sni_callback = take_newer  # called at each handshake, whether or not it names the server
        return context


def _read(path: Path) -> _Identity:
    config = read_config(path, CONFIG_MESSAGES["SSLConfig"], what="TLS configuration")
    for name in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, name):
            raise SettingError(f"`{name}` in {path} must be the content of a PEM file")
    if config.client_verify and not config.custom_ca:
        raise SettingError(f"`client_verify` in {path} needs `custom_ca`, who may sign the clients' certificates")
    key, certificate = config.server_key.encode(), config.server_cert.encode()
    # gRPC takes an authority only to verify clients by; without `client_verify` no certificate is asked for.
    authority = config.custom_ca.encode() if config.client_verify else None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # OpenSSL reads key and certificate from a file only: one that nobody else can read, for a moment.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(certificate.rstrip() + b"\n" + key)
        file.flush()
        try:
            context.load_cert_chain(file.name)
            if authority is not None:
                context.load_verify_locations(cadata=authority.decode())
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, ValueError) as error:
            raise SettingError(f"key, certificate or authority in {path} cannot be used: {error}") from error
    of_grpc = grpc.ssl_server_certificate_configuration([(key, certificate)], authority)
    return _Identity(of_grpc, context, authority is not None)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
