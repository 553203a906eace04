"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .client.client import AsyncClient, Client
from .forecasts.full_disk import full_disk_probability
from .messages.replies import Metadata, Reply, TensorInfo, VersionState
from .server.embedded_server import Server

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
