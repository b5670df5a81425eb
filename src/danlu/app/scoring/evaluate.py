"""Scores of a finished run on a part of its data, and of what its model generates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from danlu.app.inference.classify import _check_flip
from danlu.app.inference.load import load
from danlu.app.run_folder.run_folder import RunFolder
from danlu.data.base.dataset import PARTS, DataSet
from danlu.errors import UsageError
from danlu.evaluation.evaluators import evaluate_subject
from danlu.evaluation.generative_scores import GENERATED, GenerativeScorer, only_generates
from danlu.evaluation.subject import Subject
from danlu.models.base import Model
from danlu.training.runtime import DeviceName, Runtime, pick_device
from danlu.verbs import need

LEAST_GENERATED = 100
"""generated examples from which on scores mean something"""


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
    count = (GENERATED if only_generates(model) else 0) if generated is None else generated
    if count:
        need(model, "sample")
        if count < LEAST_GENERATED:
            raise UsageError(f"generated={count} are too few to be scored; take at least {LEAST_GENERATED}, or 0")
    if not len(examples) and not (count and only_generates(model)):  # which no part could measure
        raise UsageError(f"{data.name} has no {part} part, as it was split")
    _check_flip(flip, data.info)
    model.to(pick_device(device or folder.page["device"])[0])
    subject = Subject(model, data, part, flip, folder.page.get("temperature"))
    scores = evaluate_subject(subject).scores
    page = {"part": part, "examples": len(examples), "data": data.name, "fingerprint": fingerprint, "scores": scores}
    if count:
        sampled = replace(subject, part="generated", scorer=_scorer(folder, data, model, count))
        page["generated"] = evaluate_subject(sampled).scores
    return page


def _scorer(folder: RunFolder, data: DataSet, model: Model, count: int) -> GenerativeScorer:
    """The scorer of generated examples, with the classifier that the run has kept."""
    runtime = Runtime(device=next(model.parameters()).device)
    kept = folder.judge if (folder.judge / "model.json").is_file() else None
    return GenerativeScorer(data, count, runtime, folder.access(), kept, folder.recipe.feature_extractor)
