"""The commands train, resume, finish and runs."""

from __future__ import annotations

import shlex
from pathlib import Path

from danlu.app.cli.argument_types import DataDir, Device, DeviceName, Json, RecipeArgument
from danlu.app.cli.command_output import as_json


def train(
    recipe: RecipeArgument,
    /,
    *,
    out: Path | None = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    devices: int = 1,
    threads: int | None = None,
    dry_run: bool = False,
    json: Json = False,
) -> int:
    """Train a recipe, given by its name or as a YAML file.

    Args:
        recipe: a recipe and its settings
        out: run folder, new or empty; default: a new folder in runs/
        device: device to train on; auto: a GPU if available, else the CPU
        devices: number of processes; each uses one GPU, or an equal part of the CPU cores
        threads: CPU threads per process; default: one for small networks, else all
        dry_run: check the data, train two rounds, save, load, write the report, and delete the run folder
    """
    from danlu.app.console.signals import EXIT_CODE
    from danlu.app.runs.train import train

    command = "danlu train " + shlex.join(_without(recipe.words, "--out", "--json"))
    run = train(
        recipe.recipe,
        out=out,
        data_dir=data_dir,
        device=device,
        devices=devices,
        threads=threads,
        dry_run=dry_run,
        quiet=json,
        command=command,
    )
    if json and run.writes:
        as_json({"run": str(run.path), **run.page})
    return EXIT_CODE if run.page["status"] == "stopped" else 0


def resume(
    run: Path,
    /,
    *,
    epochs: float | None = None,
    rounds: int | None = None,
    device: DeviceName | None = None,
    devices: int | None = None,
    ignore_changes: bool = False,
    json: Json = False,
) -> int:
    """Resume a run that was stopped or killed, or train a run longer.

    Args:
        run: the run folder
        epochs: total number of epochs, to train longer than the recipe says; also a finished run
        rounds: the same as a number of rounds
        device: device to train on; default: the device of the run
        devices: number of processes; must be given if the run had several
        ignore_changes: resume even if versions, data, threads or devices have changed; the result may differ
    """
    from danlu.app.console.signals import EXIT_CODE
    from danlu.app.runs.train import resume

    length = {"epochs": epochs, "rounds": rounds}
    resumed = resume(run, **length, device=device, devices=devices, ignore_changes=ignore_changes, quiet=json)
    if json:
        as_json({"run": str(resumed.path), **resumed.page})
    return EXIT_CODE if resumed.page["status"] == "stopped" else 0


def finish(
    run: Path,
    /,
    *,
    device: DeviceName | None = None,
    ignore_changes: bool = False,
    json: Json = False,
) -> int:
    """End a run that was stopped or killed: scores, model and report of its best round so far.

    Args:
        run: the run folder
        device: device to compute on; default: the device of the training
        ignore_changes: finish even if versions or data have changed
    """
    from danlu.app.runs.end import finish

    finished = finish(run, device=device, ignore_changes=ignore_changes, quiet=json)
    if json:
        as_json({"run": str(finished.path), **finished.page})
    return 0


def runs(folder: Path = Path("runs"), /, *, json: Json = False) -> int:
    """List the runs in a folder, the newest first, with status and main score.

    Args:
        folder: folder of runs
    """
    from danlu.app.console.formatting import score_name, score_value
    from danlu.app.console.output import print_line
    from danlu.app.run_folder.run_list import runs

    found = runs(folder)
    if json:
        return as_json({"runs": [{**run._asdict(), "path": str(run.path)} for run in found]})
    if not found:
        print_line(f"{folder} has no runs")
    rows = [
        (
            str(run.path),
            run.data,
            run.status,
            f"{run.round:,} of {run.rounds:,} rounds",
            f"{run.part} {score_name(run.score[0])} {score_value(*run.score)}" if run.score else "",
        )
        for run in found
    ]
    widths = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print_line("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _without(words: list[str], *flags: str) -> list[str]:
    """The words without flags that concern one run only, and their values.

    >>> _without(["cnn", "--out", "runs/a", "--lr", "0.1", "--json"], "--out", "--json")
    ['cnn', '--lr', '0.1']
    """
    kept, skipping = [], False
    for word in words:
        flag, given, _ = word.partition("=")
        if skipping := flag in flags or (skipping and not word.startswith("-")):
            skipping = flag != "--json" and not given
        else:
            kept.append(word)
    return kept
