"""How the forecasting is doing, for a monitor: one glance at the ledger and one at the server."""

from datetime import datetime, timedelta
from typing import Any, Final

from kflare.errors import ServingError
from kflare.operations.clock import clock_behind, latest_issue, next_issue
from kflare.operations.forecast import CLIMATOLOGY, EVENT_STATISTICS, Cycle, Forecast, Outage
from kflare.operations.ledger import Ledger
from kflare.operations.records import utc_text
from kflare.operations.settings import ForecastSettings
from kflare.operations.unrecorded import kept_files

EXIT_STATUS: Final = {
    "forecast": 0, "clock": 1, "statistics": 3, "outage": 4, "unpublished": 5, "overdue": 6, "unrecorded": 7,
}  # fmt: skip
"""Exit status by outcome; 1 is an error after which nothing was recorded, 2 wrong usage."""


def outcome_of(cycle: Cycle) -> str:
    """What a cycle ended with: "forecast" by networks (or of no sunspot), "statistics" alone, or "outage"."""
    if isinstance(cycle, Outage):
        return "outage"
    return "statistics" if cycle.rung in (EVENT_STATISTICS, CLIMATOLOGY) else "forecast"


def status(settings: ForecastSettings, ledger: Ledger, *, now: datetime) -> dict[str, Any]:
    """The newest cycle of the ledger, whether a forecast is overdue, and which models answer.

    `state` is one of `EXIT_STATUS`: "overdue" if the latest issue time has no cycle after its grace time, "clock" if
    `now` is before the newest cycle, so that `clock` says why it cannot be right.
    """
    hours, grace = settings.schedule.hours, timedelta(minutes=settings.schedule.grace_minutes)
    last, link = ledger.last_issue(now), ledger.newest_link()
    cycle = None if last is None else ledger.cycle(last)
    overdue = last is None or last < latest_issue(hours, now - grace)
    state, (number, digest) = "overdue" if overdue or cycle is None else outcome_of(cycle), link or (0, None)
    found: dict[str, Any] = {"state": state, "now": utc_text(now), "next_issue": utc_text(next_issue(hours, now))}
    found |= {"last_issue": last and utc_text(last), "kept": [str(path) for path in kept_files(settings)]}
    found |= {"records": number, "digest": digest}
    if cycle is not None:
        found |= {"cycle": cycle.cycle_id, "details": list(cycle.details)}
        found["hours_since_issue"] = round((now - cycle.issue).total_seconds() / 3600, 2)
    if isinstance(cycle, Forecast):
        seen = None if cycle.data_time is None else utc_text(cycle.data_time)
        found |= {"rung": cycle.rung, "reason": cycle.rung_reason, "mark": cycle.mark, "data_time": seen}
        found["models"] = {model.name: model.version for model in cycle.models}
    elif isinstance(cycle, Outage):
        found["reason"] = cycle.reason
    if doubt := clock_behind(now, settings, newest=None, last=ledger.last_run()):
        found |= {"state": "clock", "clock": doubt}
    return found | {"server": _server(settings)}


def _server(settings: ForecastSettings) -> dict[str, Any]:
    wanted = (*settings.server.region_models, *settings.server.disk_models)
    try:
        with settings.server.client(max_attempts=1) as client:  # how it is now
            served = client.served(wanted)
    except ServingError as error:
        return {"address": settings.server.address, "error": str(error)}
    missing = [name for name in wanted if name not in served]
    return {"address": settings.server.address, "serves": served, "missing": missing}
