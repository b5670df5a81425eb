"""Examples that models make: samples, reconstructions, walks from one to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.app.codes import SHEET, between, decoded, has_codes, one_class, picked
from danlu.app.inputs import inputs_of
from danlu.app.labels import labels_of
from danlu.app.making import (
    AT_ONCE,
    Made,
    at_least,
    drawing,
    kept,
    named,
    opened,
    pairs_across,
    passed,
    ready,
    takes,
)
from danlu.app.output import Drawn, check_sheet, find_place, write
from danlu.app.screen import Screen
from danlu.app.standard_input import files_of
from danlu.errors import RunError, UsageError
from danlu.sampling.randomness import generator
from danlu.training.runtime import DeviceName, pick_device
from danlu.verbs import can, need


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
        numbers: write its number above each picture of the sheet, by which ``interpolate`` and ``arithmetic`` know it.
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
    labels = labels_of(model, label, n)
    place = find_place(out, run, "samples", info, overwrite)
    if (columns is not None or numbers) and place.form != "sheet":
        given = "numbers" if columns is None else "columns"
        raise UsageError(f"{given} is for a sheet of pictures (.png); leave it out")
    check_sheet(place, n)
    if values and not takes(model.sample, "values"):
        raise UsageError(f"{type(model).__name__} has no distribution of single values; leave values out")
    x = _drawn(model, n, labels, values or info.kind == "table", seed)
    across = columns or (info.classes if label == "all" else None)
    heads = tuple(map(str, range(n))) if numbers else ()
    return Made(x, write(place, x, info, Drawn(x, across and min(across, n), heads)))


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
    a: str | Path | int,
    b: str | Path | int,
    *,
    steps: int = 10,
    n: int | None = None,
    label: str | int | None = None,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Made:
    """Walk from one picture to another, or from one row to another, and write the steps in a row.

    Between files the model walks as it does it. Between samples, which are picked by their numbers, the walk is that
    on the arc between their codes, see ``between``.

    Args:
        run: a run folder, or a model folder.
        a: an image, or a CSV or Parquet file with one row; "-" is what comes on standard input. Or the number of a
            picture that ``sample`` draws with the same seed, counted from 0, if there is no file of that name.
        b: another.
        steps: how many, both ends included.
        n: of numbers: how many samples there were to pick from, 64 if not given.
        label: of numbers: name or number of the class, for a model that is told classes.
        out: as for ``sample``; interpolation.png or interpolation.csv if not given.
        invert: turn dark on light into light on dark first, of images.
        encoding: how the text of CSV files is written.
        seed: of the random numbers, for a model that needs some.
        overwrite: replace what is there.
        device: where to compute.
        quiet: say nothing of columns that are not used.

    Raises:
        UsageError: if the model cannot interpolate, a file is not there or holds several examples, there is no sample
            of a number, or something is in the place.
        RunError: if a file cannot be used.
    """
    at_least(2, steps=steps)
    model = opened(run)
    numbers = _numbers(model, a, b, n, label)
    model.to(pick_device(device)[0])
    place = find_place(out, run, "interpolation", model.info, overwrite)
    check_sheet(place, steps)
    if numbers is not None:
        walk = _between_samples(model, numbers, steps, SHEET if n is None else n, one_class(model, label), seed)
        return Made(walk, write(place, walk, model.info, Drawn(walk, steps)))
    ends = []
    with files_of([str(a), str(b)]) as (paths, said):
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


def _numbers(
    model: Any, a: str | Path | int, b: str | Path | int, n: int | None, label: str | int | None
) -> tuple[int, int] | None:
    """Both ends as numbers of samples; None if they are files, between which the model can walk.

    Raises:
        UsageError: if one is a number and the other a file, or the model cannot walk between such.
    """
    numbers = [
        int(str(end)) for end in (a, b) if str(end).isdecimal() and (isinstance(end, int) or not Path(end).exists())
    ]
    name = type(model).__name__
    if len(numbers) == 1:
        raise UsageError(f"{a} and {b}: one is the number of a sample and the other a file; name two of one kind")
    if numbers and has_codes(model):
        return numbers[0], numbers[1]
    if numbers and can(model, "interpolate"):
        raise UsageError(f"{name} has no codes to draw, so {a} and {b} are no samples of it; name two files")
    if not can(model, "interpolate") and has_codes(model):
        raise UsageError(
            f"{name} cannot encode files; name two samples by their numbers on the sheet that `danlu sample RUN "
            f"--numbers` writes: danlu interpolate RUN 3 17"
        )
    need(model, "interpolate")
    if n is not None or label is not None:
        raise UsageError(f"{'label' if n is None else 'n'} is for numbers of samples, and {a} is a file; leave it out")
    return None


def _between_samples(
    model: Any, numbers: tuple[int, int], steps: int, n: int, label: str | int | None, seed: int
) -> Tensor:
    """The walk on the arc between the codes of two samples."""
    codes = picked(model, numbers, n, seed)
    start, end = (codes[number] for number in numbers)
    walk = between(start.flatten()[None], end.flatten()[None], steps)[0]
    return decoded(model, walk.unflatten(1, start.shape), label)


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
