"""The gRPC channel to a server: addresses, TLS, message limits, retries."""

import json
from pathlib import Path
from typing import Any

import grpc

from kflare.errors import SettingError

__all__ = ["open_channel"]

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")
_INT32_MAX = 2**31 - 1


def open_channel(
    target: str, *, credentials: Any, ca: Path | None, cert: Path | None, key: Path | None, max_attempts: int
) -> Any:
    """Make a channel; it connects at the first call. For the parameters see `kflare.serving.client.Client`.

    Returns
    -------
    grpc.Channel

    Raises
    ------
    SettingError
        A setting that cannot be, or a PEM file that cannot be read.
    """
    if not 1 <= max_attempts <= 5:
        raise SettingError(f"`max_attempts` must lie in 1..5, got {max_attempts}")
    if credentials is None and (ca or cert or key):
        credentials = _tls(ca, cert, key)
    address = target if target.startswith(_SCHEMES) else f"dns:///{target}"
    options = _options(target, max_attempts)
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def _options(target: str, max_attempts: int) -> list[tuple[str, Any]]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if max_attempts > 1:  # grpc/grpc-proto service_config.proto, RetryPolicy: 2 to 5 attempts
        retry = {
            "maxAttempts": max_attempts,
            "initialBackoff": "0.2s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": [{}], "retryPolicy": retry}]
    loopback = target.startswith(("127.", "localhost:", "[::1]:"))
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", _INT32_MAX),
        ("grpc.max_send_message_length", _INT32_MAX),
        # A retry is of use only if the connection is tried anew by then: the default pause grows to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_http_proxy", 0 if loopback else 1),  # a proxy cannot reach this machine's own ports
    ]


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> Any:
    if (cert is None) != (key is None):
        raise SettingError("`cert` and `key` go together: give both for mutual TLS, or neither")
    pem = []
    for name, path in (("ca", ca), ("key", key), ("cert", cert)):
        try:
            pem.append(None if path is None else Path(path).read_bytes())
        except OSError as error:
            raise SettingError(f"`{name}` cannot be read from {path}: {error.strerror or error}") from error
    return grpc.ssl_channel_credentials(*pem)
