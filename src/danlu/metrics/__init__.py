"""Metrics: functions from tensors to numbers that measure the quality of a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
