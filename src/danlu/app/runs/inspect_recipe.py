"""Looking at a recipe before it is trained: show it, check a file of it, summarize its network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.app.inspect.model_summary import Summary, summarize
from danlu.app.runs.announce import notes_on
from danlu.app.runs.session import Session
from danlu.recipes.config.build import build, estimate_memory
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.resolve import as_recipe
from danlu.recipes.config.yaml_files import from_yaml, to_yaml


def show(recipe: str | Path | Recipe, **changes: Any) -> str:
    """A recipe as YAML, every value filled in: a file that ``train`` takes.

    >>> print(show("mlp", lr=0.1)[:21])
    format: 1
    recipe: mlp
    """
    return to_yaml(as_recipe(recipe, changes))


def check(path: str | Path) -> Recipe:
    """The recipe in a YAML file, if it is right and fits its data: what ``train`` would refuse is refused here.

    Raises:
        UsageError: with what is wrong with it.
    """
    return checked(path)[0]


def checked(path: str | Path) -> tuple[Recipe, list[str]]:
    """The recipe of ``check``, and the notes that a training would print."""
    recipe = from_yaml(path)
    session = Session.start(recipe)
    session.check_processes(1)
    return recipe, [*session.data.notes, *notes_on(session, 1)]


def summary(recipe: str | Path | Recipe, **changes: Any) -> Summary:
    """The layers of a recipe's model for its data, and the memory of its training on a CPU.

    Raises:
        UsageError: if recipe and data do not fit together.

    >>> made = summary("mlp")
    >>> made.parameters, made.memory.weights
    (38410, 153640)
    """
    built = build(as_recipe(recipe, changes))
    info, trainer = built.data.info, built.trainer
    memory = estimate_memory(built.recipe, info, trainer.stream, trainer.runtime)
    return replace(summarize(built.task.model, info.shape), memory=memory)
