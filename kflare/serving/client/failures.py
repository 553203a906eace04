"""A failed call to a server in one line: where, what, the status code, what to do."""

from typing import Any

import grpc

from kflare.errors import KflareError

__all__ = ["code_of", "describe_failure", "is_unknown_model"]

_CODE = grpc.StatusCode


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
    match code:
        case _CODE.UNAVAILABLE if any(word in details.lower() for word in ("ssl", "tls", "handshake")):
            return (
                f"no secure connection to {target} to ask for {spec.name} (UNAVAILABLE: {details}); "
                "check `ca`, `cert` and `key`, the certificates' dates, and that the server speaks TLS"
            )
        case _CODE.UNAVAILABLE:
            # A server that wants TLS, or a certificate, closes the connection of a client without it.
            tls = " (if it speaks TLS: `ca`, and `cert` and `key`)" if "Socket closed" in details else ""
            return (
                f"no server at {target} to ask for {spec.name} (UNAVAILABLE: {details}); "
                f"start one with python -m kflare.serve, or give the address of one{tls}"
            )
        case _CODE.DEADLINE_EXCEEDED:
            return (
                f"no answer from {target} for {spec.name} within the deadline of {seconds:g} s "
                "(DEADLINE_EXCEEDED); ask for less at a time or raise `timeout`"
            )
        case _CODE.NOT_FOUND:
            wanted = spec.version.value if spec.HasField("version") else spec.version_label
            which = f"`{spec.name}`" if wanted == "" else f"version {wanted} of `{spec.name}`"
            return f"{which} is not served at {target} (NOT_FOUND: {details})"
        case _ if _is_unknown_label(error, spec):
            return (
                f"no version of `{spec.name}` at {target} is labelled `{spec.version_label}` ({code.name}: {details}); "
                "set the label in models.config, or ask for a version by its number"
            )
    return f"the server at {target} refused a request for {spec.name} ({code.name}: {details})"


def _is_unknown_label(error: Any, spec: Any) -> bool:
    # model_servers/server_core.cc: "Unrecognized servable version label"
    return bool(spec.version_label) and error.code() is _CODE.INVALID_ARGUMENT and "label" in str(error.details())
