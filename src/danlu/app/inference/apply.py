"""Code shared by the functions that generate examples: model, random numbers, inputs, and reports on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.app.files.inputs import Input
from danlu.app.files.outputs import LARGEST_SHEET, Place, check_sheet
from danlu.errors import RunError, UsageError
from danlu.rng.keys import key

AT_ONCE = 500
"""examples per batch"""


class Each(NamedTuple):
    """The result for one image or row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        squared_error: mean squared error of the output, in the values of the model's inputs: for images from 0 to 1,
            for rows shifted and scaled as the training rows; None if there is nothing to compare with.
        error: why there is no output; None if there is one.
        filled: share of the values that were filled in.
    """

    file: str
    squared_error: float | None = None
    error: str | None = None
    filled: float | None = None


class Made(NamedTuple):
    """Examples that a model generated.

    Attributes:
        x: the examples, (n, *shape), in the values of the model, on the CPU.
        path: path of the written file or folder; None for standard output.
        files: the result for each input.
    """

    x: Tensor
    path: Path | None
    files: tuple[Each, ...] = ()


@contextmanager
def drawing(device: torch.device, *places: int | str) -> Iterator[None]:
    """A context in which torch's default generator has a fixed seed; its state is restored at the end."""
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(key(*places))
        yield


def at_least(least: int, **numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < least:
            raise UsageError(f"{name}={number} must be at least {least}")


def named(files: tuple[str | Path, ...]) -> tuple[str | Path, ...]:
    if not files:
        raise UsageError("name at least one file")
    return files


def kept(inputs: Iterable[Input], place: Place, each: int) -> list[Input]:
    """All inputs as a list; refused if an image grid with ``each`` images per input would be too large."""
    kept: list[Input] = []
    for some in inputs:
        kept.append(some)
        if place.form == "sheet" and len(kept) * each > LARGEST_SHEET:
            check_sheet(place, len(kept) * each)
    return kept


def passed(
    model: Any,
    inputs: list[Input],
    said: Callable[[str], str],
    verb: Callable[[Tensor, int], Tensor],
    known: list[Tensor] | None = None,
    compared: bool = True,
) -> tuple[Tensor, Tensor, tuple[Each, ...]]:
    """Apply a verb to all valid inputs; return the inputs, the outputs, and a result for each input.

    The second argument of the verb is the index of the input among the valid ones, as for ``known``.
    """
    some = next(model.parameters())
    given, made, each = [], [], []
    for places, x, error in inputs:
        if x is None:
            each += [Each(said(place), error=said(error or "")) for place in places]
            continue
        y = verb(x.to(some.device, some.dtype), len(made)).cpu().to(x.dtype)
        missing = torch.ones_like(x) if known is None else (~known[len(made)]).expand_as(x).to(x.dtype)
        counts = missing.flatten(1).sum(1)
        errors = (missing * (y - x).double().square()).flatten(1).sum(1) / counts  # a float's square can be infinite
        for place, squared, count in zip(places, errors.tolist(), counts.tolist(), strict=True):
            filled = None if known is None else count / x[0].numel()
            each.append(Each(said(place), squared if compared else None, None, filled))
        given.append(x)
        made.append(y)
    if not made:
        raise RunError("; ".join(dict.fromkeys(one.error or "" for one in each)))
    return torch.cat(given), torch.cat(made), tuple(each)


def pairs_across(count: int) -> int:
    """Number of images in a row of a nearly square grid of ``count`` pairs."""
    return 2 * math.ceil(math.sqrt(count / 2))
