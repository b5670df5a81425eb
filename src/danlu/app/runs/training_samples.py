"""Image grids during training, always from the same noise and the same examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from danlu.app.files.image_grid import sheet, write_png
from danlu.app.report.sections.model_views import (
    ACROSS,
    RECONSTRUCTED,
    SAMPLES,
    STEPS,
    above,
    are_pictures,
    by_class,
    codes,
    most_active,
    reconstructions,
    samples,
    traversals,
)
from danlu.app.report.sections.text import write_sample
from danlu.data.base.dataset import DataInfo, Part, spread_over


def is_time(round: int, rounds: int, every: int, count: int) -> bool:
    """Whether image grids are written after a round with an evaluation: at even intervals, and after the last round.

    The result depends on the arguments only, so a resumed run writes the same grids as an uninterrupted one.

    Args:
        round: the round.
        rounds: total number of rounds.
        every: rounds between evaluations.
        count: how often grids are written during the training, if there are as many evaluations.

    >>> [round for round in (20, 40, 60, 80, 90) if is_time(round, 90, 20, 2)]
    [60, 90]
    """
    number, evaluations = -(-round // every), -(-rounds // every)
    return number * count // evaluations > (number - 1) * count // evaluations


def draw(model: Any, held_out: Part, info: DataInfo, folder: Path, round: int) -> None:
    """Write samples, reconstructions and traversals of a model as PNG files; for text, a sample as a text file.

    Args:
        model: the model, in evaluation mode.
        held_out: examples that are not used for training; may be empty.
        info: the examples; nothing is written for kinds other than images and text.
        folder: the folder; created if necessary.
        round: the round, for the file names.
    """
    if info.kind == "text":
        write_sample(model, held_out, folder, round)
    if not are_pictures(info):
        return
    for name, pictures, columns in _sheets(model, held_out, info):
        folder.mkdir(exist_ok=True)
        write_png(sheet(pictures, columns, info.range), folder / f"round-{round:06d}-{name}.png")


def _sheets(model: Any, held_out: Part, info: DataInfo) -> Iterator[tuple[str, Tensor, int]]:
    classes = by_class(model, info)
    if (drawn := samples(model, SAMPLES, turns=classes)) is not None:
        yield "samples", drawn, classes or 8
    x = spread_over(held_out, RECONSTRUCTED)[info.inputs]
    if len(x) and (again := reconstructions(model, x)) is not None:
        yield "reconstructions", above(x.cpu(), again), min(ACROSS, len(x))
    found = codes(model, held_out, info.inputs)
    if found is not None:
        yield "traversals", traversals(model, most_active(found[0]), found[0].shape[1]), STEPS
