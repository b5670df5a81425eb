"""Training by one call: ``danlu.train("cnn", lr=1e-3)`` is ``danlu train cnn --lr 1e-3``."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from danlu.app.console.progress import Screen, access_to
from danlu.app.console.settings_flags import command_of
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.announce import introduce, small_enough_for_one_thread
from danlu.app.runs.distributed import train_together
from danlu.app.runs.launcher import check_devices, launch, launched
from danlu.app.runs.loop import carry_on, go
from danlu.app.runs.manifest import check_same, first_page
from danlu.app.runs.session import Session
from danlu.catalogue.recipes import name_of_recipe
from danlu.errors import UsageError
from danlu.recipes.config.changes import changed
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.resolve import as_recipe
from danlu.training.runtime import DeviceName, as_torch_was

_training = threading.Lock()


def train(
    recipe: str | Path | Recipe,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: DeviceName = "auto",
    devices: int = 1,
    threads: int | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    command: str | None = None,
    **changes: Any,
) -> RunFolder:
    """Train a recipe into a run folder.

    Args:
        recipe: a name in the catalogue, a recipe file (YAML), or a recipe.
        out: the run folder, new or empty; by default a new folder under runs/.
        data_dir: folder of data set files; by default the environment variable DANLU_DATA.
        device: the device.
        devices: number of processes, each with its own device (or with a part of the processors).
        threads: threads per process; by default one for small networks, else all.
        dry_run: check everything with two rounds in a temporary folder.
        quiet: print nothing.
        command: the command for the report; derived from the arguments if not given.
        changes: settings to change, nested ones as mappings or under dotted names.

    Returns:
        The run; ``run.scores`` has the scores.

    Raises:
        UsageError: if recipe, data and arguments are not compatible.
        RunError: if the training failed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = train("mlp", epochs=2, out=folder, quiet=True)
    >>> run.page["status"]
    'finished'
    """
    recipe = as_recipe(recipe, changes).with_absolute_paths()
    name = name_of_recipe(type(recipe))
    command = (command or command_of(name, recipe)).encode(errors="backslashreplace").decode()  # paths are any bytes
    if launched():
        if devices > 1 or dry_run:
            raise UsageError("torchrun has started the processes; use --devices and --dry-run without it")
        with _alone():
            return train_together(recipe, name, out, device, access_to(data_dir), threads, quiet, command)
    screen = Screen(quiet)
    access = access_to(data_dir, screen)
    with _alone(), tempfile.TemporaryDirectory() if dry_run else nullcontext() as scratch:
        session = Session.start(changed(recipe, recipe.two_rounds) if dry_run else recipe, device, access)
        check_devices(devices, session.trainer.runtime.device.type)
        session.trainer.check_processes(devices)
        if threads or small_enough_for_one_thread(session):
            torch.set_num_threads(threads or 1)
        page = first_page(name, session, command, devices)
        run = RunFolder.create(Path(scratch) / "run" if scratch else out, name, session.recipe, page)
        with run:
            introduce(session, run, screen, dry_run)
            if devices > 1:
                del session  # frees its memory
                run = launch(run, quiet, dry_run)
            else:
                go(session, run, screen, dry_run)
        if dry_run and run.page["status"] == "finished":
            screen.say("The dry run passed: data, two rounds, saving, loading and report. Nothing was kept.")
    return run


def resume(
    path: str | Path,
    *,
    device: DeviceName | None = None,
    devices: int | None = None,
    anyway: bool = False,
    quiet: bool = False,
) -> RunFolder:
    """Resume a run from its newest complete checkpoint.

    Args:
        path: the run folder.
        device: the device; by default the same as before.
        devices: number of processes; by default the same as before.
        anyway: resume even if recipe, data, versions, threads or devices have changed.
        quiet: print nothing.

    Raises:
        UsageError: if a condition has changed that affects the result.
    """
    if launched():
        raise UsageError(
            "torchrun goes on with a run by the command that began it: `danlu train … --out` the same folder"
        )
    run, screen = RunFolder.open(path), Screen(quiet)
    if run.page["status"] == "finished":
        screen.say(f"{run.path} is finished: {run.page['round']} rounds. Its model is {run.model}.")
        return run
    with _alone(), run:
        torch.set_num_threads(run.page["threads"])
        session = Session.start(run.recipe, device or run.page["device"], run.access())
        ranks = run.page["ranks"] if devices is None else devices
        check_devices(ranks, session.trainer.runtime.device.type)
        session.trainer.check_processes(ranks)
        now = first_page(run.page["recipe"], session, run.page["command"], ranks, run.page["threads"])
        check_same(run.page, now, anyway)
        run.page.update(settings=now["settings"], device=now["device"], ranks=ranks)
        introduce(session, run, screen)
        run.save_page()
        if ranks > 1:
            del session
            return launch(run, quiet)
        rank_errors.forget(run.path)
        carry_on(session, run, screen)
    return run


@contextmanager
def _alone() -> Iterator[None]:
    """Allow one training at a time in a process, because torch's generator is global; restore torch's state."""
    if not _training.acquire(blocking=False):
        raise UsageError("another training is going on in this process; start a second process for this one")
    try:
        with as_torch_was():
            yield
    finally:
        _training.release()
