"""The forecasting office: cycles, the ledger of forecasts and outcomes, and what is published of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
