"""Train a run longer than its recipe says: ``danlu resume RUN --epochs 40``."""

from __future__ import annotations

from typing import Any

from danlu.app.console.progress import Screen
from danlu.app.console.settings_flags import command_of
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.session import Session
from danlu.errors import UsageError
from danlu.recipes.config.changes import changed
from danlu.recipes.config.recipe import Recipe
from danlu.training import checkpoint

_NO_LIMIT = 1 << 53


def longer(recipe: Recipe, epochs: float | None, rounds: int | None) -> Recipe:
    """The recipe with another length.

    Args:
        recipe: the recipe of the run.
        epochs: total number of epochs.
        rounds: total number of rounds.

    Raises:
        UsageError: if both are given, or the number is not possible.

    >>> from danlu.recipes import as_recipe
    >>> longer(as_recipe("mlp"), None, 500).rounds
    500
    """
    if epochs is not None and rounds is not None:
        raise UsageError("give epochs or rounds, not both", settings=("epochs", "rounds"))
    if epochs is None and rounds is None:
        return recipe
    return changed(recipe, {"epochs": epochs, "rounds": rounds})


def lengthen(run: RunFolder, session: Session, screen: Screen) -> None:
    """Put another length into the page of a run, after a check that it is longer than what was trained.

    Args:
        run: the run, whose lock is held.
        session: the run in memory, with the new recipe.
        screen: gets a line on the new length.

    Raises:
        UsageError: if so many rounds are trained already.
    """
    recipe, rounds, before = session.recipe, session.trainer.rounds, run.page["rounds"]
    done = checkpoint.newest_round(run.checkpoints, _NO_LIMIT) or 0
    if rounds <= done:
        epochs = done / session.trainer.stream.epoch_rounds
        raise UsageError(
            f"{run.path} has {done:,} rounds ({epochs:.3g} epochs) already; give a larger number",
            settings=("epochs",),
        )
    length: dict[str, Any] = {"epochs": recipe.epochs, "rounds": recipe.rounds}
    run.page.update(
        settings={**run.page["settings"], **length}, rounds=rounds, command=command_of(run.page["recipe"], recipe)
    )
    schedules = {player.settings.schedule for player in session.trainer.players.values()} - {"constant"}
    rule = f" The learning rate follows the schedule {', '.join(sorted(schedules))} of {rounds:,} rounds from here on."
    screen.say(f"The run has {rounds:,} rounds instead of {before:,}.{rule if schedules else ''}")
