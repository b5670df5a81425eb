"""What a data set looks like in numbers, and what could be wrong with it; found once and kept by its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.survey.text import look_at_text, text_problems
from danlu.errors import few
from danlu.storage.access import Access
from danlu.storage.atomic import write_text

FORMAT = 2
_ROWS = 4096
"""examples that are looked at together"""
_UNEVEN = 50
"""times that the largest class may be as large as the smallest before that is said"""
_STILL = 1e-6
"""share of a column's range below which its deviation counts as none"""


@dataclass(frozen=True)
class Survey:
    """A data set in numbers.

    Attributes:
        examples: how many each part has.
        classes: how many of each class each part has, in the order of the labels.
        inputs: name of the field that a model sees.
        channels: for each channel or column of the training part: name, smallest and largest value, mean, deviation.
        repeated: how many examples of a part are also in another ("train and test") or earlier in the same one.
        constant: columns, or for images the number of pixels, that hardly vary over the training part.
        problems: what the user should know, in words.
        text: for running text, what ``look_at_text`` finds; an example is a token then.
    """

    examples: dict[str, int]
    classes: dict[str, list[int]]
    inputs: str
    channels: list[dict[str, Any]]
    repeated: dict[str, int]
    constant: list[str]
    problems: list[str] = field(default_factory=list)
    text: dict[str, Any] = field(default_factory=dict)


def survey(data: DataSet, access: Access | None = None) -> Survey:
    """Look at a data set; what was found is kept in the cache, if that can be written.

    Args:
        data: the data set.
        access: where the cache is.

    >>> from danlu.data.datasets.digits import digits
    >>> survey(digits()).examples
    {'train': 1258, 'validation': 180, 'test': 359}
    """
    path = (access or Access()).cache / "surveys" / f"{FORMAT}-{data.fingerprint()}.json"
    with suppress(OSError, ValueError, TypeError):
        return Survey(**json.loads(path.read_text(encoding="utf-8")))
    found = look(data)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(found)))
    return found


def look(data: DataSet) -> Survey:
    """Look at a data set now."""
    parts = {name: part for name in PARTS if len(part := data.part(name))}
    inputs = data.info.inputs
    if data.info.kind == "text":
        seen = look_at_text(data)
        examples = {name: len(data.part(name)) for name in PARTS}
        return Survey(examples, {}, inputs, [], {}, [], list(text_problems(data, seen)), seen)
    classes = {
        name: part["label"].bincount(minlength=data.info.classes).tolist()
        for name, part in parts.items()
        if data.info.classes and "label" in part.fields
    }
    channels, constant = _channels(data, inputs)
    found = Survey(
        {name: len(data.part(name)) for name in PARTS},
        classes,
        inputs,
        channels,
        _repeated({name: part.fields[inputs] for name, part in parts.items()}),
        constant,
    )
    found.problems.extend(_problems(data, found))
    return found


def _channels(data: DataSet, inputs: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Statistics of each channel or column of the training part, and what hardly varies."""
    low, high, mean, spread = _statistics(data.train, inputs)
    images = data.info.kind == "images"
    usual = {1: ("gray",), 3: ("red", "green", "blue")} if images else {}
    names = data.info.columns or usual.get(len(mean)) or tuple(str(number) for number in range(len(mean)))
    rows = []
    for number, name in enumerate(names):
        level = mean[number].mean()
        deviation = (spread[number].square() + (mean[number] - level).square()).mean().sqrt()
        values = {"low": low[number].min(), "high": high[number].max(), "mean": level, "deviation": deviation}
        rows.append({"name": name, **{key: float(value) for key, value in values.items()}})
    still = (spread <= _STILL * float((high - low).max())).flatten(1 if spread.ndim > 1 else 0)
    if images:
        count = int(still.all(0).sum())
        return rows, [f"{count} of {still.shape[1]} pixels"] if count else []
    fixed = still if still.ndim == 1 else still.all(1)
    return rows, [name for name, constant in zip(names, fixed.tolist(), strict=True) if constant]


def _statistics(part: Part, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Smallest and largest value, mean and deviation over the examples, at each place of an example."""
    first = next(_blocks(part, name))[0]
    low, high = torch.full_like(first, torch.inf), torch.full_like(first, -torch.inf)
    total, squares = torch.zeros_like(first), torch.zeros_like(first)
    for values in _blocks(part, name):
        low, high = torch.minimum(low, values.amin(0)), torch.maximum(high, values.amax(0))
        total += values.sum(0)
        squares += values.square().sum(0)
    mean = total / len(part)
    return low, high, mean, (squares / len(part) - mean.square()).clamp_min(0).sqrt()


def _blocks(part: Part, name: str) -> Iterator[Tensor]:
    for start in range(0, len(part), _ROWS):
        yield part.rows(slice(start, start + _ROWS))[name].double()


def _repeated(inputs: dict[str, Tensor]) -> dict[str, int]:
    """How many examples of a part have an equal one in another part, or before them in their own."""
    hashes = {name: _hashes(values) for name, values in inputs.items()}
    found = {}
    names = list(hashes)
    for name in names:
        repeats = len(hashes[name]) - len(np.unique(hashes[name]))
        if repeats:
            found[name] = repeats
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            shared = int(np.isin(hashes[second], hashes[first]).sum())
            if shared:
                found[f"{first} and {second}"] = shared
    return found


def _hashes(values: Tensor) -> np.ndarray:
    """A number of 64 bits for each row: equal for equal rows, and by accident for about n²/2⁶⁵ pairs of others."""
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


def _problems(data: DataSet, found: Survey) -> Iterator[str]:
    names = data.info.label_names
    for part in PARTS[1:]:
        if not found.examples[part]:
            yield f"the {part} part is empty"
    counts = found.classes.get("train", [])
    if missing := [name for name, count in zip(names, counts, strict=False) if not count]:
        yield f"no training example of class {few(missing)}"
    elif counts and max(counts) > _UNEVEN * min(counts):
        rare, many = names[counts.index(min(counts))], names[counts.index(max(counts))]
        yield f"the classes are uneven: {max(counts):,} training examples of {many}, {min(counts):,} of {rare}"
    values = ("low", "high", "mean")
    if wild := [c["name"] for c in found.channels if not np.isfinite([c[value] for value in values]).all()]:
        yield f"{few(wild)} {'has' if len(wild) == 1 else 'have'} values that are not finite"
    if data.info.kind == "table" and found.constant:
        yield f"hardly varying in the training part: {few(found.constant)}"
    for places, count in found.repeated.items():
        if " and " in places:
            yield f"{count:,} examples are in {places}, so scores of the latter are too good"
        elif count > found.examples[places] // 100:
            yield f"{count:,} of {found.examples[places]:,} examples of the {places} part repeat an earlier one"
