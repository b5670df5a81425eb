"""The words after a command on a recipe: its name or file, then its settings and the command's options as flags."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from danlu.app.cli.command_help import option_flags, sections
from danlu.app.cli.signature import Function, summary_of
from danlu.app.cli.tyro_parsing import given
from danlu.app.console.flag import Flag
from danlu.app.console.settings_flags import flags
from danlu.data.training_data import TrainingData
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.resolve import as_recipe
from danlu.recipes.config.yaml_files import changed


def parse(name: str, function: Function, words: list[str]) -> tuple[Recipe, dict[str, Any]]:
    """A recipe with the given settings, and the options of the command.

    Args:
        name: of the command.
        function: of the command.
        words: the recipe first.

    Raises:
        UsageError: if the recipe is unknown or its settings are invalid.
        SystemExit: after help (0), and for flags and values that cannot be parsed (2).
    """
    base = as_recipe(words[0])
    if {"-h", "--help"} & set(words):
        page = (sys.modules[type(base).__module__].__doc__ or "").strip()
        text = sections([*option_flags(function), *_settings(base)])
        print(
            f"usage: danlu {name} {words[0]} [--settings …]\n\n{summary_of(function)}.\n\n{page}\n\n"
            f"Each setting is shown with its default.\n{text}"
        )
        raise SystemExit(0)
    settings, options = given(base, function, f"danlu {name} {words[0]}", words[1:])
    return changed(base, settings), options


def _settings(recipe: BaseModel) -> Iterator[Flag]:
    """The settings of a recipe as flags, with one line for each group of settings of the data."""
    fields = TrainingData.model_fields.items()
    pages = {name: field for name, field in fields if isinstance(getattr(recipe, name), BaseModel)}
    for flag in flags(recipe):
        if flag.section not in pages:
            yield flag
    for name, field in pages.items():
        meaning = " ".join((field.description or "").split())
        yield Flag(f"--{name}.…", "data", None, f"{meaning}; listed by danlu data --help", ())
