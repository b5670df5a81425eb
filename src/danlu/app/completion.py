"""Shell completion: verbs, recipes and their flags, written out into a script."""

from __future__ import annotations

import argparse
import warnings

import shtab
import tyro

from danlu.app.cli import VERBS
from danlu.app.recipe_parser import NoOptions, TrainOptions, command_line
from danlu.catalogue import find_recipe, recipes

_FILES_AFTER = {"check": ("--json",), "resume": ("--device", "--anyway", "--json"), "evaluate": ("--part", "--json"),
                "classify": ("--top", "--invert", "--json")}  # fmt: skip


def script(shell: str) -> str:
    """A completion script.

    Args:
        shell: bash, zsh or tcsh.

    >>> "train" in script("bash")
    True
    """
    return shtab.complete(_parser(), shell=shell)


def _parser() -> argparse.ArgumentParser:
    """A parser that parses nothing, but has all the words."""
    root = argparse.ArgumentParser("danlu")
    verbs = root.add_subparsers()
    for verb, meaning in VERBS.items():
        parser = verbs.add_parser(verb, help=meaning)
        if verb in ("train", "show", "summary"):
            names = parser.add_subparsers()
            for name, entry in recipes().items():
                _add_flags(names.add_parser(name, help=entry.title), name, verb)
        elif verb in _FILES_AFTER:
            parser.add_argument("path").complete = shtab.FILE  # type: ignore[attr-defined]
            for flag in _FILES_AFTER[verb]:
                parser.add_argument(flag)
        elif verb == "completion":
            parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
        else:
            parser.add_argument("--json", action="store_true")
    return root


def _add_flags(parser: argparse.ArgumentParser, recipe: str, verb: str) -> None:
    """The flags of a recipe under a verb, with their choices."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Could not resolve type parameter")
        command = command_line(find_recipe(recipe)(), TrainOptions if verb == "train" else NoOptions)
        known = tyro.extras.get_parser(command)
    for action in known._actions:
        if action.option_strings and action.dest != "help":
            parser.add_argument(*action.option_strings, choices=action.choices, help=None)
