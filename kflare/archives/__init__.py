"""Archives of others: JSOC, Helioviewer, SOHO, NOAA, and the near-real-time sets of a forecast."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
