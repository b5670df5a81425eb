"""Examples with their gaps filled in: holes in pictures, empty fields in rows."""

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
"""color of what is missing on a sheet: no shade of gray"""
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
    """Fill in what is missing of pictures, or the empty fields of tables, and write what comes out.

    A sheet shows each picture with its hole in blue, and beside it the picture filled in; the other forms have the
    latter. A table has its own numbers, and the model's where there were none.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of them; CSV or Parquet files for a model of rows; "-" is standard input.
        mask: what is missing of pictures: half (the lower one), left, right, top, bottom, block, random or
            random:SHARE; or the file of a picture as large as the others, or as the model has them, in which white is
            what is to be filled in.
        out: as for ``sample``; inpainted.png or inpainted.csv if not given.
        invert: turn dark on light into light on dark first, of images (not of the mask).
        encoding: how the text of CSV files is written.
        seed: of the random numbers.
        overwrite: replace what is there.
        device: where to compute.
        quiet: say nothing of columns that are not used.

    Raises:
        UsageError: if the model cannot inpaint, no file is named or one is not there, a mask does not fit, or something
            is in the place.
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
    """The verb for an input of which some is known; what is known stays to the last bit, whatever the model does."""

    def fill(x: Tensor, number: int) -> Tensor:
        there = known[number].to(x.device)
        hidden = torch.where(there, x, torch.zeros_like(x))  # nobody can see what is to be filled in
        return torch.where(there, x, model.inpaint(hidden, there.to(x.dtype)))

    return fill


def _outside(hole: Hole, inputs: list[Input], said: Said) -> list[Tensor]:
    """What is known of each picture that can be used."""
    usable = [some for some in inputs if some.x is not None]
    try:
        return [hole.known(some.places[0], number)[None] for number, some in enumerate(usable)]
    except (UsageError, RunError) as error:
        raise type(error)(said(str(error)), settings=error.settings) from error


def _rows_with_gaps(
    paths: list[str | Path], info: DataInfo, encoding: str, screen: Screen, said: Said
) -> tuple[list[Input], list[np.ndarray]]:
    """The rows of tables with anything for the numbers that are missing, and the numbers as the files have them."""
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
