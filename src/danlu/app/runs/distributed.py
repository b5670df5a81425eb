"""Training in processes that the user started, on one or more machines: ``torchrun … -m danlu train …``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist

from danlu.app.console.progress import Screen
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.announce import announce, notes_on
from danlu.app.runs.loop import resume_to_end
from danlu.app.runs.manifest import check_unchanged, manifest
from danlu.app.runs.session import Session
from danlu.errors import UsageError
from danlu.recipes.config.recipe import Recipe
from danlu.storage.access import Access
from danlu.training.runtime import DeviceName


def train_as_rank(
    recipe: Recipe,
    out: str | Path | None,
    device: DeviceName,
    access: Access,
    threads: int | None,
    quiet: bool,
    command: str | None,
) -> RunFolder:
    """Start or resume a run together with the other processes. Each process calls this function.

    Raises:
        UsageError: if no run folder is given, or the folder has a different run.
        RunError: if the training failed.
    """
    if out is None:
        raise UsageError("processes started by torchrun need a common run folder; give it", settings=("out",))
    first = os.environ["RANK"] == "0"
    screen = Screen(quiet or not first)
    run = _create_or_open(Path(out), recipe, device, access, threads, command, screen) if first else None
    try:
        session = Session.start(recipe, device, access)
        session.trainer.runtime.broadcast_bool(True)  # the others wait here until rank 0 has created the run
        if run is None:
            run = RunFolder.open(out)
            run.writes = False
        if not run.is_finished(screen):
            torch.set_num_threads(run.page["threads"])
            with run:
                _resume_to_end(session, run, screen)
        return run
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _create_or_open(
    out: Path,
    recipe: Recipe,
    device: DeviceName,
    access: Access,
    threads: int | None,
    command: str | None,
    screen: Screen,
) -> RunFolder:
    """Create or open the run in the first process, before it connects to the others."""
    session, world = Session.start(recipe, device, access, single_process=True), int(os.environ["WORLD_SIZE"])
    session.check_processes(world, on_this_machine=False)
    page = manifest(session, command, world, threads or torch.get_num_threads())
    if (out / "run.json").is_file():
        run = RunFolder.open(out).hold()
        check_unchanged(run.page, page, ignore_changes=False)
        rank_errors.remove_errors(out)
        return run
    run = RunFolder.create(out, recipe, page)
    announce(session, run, screen, notes=notes_on(session, run.page["ranks"]))
    return run


def _resume_to_end(session: Session, run: RunFolder, screen: Screen) -> None:
    try:
        resume_to_end(session, run, screen)
    except Exception as error:
        if cause := rank_errors.find_cause(run.path, session.trainer.runtime.rank, error):
            with suppress(OSError):
                run.save_page(status="failed", error=cause)
        raise


def exit_process(code: int) -> NoReturn:
    """End a process that was connected to others.

    A normal exit of Python sometimes aborts: a gloo thread that releases its last message, which holds a Python object,
    fails after the interpreter has ended.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
