"""SHARP and SMARP: keywords and samples of HMI's and MDI's active-region patches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
