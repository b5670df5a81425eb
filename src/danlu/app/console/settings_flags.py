"""The settings of a recipe or of a data set as flags, for help and completion, and the command that trains a recipe."""

from __future__ import annotations

import shlex
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from danlu.app.console.flag import Flag, flag_name, flag_of

if TYPE_CHECKING:
    from danlu.recipes.config.recipe import Recipe  # imports torch, and help for data sets does not need it


def flags(page: BaseModel, prefix: str = "", section: str = "") -> Iterator[Flag]:
    """The settings as flags; a setting of a network has the name of the network as prefix.

    >>> from danlu.recipes import MLPRecipe
    >>> [flag.name for flag in flags(MLPRecipe()) if flag.section == "model"]
    ['--model.hidden', '--model.activation', '--model.norm', '--model.dropout']
    """
    for name, field in type(page).model_fields.items():
        value = getattr(page, name)
        if isinstance(value, BaseModel):
            yield from flags(value, f"{prefix}{name}.", prefix + name)
        else:
            first: Any = next(b for b in reversed(type(page).__mro__) if name in getattr(b, "model_fields", {}))
            heading = section or first.help_section
            meaning = " ".join((field.description or "").split())
            yield Flag(flag_name(prefix + name), heading, value, meaning, _choices(field.annotation))


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal type, if there is one."""
    types = [annotation, *typing.get_args(annotation)]
    return tuple(
        str(value) for one in types if typing.get_origin(one) is typing.Literal for value in typing.get_args(one)
    )


def command_of(name: str, recipe: Recipe) -> str:
    """The command that trains a recipe: its name and the settings that differ from the defaults.

    >>> from danlu.recipes import MLPRecipe
    >>> command_of("mlp", MLPRecipe(lr=0.1, monitor="none"))
    'danlu train mlp --monitor none --lr 0.1'
    >>> command_of("mlp", MLPRecipe(table={"standardize": False}))
    'danlu train mlp --table.no-standardize'
    """
    words = ["danlu", "train", name]
    for setting, value in _changed_settings(recipe, type(recipe)()):
        if isinstance(value, bool):
            words.append(flag_of(f"{setting}={value}"))
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [flag_name(setting), *(f"{v:.15g}" if isinstance(v, float) else str(v) for v in values)]
    return shlex.join(words)


def _changed_settings(page: BaseModel, defaults: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings that differ from the defaults: dotted name and value."""
    for name in type(page).model_fields:
        value, default = getattr(page, name), getattr(defaults, name)
        if isinstance(value, BaseModel):
            yield from _changed_settings(value, default, f"{prefix}{name}.")
        elif value != default:
            yield prefix + name, value
