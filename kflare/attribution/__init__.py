"""Why the dense CNN says so: Grad-CAM and guided backpropagation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
