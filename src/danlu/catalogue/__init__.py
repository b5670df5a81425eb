"""The catalogue: written tables of recipes, models, data sets and experiments."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
