"""Train a recipe, or resume a run: ``danlu.train("cnn", lr=1e-3)`` is ``danlu train cnn --lr 1e-3``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from danlu.app.console.progress import Screen, access_to
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.announce import announce, notes_on
from danlu.app.runs.distributed import train_as_rank
from danlu.app.runs.launcher import launch, launched
from danlu.app.runs.longer import lengthen, longer
from danlu.app.runs.loop import resume_to_end, train_to_end
from danlu.app.runs.manifest import check_unchanged, manifest
from danlu.app.runs.session import Session
from danlu.errors import UsageError
from danlu.recipes.config.changes import changed
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.resolve import as_recipe
from danlu.training.runtime import DeviceName, preserve_torch_state

_training = threading.Lock()

_MOST_THREADS = 1024  # more than the cores of a machine; each thread needs memory of its own


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
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise UsageError(f"threads must be from 1 to {_MOST_THREADS}, got {threads}", settings=("threads",))
    if launched():
        if devices > 1 or dry_run:
            raise UsageError(
                "torchrun has started the processes; use devices and dry_run without it",
                settings=("devices", "dry_run"),
            )
        with one_training():
            return train_as_rank(recipe, out, device, access_to(data_dir), threads, quiet, command)
    screen = Screen(quiet)
    with one_training(), TemporaryDirectory() if dry_run else nullcontext() as scratch:
        session = Session.start(recipe, device, access_to(data_dir, screen))
        session.check_processes(devices)
        notes = notes_on(session, devices)
        if dry_run:  # the whole recipe is checked; two rounds of it are trained
            recipe, out = changed(recipe, recipe.two_rounds), f"{scratch}/run"
            session = Session.start(recipe, device, session.access, data=session.data)
            session.check_processes(devices)
        session.set_threads(threads)
        run = RunFolder.create(out, recipe, manifest(session, command, devices))
        with run:
            announce(session, run, screen, dry_run, notes)
            if devices > 1:
                del session  # frees its memory
                run = launch(run, quiet, dry_run)
            else:
                train_to_end(session, run, screen, dry_run)
        if dry_run and run.page["status"] == "finished":
            screen.say("The dry run passed: data, two rounds, saving, loading and report. Its files were removed.")
    return run


def resume(
    path: str | Path,
    *,
    epochs: float | None = None,
    rounds: int | None = None,
    device: DeviceName | None = None,
    devices: int | None = None,
    ignore_changes: bool = False,
    quiet: bool = False,
) -> RunFolder:
    """Resume a run from its newest complete checkpoint. A missing ``model/`` of a finished run is written again.

    Args:
        path: the run folder.
        epochs: total number of epochs, to train longer than the recipe says; also a finished run.
        rounds: the same as a number of rounds.
        device: the device; by default the same as before.
        devices: number of processes. It must be given if the run had several, because a run folder from elsewhere
            should not decide how many processes are started; by default 1.
        ignore_changes: resume even if recipe, data, versions, threads or devices have changed.
        quiet: print nothing.

    Raises:
        UsageError: if a condition has changed that affects the result, the number of processes is not confirmed, or so
            many epochs or rounds are trained already.
    """
    if launched():
        raise UsageError("with torchrun, resume a run by the command that started it, with the same run folder")
    run, screen = RunFolder.open(path), Screen(quiet)
    recipe = longer(run.recipe, epochs, rounds)
    is_longer = recipe is not run.recipe
    if run.page["status"] == "finished" and not run.has_model and not is_longer:
        from danlu.app.runs.end import finish  # which imports this module

        return finish(run.path, device=device, ignore_changes=ignore_changes, quiet=quiet)
    if not is_longer and run.is_finished(screen):
        return run
    ranks = _confirmed(devices, run)
    with one_training(), run:
        torch.set_num_threads(run.page["threads"])
        session = Session.start(recipe, device or run.page["device"], run.access())
        session.check_processes(ranks)
        if is_longer:
            lengthen(run, session, screen)
        now = manifest(session, run.page["command"], ranks, run.page["threads"])
        check_unchanged(run.page, now, ignore_changes)
        if is_longer:
            run.set_recipe(recipe)
        run.page.update(settings=now["settings"], device=now["device"], ranks=ranks)
        announce(session, run, screen, notes=notes_on(session, ranks))
        run.save_page()
        if ranks > 1:
            del session
            return launch(run, quiet)
        rank_errors.remove_errors(run.path)
        resume_to_end(session, run, screen)
    return run


def _confirmed(devices: int | None, run: RunFolder) -> int:
    """The number of processes; a file of the run alone does not start several."""
    if devices is not None:
        return devices
    if run.page["ranks"] != 1:
        raise UsageError(
            f"{run.path} was trained in {run.page['ranks']} processes; several processes are started only if their "
            f"number is given: type `{run.resume_command}`",
            settings=(f"devices={run.page['ranks']}",),
        )
    return 1


@contextmanager
def one_training() -> Iterator[None]:
    """Allow one training at a time in a process, because torch's generator is global; restore torch's state."""
    if not _training.acquire(blocking=False):
        raise UsageError("another training is running in this process; use a second process")
    try:
        with preserve_torch_state():
            yield
    finally:
        _training.release()
