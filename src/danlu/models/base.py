"""The base class of all models: a module that keeps the arguments of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import nn

from danlu.data.base.effects import Needs


class FromData:
    """Marks, as ``Annotated[int, FromData]``, an argument with a default that the data determines: no setting."""


class Model(nn.Module):
    """Base class of models. The arguments of the constructor are the configuration of the model.

    They are stored with defaults filled in, so a saved model can be built again from its name and its arguments. They
    are not part of ``forward`` or of the state dict.

    Attributes:
        needs: arguments that have an effect only with other arguments; recipes refuse them otherwise.
        arguments: the constructor's arguments by name.
        kind: the class that was constructed; sharding changes the class of the object.
        info: description of inputs and classes, for a model loaded from a folder.
        usage: settings of the recipe that are needed to use the model, for a model loaded from a folder.
        tokenizer: tokenizer of a text model during training and after loading.

    >>> class Scale(Model):
    ...     def __init__(self, factor: float, shift: float = 0.0):
    ...         super().__init__()
    >>> Scale(2.0).arguments
    {'factor': 2.0, 'shift': 0.0}
    """

    needs: ClassVar[tuple[Needs, ...]] = ()
    arguments: dict[str, Any]
    kind: type[Model]
    info: Any = None
    tokenizer: Any = None
    usage: Mapping[str, Any] = MappingProxyType({})

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model: keys of ``danlu.verbs.CAPABILITIES``."""
        return frozenset()

    @property
    def lacks(self) -> frozenset[str]:
        """The verbs that its arguments make impossible, although the model has their methods."""
        return frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        self = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind_partial(
                self, *args, **kwargs
            )  # partial: copy.copy passes no arguments
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}; signature: {cls.__name__}{inspect.signature(cls)}") from None
        bound.apply_defaults()
        self.__dict__["kind"] = cls
        self.__dict__["arguments"] = {name: value for name, value in bound.arguments.items() if name != "self"}
        return self
