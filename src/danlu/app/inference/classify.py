"""Classify image files and rows of tables with a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import inputs_of
from danlu.app.files.predictions_file import check_predictions_file, write_predictions
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import check_at_least, require_files
from danlu.app.inference.load import load
from danlu.data.base.dataset import require_images
from danlu.evaluation.model_scores import flipped
from danlu.verbs import need


class Guess(NamedTuple):
    """The prediction for an image or row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        classes: names and probabilities of classes, the most probable first.
        error: why there is no prediction; None if there is one.
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
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Guess]:
    """Classify image files; or rows of tables, with a model that was trained on a table.

    A table must have the columns of the training rows, in any order; other columns are ignored. A model that was
    trained with ``missing="mean"`` replaces missing numbers by the means of its training rows.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; or CSV or Parquet files; "-" is standard input.
        top: number of classes to return.
        invert: for images, invert dark on light to light on dark.
        flip: average the outputs for each image and its mirror image.
        encoding: text encoding of CSV files.
        out: a CSV file to write: file, class, its probability, and the probability of each class.
        overwrite: replace this file if it exists.
        quiet: do not report columns that are not used.

    Raises:
        UsageError: if the model cannot classify, no file is given, a file does not exist, a table is not valid, or
            ``out`` exists.
    """
    check_at_least(1, top=top)
    require_files(files)
    model = need(load(run), "classify")
    classes = model.info.label_names
    require_images(model.info, flip=flip)
    verb = flipped(model.classify) if flip else model.classify
    destination = None if out is None else check_predictions_file(out, overwrite)
    guesses, rows = list[Guess](), list[tuple[str, list[str], str | None]]()
    with with_standard_input(files) as (paths, display):
        for names, x, error in inputs_of(paths, model.info, invert, encoding, Screen(quiet, sys.stderr), display):
            if x is None:
                guesses += [Guess(display(name), [], display(error or "")) for name in names]
                rows += [(display(name), [], display(error or "")) for name in names]
                continue
            probabilities = verb(x.to(next(model.parameters()).dtype))
            best = probabilities.topk(min(top, len(classes)))
            for name, values, numbers in zip(names, best.values.tolist(), best.indices.tolist(), strict=True):
                guesses.append(Guess(display(name), [(classes[k], p) for p, k in zip(values, numbers, strict=True)]))
            if destination is not None:
                for name, each in zip(names, probabilities.tolist(), strict=True):
                    place = max(range(len(each)), key=each.__getitem__)
                    rows.append((display(name), [classes[place], *(f"{p:.6g}" for p in (each[place], *each))], None))
    if destination is not None:
        write_predictions(destination, ["class", "probability", *(f"p({name})" for name in classes)], rows)
    return guesses
