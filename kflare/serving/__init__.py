"""Clients of served models, and the embedded server.

`from kflare.serving import Client` imports what is asked for and no more: no TensorFlow for a client.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
