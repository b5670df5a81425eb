"""The settings of a network, derived from the signature of its constructor."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import operator
import types
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from docstring_parser import parse
from pydantic import ConfigDict, Field, create_model
from torch import nn

from danlu.data.base.page import Page
from danlu.models.base import FromData, Model
from danlu.models.saving.shape_check import check_layers

M = TypeVar("M", bound=Model)


class Settings(Page, Generic[M]):
    """The arguments of a network's constructor that have a default.

    Arguments without a default depend on the data and are given to ``build``. ``Settings[MLP]`` is a page with the
    arguments of MLP, documented by its docstring; ``settings(MLP, hidden=(8,))`` is an instance.

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
        """Build the network with these settings and the arguments that depend on the data."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        check_layers(values)
        return self.network(**from_data, **values)  # type: ignore[return-value]


def settings(network: type[M], **values: Any) -> Settings[M]:
    """A page of settings with some values; the others have the constructor's defaults."""
    return _page(network)(**values)


@functools.cache
def _page(network: type[Any]) -> type[Settings[Any]]:
    hints = typing.get_type_hints(network.__init__, include_extras=True)
    descriptions = {p.arg_name: _one_line(p.description) for p in parse(inspect.getdoc(network) or "").params}
    fields: dict[str, Any] = {
        name: (_immutable(_without_networks(hints[name])), Field(default=p.default, description=descriptions.get(name)))
        for name, p in inspect.signature(network.__init__).parameters.items()
        if p.default is not inspect.Parameter.empty and not _is_network(hints[name]) and not _is_from_data(hints[name])
    }
    page = create_model(f"{network.__name__}Settings", __base__=Settings, **fields)
    page.network = network
    page.needs = getattr(network, "needs", ())  # a type variable or Any stands for a network
    return page


def _is_network(annotation: Any) -> bool:
    """Whether an argument is a network, which cannot be a setting."""
    kinds = [kind for kind in _kinds(annotation) if kind is not type(None)]
    return bool(kinds) and all(_is_module(kind) for kind in kinds)


def _without_networks(annotation: Any) -> Any:
    """The names that an argument can have, which is a name or a network; other types as they are."""
    kinds = _kinds(annotation)
    if not any(_is_module(kind) for kind in kinds):
        return annotation
    return functools.reduce(operator.or_, (kind for kind in kinds if kind is not type(None) and not _is_module(kind)))


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the type itself."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _is_module(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, nn.Module)


def _is_from_data(annotation: Any) -> bool:
    """Whether the data determines an argument."""
    return FromData in getattr(annotation, "__metadata__", ())


def _immutable(annotation: Any) -> Any:
    """A sequence type as a tuple of any length, which is immutable and not a text."""
    if typing.get_origin(annotation) is collections.abc.Sequence:
        return tuple[typing.get_args(annotation)[0], ...]
    return annotation


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).rstrip(".")
