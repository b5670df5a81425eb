"""Inpainting: fill in regions of images and empty fields of rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.image_files import say_resized
from danlu.app.files.inputs import Input, inputs_of
from danlu.app.files.masks import Mask
from danlu.app.files.outputs import ImageGrid, find_destination, write
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import (
    Generated,
    apply_verb,
    collect_inputs,
    grid_columns,
    require_files,
    sweeps_option,
    temperature_option,
)
from danlu.app.inference.class_labels import labels_of
from danlu.app.inference.load import load_with_verb
from danlu.app.inference.two_values import suited
from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataInfo, require_images
from danlu.data.kinds import find_kind
from danlu.errors import RunError, UsageError
from danlu.rng.keys import seeded
from danlu.training.runtime import DeviceName

MASK_COLOR = (0.1, 0.4, 0.9)
"""color of missing pixels in an image grid, different from all shades of gray"""
Display = Callable[[str], str]


def inpaint(
    run: str | Path,
    *files: str | Path,
    mask: str | Path | None = None,
    out: str | Path | None = None,
    label: str | int | None = None,
    temperature: float | None = None,
    sweeps: int | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Generated:
    """Fill in a region of images, or the empty fields of tables, and write the results.

    An image grid shows each image with the missing region in blue, followed by the inpainted image; the other forms
    have only the latter. A table has its own numbers, and those of the model in empty fields. For a model of two
    values, images become black and white at the middle of the gray values.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; "-" is standard input.
        mask: the region of images to fill in: half (the lower half), left, right, top, bottom, block, random or
            random:FRACTION; or an image file of the size of the images, or of the model's inputs, that is white where
            pixels are filled in.
        out: as for ``sample``; by default inpainted.png or inpainted.csv.
        label: for class-conditional models, the name or number of the class of all examples, or "all" for each class in
            turn; without it, the model predicts or draws the class of each example.
        temperature: for models that draw values one after the other: as for ``sample``.
        sweeps: for models with Markov chains: the number of their steps; by default that of the model.
        invert: for images, invert dark on light to light on dark (not the mask).
        encoding: text encoding of CSV files.
        seed: random seed.
        overwrite: replace existing files.
        device: the device.
        quiet: do not report columns that are not used, and images that are resized.

    Raises:
        UsageError: if the model cannot inpaint, is not class-conditional or has no temperature or Markov chains, the
            class does not exist, no file is given, a file does not exist, the mask does not fit, or the output exists.
        RunError: if no file can be used.
    """
    model = load_with_verb(run, "inpaint", device)
    info, options = model.info, {**temperature_option(model, temperature), **sweeps_option(model, sweeps)}
    labels_of(model, label, 1)  # an error is found before files are read
    destination = find_destination(out, run, "inpainted", info, overwrite)
    if mask is None and info.image_size is not None:
        raise UsageError("the region to fill in is not given; choose a mask, for example half", settings=("mask=half",))
    require_images(info, mask=mask, invert=invert)
    read_gaps = find_kind(info.kind).read_gaps
    if mask is None and not read_gaps:
        raise UsageError(
            f"files of {info.description} cannot have missing values; use the model in Python: "
            f"danlu.load(RUN).inpaint(x, mask)"
        )
    region, screen = None if mask is None else Mask(mask, info, seed), Screen(quiet, sys.stderr)
    inputs, file_numbers = list[Input](), list[np.ndarray]()
    with with_standard_input(require_files(files)) as (paths, display):
        if region is None:
            for rows, numbers in resolve(read_gaps)(paths, info, encoding, screen, display):
                inputs.append(suited(rows, model, display, torch.from_numpy(~np.isnan(numbers))))
                file_numbers.append(numbers)
            known = [torch.from_numpy(~np.isnan(numbers)) for numbers in file_numbers]
        else:
            say_resized(paths, info, screen, display)
            inputs = collect_inputs(inputs_of(paths, info, invert, encoding, screen, display), destination, 2)
            inputs = [suited(one, model, display) for one in inputs]
            known = _known_pixels(region, inputs, display)
    with torch.no_grad(), seeded("inpaint", seed, device=next(model.parameters()).device):
        fill = _inpainter(model, known, labels_of(model, label, sum(map(len, known))), options)
        x, y, results = apply_verb(model, inputs, display, fill, known, compared=region is not None)
    if region is None:
        return Generated(y, write(destination, y, info, known=np.concatenate(file_numbers)), results)
    pairs = torch.stack([_with_masked_region(x, torch.cat(known), info), _colored(y)], 1).flatten(0, 1)
    return Generated(y, write(destination, y, info, ImageGrid(pairs, grid_columns(len(x)))), results)


def _inpainter(
    model: Any, known: list[Tensor], labels: Tensor | None, options: dict[str, Any]
) -> Callable[[Tensor, int], Tensor]:
    """The function that fills in an input; known values are bitwise unchanged, for every model."""
    of_inputs = None if labels is None else labels.split([len(of_input) for of_input in known])

    def fill(x: Tensor, number: int) -> Tensor:
        is_known = known[number].to(x.device)
        hidden = torch.where(is_known, x, torch.zeros_like(x))  # the model gets no values of the missing region
        given = {} if of_inputs is None else {"labels": of_inputs[number].to(x.device)}
        return torch.where(is_known, x, model.inpaint(hidden, is_known.to(x.dtype), **given, **options))

    return fill


def _known_pixels(region: Mask, inputs: list[Input], display: Display) -> list[Tensor]:
    """The mask of known pixels of each valid image."""
    valid = [image for image in inputs if image.x is not None]
    try:
        return [region.known(image.names[0], number)[None] for number, image in enumerate(valid)]
    except (UsageError, RunError) as error:
        raise type(error)(display(str(error)), settings=error.settings) from error


def _colored(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)


def _with_masked_region(images: Tensor, known: Tensor, info: DataInfo) -> Tensor:
    low, high = info.range
    color = low + (high - low) * torch.tensor(MASK_COLOR).view(1, 3, 1, 1)
    return torch.where(known, _colored(images), color)
