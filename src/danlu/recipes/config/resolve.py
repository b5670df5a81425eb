"""What a user asks for, as objects: a recipe from a name or a file, a game from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.catalogue.recipes import find_recipe
from danlu.data.base.dataset import DataInfo
from danlu.errors import UsageError
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.yaml_files import changed, from_yaml
from danlu.rng.keys import key
from danlu.tasks.task import Task


def as_recipe(recipe: str | Path | Recipe, changes: dict[str, Any] | None = None) -> Recipe:
    """A recipe from what a user may give: a name, a YAML file or a recipe; and changes to it.

    >>> as_recipe("mlp", {"lr": 0.1}).lr
    0.1

    Raises:
        UsageError: if it is none of these, or the changes do not fit.
    """
    if isinstance(recipe, Path) or (isinstance(recipe, str) and recipe.endswith((".yaml", ".yml"))):
        recipe = from_yaml(recipe)
    elif isinstance(recipe, str):
        recipe = find_recipe(recipe)()
    if not isinstance(recipe, Recipe):
        raise UsageError(f"a recipe is a name such as 'cnn', a YAML file or a Recipe, and {recipe!r} is none")
    return changed(recipe, changes) if changes else recipe


def build(recipe: Recipe, info: DataInfo) -> Task:
    """The game of a recipe for data of this kind, with the weights that its seed gives.

    Raises:
        UsageError: if the settings do not go together, or with the data.
    """
    if info.kind not in recipe.kinds:
        raise UsageError(f"this recipe is for {' or '.join(recipe.kinds)}, and {recipe.data} is {info.kind}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key("weights", recipe.seed))
        try:
            return recipe.task(info)
        except UsageError:
            raise
        except ValueError as error:  # what a network's constructor says of its arguments
            raise UsageError(str(error)) from error
