"""Generate samples with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.app.files.outputs import ImageGrid, check_grid_size, find_destination, write, writer_of
from danlu.app.inference.apply import BATCH, Generated, check_at_least, sweeps_option, temperature_option
from danlu.app.inference.class_labels import labels_of
from danlu.app.inference.latents import DEFAULT_SAMPLES
from danlu.app.inference.load import load_with_verb
from danlu.errors import UsageError
from danlu.rng.keys import generator, seeded
from danlu.training.runtime import DeviceName
from danlu.verbs import has


def sample(
    run: str | Path,
    n: int = DEFAULT_SAMPLES,
    *,
    out: str | Path | None = None,
    label: str | int | None = None,
    columns: int | None = None,
    numbers: bool = False,
    values: bool = False,
    temperature: float | None = None,
    sweeps: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
) -> Generated:
    """Generate samples and write them: images as a grid or as files, rows as a table in the units of its columns,
    waveforms as WAV files.

    ``danlu.load(run).sample(n)`` returns samples as a tensor, without a file. The same seed gives the same samples on
    the same type of device.

    Args:
        run: a run folder, or a model folder.
        n: number of samples.
        out: a file name that ends in .png, .csv, .wav or .npy, a folder (ends in / or exists), or "-" for standard
            output; by default samples.png, samples.csv or samples.wav in the run folder, or in the current folder for a
            model folder.
        label: name or number of a class for all samples, or "all" for each class in turn; for class-conditional models.
        columns: images in a row of the grid.
        numbers: write above each image its number, for ``interpolate`` and ``arithmetic``.
        values: for images, also sample each value from its distribution instead of showing its mean. Rows are always
            sampled.
        temperature: for models that draw values one after the other: less than 1 gives more probable values, more than
            1 less probable ones; by default 1, the model itself.
        sweeps: for models with Markov chains: the number of their steps; by default that of the model.
        seed: random seed.
        overwrite: replace existing files.
        device: the device.

    Raises:
        UsageError: if the model cannot sample, is not class-conditional or has no Markov chains, the class does not
            exist, or the output exists.
    """
    check_at_least(1, n=n, columns=columns)
    model = load_with_verb(run, "sample", device)
    info = model.info
    labels = labels_of(model, label, n)
    destination = find_destination(out, run, "samples", info, overwrite)
    if (columns is not None or numbers) and destination.form != "grid":
        option = "numbers" if columns is None else "columns"
        raise UsageError(f"{option} applies to image grids only (a file name that ends in .png)", settings=(option,))
    check_grid_size(destination, n)
    if values and not has(model, "value_sampling"):
        raise UsageError(
            f"values: {type(model).__name__} does not model a distribution of each value; remove values",
            settings=("values",),
        )
    options: dict[str, Any] = {**temperature_option(model, temperature), **sweeps_option(model, sweeps)}
    if has(model, "value_sampling"):
        options["values"] = values or writer_of(info).sampled_values
    x = _samples(model, n, labels, options, seed)
    width = columns or (info.classes if label == "all" else None)
    heads = tuple(map(str, range(n))) if numbers else ()
    return Generated(x, write(destination, x, info, ImageGrid(x, width and min(width, n), heads)))


def _samples(model: Any, n: int, labels: Tensor | None, options: dict[str, Any], seed: int) -> Tensor:
    """Generate samples in batches, on the CPU."""
    device = next(model.parameters()).device
    if has(model, "generator"):
        options["generator"] = generator("sample", seed, device=device)
    batches = []
    with torch.no_grad(), seeded("sample", seed, device=device):
        for start in range(0, n, BATCH):
            if labels is not None:
                options["labels"] = labels[start : start + BATCH].to(device)
            batches.append(model.sample(min(BATCH, n - start), **options).cpu())
    return torch.cat(batches)
