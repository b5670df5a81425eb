"""The words after a command on a recipe: its name or file, then its settings and the command's options as flags."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from danlu.app.cli.command_help import option_flags, sections
from danlu.app.cli.signature import Function, summary_of
from danlu.app.cli.tyro_parsing import given_values
from danlu.app.console.flag import Flag
from danlu.app.console.output import print_lines
from danlu.app.console.settings_flags import flags
from danlu.data.training_data import TrainingData
from danlu.recipes.config.changes import changed
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.resolve import as_recipe


def parse(name: str, function: Function, words: list[str]) -> tuple[Recipe, dict[str, Any]]:
    """A recipe with the given settings, and the options of the command.

    Args:
        name: of the command.
        function: of the command.
        words: the recipe first.

    Raises:
        UsageError: if the recipe is unknown, or words or settings are invalid.
        SystemExit: after help.
    """
    base = as_recipe(words[0])
    if {"-h", "--help"} & set(words):
        page = (sys.modules[type(base).__module__].__doc__ or "").strip()
        text = sections([*option_flags(function), *_settings(_with_data(base, words))])
        print_lines(
            f"usage: danlu {name} {words[0]} [--settings …]\n\n{summary_of(function)}.\n\n{page}\n\n"
            f"Each setting is shown with its default.\n{text}"
        )
        raise SystemExit(0)
    settings, options = given_values(base, function, f"danlu {name} {words[0]}", words[1:])
    return changed(base, settings), options


def _with_data(recipe: Recipe, words: list[str]) -> Recipe:
    """The recipe with the data set that the words name, if any: the help shows the settings for data of that kind."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        flag, assigned, value = word.partition("=")
        if flag == "--data" and (assigned or following):
            recipe = recipe.model_copy(update={"data": value if assigned else following})
    return recipe


def _settings(recipe: Recipe) -> Iterator[Flag]:
    """The settings that apply to a recipe's data, with one line for each group of settings of the data."""
    fields = type(recipe).model_fields
    pages = {
        name: fields[name]
        for name in TrainingData.model_fields
        if name in fields and isinstance(getattr(recipe, name), BaseModel)
    }
    unused = recipe.unused_settings()
    for flag in flags(recipe):
        if flag.section not in pages and flag.name.removeprefix("--").replace("-", "_") not in unused:
            yield flag
    for name, field in pages.items():
        if name not in unused:
            meaning = " ".join((field.description or "").split())
            yield Flag(f"--{name}.…", "data", None, f"{meaning}; listed by danlu data --help", ())
