"""Using a finished run: load its model, judge it again, classify files with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from danlu.app.inputs import inputs_of
from danlu.app.jury import GENERATED, Jury, generates_only
from danlu.app.measure import calibrated, flipped, measure
from danlu.app.run_folder import RunFolder
from danlu.app.screen import Screen, quoted
from danlu.app.standard_input import files_of
from danlu.data.dataset import PARTS, DataInfo, DataSet
from danlu.errors import UsageError
from danlu.models.folder import load_model
from danlu.nn.model import Model
from danlu.training.runtime import DeviceName, Runtime, pick_device
from danlu.verbs import need

LEAST_GENERATED = 100
"""generated examples from which on scores mean something"""


def load(path: str | Path) -> Model:
    """The model of a run, or of a model folder, ready to use; ``model.info`` says what its inputs are.

    Args:
        path: a run folder, or its ``model/``.

    Raises:
        UsageError: if there is no model there (yet).
    """
    path = Path(path)
    if (path / "run.json").is_file() and not (path / "model" / "model.json").is_file():
        run = RunFolder.open(path)
        status = run.page["status"]
        if status == "finished":
            raise UsageError(f"{path} is finished, and its folder model/ is gone or was never written; train it again")
        why = f"it failed: {run.page.get('error')}" if status == "failed" else f"it is {status}"
        raise UsageError(f"{path} has no model yet ({why}); go on with `danlu resume {quoted(path)}`")
    return load_model(path / "model" if (path / "model").is_dir() else path)


def evaluate(
    run: str | Path,
    part: Literal["train", "validation", "test"] = "test",
    device: DeviceName | None = None,
    flip: bool = False,
    generated: int | None = None,
) -> dict[str, Any]:
    """Measure the model of a run on a part of the data that it was made for, and what it generates.

    Args:
        run: the run folder.
        part: which part.
        device: where to compute; where it was trained if not given.
        flip: whether a classifier sees each picture and its mirror image, and gives the mean of both answers.
        generated: how many examples to generate and score against the training part; 10 000 if not given for a model
            that nothing else can judge, and else none.

    Returns:
        The part's name and size, the data's fingerprint, and the scores by name; ``generated`` has those of what the
        model generates, if that is scored.

    Raises:
        UsageError: if the run has no model, the data is no longer what it was trained on, or the model does not sample
            and is to.
    """
    if part not in PARTS:
        raise UsageError(f"there is no part {part!r}; there is {', '.join(PARTS)}")
    folder, model = RunFolder.open(run), load(run)
    data: DataSet = folder.recipe.load(folder.access())
    fingerprint = data.fingerprint()
    if fingerprint != folder.page["data"]["fingerprint"]:
        raise UsageError(f"the data set {data.name} is not the one that {run} was trained on; its parts may overlap")
    examples = data.part(part)
    count = (GENERATED if generates_only(model) else 0) if generated is None else generated
    if count:
        need(model, "sample")
        if count < LEAST_GENERATED:
            raise UsageError(f"generated={count} are too few to be scored; take at least {LEAST_GENERATED}, or 0")
    if not len(examples) and not (count and generates_only(model)):  # which no part could measure
        raise UsageError(f"{data.name} has no {part} part, as it was split")
    _check_flip(flip, data.info)
    model.to(pick_device(device or folder.page["device"])[0])
    scores, evidence = measure(model, examples, data.info.inputs, flip) if len(examples) else ({}, {})
    temperature = folder.page.get("temperature")
    if part != "validation" and temperature is not None and not flip:  # which the validation part has chosen
        scores.update(calibrated(evidence["probabilities"], examples["label"], temperature))
    page = {"part": part, "examples": len(examples), "data": data.name, "fingerprint": fingerprint, "scores": scores}
    return {**page, "generated": _generated(folder, data, model, count)} if count else page


def _generated(folder: RunFolder, data: DataSet, model: Model, count: int) -> dict[str, float]:
    """Scores of what a model generates, by the judge that the run has kept."""
    runtime = Runtime(device=next(model.parameters()).device)
    kept = folder.judge if (folder.judge / "model.json").is_file() else None
    jury = Jury(data, count, runtime, folder.access(), kept, folder.recipe.features)
    return jury.verdict(jury.draw(model))


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
