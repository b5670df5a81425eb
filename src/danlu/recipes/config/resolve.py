"""A recipe from a name of the catalogue, from a YAML file, or from a recipe, with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.catalogue.recipes import find_recipe
from danlu.errors import UsageError
from danlu.recipes.config.changes import changed
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.yaml_files import from_yaml


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
