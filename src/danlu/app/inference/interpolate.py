"""Interpolate between two files, or between two samples of a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import inputs_of
from danlu.app.files.outputs import ImageGrid, check_grid_size, find_destination, write
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import Generated, check_at_least
from danlu.app.inference.latents import DEFAULT_SAMPLES, check_class, decode_latents, select_latents
from danlu.app.inference.load import load_without_seeding
from danlu.app.inference.two_values import suited
from danlu.errors import RunError, UsageError
from danlu.nn.memory_format import place
from danlu.rng.keys import seeded
from danlu.sampling.latent_interpolation import slerp
from danlu.training.runtime import DeviceName, pick_device
from danlu.verbs import can, need, samples_latents


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
) -> Generated:
    """Interpolate between two images, two rows or two waveforms, and write the steps in order.

    Files are interpolated by the model's method ``interpolate``. Samples, selected by their numbers, are interpolated
    on the arc between their latents, see ``slerp``.

    Args:
        run: a run folder, or a model folder.
        a: the start: an image, a CSV or Parquet file with one row, or a WAV file with one window; "-" is standard
            input. Or the number of a sample that ``sample`` generates with the same seed, counted from 0, if there is
            no file of that name.
        b: the end.
        steps: number of steps, including both ends.
        n: for numbers: how many samples ``sample`` generated, 64 by default.
        label: for numbers: name or number of the class, for class-conditional models.
        out: as for ``sample``; by default interpolation.png, interpolation.csv or interpolation.wav.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of CSV files.
        seed: random seed, for models that use random numbers.
        overwrite: replace existing files.
        device: the device.
        quiet: do not report columns that are not used.

    Raises:
        UsageError: if the model cannot interpolate, a file does not exist or has several examples, a number is out of
            range, or the output exists.
        RunError: if a file cannot be used.
    """
    check_at_least(2, steps=steps)
    model = load_without_seeding(run)
    numbers = _numbers(model, a, b, n, label)
    place(model, pick_device(device)[0])
    destination = find_destination(out, run, "interpolation", model.info, overwrite)
    check_grid_size(destination, steps)
    if numbers is not None:
        interpolation = _between_samples(
            model, numbers, steps, DEFAULT_SAMPLES if n is None else n, check_class(model, label), seed
        )
        return Generated(interpolation, write(destination, interpolation, model.info, ImageGrid(interpolation, steps)))
    ends = []
    with with_standard_input([str(a), str(b)]) as (paths, display):
        for path in paths:
            inputs = list(inputs_of([path], model.info, invert, encoding, Screen(quiet, sys.stderr), display))
            if (count := sum(len(batch.names) for batch in inputs)) != 1:
                raise UsageError(
                    f"{display(str(path))}: expected one image, one row or one window of a waveform, got {count:,}"
                )
            if (x := suited(inputs[0], model, display).x) is None:
                raise RunError(inputs[0].error or "")
            ends.append(x)
    parameter = next(model.parameters())
    start, end = (x.to(parameter.device, parameter.dtype) for x in ends)
    with torch.no_grad(), seeded("interpolate", seed, device=parameter.device):
        interpolation = model.interpolate(start, end, steps)[0].cpu()
    return Generated(interpolation, write(destination, interpolation, model.info, ImageGrid(interpolation, steps)))


def _numbers(
    model: Any, a: str | Path | int, b: str | Path | int, n: int | None, label: str | int | None
) -> tuple[int, int] | None:
    """Both ends as numbers of samples; None if they are files.

    Raises:
        UsageError: if one is a number and the other a file, or the model cannot interpolate between them.
    """
    numbers = [
        int(str(end)) for end in (a, b) if str(end).isdecimal() and (isinstance(end, int) or not Path(end).exists())
    ]
    name = type(model).__name__
    if len(numbers) == 1:
        raise UsageError(f"{a} and {b}: one is the number of a sample, the other a file; give two numbers or two files")
    if numbers and samples_latents(model):
        return numbers[0], numbers[1]
    if numbers and can(model, "interpolate"):
        raise UsageError(
            f"{name} does not generate samples from latents, so samples {a} and {b} do not exist; give two files"
        )
    if not can(model, "interpolate") and samples_latents(model):
        raise UsageError(
            f"{name} cannot encode files; give the numbers of two samples, which `danlu sample RUN --numbers` shows: "
            f"danlu interpolate RUN 3 17"
        )
    need(model, "interpolate")
    if n is not None or label is not None:
        option = "label" if n is None else "n"
        raise UsageError(
            f"{option} applies to numbers of samples, and {a} is a file; remove {option}", settings=(option,)
        )
    return None


def _between_samples(
    model: Any, numbers: tuple[int, int], steps: int, n: int, label: str | int | None, seed: int
) -> Tensor:
    """The interpolation on the arc between the latents of two samples."""
    codes = select_latents(model, numbers, n, seed)
    start, end = (codes[number] for number in numbers)
    interpolation = slerp(start.flatten()[None], end.flatten()[None], steps)[0]
    return decode_latents(model, interpolation.unflatten(1, start.shape), label)
