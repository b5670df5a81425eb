"""Samples of a model during training, always from the same noise and the same examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from danlu.app.files.image_grid import make_grid, write_png
from danlu.app.report.sections.model_views import (
    ACROSS,
    RECONSTRUCTED,
    SAMPLES,
    STEPS,
    by_class,
    codes,
    interleave_rows,
    most_active,
    reconstructions,
    samples,
    traversals,
)
from danlu.app.report.sections.text import write_sample
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.data.text.info import TextInfo


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
    if isinstance(info, TextInfo):
        write_sample(model, held_out, folder, round)
    if not info.viewable:
        return
    for name, images, columns in _image_grids(model, held_out, info):
        folder.mkdir(exist_ok=True)
        write_png(make_grid(images, columns, info.range), folder / f"round-{round:06d}-{name}.png")


def _image_grids(model: Any, held_out: Part, info: DataInfo) -> Iterator[tuple[str, Tensor, int]]:
    classes = by_class(model, info)
    if (drawn := samples(model, SAMPLES, turns=classes)) is not None:
        yield "samples", drawn, classes or 8
    x = spread_over(held_out, RECONSTRUCTED)[info.inputs]
    if len(x) and (again := reconstructions(model, x)) is not None:
        yield "reconstructions", interleave_rows(x.cpu(), again), min(ACROSS, len(x))
    latents = codes(model, held_out, info.inputs)
    if latents is not None:
        yield "traversals", traversals(model, most_active(latents[0]), latents[0].shape[1]), STEPS
