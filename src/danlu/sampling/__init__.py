"""Loops that draw, and the stateless randomness that they and everything else draw from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
