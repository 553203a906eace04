"""Images of the Sun in memory: magnetograms and images of its light, their readers, quality, sets and similarity."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
