"""The text of ``danlu VERB --help``, from the signature and docstring of the command. Importing it is fast."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

from danlu.app.cli.signature import REQUIRED, Argument, Function, arguments_of, description_of
from danlu.app.console.flag import Flag
from danlu.catalogue.recipes import all_recipes


def command_help(name: str, function: Function) -> str:
    """Usage, description, arguments and options of a command."""
    arguments = [argument for argument in arguments_of(function) if not argument.flags]
    words = "".join(f" {placeholder(argument)}" for argument in arguments)
    listed = [Flag(placeholder(a), "arguments", None, a.meaning, a.choices) for a in arguments]
    text = sections([*listed, *option_flags(function)])
    return f"usage: danlu {name}{words} [options]\n\n{description_of(function)}\n{text}"


def recipe_usage(name: str) -> str:
    """Usage of a command on a recipe, and the names of the recipes."""
    names = textwrap.fill(f"recipes: {', '.join(all_recipes())}", _width(), break_on_hyphens=False)
    return f"usage: danlu {name} NAME|FILE.yaml [--settings …]\n\n{names}"


def option_flags(function: Function) -> list[Flag]:
    """The options of a command as flags."""
    return [
        Flag(
            ", ".join(sorted(argument.flags, key=len)),
            "options",
            None if argument.default is REQUIRED else argument.default,
            argument.meaning,
            argument.choices,
            argument.metavar or "WORD" * bool(argument.choices),
        )
        for argument in arguments_of(function)
        if argument.flags
    ]


def placeholder(argument: Argument) -> str:
    """A positional argument as usage lines show it.

    >>> from danlu.app.cli.commands.evaluation import classify
    >>> [placeholder(argument) for argument in arguments_of(classify)][:2]
    ['RUN', 'FILES…']
    """
    word = argument.name.upper() + "…" * argument.many
    return word if argument.default is REQUIRED else f"[{word}]"


def sections(flags: Iterable[Flag], width: int | None = None) -> str:
    """One entry for each flag, under the heading of its section: default, meaning and choices.

    Args:
        flags: in the order in which they are listed.
        width: characters per line; the width of the terminal if not given.
    """
    width = width or _width()
    flags = list(flags)
    column = min(36, max((len(_head(flag)) for flag in flags), default=0) + 2)
    lines: list[str] = []
    for section in dict.fromkeys(flag.section for flag in flags):
        lines += ["", f"{section}:"]
        for flag in flags:
            if flag.section == section:
                lines += _entry(flag, column, width)
    return "\n".join(lines)


def _width() -> int:
    return max(80, min(120, shutil.get_terminal_size().columns))


def _entry(flag: Flag, column: int, width: int) -> list[str]:
    words = flag.meaning + (f" {{{', '.join(flag.choices)}}}" if len(flag.choices) > 1 else "")
    if flag.metavar and flag.default is not None:
        words += f" (default: {flag.default})"
    head, indent = f"  {_head(flag):<{column}}", " " * (column + 2)
    if len(head) <= len(indent):
        return textwrap.wrap(words, width, initial_indent=head, subsequent_indent=indent) or [head]
    return [head, *textwrap.wrap(words, width, initial_indent=indent, subsequent_indent=indent)]


def _head(flag: Flag) -> str:
    if flag.metavar:
        return f"{flag.name} {flag.metavar}"
    if flag.default is None or flag.default is False:
        return flag.name
    values = flag.default if isinstance(flag.default, tuple) else (flag.default,)
    return " ".join([flag.name, *map(str, values)])
