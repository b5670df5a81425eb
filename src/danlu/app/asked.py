"""What a user asks for, as objects: a recipe from a name or a file, a game from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch

from danlu.app.screen import Screen
from danlu.catalogue import find_recipe
from danlu.data.dataset import DataInfo
from danlu.data.disk import whole_path
from danlu.data.source import PATHS, Access, Source, no_progress
from danlu.errors import UsageError
from danlu.recipes.files import changed, from_yaml
from danlu.recipes.recipe import Recipe
from danlu.sampling.randomness import key
from danlu.tasks.game import Task

S = TypeVar("S", bound=Source)


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


def absolute(source: S) -> S:
    """The same settings with whole paths, so that a run can go on from another folder.

    Raises:
        UsageError: if a path cannot be written into a recipe.
    """
    kind, _, path = source.data.partition(":")
    changes: dict[str, Any] = {}
    if kind in PATHS and path:
        changes["data"] = f"{kind}:{whole_path(path)}"
    files = {name: getattr(source.table, name) for name in ("validation_file", "test_file")}
    whole = {name: str(whole_path(given)) for name, given in files.items() if given is not None}
    return source.model_copy(update={**changes, "table": source.table.model_copy(update=whole)})


def access_to(data_dir: str | Path | None, screen: Screen | None = None) -> Access:
    """What a loader may use: a folder with files, and the screen to tell of progress."""
    folder = whole_path(data_dir) if data_dir else None
    return Access(folder, tell=screen.progress if screen else no_progress)


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
