"""The gRPC channel to one server or several: addresses, TLS, message limits, retries, health; failed calls in words."""

import json
import socket
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc

from kflare.errors import KflareError, ServingError, SettingError

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")
INT32_MAX = 2**31 - 1
_CODE = grpc.StatusCode
_WORDS = tomllib.loads(files("kflare.serving.client").joinpath("failures.toml").read_text(encoding="utf-8"))
_LONGEST = 1e6  # seconds; to gRPC 0 is no deadline and infinity one that has passed


def check_timeout(seconds: float) -> None:
    """Raise SettingError for a deadline that gRPC would misunderstand."""
    if not 0 < seconds <= _LONGEST:
        raise SettingError(f"`timeout` must be a positive number of seconds, {_LONGEST:g} at most, got {seconds}")


def open_channel(
    target: str, *, timeout: float, api: Any = grpc, credentials: Any = None, ca: Path | None = None,
    cert: Path | None = None, key: Path | None = None, max_attempts: int = 5
) -> Any:  # fmt: skip
    """A channel of `grpc` or `grpc.aio`, as `api` says, connected at the first call; the rest is as in `ClientBase`."""
    check_timeout(timeout)
    if not 1 <= max_attempts <= 5:
        raise SettingError(f"`max_attempts` must lie in 1..5, got {max_attempts}")
    if credentials is None and (ca or cert or key):
        credentials = _tls(ca, cert, key)
    options = _options(target, timeout, max_attempts)
    servers = [server.strip() for server in target.split(",")]
    if len(servers) > 1 and not target.startswith(_SCHEMES):
        if credentials is not None:  # several addresses, one certificate name: that of the first
            options.append(("grpc.ssl_target_name_override", servers[0].rpartition(":")[0].strip("[]")))
        target = _addresses(servers)
    elif not target.startswith(_SCHEMES):
        target = f"dns:///{target}"
    if credentials is None:
        return api.insecure_channel(target, options)
    return api.secure_channel(target, credentials, options)


def _options(target: str, timeout: float, max_attempts: int) -> list[tuple[str, Any]]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if max_attempts > 1:  # grpc/grpc-proto service_config.proto, RetryPolicy: 2 to 5 attempts
        # The pauses before attempts 2 to 5 are p, 2p, 4p and 8p, each give or take a fifth: spread over the deadline,
        # a server that is back within half of it is found.
        pause = max(timeout / 20, 0.001)
        retry = {"maxAttempts": max_attempts, "initialBackoff": f"{pause:.3f}s", "maxBackoff": f"{8 * pause:.3f}s"}
        # A server that stops cuts off with CANCELLED what it has just taken; a question asked twice does no harm.
        retry |= {"backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]}
        config["methodConfig"] = [{"name": [{}], "retryPolicy": retry}]
    if "," in target or target.startswith("dns:"):
        # One of several that drains or has nothing to serve is not asked. Servers without grpc.health.v1 count as
        # healthy as long as they are connected.
        config["healthCheckConfig"] = {"serviceName": ""}
    loopback = target.startswith(("127.", "localhost:", "[::1]:"))
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", INT32_MAX),
        ("grpc.max_send_message_length", INT32_MAX),
        # A retry is of use only if the connection is tried anew by then: the default pause grows to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.min_reconnect_backoff_ms", 5000),  # in spite of its name: how long a connection may take to be made
        ("grpc.per_rpc_retry_buffer_size", INT32_MAX),  # by default a request above 256 KiB is not sent again
        ("grpc.enable_http_proxy", 0 if loopback else 1),  # a proxy cannot reach this machine's own ports
    ]


def _addresses(servers: list[str]) -> str:
    """A list of servers as gRPC takes it: numeric addresses of one family, of names looked up now, once."""
    for family, scheme, written in ((socket.AF_INET, "ipv4", "{}:{}"), (socket.AF_INET6, "ipv6", "[{}]:{}")):
        found = [_resolve(server, family) for server in servers]
        if all(found):
            return f"{scheme}:" + ",".join(written.format(*pair) for pairs in found for pair in pairs)
    if unknown := [server for server in servers if not _resolve(server, socket.AF_UNSPEC)]:
        raise ServingError(f"no address is known for {', '.join(unknown)}: check the name, or give numbers")
    raise SettingError(f"the servers {', '.join(servers)} must all have IPv4 or all have IPv6 addresses")


def _resolve(server: str, family: int) -> list[tuple[str, str]]:
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingError(f"a server in a list must be `host:port`, got {server!r}")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), family=family, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


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


def code_of(error: KflareError) -> grpc.StatusCode | None:
    """The status code behind an error of a client; None if no call failed."""
    cause = error.__cause__
    return cause.code() if isinstance(cause, grpc.RpcError) else None


def is_unknown_model(error: Any, spec: Any) -> bool:
    """Whether a call failed because there is no such model, version or label."""
    return error.code() is _CODE.NOT_FOUND or _is_unknown_label(error, spec)


def describe_failure(error: Any, spec: Any, *, target: str, seconds: float) -> str:
    """Words for a `grpc.RpcError` of a request with this ModelSpec, target and deadline."""
    code, details = error.code(), " ".join(str(error.details()).split())[:300]
    case = code.name
    if code is _CODE.UNAVAILABLE and any(word in details.lower() for word in ("ssl", "tls", "handshake")):
        case = "UNAVAILABLE by TLS"
    elif code is _CODE.UNAVAILABLE and "Socket closed" in details:
        case = "UNAVAILABLE and closed"
    elif _is_unknown_label(error, spec):
        case = "no such label"
    wanted = spec.version.value if spec.HasField("version") else spec.version_label
    which = f"`{spec.name}`" if wanted == "" else f"version {wanted} of `{spec.name}`"
    words = _WORDS.get(case, _WORDS["other"])
    asked = {"target": target, "model": spec.name, "which": which, "label": wanted}
    return words.format(code=code.name, details=details, seconds=seconds, **asked)


def _is_unknown_label(error: Any, spec: Any) -> bool:
    # model_servers/server_core.cc: "Unrecognized servable version label"
    return bool(spec.version_label) and error.code() is _CODE.INVALID_ARGUMENT and "label" in str(error.details())
