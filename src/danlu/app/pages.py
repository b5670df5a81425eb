"""Looking at a recipe before it is trained: show it, check a file of it, summarise its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.app.summary import Summary, summarise
from danlu.catalogue import find_data, find_recipe
from danlu.data.dataset import DataInfo
from danlu.errors import UsageError
from danlu.recipes.files import changed, from_yaml, to_yaml
from danlu.recipes.recipe import Recipe
from danlu.tasks.game import Task


def as_recipe(recipe: str | Path | Recipe, changes: dict[str, Any] | None = None) -> Recipe:
    """A recipe from what a user may give: a name, a YAML file or a recipe; and changes to it.

    >>> as_recipe("mlp", {"lr": 0.1}).lr
    0.1
    """
    if isinstance(recipe, Path) or (isinstance(recipe, str) and recipe.endswith((".yaml", ".yml"))):
        recipe = from_yaml(recipe)
    elif isinstance(recipe, str):
        recipe = find_recipe(recipe)()
    assert isinstance(recipe, Recipe)
    return changed(recipe, changes) if changes else recipe


def build(recipe: Recipe, info: DataInfo) -> Task:
    """The game of a recipe for data of this kind, with the weights that its seed gives.

    Raises:
        UsageError: if the settings do not go together, or with the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        try:
            return recipe.task(info)
        except UsageError:
            raise
        except ValueError as error:  # what a network's constructor says of its arguments
            raise UsageError(str(error)) from error


def show(recipe: str | Path | Recipe, **changes: Any) -> str:
    """A recipe as YAML, every value filled in: a file that ``train`` takes.

    >>> print(show("mlp", lr=0.1)[:21])
    format: 1
    recipe: mlp
    """
    return to_yaml(as_recipe(recipe, changes))


def check(path: str | Path) -> Recipe:
    """The recipe in a YAML file, if it is right and fits its data.

    Raises:
        UsageError: with everything that is wrong with it.
    """
    recipe = from_yaml(path)
    summary(recipe)
    return recipe


def summary(recipe: str | Path | Recipe, **changes: Any) -> Summary:
    """The layers of a recipe's model, for its data.

    >>> summary("mlp").parameters
    38410
    """
    recipe = as_recipe(recipe, changes)
    info = find_data(recipe.data)(split_seed=recipe.split_seed).info
    return summarise(build(recipe, info).model, info.shape)
