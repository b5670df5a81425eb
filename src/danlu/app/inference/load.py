"""Load the model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.app.run_folder.find_run import find_run
from danlu.app.run_folder.run_folder import RunFolder
from danlu.models.base import Model
from danlu.models.saving.model_folder import load_model
from danlu.nn.memory_format import place
from danlu.storage.plain_files import check_tree
from danlu.training.runtime import DeviceName, pick_device
from danlu.verbs import need


def load(path: str | Path) -> Model:
    """Load the model of a run or of a model folder; ``model.info`` describes its inputs.

    The model is on the CPU, and its convolutions have the memory format that is faster there; another device may need
    another one, see ``danlu.nn.memory_format.place``.

    A run that was stopped, was killed or is running has no model yet: that of its best checkpoint is used, else of its
    newest one, and a line on standard error says so.

    Args:
        path: a run folder, or its ``model/``, or a folder of runs, which stands for its newest run.

    Raises:
        UsageError: if there is no model and no checkpoint, or a run folder has links.
    """
    path = find_run(path)
    if (path / "run.json").is_file():
        check_tree(path)  # results may be written into the run folder, too
    if (path / "run.json").is_file() and not (path / "model" / "model.json").is_file():
        from danlu.app.run_folder.unfinished import load_unfinished  # needs the recipes and the trainer

        model = load_unfinished(RunFolder.open(path))
    else:
        model = load_model(path / "model" if (path / "model").is_dir() else path)
    return place(model, torch.device("cpu"))


def load_without_seeding(run: str | Path) -> Any:
    """Load the model of a run without a change of torch's default generator, which layers use when they are built."""
    with torch.random.fork_rng([]):
        return load(run)


def load_with_verb(run: str | Path, verb: str, device: DeviceName) -> Any:
    """Load the model of a run, check that it has the verb, and move it to the device."""
    return place(need(load_without_seeding(run), verb), pick_device(device)[0])
