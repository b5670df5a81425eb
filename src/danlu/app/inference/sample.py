"""Generate samples with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.app.files.outputs import Drawn, check_sheet, find_place, write
from danlu.app.inference.apply import AT_ONCE, Made, at_least, drawing
from danlu.app.inference.class_labels import labels_of
from danlu.app.inference.latents import SHEET
from danlu.app.inference.load import ready
from danlu.errors import UsageError
from danlu.rng.keys import generator
from danlu.training.runtime import DeviceName
from danlu.verbs import has


def sample(
    run: str | Path,
    n: int = SHEET,
    *,
    out: str | Path | None = None,
    label: str | int | None = None,
    columns: int | None = None,
    numbers: bool = False,
    values: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
) -> Made:
    """Generate samples and write them: images as a grid or as files, rows as a table in the units of its columns.

    ``danlu.load(run).sample(n)`` returns samples as a tensor, without a file. The same seed gives the same samples on
    the same type of device.

    Args:
        run: a run folder, or a model folder.
        n: number of samples.
        out: a file name that ends in .png, .csv or .npy, a folder (ends in / or exists), or "-" for standard output; by
            default samples.png or samples.csv in the run folder, or in the current folder for a model folder.
        label: name or number of a class for all samples, or "all" for each class in turn; for class-conditional models.
        columns: images in a row of the grid.
        numbers: write above each image its number, for ``interpolate`` and ``arithmetic``.
        values: for images, also sample each value from its distribution instead of showing its mean. Rows are always
            sampled.
        seed: random seed.
        overwrite: replace existing files.
        device: the device.

    Raises:
        UsageError: if the model cannot sample or is not class-conditional, the class does not exist, or the output
            exists.
    """
    at_least(1, n=n, columns=columns)
    model = ready(run, "sample", device)
    info = model.info
    labels = labels_of(model, label, n)
    place = find_place(out, run, "samples", info, overwrite)
    if (columns is not None or numbers) and place.form != "sheet":
        given = "numbers" if columns is None else "columns"
        raise UsageError(f"{given} is for a sheet of pictures (.png); leave it out")
    check_sheet(place, n)
    if values and not has(model, "value_sampling"):
        raise UsageError(f"{type(model).__name__} has no distribution of single values; leave values out")
    x = _drawn(model, n, labels, values or info.kind == "table", seed)
    across = columns or (info.classes if label == "all" else None)
    heads = tuple(map(str, range(n))) if numbers else ()
    return Made(x, write(place, x, info, Drawn(x, across and min(across, n), heads)))


def _drawn(model: Any, n: int, labels: Tensor | None, values: bool, seed: int) -> Tensor:
    """Generate samples in batches, on the CPU."""
    device = next(model.parameters()).device
    given: dict[str, Any] = {}
    if has(model, "generator"):
        given["generator"] = generator("sample", seed, device=device)
    if has(model, "value_sampling"):
        given["values"] = values
    batches = []
    with drawing(device, "sample", seed):
        for start in range(0, n, AT_ONCE):
            if labels is not None:
                given["labels"] = labels[start : start + AT_ONCE].to(device)
            batches.append(model.sample(min(AT_ONCE, n - start), **given).cpu())
    return torch.cat(batches)
