"""Statistics of examples that are arrays of numbers: images and rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.survey.result import Survey
from danlu.errors import few

_ROWS = 4096
"""number of examples that are read at a time"""
_IMBALANCED = 50
"""maximum ratio of the sizes of two classes; above it, the classes are reported as imbalanced"""
_CONSTANT = float(torch.finfo(torch.float32).eps)
"""a standard deviation at or below this fraction of the largest absolute value of its channel counts as zero"""


def survey_arrays(data: DataSet, constant: Callable[[DataSet, Tensor], list[str]], problem: str = "") -> Survey:
    """Statistics of a data set of arrays.

    Args:
        data: the data set.
        constant: returns the names of constant values, from the data set and a mask of shape (channels, positions) or
            (columns,).
        problem: message on constant values, with {} for their names; empty if they are not a problem.
    """
    inputs = data.info.inputs
    parts = {name: part for name in PARTS if len(part := data.part(name))}
    classes = {
        name: part["label"].bincount(minlength=data.info.classes).tolist()
        for name, part in parts.items()
        if data.info.classes and "label" in part.fields
    }
    channels, is_constant = _channels(data)
    names = constant(data, is_constant)
    survey = Survey(
        {name: len(data.part(name)) for name in PARTS},
        classes,
        inputs,
        channels,
        _repeated({name: part.fields[inputs] for name, part in parts.items()}),
        names,
    )
    survey.problems.extend(_problems(data, survey, problem.format(few(names)) if names else ""))
    return survey


def _channels(data: DataSet) -> tuple[list[dict[str, Any]], Tensor]:
    """Statistics of each channel or column of the training part, and a mask of the constant positions."""
    low, high, mean, spread = _statistics(data.train, data.info.inputs)
    names = data.info.channel_names or tuple(str(number) for number in range(len(mean)))
    rows = []
    for number, name in enumerate(names):
        level = mean[number].mean()
        deviation = (spread[number].square() + (mean[number] - level).square()).mean().sqrt()
        values = {"low": low[number].min(), "high": high[number].max(), "mean": level, "deviation": deviation}
        rows.append({"name": name, **{key: float(value) for key, value in values.items()}})
    largest = low.abs().maximum(high.abs()).flatten(1 if low.ndim > 1 else 0)
    if spread.ndim > 1:
        return rows, spread.flatten(1) <= _CONSTANT * largest.amax(1, keepdim=True)
    return rows, spread <= _CONSTANT * largest


def _statistics(part: Part, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Minimum, maximum, mean and standard deviation over the examples, at each position of an example.

    The squares are of deviations from the mean of a block, and are merged over the blocks (Chan, Golub and LeVeque,
    "Algorithms for computing the sample variance", 1983, equation 2.1). The difference of mean squares would lose all
    digits of a deviation that is small compared with the mean.
    """
    first = next(_blocks(part, name))[0]
    low, high = torch.full_like(first, torch.inf), torch.full_like(first, -torch.inf)
    count, mean, squares = 0, torch.zeros_like(first), torch.zeros_like(first)
    for values in _blocks(part, name):
        low, high = torch.minimum(low, values.amin(0)), torch.maximum(high, values.amax(0))
        block_mean, total = values.mean(0), count + len(values)
        difference = block_mean - mean
        squares += (values - block_mean).square().sum(0) + difference.square() * (count * len(values) / total)
        mean += difference * (len(values) / total)
        count = total
    return low, high, mean, (squares / count).sqrt()


def _blocks(part: Part, name: str) -> Iterator[Tensor]:
    for start in range(0, len(part), _ROWS):
        yield part.rows(slice(start, start + _ROWS))[name].double()


def _repeated(inputs: dict[str, Tensor]) -> dict[str, int]:
    """Number of examples that repeat an earlier example of their part, or occur in two parts."""
    hashes = {name: _hashes(values) for name, values in inputs.items()}
    repeated = {}
    names = list(hashes)
    for name in names:
        repeats = len(hashes[name]) - len(np.unique(hashes[name]))
        if repeats:
            repeated[name] = repeats
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            shared = int(np.isin(hashes[second], hashes[first]).sum())
            if shared:
                repeated[f"{first} and {second}"] = shared
    return repeated


def _hashes(values: Tensor) -> np.ndarray:
    """A 64-bit hash of each row; about n²/2⁶⁵ pairs of different rows collide."""
    width = values[0].numel() * values.element_size()
    words = -(-width // 8)
    weights = np.random.default_rng(0).integers(0, 2**63, words, dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(values), np.uint64)
    for start in range(0, len(values), _ROWS):
        block = values[start : start + _ROWS].reshape(-1, values[0].numel()).contiguous().view(torch.uint8).numpy()
        padded = np.zeros((len(block), words * 8), np.uint8)
        padded[:, :width] = block
        mixed = padded.view(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
        hashes[start : start + _ROWS] = ((mixed ^ (mixed >> np.uint64(29))) * weights).sum(1, dtype=np.uint64)
    return hashes


def _problems(data: DataSet, survey: Survey, constant: str) -> Iterator[str]:
    names = data.info.label_names
    for part in PARTS[1:]:
        if not survey.examples[part]:
            yield f"the {part} part is empty"
    counts = survey.classes.get("train", [])
    if missing := [name for name, count in zip(names, counts, strict=False) if not count]:
        yield f"no training example of class {few(missing)}"
    elif counts and max(counts) > _IMBALANCED * min(counts):
        rarest, largest = names[counts.index(min(counts))], names[counts.index(max(counts))]
        yield f"imbalanced classes: {max(counts):,} training examples of {largest}, {min(counts):,} of {rarest}"
    values = ("low", "high", "mean")
    if infinite := [c["name"] for c in survey.channels if not np.isfinite([c[value] for value in values]).all()]:
        yield f"{few(infinite)} {'has' if len(infinite) == 1 else 'have'} values that are not finite"
    if constant:
        yield constant
    for parts, count in survey.repeated.items():
        if " and " in parts:
            yield f"{count:,} examples are in both {parts}; scores on the latter are too optimistic"
        elif count > survey.examples[parts] // 100:
            yield f"{count:,} of {survey.examples[parts]:,} examples of the {parts} part repeat an earlier one"
