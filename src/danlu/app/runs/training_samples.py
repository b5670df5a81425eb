"""Samples of a model during training, always from the same noise and the same examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.app.files.image_grid import make_grid, write_png
from danlu.app.report.sections.image_grids import reconstructions, samples, traversals
from danlu.app.report.sections.model_views import codes
from danlu.app.report.sections.text import write_sample
from danlu.data.base.dataset import DataInfo, Part
from danlu.storage.plain_files import make_folder


def is_due(round: int, rounds: int, every: int, count: int) -> bool:
    """Whether samples are written after a round with an evaluation: at even intervals, and after the last round.

    The result depends on the arguments only, so a resumed run writes the same files as an uninterrupted one.

    Args:
        round: the round.
        rounds: total number of rounds.
        every: rounds between evaluations.
        count: number of times during the training, at most that of the evaluations.

    >>> [round for round in (20, 40, 60, 80, 90) if is_due(round, 90, 20, 2)]
    [60, 90]
    """
    number, evaluations = -(-round // every), -(-rounds // every)
    return number * count // evaluations > (number - 1) * count // evaluations


def write_samples(model: Any, held_out: Part, info: DataInfo, folder: Path, round: int) -> None:
    """Write samples, reconstructions and traversals of a model as PNG files; for text, a sample as a text file.

    Args:
        model: the model, in evaluation mode.
        held_out: examples that are not used for training; may be empty.
        info: the examples; nothing is written for kinds other than images and text.
        folder: the folder; created if necessary.
        round: the round, for the file names.
    """
    write_sample(model, held_out, folder, round)
    if not info.viewable:
        return
    latents = codes(model, held_out, info.inputs)
    sections = [
        *samples(model, info, columns=8),
        *reconstructions(model, held_out, "held-out", info),
        *(traversals(model, latents[0], info) if latents is not None else []),
    ]
    for section in sections:
        assert section.figure is not None
        grid = section.figure.values
        make_folder(folder)
        path = folder / f"round-{round:06d}-{section.title.lower()}.png"
        write_png(make_grid(grid["images"], grid["columns"], info.range), path)
