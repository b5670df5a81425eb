"""Denoising: images or rows without their noise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.image_files import say_resized
from danlu.app.files.inputs import inputs_of
from danlu.app.files.outputs import ImageGrid, find_destination, write
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import (
    FileResult,
    apply_verb,
    collect_inputs,
    grid_columns,
    noise_option,
    require_files,
    sweeps_option,
)
from danlu.app.inference.load import load_with_verb
from danlu.app.inference.two_values import suited
from danlu.rng.keys import seeded
from danlu.training.runtime import DeviceName
from danlu.verbs import has


class DenoiseResult(NamedTuple):
    """The result for one image or row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        changed: for models of two values, the fraction of the values that the model changed.
        mean_change: for other models, the mean absolute difference of output and input, in the values of the model's
            inputs: for images from 0 to 1, for rows shifted and scaled as the training rows.
        error: why there is no output; None if there is one.
    """

    file: str
    changed: float | None = None
    mean_change: float | None = None
    error: str | None = None


class Denoised(NamedTuple):
    """The result of denoising.

    Attributes:
        x: the denoised examples, (n, *shape), in the values of the model, on the CPU.
        path: path of the written file or folder; None for standard output.
        files: the result for each input.
    """

    x: Tensor
    path: Path | None
    files: tuple[DenoiseResult, ...] = ()


def denoise(
    run: str | Path,
    *files: str | Path,
    noise: float | None = None,
    sweeps: int | None = None,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Denoised:
    """Remove noise from images or rows, and write the results.

    For a model of two values, images become black and white at the middle of the gray values. An image grid shows each
    image, followed by the denoised image; the other forms have the denoised images.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; "-" is standard input.
        noise: how much noise there is: for a model of two values, the probability that a value is wrong; for others,
            the standard deviation of normal noise in the values of the model's inputs. By default that of the model.
        sweeps: number of steps of the Markov chains; by default that of the model.
        out: as for ``sample``; by default denoised.png or denoised.csv.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of CSV files.
        seed: random seed, for models that use random numbers.
        overwrite: replace existing files.
        device: the device.
        quiet: do not report columns that are not used, and images that are resized.

    Raises:
        UsageError: if the model cannot denoise, an option is not for this model or out of range, no file is given, a
            file does not exist, a value of a row is not one of two values of the model, or the output exists.
        RunError: if no file can be used.
    """
    model = load_with_verb(run, "denoise", device)
    options = {**noise_option(model, noise), **sweeps_option(model, sweeps)}
    info, screen = model.info, Screen(quiet, sys.stderr)
    destination = find_destination(out, run, "denoised", info, overwrite)
    with with_standard_input(require_files(files)) as (paths, display):
        say_resized(paths, info, screen, display)
        inputs = collect_inputs(inputs_of(paths, info, invert, encoding, screen, display), destination, 2)
        inputs = [suited(one, model, display) for one in inputs]
    with torch.no_grad(), seeded("denoise", seed, device=next(model.parameters()).device):
        x, y, results = apply_verb(model, inputs, display, lambda batch, _: model.denoise(batch, **options))
    pairs = torch.stack([x, y], 1).flatten(0, 1)
    grid = ImageGrid(pairs, grid_columns(len(x))) if info.viewable else None
    return Denoised(y, write(destination, y, info, grid), tuple(_changes(results, x, y, model)))


def _changes(results: tuple[FileResult, ...], x: Tensor, y: Tensor, model: Any) -> Iterator[DenoiseResult]:
    """How much each input has changed; inputs with an error are not in x and y."""
    fractions = (y != x).flatten(1).double().mean(1).tolist()
    distances = (y.double() - x.double()).abs().flatten(1).mean(1).tolist()
    number, two_values = 0, has(model, "binary_values")
    for result in results:
        if result.error is not None:
            yield DenoiseResult(result.file, error=result.error)
            continue
        changes = {"changed": fractions[number]} if two_values else {"mean_change": distances[number]}
        yield DenoiseResult(result.file, **changes)
        number += 1
