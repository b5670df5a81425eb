"""Predict a number for image files and rows of tables with a trained model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import inputs_of
from danlu.app.files.predictions_file import check_predictions_file, write_predictions
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import require_files
from danlu.app.inference.load import load
from danlu.data.base.dataset import require_images
from danlu.evaluation.model_scores import flipped
from danlu.verbs import need


class Prediction(NamedTuple):
    """The prediction for an image or row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        value: the number in the units of the target; None if there is no prediction.
        deviation: its standard deviation, if the model was trained with ``loss="gaussian"``.
        error: why there is no prediction; None if there is one.
    """

    file: str
    value: float | None
    deviation: float | None = None
    error: str | None = None


@torch.no_grad()
def predict(
    run: str | Path,
    *files: str | Path,
    invert: bool = False,
    flip: bool = False,
    encoding: str = "utf-8",
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Prediction]:
    """Predict a number for each image file or row, with a model that was trained on a numeric target.

    A table must have the columns of the training rows, in any order; other columns, also the target, are ignored.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; or CSV or Parquet files; "-" is standard input.
        invert: for images, invert dark on light to light on dark.
        flip: average the outputs for each image and its mirror image.
        encoding: text encoding of CSV files.
        out: a CSV file to write: file, number, and the standard deviation if the model predicts one.
        overwrite: replace this file if it exists.
        quiet: do not report columns that are not used.

    Raises:
        UsageError: if the model predicts no number, no file is given, a file does not exist, a table is not valid, or
            ``out`` exists.
        RunError: if ``out`` cannot be written.
    """
    require_files(files)
    destination = None if out is None else check_predictions_file(out, overwrite)
    model = need(load(run), "predict")
    require_images(model.info, flip=flip)
    verb = flipped(model.predict) if flip else model.predict
    predictions = []
    with with_standard_input(files) as (paths, display):
        for names, x, error in inputs_of(paths, model.info, invert, encoding, Screen(quiet, sys.stderr), display):
            if x is None:
                predictions += [Prediction(display(name), None, None, display(error or "")) for name in names]
                continue
            outputs = verb(x.to(next(model.parameters()).dtype)).tolist()
            predictions += [Prediction(display(name), *values) for name, values in zip(names, outputs, strict=True)]
    if destination is not None:
        _write(destination, predictions)
    return predictions


def _write(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the number of each input, and its standard deviation if there is one."""
    deviation = any(one.deviation is not None for one in predictions)
    rows = (
        (one.file, [f"{number:.9g}" for number in (one.value, one.deviation) if number is not None], one.error)
        for one in predictions
    )
    write_predictions(path, ["predicted", *["deviation"] * deviation], rows)
