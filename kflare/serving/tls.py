"""TLS and mutual TLS from TensorFlow Serving's `ssl.config` (its option `--ssl_config_file`)."""

import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from kflare.errors import SettingError
from kflare.serving.config_messages import message_type, read_config

__all__ = ["ServerTls"]


@dataclass(frozen=True)
class ServerTls:
    """Key, certificate and, to verify clients, authority; each the content of a PEM file."""

    key: bytes
    certificate: bytes
    authority: bytes | None
    verify_clients: bool

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file in the text form of `tensorflow.serving.SSLConfig`.

        Raises
        ------
        SettingError
            The file is not of that form, or its key and certificate cannot be used together.
        """
        config = read_config(path, message_type("SSLConfig")(), what="TLS configuration")
        for name in ("server_key", "server_cert"):
            if "-----BEGIN " not in getattr(config, name):
                raise SettingError(f"`{name}` in {path} must be the content of a PEM file")
        if config.client_verify and not config.custom_ca:
            raise SettingError(f"`client_verify` in {path} needs `custom_ca`, who may sign the clients' certificates")
        made = cls(
            config.server_key.encode(),
            config.server_cert.encode(),
            config.custom_ca.encode() or None,
            bool(config.client_verify),
        )
        try:
            made.context()
        except (ssl.SSLError, ValueError) as error:
            raise SettingError(f"key, certificate or authority in {path} cannot be used: {error}") from error
        return made

    def grpc_credentials(self) -> Any:
        """For the gRPC port."""
        # gRPC takes a root certificate only to verify clients by; without `client_verify` none is asked for.
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.authority if self.verify_clients else None,
            require_client_auth=self.verify_clients,
        )

    def context(self) -> ssl.SSLContext:
        """For the HTTP port."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # OpenSSL reads key and certificate from a file only: one that nobody else can read, for a moment.
        descriptor, name = tempfile.mkstemp(suffix=".pem")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.certificate.rstrip() + b"\n" + self.key)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()
        if self.verify_clients and self.authority is not None:
            context.load_verify_locations(cadata=self.authority.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        return context
