"""What the verbs have in common that make examples: the model and its randomness, what comes in, what is told of it."""

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
"""examples that a model makes in one go"""


class Each(NamedTuple):
    """What came of a picture or of a row.

    Attributes:
        file: the image, or the file and the line of a row.
        squared_error: mean squared error of what was made, in the values that the model sees: for pictures from 0 to
            1, for rows shifted and scaled as the training rows; None where there is nothing to compare with.
        error: why nothing was made.
        filled: share of the values that were filled in.
    """

    file: str
    squared_error: float | None = None
    error: str | None = None
    filled: float | None = None


class Made(NamedTuple):
    """What a model has made.

    Attributes:
        x: the examples, (n, *shape), as the model has them, on the CPU.
        path: where they were written; None for standard output.
        files: what came of each input.
    """

    x: Tensor
    path: Path | None
    files: tuple[Each, ...] = ()


@contextmanager
def drawing(device: torch.device, *places: int | str) -> Iterator[None]:
    """Meanwhile what draws without being given a generator draws alike each time; later torch's own is what it was."""
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
    """All inputs, if the place has room for them, with so many pictures for each."""
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
    """What was given, what the verb made of it, and how near that is, where something was made.

    The verb is told the number of the input among those that can be used, by which ``known`` counts too.
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
    """Pictures in a row of a sheet of so many pairs, about as wide as high."""
    return 2 * math.ceil(math.sqrt(count / 2))
