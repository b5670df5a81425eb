"""From the words of the command line to the call of a command's function."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from typing import Any

import tyro

from danlu.app.cli.argument_types import DataArgument, RecipeArgument
from danlu.app.cli.command_help import command_help, recipe_usage
from danlu.app.cli.signature import Function, arguments_of, page_argument
from danlu.app.cli.usage_errors import clear_errors
from danlu.app.command_table import COMMANDS
from danlu.app.console.output import print_lines
from danlu.errors import UsageError

HELP = ("-h", "--help")


def function_of(name: str) -> Function:
    """The function of a command."""
    module, _, attribute = COMMANDS[name].run.partition(":")
    return getattr(import_module(module), attribute)


def bind(name: str, words: list[str]) -> partial[int]:
    """Parse the words after a command's name; calling the result runs the command and returns its exit code.

    Args:
        name: of the command.
        words: arguments, flags and their values.

    Raises:
        UsageError: if words or settings are invalid, or a recipe or data set is missing or unknown.
        SystemExit: after help.

    >>> bind("list", ["--json"]).keywords
    {'json': True}
    """
    function = function_of(name)
    page = page_argument(function)
    if page is RecipeArgument:
        return _bind_recipe(name, function, words)
    if page is DataArgument:
        from danlu.app.cli.data_arguments import parse

        source, options = parse(name, function, words)
        return partial(function, DataArgument(source), **options)
    if {*HELP} & {*words}:
        print_lines(command_help(name, function))
        raise SystemExit(0)
    for argument in arguments_of(function):
        if argument.rewrites is not None:
            words = argument.rewrites.rewrite(words)
    with clear_errors(f"danlu {name}", function, words):
        return tyro.cli(_bound(function), prog=f"danlu {name}", args=words, config=(tyro.conf.FlagCreatePairsOff,))


def _bind_recipe(name: str, function: Function, words: list[str]) -> partial[int]:
    if len(words) > 1 and words[0] in HELP and not words[1].startswith("-"):
        words = [*words[1:], words[0]]  # `train --help cnn` is `train cnn --help`
    if not words or words[0].startswith("-"):
        if not {*HELP} & {*words}:
            raise UsageError(
                f"{name}: the first argument must be the name of a recipe, or a YAML file\n{recipe_usage(name)}"
            )
        print_lines(f"{recipe_usage(name)}\n\n`danlu {name} NAME --help` lists the settings of a recipe.")
        raise SystemExit(0)
    if name == "train" and not {*HELP, "--json"} & {*words}:
        _announce_loading(f"danlu train {words[0]}")
    from danlu.app.cli.recipe_arguments import parse

    recipe, options = parse(name, function, words)
    return partial(function, RecipeArgument(recipe, words), **options)


def _announce_loading(command: str) -> None:
    """Print a line before torch is imported, which takes seconds; the first process alone prints it."""
    if "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        print_lines(f"{command}: loading PyTorch …", sys.stderr)


def _bound(function: Function) -> Callable[..., partial[int]]:
    """A function with the same signature that calls nothing, and returns the call."""

    @wraps(function)
    def bound(*args: Any, **options: Any) -> partial[int]:
        return partial(function, *args, **options)

    return bound
