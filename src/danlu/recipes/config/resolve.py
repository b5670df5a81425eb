"""Get a recipe from a name of the catalogue, a YAML file or a recipe, with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.catalogue.recipes import find_recipe
from danlu.errors import UsageError
from danlu.recipes.config.changes import changed
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.yaml_files import from_yaml


def as_recipe(recipe: str | Path | Recipe, changes: dict[str, Any] | None = None) -> Recipe:
    """Get a recipe from a name, a YAML file or a recipe, and change some of its settings.

    >>> as_recipe("mlp", {"lr": 0.1}).lr
    0.1

    Raises:
        UsageError: if it is not one of these, or the changes are invalid.
    """
    if isinstance(recipe, Path) or (isinstance(recipe, str) and recipe.endswith((".yaml", ".yml"))):
        recipe = from_yaml(recipe)
    elif isinstance(recipe, str):
        recipe = find_recipe(recipe)()
    if not isinstance(recipe, Recipe):
        raise UsageError(f"expected the name of a recipe such as 'cnn', a YAML file or a Recipe, got {recipe!r}")
    return changed(recipe, changes) if changes else recipe
