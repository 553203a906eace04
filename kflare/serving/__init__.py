"""Clients of served models, and the embedded server.

`from kflare.serving import Client` imports what is asked for and no more: no TensorFlow for a client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kflare.serving.client.async_client import AsyncClient
    from kflare.serving.client.client import Client
    from kflare.serving.client.replies import Metadata, Reply, TensorInfo, VersionState
    from kflare.serving.embedded_server import Server
    from kflare.serving.full_disk import full_disk_probability

__all__ = [
    "AsyncClient",
    "Client",
    "Metadata",
    "Reply",
    "Server",
    "TensorInfo",
    "VersionState",
    "full_disk_probability",
]

_MODULES = {
    "AsyncClient": "client.async_client",
    "Client": "client.client",
    "Metadata": "client.replies",
    "Reply": "client.replies",
    "Server": "embedded_server",
    "TensorInfo": "client.replies",
    "VersionState": "client.replies",
    "full_disk_probability": "full_disk",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
