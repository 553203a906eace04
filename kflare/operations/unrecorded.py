"""Cycles that were computed while the ledger could not take them: kept as files, recorded when it can.

They lie in `unrecorded/` of the observations' folder (`data.folder`), a whole file each, until the ledger has it.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.errors import DataError, LedgerError
from kflare.io.atomic import make_folder, write_whole, writing
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Cycle, Forecast, Outage, cycle_name
from kflare.operations.ledger import Ledger
from kflare.operations.settings import ForecastSettings

if TYPE_CHECKING:
    import pandas as pd


def kept_path(settings: ForecastSettings, issue: datetime) -> Path:
    """Where the cycle of an issue time is kept if it is not recorded."""
    return settings.data.folder / "unrecorded" / f"{cycle_name(issue)}.json"


def kept_files(settings: ForecastSettings) -> list[Path]:
    """What waits to be recorded, oldest first."""
    return sorted((settings.data.folder / "unrecorded").glob("*.json"))


def keep_cycle(
    settings: ForecastSettings, cycle: Cycle, *, features: "pd.DataFrame | None" = None,
    tracker: Mapping[str, Any] | None = None
) -> Path:  # fmt: skip
    """Keep a cycle with all that `Ledger.record` takes; SettingError if that cannot be written either."""
    table = None if features is None else features.to_dict("split")
    path = kept_path(settings, cycle.issue)
    make_folder(path.parent)
    return write_whole(path, json.dumps({"cycle": cycle.as_json(), "features": table, "tracker": tracker}))


def kept_cycle(settings: ForecastSettings, issue: datetime) -> Cycle | None:
    """The cycle of an issue time that is kept, or None."""
    path = kept_path(settings, issue)
    return _read(path)[0] if path.exists() else None


def record_kept(settings: ForecastSettings, *, ledger: Ledger, log: EventLog) -> list[Cycle]:
    """Record what is kept, oldest first, and remove it, until the ledger is away again; returns what was recorded."""
    recorded = []
    failures = 0
    for path in kept_files(settings):
        own = log.of_cycle(path.stem)
        try:
            cycle, measured = _read(path)
            if ledger.record(cycle, **measured):
                recorded.append(cycle)
                own("recorded late", chain=ledger.newest_link())
            else:
                own("recorded by another process")
        except LedgerError as error:
            own("still kept", file=str(path), reason=str(error))
            failures += 1
            if failures == 2:  # one alone may be what the ledger refuses
                break
            continue
        except DataError as error:
            aside = path.with_suffix(".damaged")  # kept for a person; its cycle is run again
            with writing(aside):
                path.replace(aside)
            own("kept file cannot be used", file=str(aside), reason=str(error))
            continue
        with writing(path):
            path.unlink()
    return recorded


def _read(path: Path) -> tuple[Cycle, dict[str, Any]]:
    import pandas as pd

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cycle = (Forecast if "rung" in content["cycle"] else Outage).from_json(content["cycle"])
        features = content["features"] and pd.DataFrame(**content["features"])
        return cycle, {"features": features, "tracker": content["tracker"]}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"`{path}` is no cycle that was kept: {type(error).__name__} {error}") from error
