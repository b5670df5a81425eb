"""Flags of settings and options, parsed by tyro. Settings are not validated here.

The recipe validates them, because tyro reports errors of nested settings in the words of pydantic, and does not
distinguish given settings from defaults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, field, make_dataclass
from typing import Annotated, Any

import tyro
from pydantic import BaseModel
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from danlu.app.cli.signature import Function, arguments_of
from danlu.app.cli.usage_errors import clear_errors

_unchecked = ConstructorRegistry()


def given_values(
    page: BaseModel, function: Function, prog: str, words: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The given settings by name, nested ones as mappings; and the options of a command, all of them.

    Args:
        page: the settings with their defaults.
        function: of the command; its parameters that are flags are the options.
        prog: the command, for error messages.
        words: flags and their values.

    Raises:
        UsageError: for unknown flags, and values that cannot be parsed.

    >>> from danlu.app.cli.commands.recipes import summary
    >>> from danlu.data import TrainingData
    >>> given_values(TrainingData(), summary, "danlu", ["--split.test", "2", "--table.no-standardize"])
    ({'split': {'test': 2.0}, 'table': {'standardize': False}}, {})
    """
    flat = tyro.conf.arg(name="")
    options = _as_dataclass(function)
    flags = [
        ("page", Annotated[type(page), flat], field(default=page)),
        ("options", Annotated[options, flat], field(default=options())),
    ]
    with _unchecked, clear_errors(prog, function, words, page):
        parsed: Any = tyro.cli(make_dataclass("Command", flags), prog=prog, args=words)
    named = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    return dict(_named(parsed.page, "--", named)), asdict(parsed.options)


def _as_dataclass(function: Function) -> type[Any]:
    """The options of a command as the fields of a dataclass, documented by the command's docstring."""
    options = [argument for argument in arguments_of(function) if argument.flags]
    fields = [
        (option.name, tyro.conf.FlagCreatePairsOff[option.annotation], field(default=option.default))
        for option in options
    ]
    return make_dataclass("Options", fields, frozen=True, namespace={"__doc__": function.__doc__})


@_unchecked.struct_rule
def _without_validation(info: StructTypeInfo) -> StructConstructorSpec | None:
    """How tyro creates settings: with any values."""
    if not (isinstance(info.type, type) and issubclass(info.type, BaseModel)):
        return None
    fields = [
        StructFieldSpec(name, known.annotation, getattr(info.default, name), known.description)  # type: ignore[arg-type]
        for name, known in info.type.model_fields.items()
    ]
    return StructConstructorSpec(info.type.model_construct, tuple(fields))


def _named(page: BaseModel, prefix: str, flags: set[str]) -> Iterator[tuple[str, Any]]:
    """The settings whose flags are among the words."""
    for name in type(page).model_fields:
        value, flag = getattr(page, name), name.replace("_", "-")
        if not isinstance(value, BaseModel):
            if flags & {prefix + flag, f"{prefix}no-{flag}"}:
                yield name, value
        elif inside := dict(_named(value, f"{prefix}{flag}.", flags)):
            yield name, inside
