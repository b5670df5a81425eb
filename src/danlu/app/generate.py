"""Examples that models make: samples, reconstructions, walks from one to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.app.inputs import inputs_of
from danlu.app.making import AT_ONCE, Made, at_least, drawing, kept, named, pairs_across, passed, ready, takes
from danlu.app.output import Drawn, check_sheet, find_place, write
from danlu.app.screen import Screen
from danlu.app.standard_input import files_of
from danlu.errors import RunError, UsageError, nearest
from danlu.sampling.randomness import generator
from danlu.training.runtime import DeviceName
from danlu.verbs import verbs_of


def sample(
    run: str | Path,
    n: int = 64,
    *,
    out: str | Path | None = None,
    label: str | int | None = None,
    columns: int | None = None,
    values: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
) -> Made:
    """Draw examples and write them: pictures as a sheet or one by one, rows as a table in the units of its columns.

    ``danlu.load(run).sample(n)`` gives them as a tensor, without a file. The same seed gives the same examples on the
    same kind of device.

    Args:
        run: a run folder, or a model folder.
        n: how many.
        out: a name that ends in .png, .csv or .npy, a folder (it ends in / or is there), or "-" for standard output;
            samples.png or samples.csv in the run if not given, for a model folder in the current folder.
        label: name or number of the class of all, or "all" for each class in turn; for models that take labels.
        columns: pictures in a row of the sheet.
        values: draw each value of a picture from its distribution, too; else its mean is shown. Rows are always drawn.
        seed: of the random numbers.
        overwrite: replace what is there.
        device: where to compute.

    Raises:
        UsageError: if the model cannot sample or takes no labels, there is no such class, or something is there.
    """
    at_least(1, n=n, columns=columns)
    model = ready(run, "sample", device)
    info = model.info
    labels = _labels(model, label, n)
    place = find_place(out, run, "samples", info, overwrite)
    if columns is not None and place.form != "sheet":
        raise UsageError("columns is for a sheet of pictures (.png); leave it out")
    check_sheet(place, n)
    if values and not takes(model.sample, "values"):
        raise UsageError(f"{type(model).__name__} has no distribution of single values; leave values out")
    x = _drawn(model, n, labels, values or info.kind == "table", seed)
    across = columns or (info.classes if label == "all" else None)
    return Made(x, write(place, x, info, Drawn(x, across)))


def reconstruct(
    run: str | Path,
    *files: str | Path,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Made:
    """Pass pictures or rows through the code of a model and back, and write what comes out.

    A sheet shows each picture and its reconstruction beside it; the other forms have the reconstructions.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of them; CSV or Parquet files for a model of rows; "-" is standard input.
        out: as for ``sample``; reconstructions.png or reconstructions.csv if not given.
        invert: turn dark on light into light on dark first, of images.
        encoding: how the text of CSV files is written.
        seed: of the random numbers, for a model that needs some.
        overwrite: replace what is there.
        device: where to compute.
        quiet: say nothing of columns that are not used.

    Raises:
        UsageError: if the model cannot reconstruct, no file is named or one is not there, or something is in the place.
        RunError: if no file can be used.
    """
    model = ready(run, "reconstruct", device)
    place = find_place(out, run, "reconstructions", model.info, overwrite)
    with files_of(named(files)) as (paths, said):
        inputs = kept(inputs_of(paths, model.info, invert, encoding, Screen(quiet, sys.stderr), said), place, 2)
    with drawing(next(model.parameters()).device, "reconstruct", seed):
        x, y, each = passed(model, inputs, said, lambda batch, _: model.reconstruct(batch))
    pairs = torch.stack([x, y], 1).flatten(0, 1)
    return Made(y, write(place, y, model.info, Drawn(pairs, pairs_across(len(x)))), each)


def interpolate(
    run: str | Path,
    a: str | Path,
    b: str | Path,
    *,
    steps: int = 10,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Made:
    """Walk from one picture to another, or from one row to another, as the model does it, and write the steps in a row.

    Args:
        run: a run folder, or a model folder.
        a: an image, or a CSV or Parquet file with one row; "-" is what comes on standard input.
        b: another.
        steps: how many, both ends included.
        out: as for ``sample``; interpolation.png or interpolation.csv if not given.
        invert: turn dark on light into light on dark first, of images.
        encoding: how the text of CSV files is written.
        seed: of the random numbers, for a model that needs some.
        overwrite: replace what is there.
        device: where to compute.
        quiet: say nothing of columns that are not used.

    Raises:
        UsageError: if the model cannot interpolate, a file is not there or holds several examples, or something is in
            the place.
        RunError: if a file cannot be used.
    """
    at_least(2, steps=steps)
    model = ready(run, "interpolate", device)
    place = find_place(out, run, "interpolation", model.info, overwrite)
    check_sheet(place, steps)
    ends = []
    with files_of([a, b]) as (paths, said):
        for path in paths:
            found = list(inputs_of([path], model.info, invert, encoding, Screen(quiet, sys.stderr), said))
            if (count := sum(len(some.places) for some in found)) != 1:
                raise UsageError(f"{said(str(path))} holds {count} examples; the walk goes from one to one")
            if (x := found[0].x) is None:
                raise RunError(found[0].error)
            ends.append(x)
    some = next(model.parameters())
    start, end = (x.to(some.device, some.dtype) for x in ends)
    with drawing(some.device, "interpolate", seed):
        walk = model.interpolate(start, end, steps)[0].cpu()
    return Made(walk, write(place, walk, model.info, Drawn(walk, steps)))


def _drawn(model: Any, n: int, labels: Tensor | None, values: bool, seed: int) -> Tensor:
    """So many examples, some at a time, on the CPU."""
    device = next(model.parameters()).device
    offered: dict[str, Any] = {"generator": generator("sample", seed, device=device), "values": values}
    given = {name: value for name, value in offered.items() if takes(model.sample, name)}
    batches = []
    with drawing(device, "sample", seed):
        for start in range(0, n, AT_ONCE):
            if labels is not None:
                given["labels"] = labels[start : start + AT_ONCE].to(device)
            batches.append(model.sample(min(AT_ONCE, n - start), **given).cpu())
    return torch.cat(batches)


def _labels(model: Any, label: str | int | None, n: int) -> Tensor | None:
    """The number of each example's class; None for a model that chooses itself."""
    if label is None:
        return None
    if not takes(model.sample, "labels"):
        can = ", ".join(verbs_of(model))
        raise UsageError(f"{type(model).__name__} takes no labels; leave label out (it can {can})")
    info = model.info
    names = info.label_names
    if str(label) == "all" and "all" not in names:
        return torch.arange(n) % info.classes
    if str(label) in names:
        return torch.full((n,), names.index(str(label)))
    if str(label).isdecimal() and int(label) < info.classes:
        return torch.full((n,), int(label))
    numbers = f", or a number from 0 to {info.classes - 1}"
    raise UsageError(f"there is no class {str(label)!r}; {nearest(str(label), names)}{numbers}")
