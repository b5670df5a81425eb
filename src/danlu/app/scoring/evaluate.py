"""Scores of a finished run on a part of its data, and of examples that its model generates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from danlu.app.inference.load import load
from danlu.app.run_folder.run_folder import RunFolder
from danlu.data.base.dataset import PARTS, DataSet, require_images
from danlu.data.images.binarize import binary_part
from danlu.errors import UsageError
from danlu.evaluation.evaluators import evaluate_subject
from danlu.evaluation.generative_scores import GENERATED, GenerativeScorer, only_generates
from danlu.evaluation.subject import Subject
from danlu.models.base import Model
from danlu.nn.memory_format import place
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.training.runtime import DeviceName, Runtime, pick_device
from danlu.verbs import need

LEAST_GENERATED = 100
"""minimal number of generated examples for meaningful scores"""


def evaluate(
    run: str | Path,
    part: Literal["train", "validation", "test"] = "test",
    device: DeviceName | None = None,
    flip: bool = False,
    generated: int | None = None,
) -> dict[str, Any]:
    """Evaluate the model of a run on a part of its data, and examples that it generates.

    Args:
        run: the run folder.
        part: name of the part.
        device: the device; by default that of the training.
        flip: whether to average the outputs of a classifier for each image and its mirror image.
        generated: number of examples to generate and to score against the training part; by default 10,000 for a model
            without other scores, else none.

    Returns:
        Name and size of the part, fingerprint of the data, and the scores by name; ``generated`` has the scores of
        generated examples, if there are any.

    Raises:
        UsageError: if the run has no model, the data has changed since the training, or ``generated`` is given and the
            model cannot sample.
    """
    if part not in PARTS:
        raise UsageError(f"part must be one of {', '.join(PARTS)}, got {part!r}", settings=("part",))
    folder, model = RunFolder.open(run), load(run)
    data: DataSet = folder.recipe.load(folder.access())
    fingerprint = data.fingerprint()
    if fingerprint != folder.page["data"]["fingerprint"]:
        raise UsageError(
            f"the data set {data.name} has changed since {run} was trained (other fingerprint); its test part "
            f"may contain training examples"
        )
    if (how := getattr(folder.recipe, "binarize", "none")) == "dynamic" and part == "train":  # which is gray on disk
        data = replace(data, train=binary_part(data.train, how, folder.recipe.split.seed))
    examples = data.part(part)
    count = (GENERATED if only_generates(model) else 0) if generated is None else generated
    if count:
        need(model, "sample")
        if count < LEAST_GENERATED:
            raise UsageError(f"generated must be 0 or at least {LEAST_GENERATED}, got {count}", settings=("generated",))
    if not len(examples) and not (count and only_generates(model)):  # without a part there would be no scores
        raise UsageError(f"the {part} part of {data.name} has no examples", settings=("part",))
    require_images(data.info, flip=flip)
    place(model, pick_device(device or folder.page["device"])[0])
    subject = Subject(model, data, part, flip, folder.page.get("temperature"))
    scores = evaluate_subject(subject).scores
    page = {"part": part, "examples": len(examples), "data": data.name, "fingerprint": fingerprint, "scores": scores}
    if count:
        sampled = replace(subject, part="generated", scorer=_scorer(folder, data, model, count))
        page["generated"] = evaluate_subject(sampled).scores
    return page


def _scorer(folder: RunFolder, data: DataSet, model: Model, count: int) -> GenerativeScorer:
    """The scorer of generated examples, with the classifier in the run folder if there is one."""
    runtime = Runtime(device=next(model.parameters()).device)
    kept = folder.feature_extractor if (folder.feature_extractor / "model.json").is_file() else None
    recipe = folder.recipe
    features = recipe.feature_extractor if isinstance(recipe, GenerativeRecipe) else "auto"
    return GenerativeScorer(data, count, runtime, folder.access(), kept, features)
