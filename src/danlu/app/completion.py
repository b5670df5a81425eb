"""Shell completion: verbs, recipes and their flags, written out into a script."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import shtab
from pydantic import BaseModel

from danlu.app.cli import VERBS
from danlu.app.recipe_parser import TrainOptions
from danlu.catalogue import find_recipe, recipes

_FLAGS = {
    "list": ("--json",),
    "check": ("--json",),
    "resume": ("--device", "--anyway", "--json"),
    "evaluate": ("--part", "--json"),
    "classify": ("--top", "--invert", "--json"),
    "doctor": ("--json",),
}
_TAKE_A_PATH = ("check", "resume", "evaluate", "classify")
_TAKE_A_RECIPE = ("train", "show", "summary")


def script(shell: str) -> str:
    """A completion script.

    Args:
        shell: bash, zsh or fish.

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
        if verb in _TAKE_A_RECIPE:
            names = parser.add_subparsers()
            for name, entry in recipes().items():
                _add_recipe(names.add_parser(name, help=entry.title), name, options=verb == "train")
        if verb in _TAKE_A_PATH:
            parser.add_argument("path").complete = shtab.FILE  # type: ignore[attr-defined]
        if verb == "completion":
            parser.add_argument("shell", choices=["bash", "zsh", "fish"])
        for flag in _FLAGS.get(verb, ()):
            parser.add_argument(flag)
    return root


def _add_recipe(parser: argparse.ArgumentParser, name: str, options: bool) -> None:
    flags = [*_settings(find_recipe(name)())]
    if options:
        types = typing.get_type_hints(TrainOptions)
        flags += [(field.name, types[field.name]) for field in dataclasses.fields(TrainOptions)]
    for flag, annotation in flags:
        parser.add_argument("--" + flag.replace("_", "-"), choices=_choices(annotation))


def _settings(page: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's flag and type; those of a network under its name."""
    for name, field in type(page).model_fields.items():
        value = getattr(page, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, field.annotation


def _choices(annotation: Any) -> list[str] | None:
    """The words that a type allows, where it lists them."""
    inside = [annotation, *typing.get_args(annotation)]
    words = [word for one in inside if typing.get_origin(one) is typing.Literal for word in typing.get_args(one)]
    return [str(word) for word in words] or None
