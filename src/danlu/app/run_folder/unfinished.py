"""The model of a run that has not ended: from its best checkpoint, or from its newest one."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from danlu.app.console.formatting import quoted
from danlu.app.console.output import print_lines
from danlu.app.run_folder.run_folder import RunFolder
from danlu.data.images.background import with_background
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.saving.model_folder import load_model, save_model
from danlu.recipes.config.build import build, start_runtime
from danlu.training import checkpoint
from danlu.training.checkpoint import Checkpoint
from danlu.training.runtime import preserve_torch_state

LAST = 1 << 53
"""a round after the last one of any run"""


def load_unfinished(run: RunFolder) -> Model:
    """The model of the best round so far, else of the newest checkpoint; a line on standard error says which.

    The data are loaded, because the model is built from the recipe; nothing is downloaded. The run folder is not
    changed, so that another process may be training in it.

    Args:
        run: a run without ``model/``.

    Raises:
        UsageError: if it has no checkpoint.
    """
    saved, which = _chosen(run)
    status, rounds = run.status, run.page["rounds"]
    missing = f"{run.path} is finished, but its model/ is missing" if status == "finished" else f"{run.path}: {status}"
    end = "resume" if status == "finished" else "finish"
    print_lines(
        f"{missing}. The model is that of its {which} checkpoint, of round {saved.round} of {rounds}; "
        f"`danlu {end} {quoted(run.path)}` writes model/ and the report",
        sys.stderr,
    )
    with preserve_torch_state(), TemporaryDirectory() as scratch:
        return _built(run, saved, Path(scratch))


def _chosen(run: RunFolder) -> tuple[Checkpoint, str]:
    """The checkpoint, and its name in a message."""
    newest = checkpoint.newest_round(run.checkpoints, LAST)
    saved = None if newest is None else checkpoint.of_round(run.checkpoints, newest)
    if saved is None:
        error = run.page.get("error")
        reason = f"the run failed: {error}" if run.page["status"] == "failed" else f"status: {run.status}"
        raise UsageError(f"{run.path} has no model and no complete checkpoint ({reason}); {run.what_next}")
    best = (saved.page.get("best") or {}).get("round")
    chosen = checkpoint.of_round(run.checkpoints, best) if best is not None else None
    return (saved, "newest") if chosen is None else (chosen, "best")


def _built(run: RunFolder, saved: Checkpoint, scratch: Path) -> Model:
    """The model with the weights of a checkpoint, saved and loaded as that of a finished run."""
    recipe = run.recipe
    built = build(recipe, start_runtime(recipe, "cpu", single_process=True), replace(run.access(), download=False))
    trainer = built.trainer
    trainer.load_state(saved.tensors, saved.round, saved.page["drawn"])
    with ExitStack() as stack:
        for player in trainer.players.values():
            stack.enter_context(player.averaged())
        stack.enter_context(trainer.shards.gathered())
        made_with = {"recipe": run.page["recipe"]}
        with torch.no_grad():
            save_model(built.task.model, scratch / "model", with_background(built.data), made_with, recipe.usage())
    return load_model(scratch / "model")
