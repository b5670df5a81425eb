"""Training by one call: ``danlu.train("cnn", lr=1e-3)`` is ``danlu train cnn --lr 1e-3``."""

from __future__ import annotations

import platform
import shlex
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from danlu.app.finish import finish
from danlu.app.launch import check_devices, launch, launched
from danlu.app.pages import as_recipe
from danlu.app.run_folder import RunFolder
from danlu.app.screen import Screen
from danlu.app.session import Session
from danlu.app.summary import human, layer_lines, summarise
from danlu.catalogue import name_of_recipe
from danlu.errors import UsageError
from danlu.recipes.files import changed
from danlu.recipes.recipe import Recipe
from danlu.training import checkpoint
from danlu.training.runtime import DeviceName

_TWO_ROUNDS = {"rounds": 2, "epochs": None, "evaluate_every": 1}


def train(
    recipe: str | Path | Recipe,
    *,
    out: str | Path | None = None,
    device: DeviceName = "auto",
    devices: int = 1,
    dry_run: bool = False,
    quiet: bool = False,
    command: str | None = None,
    **changes: Any,
) -> RunFolder:
    """Train a recipe into a run folder.

    Args:
        recipe: a name of the catalogue, a recipe's YAML file, or a recipe.
        out: the run folder, new or empty; one under runs/ if not given.
        device: where to train.
        devices: how many processes train together, each on a device of its own (or a share of the processors).
        dry_run: check everything with two rounds in a folder that is removed afterwards.
        quiet: print nothing.
        command: how to do it again, for the report; worked out if not given.
        changes: settings to change, nested ones as mappings or under dotted names.

    Returns:
        The run; ``run.page`` has the scores.

    Raises:
        UsageError: if what is asked for cannot be done.
        RunError: if it went wrong on the way.
    """
    recipe = as_recipe(recipe, changes)
    name = name_of_recipe(type(recipe))
    screen = Screen(quiet)
    session = Session.start(changed(recipe, _TWO_ROUNDS) if dry_run else recipe, device)
    check_devices(devices, session.trainer.runtime.device.type)
    with tempfile.TemporaryDirectory() as scratch:
        page = first_page(name, session, command or f"danlu train {name}", devices)
        run = RunFolder.create(Path(scratch) / "run" if dry_run else out, name, session.recipe, page)
        introduce(session, run, screen, dry_run)
        if devices > 1:
            del session  # its tensors are in nobody's way now
            run = launch(run, quiet)
        else:
            with run.lock():
                go(session, run, screen)
        if dry_run:
            screen.say("The dry run passed: data, two rounds, saving, loading and report. Nothing was kept.")
    return run


def resume(
    path: str | Path, *, device: DeviceName | None = None, anyway: bool = False, quiet: bool = False
) -> RunFolder:
    """Go on with a run where its newest whole checkpoint is.

    Args:
        path: the run folder.
        device: where to train; where it was if not given.
        anyway: go on although data, versions, threads or device have changed.
        quiet: print nothing.

    Raises:
        UsageError: if something has changed that changes the outcome.
    """
    run, screen = RunFolder.open(path), Screen(quiet)
    if run.page["status"] == "finished":
        screen.say(f"{run.path} is finished: {run.page['round']} rounds. Its model is {run.model}.")
        return run
    if run.page["ranks"] > 1 and not launched():
        return launch(run, quiet, anyway)
    carry_on(run, screen, device or run.page["device"], anyway)
    return run


def carry_on(run: RunFolder, screen: Screen, device: DeviceName, anyway: bool) -> None:
    """Bring a run from its newest whole checkpoint, or its beginning, to its end, in one process or as one of several.

    Raises:
        UsageError: if something has changed that changes the outcome.
    """
    torch.set_num_threads(run.page["threads"])
    session = Session.start(run.recipe, device)
    runtime = session.trainer.runtime
    if runtime.rank:
        run.writes, screen = False, Screen(quiet=True)
    with run.lock():
        _compare(run.page, first_page(run.page["recipe"], session, run.page["command"], runtime.world), anyway)
        saved = None if runtime.rank else checkpoint.newest(run.checkpoints, screen.say)
        round = runtime.tell(saved.round if saved else 0)
        if runtime.rank and round:
            saved = checkpoint.of_round(run.checkpoints, round)
        if saved is not None:
            session.load(saved)
            screen.say(f"Going on with {run.path} after round {round} of {session.trainer.rounds}.")
        session.seconds = run.page.get("seconds", 0.0)
        run.forget_metrics_after(session.trainer.round)
        go(session, run, screen)


def go(session: Session, run: RunFolder, screen: Screen) -> None:
    """Train and finish; what went wrong is written into run.json too."""
    trainer = session.trainer
    run.save_page(status="training")
    screen.begin(run.page["recipe"], trainer.round, trainer.rounds, trainer.stream.size)
    try:
        session.play(run, screen)
    except BaseException as error:
        run.save_page(status="failed", error=str(error), round=trainer.round)
        raise
    finally:
        screen.end()
    if session.stopped:
        run.save_page(status="stopped", round=trainer.round, seconds=session.seconds)
        screen.say(f"Stopped after round {trainer.round}; everything is saved. Go on with:")
        screen.say(f"  danlu resume {shlex.quote(str(run.path))}")
    else:
        finish(session, run, screen)


def first_page(name: str, session: Session, command: str, ranks: int) -> dict[str, Any]:
    """What run.json says before the first round."""
    trainer, data = session.trainer, session.data
    return {
        "recipe": name,
        "status": "new",
        "command": command,
        "versions": {
            "danlu": version("danlu"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "device": trainer.runtime.device.type,
        "device_reason": trainer.runtime.reason,
        "precision": session.recipe.precision,
        "threads": max(1, torch.get_num_threads() // (1 if launched() else ranks)),
        "ranks": ranks,
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint(),
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "seed": session.recipe.seed,
        "parameters": sum(p.numel() for p in trainer.task.parameters()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "round": 0,
        "rounds": trainer.rounds,
    }


def introduce(session: Session, run: RunFolder, screen: Screen, dry_run: bool) -> None:
    """Say what is going to happen: data, model, memory, device and why, length, where it will lie."""
    trainer, info, recipe = session.trainer, session.data.info, session.recipe
    summary = summarise(trainer.task.model, info.shape)
    descents = recipe.descents()
    memory = sum(summary.memory(trainer.stream.size, d.optimizer, d.average is not None) for d in descents.values())
    sizes = run.page["data"]
    epochs = trainer.rounds / trainer.stream.epoch_rounds
    patience = f", stopping early after {recipe.patience} evaluations without a better one" if recipe.patience else ""
    together = f" in each of {run.page['ranks']} processes" if run.page["ranks"] > 1 else ""
    screen.say(f"danlu {run.page['versions']['danlu']}: {run.page['recipe']} on {recipe.data}{' (dry run)' * dry_run}")
    screen.rows(
        [
            ("data", f"{sizes['train']:,} train, {sizes['validation']:,} validation, {sizes['test']:,} test; "
                     f"{'×'.join(map(str, info.shape))}" + (f", {info.classes} classes" if info.classes else "")),
            ("model", f"{summary.model}, {summary.parameters:,} parameters; about {human(memory)} while training"),
            *(("", line) for line in layer_lines(summary)),
            *((name, f"{d.optimizer}, lr {d.lr:g} {d.schedule}") for name, d in descents.items()),
            ("length", f"{trainer.rounds:,} rounds of {trainer.stream.size} examples ({epochs:.3g} epochs), "
                       f"evaluated every {session.every}{patience}"),
            ("device", f"{trainer.runtime.device} ({trainer.runtime.reason}), {recipe.precision}, "
                       f"{run.page['threads']} threads{together}"),
            ("run", "in a folder that is removed afterwards" if dry_run else str(run.path)),
        ]
    )  # fmt: skip


_DECISIVE = (
    "versions.danlu", "versions.torch", "device", "threads", "ranks", "data.fingerprint", "parameters", "rounds",
)  # fmt: skip


def _compare(then: dict[str, Any], now: dict[str, Any], anyway: bool) -> None:
    """Refuse to go on when the outcome would not be the one of an uninterrupted run."""
    differences = []
    for key in _DECISIVE:
        old, new = then, now
        for part in key.split("."):
            old, new = old[part], new[part]
        if old != new:
            differences.append(f"  {key}: {old} then, {new} now")
    if differences and not anyway:
        raise UsageError(
            "this run cannot go on as it began:\n" + "\n".join(differences) + "\n"
            "Put that right, or go on all the same with --anyway; the outcome will then differ a little."
        )
