"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .cycle import run_cycle
from .forecast import Forecast
from .ledger import Ledger
from .settings import ForecastSettings, read_settings

__all__ = ["Forecast", "ForecastSettings", "Ledger", "read_settings", "run_cycle"]
