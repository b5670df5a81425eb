"""End a run at its newest checkpoint: ``danlu.finish(run)`` is ``danlu finish RUN``."""

from __future__ import annotations

from pathlib import Path

import torch

from danlu.app.console.progress import Screen
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.finish import finish as finish_trained
from danlu.app.runs.loop import load_newest
from danlu.app.runs.manifest import check_unchanged, manifest
from danlu.app.runs.session import Session
from danlu.app.runs.train import one_training
from danlu.errors import UsageError
from danlu.training.runtime import DeviceName


def finish(
    path: str | Path, *, device: DeviceName | None = None, ignore_changes: bool = False, quiet: bool = False
) -> RunFolder:
    """End a run that was stopped or killed, without more training: scores, ``model/`` and report.

    The weights are those of the best round so far, or of the newest checkpoint if no score is monitored. If ``model/``
    of a finished run is missing, it is written again.

    Args:
        path: the run folder.
        device: the device; by default that of the training.
        ignore_changes: finish even if recipe, data or versions have changed.
        quiet: print nothing.

    Raises:
        UsageError: if the run has no checkpoint, a process trains in it, or a condition has changed that affects the
            result.
    """
    run, screen = RunFolder.open(path), Screen(quiet)
    if run.has_model and run.is_finished(screen):
        return run
    with one_training(), run:
        torch.set_num_threads(run.page["threads"])
        session = Session.start(run.recipe, device or run.page["device"], run.access())
        now = manifest(session, run.page["command"], run.page["ranks"], run.page["threads"])
        if device is not None:  # no rounds follow, whose rounding would differ
            now["device"] = run.page["device"]
        check_unchanged(run.page, now, ignore_changes)
        load_newest(session, run, screen, "Finishing")
        if not session.trainer.round:
            raise UsageError(f"{run.path} has no complete checkpoint, so there is no model; {run.what_next}")
        run.remove_metrics_after(session.trainer.round)  # of weights that are lost
        rank_errors.remove_errors(run.path)
        run.page.pop("error", None)
        session.prepare_scorer(run, screen)
        finish_trained(session, run, screen)
    return run
