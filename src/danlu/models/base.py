"""The base of every model in the catalogue: a module that remembers how it was built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn


class Model(nn.Module):
    """A module whose constructor's arguments are its configuration.

    They are kept as they were given, defaults filled in, so that a saved model can be built again from its name and
    these arguments. Nothing of it shows in ``forward`` or in the state dict.

    Attributes:
        arguments: the constructor's arguments by name.
        kind: the class that was constructed; sharding puts another in its place.
        info: what the inputs and classes are, for a model that was loaded from a folder.
        usage: settings of the recipe that use of the model needs, for a model that was loaded from a folder.
        tokenizer: what makes text its tokens, for a model of text that is trained or was loaded.

    >>> class Scale(Model):
    ...     def __init__(self, factor: float, shift: float = 0.0):
    ...         super().__init__()
    >>> Scale(2.0).arguments
    {'factor': 2.0, 'shift': 0.0}
    """

    arguments: dict[str, Any]
    kind: type[Model]
    info: Any = None
    tokenizer: Any = None
    usage: Mapping[str, Any] = MappingProxyType({})

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can do beyond its verbs: keys of ``danlu.verbs.CAPABILITIES``."""
        return frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        self = super().__new__(cls)
        try:
            given = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)  # partial: copy passes none
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}; it is {cls.__name__}{inspect.signature(cls)}") from None
        given.apply_defaults()
        self.__dict__["kind"] = cls
        self.__dict__["arguments"] = {name: value for name, value in given.arguments.items() if name != "self"}
        return self
