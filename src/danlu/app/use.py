"""Using a finished run: load its model, judge it again, classify files with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from danlu.app.images import find_images, read_image
from danlu.app.measure import measure
from danlu.app.run_folder import RunFolder
from danlu.app.screen import quoted
from danlu.data.dataset import DataSet
from danlu.errors import RunError, UsageError
from danlu.models.folder import load_model
from danlu.nn.model import Model
from danlu.training.runtime import DeviceName, pick_device
from danlu.verbs import need

PARTS = ("train", "validation", "test")


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
    run: str | Path, part: Literal["train", "validation", "test"] = "test", device: DeviceName | None = None
) -> dict[str, Any]:
    """Measure the model of a run on a part of the data that it was made for.

    Args:
        run: the run folder.
        part: which part.
        device: where to compute; where it was trained if not given.

    Returns:
        The part's name and size, the data's fingerprint, and the scores by name.

    Raises:
        UsageError: if the run has no model, or the data is no longer what it was trained on.
    """
    if part not in PARTS:
        raise UsageError(f"there is no part {part!r}; there is {', '.join(PARTS)}")
    folder, model = RunFolder.open(run), load(run)
    data: DataSet = folder.recipe.load(folder.access())
    fingerprint = data.fingerprint()
    if fingerprint != folder.page["data"]["fingerprint"]:
        raise UsageError(f"the data set {data.name} is not the one that {run} was trained on; its parts may overlap")
    examples = data.part(part)
    if not len(examples):
        raise UsageError(f"{data.name} has no {part} part, as it was split")
    scores, _ = measure(model.to(pick_device(device or folder.page["device"])[0]), examples, data.info.inputs)
    return {"part": part, "examples": len(examples), "data": data.name, "fingerprint": fingerprint, "scores": scores}


class Guess(NamedTuple):
    """What a classifier says of a file: the classes by probability, the likeliest first; or why it cannot."""

    file: str
    classes: list[tuple[str, float]]
    error: str | None = None


@torch.no_grad()
def classify(run: str | Path, *files: str | Path, top: int = 5, invert: bool = False) -> list[Guess]:
    """Classify image files.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of them.
        top: how many classes to name.
        invert: turn dark on light into light on dark first.

    Raises:
        UsageError: if the model cannot classify, no file is named, or one is not there.
    """
    if top < 1 or not files:
        raise UsageError("name at least one file, and at least one class to tell (top)")
    model = need(load(run), "classify")
    names = model.info.class_names or tuple(str(number) for number in range(model.info.classes))
    guesses = []
    for path in find_images(list(files)):
        try:
            image = read_image(path, model.info, invert)
        except RunError as error:  # the other files are still answered
            guesses.append(Guess(str(path), [], str(error)))
            continue
        probabilities = model.classify(image[None].to(next(model.parameters()).dtype))[0]
        best = probabilities.topk(min(top, len(names)))
        ranked = [(names[number], p) for p, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        guesses.append(Guess(str(path), ranked))
    return guesses
