"""What the signature and docstring of a command say: its arguments and options, for parser, help and completion."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse

from danlu.app.cli.argument_types import FILES, Completes, DataArgument, RecipeArgument, Rewrites
from danlu.app.console.flag import flag_name

REQUIRED = inspect.Parameter.empty
Function = Callable[..., int]
_METAVARS = {Path: "PATH", int: "N", float: "X", str: "TEXT"}


class Argument(NamedTuple):
    """One parameter of a command's function.

    Attributes:
        name: of the parameter.
        flags: its flags, the long one first; none for a positional argument.
        annotation: its type, with what Annotated adds.
        default: REQUIRED if it has none.
        meaning: one line for the help.
        choices: the allowed words, if they are listed.
        many: whether it takes several words.
        switch: whether it takes no word.
        metavar: stands for its value in the help; empty for a switch.
        completes: what shell completion offers for it, if anything.
        rewrites: how the words are rewritten before parsing, if at all.
    """

    name: str
    flags: tuple[str, ...]
    annotation: Any
    default: Any
    meaning: str
    choices: tuple[str, ...]
    many: bool
    switch: bool
    metavar: str
    completes: Completes | None
    rewrites: Rewrites | None


def arguments_of(function: Function) -> list[Argument]:
    """The arguments and options of a command, in the order of its signature.

    >>> def double(n: int, /, *, json: bool = False) -> int:
    ...     '''Double a number.
    ...
    ...     Args:
    ...         n: the number
    ...     '''
    ...     return 0
    >>> [(argument.name, argument.flags, argument.meaning) for argument in arguments_of(double)]
    [('n', (), 'the number'), ('json', ('--json',), '')]
    """
    types = get_type_hints(function, include_extras=True)
    meanings = {known.arg_name: known.description for known in parse(function.__doc__ or "").params}
    return [
        _argument(parameter, types[parameter.name], meanings.get(parameter.name))
        for parameter in inspect.signature(function).parameters.values()
    ]


def summary_of(function: Function) -> str:
    """The first line of a command's docstring, without the period."""
    return (parse(function.__doc__ or "").short_description or "").removesuffix(".")


def description_of(function: Function) -> str:
    """A command's docstring without the section on arguments."""
    return (parse(function.__doc__ or "").description or "").strip()


def page_argument(function: Function) -> type[RecipeArgument | DataArgument] | None:
    """The type of the first argument if it has settings of its own; else None."""
    first = next(iter(arguments_of(function)), None)
    return first.annotation if first and first.annotation in (RecipeArgument, DataArgument) else None


def _argument(parameter: inspect.Parameter, annotation: Any, meaning: str | None) -> Argument:
    plain, metadata = _unwrapped(annotation)
    members = [member for member in _members(plain) if member is not NoneType]
    items = [get_args(member)[0] if get_origin(member) is tuple else member for member in members]
    aliases = [alias for marker in metadata for alias in getattr(marker, "aliases", None) or ()]
    shared = next((marker.help for marker in metadata if getattr(marker, "help", None)), "")
    positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
    completes = next((marker for marker in metadata if isinstance(marker, Completes)), None)
    return Argument(
        name=parameter.name,
        flags=() if positional else (flag_name(parameter.name), *aliases),
        annotation=annotation,
        default=parameter.default,
        meaning=" ".join((meaning or shared).split()),
        choices=tuple(str(word) for item in items if get_origin(item) is Literal for word in get_args(item)),
        many=any(get_origin(member) is tuple for member in members),
        switch=plain is bool,
        metavar=next((word for kind, word in _METAVARS.items() if kind in items), ""),
        completes=FILES if Path in items else completes,
        rewrites=next((marker for marker in metadata if isinstance(marker, Rewrites)), None),
    )


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and what Annotated adds to it."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    plain, *metadata = get_args(annotation)
    inner, more = _unwrapped(plain)
    return inner, (*metadata, *more)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
