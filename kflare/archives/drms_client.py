"""The client of drms, which asks JSOC, with the time-outs and retries of `Web` instead of its own bare calls."""

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from kflare.archives.web import Web

if TYPE_CHECKING:
    import drms

__all__ = ["drms_client"]


def drms_client(web: Web, url: str) -> "drms.Client":
    """A client of the server at `url`, whose queries are sent by `web`."""
    import drms
    from drms.config import ServerConfig
    from drms.json import HttpJsonClient

    class Answer:
        def __init__(self, address: str) -> None:
            self.data = web.json(address)
            # drms reads the records' names from an answer without records, too, and finds none there.
            if isinstance(self.data, dict) and self.data.get("count") == 0:
                self.data.setdefault("recinfo", [])

    class Transport(HttpJsonClient):  # type: ignore[misc, unused-ignore]
        # drms opens URLs itself with a fixed time-out and takes any body for JSON (sunpy/drms#53).
        def _json_request(self, address: str) -> Answer:
            return Answer(address)

    class Client(drms.Client):  # type: ignore[misc, unused-ignore]
        def __init__(self, server: ServerConfig) -> None:
            super().__init__(server)
            self._json = Transport(server)

    return Client(
        ServerConfig(
            name="kflare",
            cgi_baseurl=urljoin(url, "cgi-bin/ajax/"),
            cgi_show_series="show_series",
            cgi_jsoc_info="jsoc_info",
            cgi_jsoc_fetch="jsoc_fetch",
            cgi_check_address="checkAddress.sh",
            http_download_baseurl=url,
        )
    )
