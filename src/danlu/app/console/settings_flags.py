"""The flags of a recipe: one for each setting, for help and completion."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from docstring_parser import parse
from pydantic import BaseModel

from danlu.app.console.flag_names import flag_name
from danlu.data.training_data import TrainingData
from danlu.recipes.config.recipe import Recipe

_SECTIONS = {
    "DataSettings": "data",
    "Examples": "data",
    "Recipe": "length, evaluation",
    "OptimizerSettings": "how the player moves",
}


class Flag(NamedTuple):
    """A setting as a flag: its name, the section of the help, its value if it is not given, words, choices."""

    name: str
    section: str
    default: Any
    meaning: str
    choices: tuple[str, ...]


def flags(page: BaseModel, prefix: str = "", section: str = "") -> Iterator[Flag]:
    """Each setting of a recipe; those of a network under the network's name.

    >>> from danlu.recipes.classify.mlp import MLPRecipe
    >>> [flag.name for flag in flags(MLPRecipe()) if flag.section == "model"]
    ['--model.hidden', '--model.activation', '--model.norm', '--model.dropout']
    """
    for name, field in type(page).model_fields.items():
        value = getattr(page, name)
        if isinstance(value, BaseModel):
            yield from flags(value, f"{prefix}{name}.", prefix + name)
        else:
            first = next(base for base in reversed(type(page).__mro__) if name in getattr(base, "model_fields", {}))
            where = section or _SECTIONS.get(first.__name__, "loss")
            words = " ".join((field.description or "").split())
            yield Flag(flag_name(prefix + name), where, value, words, _choices(field.annotation))


def option_flags(options: type[Any]) -> Iterator[Flag]:
    """Each option of a verb, from a dataclass that explains them in its docstring."""
    types, words = typing.get_type_hints(options), {p.arg_name: p.description for p in parse(options.__doc__).params}
    for field in dataclasses.fields(options):
        name = field.name
        yield Flag(flag_name(name), "this run", field.default, words.get(name) or "", _choices(types[name]))


def help_text(page: BaseModel, options: type[Any], width: int | None = None, elsewhere: str | None = None) -> str:
    """One line for each flag: what it is now, what it does, what it may be.

    Args:
        page: the settings.
        options: the verb's own.
        width: characters of a line.
        elsewhere: a command that explains how data is read; a line stands for each page of that.
    """
    width = width or max(80, min(120, shutil.get_terminal_size().columns))
    known = [*option_flags(options), *(flags(page) if elsewhere is None else _in_short(page, elsewhere))]
    column = min(36, max(len(_head(flag)) for flag in known) + 2)
    lines: list[str] = []
    section = ""
    order = [*dict.fromkeys(flag.section for flag in known)]
    for flag in sorted(known, key=lambda flag: order.index(flag.section)):
        if flag.section != section:
            section = flag.section
            lines += ["", f"{section}:"]
        words = flag.meaning + (f" {{{', '.join(flag.choices)}}}" if len(flag.choices) > 1 else "")
        head = f"  {_head(flag):<{column}}"
        if len(head) > column + 2:  # the flag is too long to have its words beside it
            lines.append(head)
            head = " " * (column + 2)
        lines += textwrap.wrap(words, width, initial_indent=head, subsequent_indent=" " * (column + 2)) or [head]
    return "\n".join(lines)


def _in_short(recipe: BaseModel, elsewhere: str) -> Iterator[Flag]:
    """The flags of a recipe, with one line for each page about its data."""
    fields = TrainingData.model_fields.items()
    pages = {name: field for name, field in fields if isinstance(getattr(recipe, name), BaseModel)}
    for flag in flags(recipe):
        if flag.section not in pages:
            yield flag
    for name, field in pages.items():
        words = " ".join((field.description or "").split())
        yield Flag(f"--{name}.…", _SECTIONS["DataSettings"], None, f"{words}; {elsewhere} lists them", ())


def _head(flag: Flag) -> str:
    if flag.default is None or flag.default is False:
        return flag.name
    values = flag.default if isinstance(flag.default, tuple) else (flag.default,)
    return " ".join([flag.name, *map(str, values)])


def _choices(annotation: Any) -> tuple[str, ...]:
    """The words that a type allows, where it lists them."""
    inside = [annotation, *typing.get_args(annotation)]
    return tuple(
        str(word) for one in inside if typing.get_origin(one) is typing.Literal for word in typing.get_args(one)
    )


def command_of(name: str, recipe: Recipe) -> str:
    """The command that trains this recipe: its name, and what differs from the recipe's own values.

    >>> from danlu.recipes.classify.mlp import MLPRecipe
    >>> command_of("mlp", MLPRecipe(lr=0.1, monitor="none"))
    'danlu train mlp --monitor none --lr 0.1'
    >>> command_of("mlp", MLPRecipe(table={"standardize": False}))
    'danlu train mlp --table.no-standardize'
    """
    words = ["danlu", "train", name]
    for usual, now in zip(flags(type(recipe)()), flags(recipe), strict=True):
        if usual.default == now.default:
            continue
        if isinstance(now.default, bool):
            words.append(now.name if now.default else re.sub(r"([^.-][^.]*)$", r"no-\1", now.name))
        else:
            values = now.default if isinstance(now.default, tuple) else (now.default,)
            words += [now.name, *(f"{value:.15g}" if isinstance(value, float) else str(value) for value in values)]
    return shlex.join(words)
