"""Inpainting: fill in regions of images and empty fields of rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import Input, inputs_of, say_unused
from danlu.app.files.masks import Hole
from danlu.app.files.outputs import Drawn, find_place, write
from danlu.app.files.standard_input import files_of
from danlu.app.files.table_files import read_rows
from danlu.app.inference.apply import Made, drawing, kept, named, pairs_across, passed
from danlu.app.inference.load import ready
from danlu.data.base.dataset import DataInfo
from danlu.data.tables.info import TableInfo
from danlu.data.tables.table import standardize
from danlu.errors import RunError, UsageError
from danlu.training.runtime import DeviceName

HOLE = (0.1, 0.4, 0.9)
"""color of missing pixels in an image grid, different from all shades of gray"""
Said = Callable[[str], str]


def inpaint(
    run: str | Path,
    *files: str | Path,
    mask: str | Path | None = None,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Made:
    """Fill in a region of images, or the empty fields of tables, and write the results.

    An image grid shows each image with the missing region in blue, followed by the inpainted image; the other forms
    have only the latter. A table has its own numbers, and those of the model in empty fields.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; "-" is standard input.
        mask: the region of images to fill in: half (the lower half), left, right, top, bottom, block, random or
            random:SHARE; or an image file of the size of the images, or of the model's inputs, that is white where
            pixels are filled in.
        out: as for ``sample``; by default inpainted.png or inpainted.csv.
        invert: for images, invert dark on light to light on dark (not the mask).
        encoding: text encoding of CSV files.
        seed: random seed.
        overwrite: replace existing files.
        device: the device.
        quiet: do not report columns that are not used.

    Raises:
        UsageError: if the model cannot inpaint, no file is given, a file does not exist, the mask does not fit, or the
            output exists.
        RunError: if no file can be used.
    """
    model = ready(run, "inpaint", device)
    info = model.info
    place = find_place(out, run, "inpainted", info, overwrite)
    if mask is None and info.kind == "images":
        raise UsageError("name what is missing of the pictures: --mask half, random, FILE …")
    if mask is not None and info.kind != "images":
        raise UsageError("a mask is for pictures; of rows the empty fields are filled in, so leave it out")
    hole, screen = None if mask is None else Hole(mask, info, seed), Screen(quiet, sys.stderr)
    given: list[np.ndarray] = []
    with files_of(named(files)) as (paths, said):
        if hole is None:
            inputs, given = _rows_with_gaps(paths, info, encoding, screen, said)
            known = [torch.from_numpy(~np.isnan(numbers)) for numbers in given]
        else:
            inputs = kept(inputs_of(paths, info, invert, encoding, screen, said), place, 2)
            known = _outside(hole, inputs, said)
    with drawing(next(model.parameters()).device, "inpaint", seed):
        x, y, each = passed(model, inputs, said, _filling(model, known), known, compared=hole is not None)
    if hole is None:
        return Made(y, write(place, y, info, known=np.concatenate(given)), each)
    pairs = torch.stack([_with_holes(x, torch.cat(known), info), _colored(y)], 1).flatten(0, 1)
    return Made(y, write(place, y, info, Drawn(pairs, pairs_across(len(x)))), each)


def _filling(model: Any, known: list[Tensor]) -> Callable[[Tensor, int], Tensor]:
    """The function that fills in an input; known values are bitwise unchanged, for every model."""

    def fill(x: Tensor, number: int) -> Tensor:
        there = known[number].to(x.device)
        hidden = torch.where(there, x, torch.zeros_like(x))  # the model gets no values of the missing region
        return torch.where(there, x, model.inpaint(hidden, there.to(x.dtype)))

    return fill


def _outside(hole: Hole, inputs: list[Input], said: Said) -> list[Tensor]:
    """The mask of known pixels of each valid image."""
    usable = [some for some in inputs if some.x is not None]
    try:
        return [hole.known(some.places[0], number)[None] for number, some in enumerate(usable)]
    except (UsageError, RunError) as error:
        raise type(error)(said(str(error)), settings=error.settings) from error


def _rows_with_gaps(
    paths: list[str | Path], info: DataInfo, encoding: str, screen: Screen, said: Said
) -> tuple[list[Input], list[np.ndarray]]:
    """The rows of tables with placeholders for missing numbers, and the numbers of the files."""
    assert isinstance(info, TableInfo), "only rows have missing numbers"
    anything = replace(info, fill=info.shift or (0.0,) * info.shape[0])
    inputs, given = [], []
    for path in map(Path, paths):
        rows = read_rows(path, info, encoding)
        say_unused(screen, said(str(path)), rows.unused)
        for places, numbers in rows.with_gaps():
            inputs.append(Input(places, standardize(anything, numbers)))
            given.append(numbers)
    if not any(np.isnan(numbers).any() for numbers in given):
        raise UsageError("there is nothing to fill in: no row has an empty field")
    return inputs, given


def _colored(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)


def _with_holes(images: Tensor, known: Tensor, info: DataInfo) -> Tensor:
    low, high = info.range
    color = low + (high - low) * torch.tensor(HOLE).view(1, 3, 1, 1)
    return torch.where(known, _colored(images), color)
