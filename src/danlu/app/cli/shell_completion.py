"""Shell completion scripts for every command, derived from the table of commands and the signatures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import suppress

import shtab

from danlu.app.cli.argument_types import DataArgument, RecipeArgument
from danlu.app.cli.run_command import function_of
from danlu.app.cli.signature import Argument, Function, arguments_of, page_argument, summary_of
from danlu.app.command_table import COMMANDS
from danlu.app.console.flag import Flag
from danlu.app.console.settings_flags import flags
from danlu.catalogue.datasets import DATA
from danlu.catalogue.recipes import all_recipes, find_recipe
from danlu.data.training_data import TrainingData
from danlu.errors import UsageError


def script(shell: str) -> str:
    """A completion script.

    Args:
        shell: bash, zsh or fish.

    >>> "train" in script("bash")
    True
    """
    return shtab.complete(_parser(), shell=shell)


def _parser() -> argparse.ArgumentParser:
    """A parser with every command and flag, for shtab alone; it parses nothing."""
    root = argparse.ArgumentParser("danlu")
    verbs = root.add_subparsers()
    for verb in COMMANDS:
        function = function_of(verb)
        parser = verbs.add_parser(verb, help=summary_of(function))
        page = page_argument(function)
        if page is RecipeArgument:
            names = parser.add_subparsers()
            for name, entry in all_recipes().items():
                with suppress(UsageError):  # an installed recipe that cannot be imported is completed by name alone
                    below = names.add_parser(name, help=entry.title)
                    _add_flags(below, flags(find_recipe(name)()))
                    _add_arguments(below, function)
            continue
        if page is DataArgument:
            parser.add_argument("source", choices=list(DATA))
            _add_flags(parser, flags(TrainingData()))
        _add_arguments(parser, function)
    return root


def _add_flags(parser: argparse.ArgumentParser, settings: Iterable[Flag]) -> None:
    for flag in settings:
        parser.add_argument(flag.name, choices=flag.choices or None)


def _add_arguments(parser: argparse.ArgumentParser, function: Function) -> None:
    for argument in arguments_of(function):
        if argument.annotation not in (RecipeArgument, DataArgument):
            _add_argument(parser, argument)


def _add_argument(parser: argparse.ArgumentParser, argument: Argument) -> None:
    if argument.switch:
        parser.add_argument(*argument.flags, action="store_true")
        return
    choices = list(argument.choices)
    if argument.completes and argument.completes.names:
        choices = list(argument.completes.names())
    action = parser.add_argument(
        *(argument.flags or (argument.name,)),
        choices=choices or None,
        nargs="*" if argument.many else None,
    )
    if argument.completes and argument.completes.names is None:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
