"""What every publisher is given."""

from dataclasses import dataclass

from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Cycle
from kflare.operations.ledger import Ledger
from kflare.operations.settings import ForecastSettings


@dataclass(frozen=True)
class Publication:
    """A cycle as it stands in the ledger, which also holds what was forecast before and what happened."""

    cycle: Cycle
    settings: ForecastSettings
    ledger: Ledger
    log: EventLog
