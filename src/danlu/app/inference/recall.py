"""Recall: the stored patterns to which the contents of files converge."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.image_files import say_resized
from danlu.app.files.inputs import Input, inputs_of
from danlu.app.files.outputs import ImageGrid, find_destination, write
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import check_at_least, collect_inputs, grid_columns, require_files
from danlu.app.inference.load import load_with_verb
from danlu.app.inference.two_values import with_two_values
from danlu.errors import RunError, UsageError
from danlu.models.energy.recall_trace import RecallTrace
from danlu.training.runtime import DeviceName
from danlu.verbs import has

ENDS = {0: "still changes", 1: "fixed point", 2: "cycle of length 2"}
"""what the last state is, by its period"""
SIGNS = (-1.0, 1.0)
"""values of patterns"""
Display = Callable[[str], str]


class RecallResult(NamedTuple):
    """The recall of one image or row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        changed: fraction of the values that changed their sign.
        energy_before: energy before the recall.
        energy: energy after it.
        pattern: number of the stored pattern with the largest overlap in absolute value; None if none is stored.
        overlap: this overlap, from −1 to 1.
        end: a key of ``ENDS`` as text: what the last state is.
        error: why there is no output; None if there is one.
    """

    file: str
    changed: float | None = None
    energy_before: float | None = None
    energy: float | None = None
    pattern: int | None = None
    overlap: float | None = None
    end: str | None = None
    error: str | None = None


class Recalled(NamedTuple):
    """The result of a recall.

    Attributes:
        x: the last states, (n, *shape), in the values of the model, on the CPU.
        path: path of the written file or folder; None for standard output.
        files: the result for each input.
    """

    x: Tensor
    path: Path | None
    files: tuple[RecallResult, ...] = ()


def recall(
    run: str | Path,
    *files: str | Path,
    steps: int = 100,
    synchronous: bool = False,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Recalled:
    """Recall stored patterns from images or rows, and write the recalled ones.

    Images become black and white at the middle of the gray values. An image grid shows each of them, followed by the
    recalled image; the other forms have the recalled images.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; "-" is standard input.
        steps: largest number of sweeps over all units, or of updates of all units at once.
        synchronous: update all units at once, instead of one after the other in a random order.
        out: as for ``sample``; by default recalled.png or recalled.csv.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of CSV files.
        seed: seed of the random order of the units.
        overwrite: replace existing files.
        device: the device.
        quiet: do not report columns that are not used, and images that are resized.

    Raises:
        UsageError: if the model cannot recall, no file is given, a file does not exist, a value of a row is neither -1
            nor 1, or the output exists.
        RunError: if no file can be used.
    """
    model = load_with_verb(run, "recall", device)
    if not has(model, "recall_trace"):
        raise UsageError(
            f"{type(model).__name__} does not show its recall; use it in Python: danlu.load(RUN).recall(x)"
        )
    check_at_least(1, steps=steps)
    info, screen = model.info, Screen(quiet, sys.stderr)
    destination = find_destination(out, run, "recalled", info, overwrite)
    with with_standard_input(require_files(files)) as (paths, display):
        say_resized(paths, info, screen, display)
        inputs = collect_inputs(inputs_of(paths, info, invert, encoding, screen, display), destination, 2)
        inputs = [with_two_values(one, SIGNS, info, display) for one in inputs]
    valid = [one.x for one in inputs if one.x is not None]
    if not valid:
        raise RunError("; ".join(dict.fromkeys(display(one.error or "") for one in inputs)))
    x, weight = torch.cat(valid), next(model.parameters())
    try:
        trace = model.recall_trace(x.to(weight.device), steps=steps, synchronous=synchronous, seed=seed)
    except ValueError as error:
        raise UsageError(str(error), settings=("synchronous",) if synchronous else ()) from error
    y = trace.states[-1].cpu()
    pairs = torch.stack([x, y], 1).flatten(0, 1)
    path = write(destination, y, info, ImageGrid(pairs, grid_columns(len(x))) if info.viewable else None)
    return Recalled(y, path, tuple(_results(inputs, x, trace, model, display)))


def _results(
    inputs: list[Input], x: Tensor, trace: RecallTrace, model: Any, display: Display
) -> Iterable[RecallResult]:
    """The result for each input, in their order."""
    y, patterns = trace.states[-1].cpu(), model.patterns.flatten(1).cpu()
    changed = (y.sign() != x.sign()).flatten(1).double().mean(1)
    overlaps = y.flatten(1).to(patterns.dtype) @ patterns.T / patterns.shape[1]
    number = 0
    for one in inputs:
        for name in one.names:
            if one.x is None:
                yield RecallResult(display(name), error=display(one.error or ""))
                continue
            nearest = int(overlaps[number].abs().argmax()) if len(patterns) else None
            yield RecallResult(
                display(name),
                float(changed[number]),
                float(trace.energies[0, number]),
                float(trace.energies[-1, number]),
                nearest,
                None if nearest is None else float(overlaps[number, nearest]),
                ENDS[int(trace.period[number])],
            )
            number += 1
