"""Classify image files and rows of tables with a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import inputs_of
from danlu.app.files.standard_input import files_of
from danlu.app.inference.load import load
from danlu.data.base.dataset import DataInfo
from danlu.errors import UsageError
from danlu.evaluation.model_scores import flipped
from danlu.verbs import need


class Guess(NamedTuple):
    """What a classifier says of an image or a row: the classes by probability, the likeliest first; or why it cannot.

    Attributes:
        file: the image, or the file and the line of a row.
        classes: names and probabilities.
        error: why there are none.
    """

    file: str
    classes: list[tuple[str, float]]
    error: str | None = None


@torch.no_grad()
def classify(
    run: str | Path,
    *files: str | Path,
    top: int = 5,
    invert: bool = False,
    flip: bool = False,
    encoding: str = "utf-8",
    quiet: bool = False,
) -> list[Guess]:
    """Classify image files, or with a model that was trained on a table the rows of tables.

    A table has the columns of the training rows, in any order and with others beside them. A model that was trained
    with ``missing="mean"`` has the means of its training rows for numbers that are missing.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of them; or CSV or Parquet files; "-" is what comes on standard input.
        top: how many classes to name.
        invert: turn dark on light into light on dark first, of images.
        flip: show the model each image and its mirror image, and take the mean of both answers.
        encoding: how the text of CSV files is written.
        quiet: say nothing of columns that are not used.

    Raises:
        UsageError: if the model cannot classify, no file is named, one is not there, or a table is not as it should be.
    """
    if top < 1 or not files:
        raise UsageError("name at least one file, and at least one class to tell (top)")
    model = need(load(run), "classify")
    names = model.info.label_names
    _check_flip(flip, model.info)
    verb = flipped(model.classify) if flip else model.classify
    guesses = []
    with files_of(files) as (paths, said):
        for places, x, error in inputs_of(paths, model.info, invert, encoding, Screen(quiet, sys.stderr), said):
            if x is None:
                guesses += [Guess(said(place), [], said(error or "")) for place in places]
                continue
            best = verb(x.to(next(model.parameters()).dtype)).topk(min(top, len(names)))
            for place, values, numbers in zip(places, best.values.tolist(), best.indices.tolist(), strict=True):
                guesses.append(Guess(said(place), [(names[k], p) for p, k in zip(values, numbers, strict=True)]))
    return guesses


def _check_flip(flip: bool, info: DataInfo) -> None:
    if flip and info.kind != "images":
        raise UsageError(f"flip is for images, and this model takes {info.kind}; leave it out")
