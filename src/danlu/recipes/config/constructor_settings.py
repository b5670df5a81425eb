"""The settings of a network, read off its constructor, so that nothing is typed twice."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from docstring_parser import parse
from pydantic import ConfigDict, Field, create_model
from torch import nn

from danlu.data.base.page import Page
from danlu.models.base import Model

M = TypeVar("M", bound=Model)


class Settings(Page, Generic[M]):
    """The arguments of a network that a recipe may choose: those of its constructor that have a default.

    Arguments without a default are decided by the data and come in ``build``. ``Settings[MLP]`` is a page whose fields
    are MLP's, with the documentation of its docstring; ``settings(MLP, hidden=(8,))`` fills one in.

    >>> from danlu.models import MLP
    >>> settings(MLP, hidden=(8,)).build(shape=(4,), classes=2).body[0].linear
    Linear(in_features=4, out_features=8, bias=True)
    >>> Settings[MLP].model_fields["hidden"].description
    'width of each hidden layer; empty for softmax regression'
    """

    model_config = ConfigDict(protected_namespaces=(), use_attribute_docstrings=False)

    network: ClassVar[type[Model]]

    if not TYPE_CHECKING:

        def __class_getitem__(cls, network):
            return cls if isinstance(network, TypeVar) else _page(network)

    def build(self, **from_data: Any) -> M:
        """The network with these settings, and what the data decides."""
        chosen = {name: getattr(self, name) for name in type(self).model_fields}
        return self.network(**from_data, **chosen)  # type: ignore[return-value]


def settings(network: type[M], **chosen: Any) -> Settings[M]:
    """A page of settings with some values chosen; the others are the constructor's defaults."""
    return _page(network)(**chosen)


@cache
def _page(network: type[Any]) -> type[Settings[Any]]:
    types = typing.get_type_hints(network.__init__, include_extras=True)
    described = {p.arg_name: _one_line(p.description) for p in parse(inspect.getdoc(network) or "").params}
    fields: dict[str, Any] = {
        name: (_unchanging(types[name]), Field(default=p.default, description=described.get(name)))
        for name, p in inspect.signature(network.__init__).parameters.items()
        if p.default is not inspect.Parameter.empty and not _is_network(types[name])
    }
    page = create_model(f"{network.__name__}Settings", __base__=Settings, **fields)
    page.network = network
    return page


def _is_network(annotation: Any) -> bool:
    """Whether an argument is itself a network, which no setting can name."""
    kinds = typing.get_args(annotation) or (annotation,)
    return any(isinstance(kind, type) and issubclass(kind, nn.Module) for kind in kinds)


def _unchanging(annotation: Any) -> Any:
    """A sequence as a tuple of any length, which can neither change nor be a text."""
    if typing.get_origin(annotation) is collections.abc.Sequence:
        return tuple[typing.get_args(annotation)[0], ...]
    return annotation


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).rstrip(".")
