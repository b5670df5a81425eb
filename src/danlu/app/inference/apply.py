"""Code shared by the functions that apply a model: random numbers, inputs, batches, and a result for each input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.app.files.inputs import Input
from danlu.app.files.outputs import LARGEST_GRID, Destination, check_grid_size
from danlu.errors import RunError, UsageError
from danlu.models.pixels.outputs import check_temperature
from danlu.verbs import has

BATCH = 500
"""examples per batch"""


class FileResult(NamedTuple):
    """The result for one image or row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        squared_error: mean squared error of the output, in the values of the model's inputs: for images from 0 to 1,
            for rows shifted and scaled as the training rows; None if there is nothing to compare with.
        error: why there is no output; None if there is one.
        filled: fraction of the values that were filled in.
    """

    file: str
    squared_error: float | None = None
    error: str | None = None
    filled: float | None = None


class Generated(NamedTuple):
    """Examples that a model generated.

    Attributes:
        x: the examples, (n, *shape), in the values of the model, on the CPU.
        path: path of the written file or folder; None for standard output.
        files: the result for each input.
    """

    x: Tensor
    path: Path | None
    files: tuple[FileResult, ...] = ()


def check_at_least(least: int, **numbers: int | None) -> None:
    """Check options that are whole numbers; None is allowed.

    Raises:
        UsageError: if one is smaller; the message names it.
    """
    for name, number in numbers.items():
        if number is not None and number < least:
            raise UsageError(f"{name} must be at least {least}, got {number}", settings=(name,))


def temperature_option(model: Any, temperature: float | None) -> dict[str, float]:
    """The argument ``temperature`` of a verb that draws values; empty if none is given.

    Raises:
        UsageError: if the model has no temperature, or it is not greater than 0.
    """
    if temperature is None:
        return {}
    if not has(model, "temperature"):
        raise UsageError(f"{type(model).__name__} has no temperature; remove temperature", settings=("temperature",))
    try:
        check_temperature(temperature)
    except ValueError as error:
        raise UsageError(str(error), settings=("temperature",)) from error
    return {"temperature": temperature}


def sweeps_option(model: Any, sweeps: int | None) -> dict[str, int]:
    """The argument ``sweeps`` of a verb that runs Markov chains; empty if none is given.

    Raises:
        UsageError: if the model has no Markov chains, or there is not at least one step.
    """
    if sweeps is None:
        return {}
    if not has(model, "sweeps"):
        raise UsageError(f"{type(model).__name__} has no Markov chains; remove sweeps", settings=("sweeps",))
    check_at_least(1, sweeps=sweeps)
    return {"sweeps": sweeps}


def noise_option(model: Any, noise: float | None) -> dict[str, float]:
    """The argument ``noise`` of the verb ``denoise``; empty if none is given.

    Raises:
        UsageError: if the model does not take it, or it is out of range.
    """
    if noise is None:
        return {}
    if not has(model, "noise_level"):
        raise UsageError(f"{type(model).__name__} does not use an amount of noise; remove noise", settings=("noise",))
    if has(model, "binary_values"):
        if not 0 < noise < 0.5:
            raise UsageError(
                f"noise is the probability of a wrong value and must be between 0 and 0.5, got {noise:g}",
                settings=("noise",),
            )
    elif not 0 < noise < math.inf:
        raise UsageError(
            f"noise is a standard deviation and must be a finite number greater than 0, got {noise:g}",
            settings=("noise",),
        )
    return {"noise": noise}


def require_files(files: tuple[str | Path, ...]) -> tuple[str | Path, ...]:
    """The files, at least one.

    Raises:
        UsageError: if there are none.
    """
    if not files:
        raise UsageError("no input file is given; give at least one file, a folder, or - for standard input")
    return files


def collect_inputs(inputs: Iterable[Input], destination: Destination, images_per_input: int) -> list[Input]:
    """All inputs as a list.

    Raises:
        UsageError: if the output is an image grid, which would have too many images.
    """
    collected: list[Input] = []
    for batch in inputs:
        collected.append(batch)
        if destination.form == "grid" and len(collected) * images_per_input > LARGEST_GRID:
            check_grid_size(destination, len(collected) * images_per_input)
    return collected


def apply_verb(
    model: Any,
    inputs: list[Input],
    display: Callable[[str], str],
    verb: Callable[[Tensor, int], Tensor],
    known: list[Tensor] | None = None,
    compared: bool = True,
) -> tuple[Tensor, Tensor, tuple[FileResult, ...]]:
    """Apply a verb to all valid inputs; return the inputs, the outputs, and a result for each input.

    The second argument of the verb is the index of the input among the valid ones, as for ``known``.
    """
    parameter = next(model.parameters())
    valid: list[Tensor] = []
    outputs: list[Tensor] = []
    results: list[FileResult] = []
    for names, x, error in inputs:
        if x is None:
            results += [FileResult(display(name), error=display(error or "")) for name in names]
            continue
        y = verb(x.to(parameter.device, parameter.dtype), len(outputs)).cpu().to(x.dtype)
        missing = torch.ones_like(x) if known is None else (~known[len(outputs)]).expand_as(x).to(x.dtype)
        counts = missing.flatten(1).sum(1)
        errors = (missing * (y - x).double().square()).flatten(1).sum(1) / counts  # a float's square can be infinite
        for name, squared, count in zip(names, errors.tolist(), counts.tolist(), strict=True):
            filled = None if known is None else count / x[0].numel()
            results.append(FileResult(display(name), squared if compared else None, None, filled))
        valid.append(x)
        outputs.append(y)
    if not outputs:
        raise RunError("; ".join(dict.fromkeys(result.error or "" for result in results)))
    return torch.cat(valid), torch.cat(outputs), tuple(results)


def grid_columns(pairs: int) -> int:
    """Number of images in a row of a nearly square grid of pairs of images."""
    return 2 * math.ceil(math.sqrt(pairs / 2))
