"""GOES flares asked of the Heliophysics Event Knowledgebase (HEK), through sunpy."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from kflare.archives.web import NoAnswerError, Web, public_url
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.hek import flares_from_hek
from kflare.sun.times import require_span

HEK_URL: Final = "https://www.lmsal.com/hek/her?"
_MOST_PAGES: Final = 500
#: Values of FRM_NAME.
_METHODS: Final = ("SWPC", "SSW Latest Events")


def query_hek_flares(web: Web, since: datetime, until: datetime, *, url: str = HEK_URL) -> FlareList:
    """Ask the HEK for the GOES flares that overlap a span of time, from SWPC and from SSW's latest events, as listed.

    `since` and `until` are aware and belong to the span; `url` is that of the HEK's search service. SettingError if a
    time has no zone or `until` is not later, NoAnswerError if the HEK gives no usable answer. The list
    tells of the span, but not of the last day.
    """
    require_span(since, until)
    records = [record for method in _METHODS for record in _search(since, until, method, web, url)]
    try:
        flares = flares_from_hek(records, source="HEK", scale="as listed")
    except DataError as error:
        raise NoAnswerError(f"`{public_url(url)}` answered with something unusable: {error}") from error
    complete = min(until, datetime.now(UTC) - timedelta(days=1))  # when the HEK has them
    return replace(flares, told=((since, complete),) if since < complete else ())


def _search(since: datetime, until: datetime, method: str, web: Web, url: str) -> list[dict[str, object]]:
    from astropy.table import Table
    from sunpy.net import attrs as a
    from sunpy.net.hek import HEKClient

    records: list[dict[str, object]] = []

    class Client(HEKClient):  # type: ignore[misc, unused-ignore]
        """sunpy's client, with a time-out and an end to its pages; the answer is kept as the HEK gave it."""

        def _download(self, data: Mapping[str, str]) -> Table:
            # The HEK calls "opN" what sunpy calls "operatorN".
            query = {key.replace("operator", "op"): value for key, value in data.items()}
            for page in range(1, _MOST_PAGES + 1):
                answer = web.json(self.url + urlencode({**query, "page": page}))
                if not isinstance(answer, dict) or not isinstance(answer.get("result"), list):
                    raise NoAnswerError(f"`{public_url(url)}` does not answer as the HEK does: it has no `result`")
                records.extend(entry for entry in answer["result"] if isinstance(entry, dict))
                if not answer.get("overmax"):
                    return Table()
            raise NoAnswerError(f"`{public_url(url)}` has no end after {_MOST_PAGES} pages; ask for a shorter span")

    span = a.Time(*(time.astimezone(UTC).replace(tzinfo=None) for time in (since, until)))
    Client(url=url).search(span, a.hek.EventType("FL"), a.hek.FRM.Name == method)
    return records
