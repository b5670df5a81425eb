"""A data set of stored patterns and damaged ones, with values −1 and 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.dataset import DataInfo, DataSet, Part
from danlu.data.base.sign_flips import flip_signs
from danlu.data.images.info import ImageInfo
from danlu.data.images.settings import Binarize
from danlu.errors import UsageError
from danlu.recipes.energy.sign_images import refuse_side, sign_images


def sign_patterns(
    data: DataSet, count: int, side: int | None, binarize: Binarize, noise: float, copies: int, seed: int
) -> DataSet:
    """Patterns as training part, damaged copies of them as validation and test part.

    A part has its examples in the field of the inputs, the undamaged pattern of each in ``pattern``, and the labels.

    Args:
        data: images with values from 0 to 1, or rows of -1 and 1.
        count: number of patterns: training examples, one of each class in turn.
        side: height and width to which images are resized, by averages of areas.
        binarize: how gray values become black and white.
        noise: probability of another sign in a damaged pattern.
        copies: damaged copies of each pattern in each part.
        seed: seed of the data.

    Raises:
        UsageError: if there are too few training examples, or a value of a row is neither -1 nor 1.
    """
    if count > len(data.train):
        raise UsageError(
            f"patterns={count} exceeds the {len(data.train):,} training examples of {data.name}; use fewer",
            settings=("patterns",),
        )
    chosen = data.train.take(_each_class_in_turn(data, count))
    if isinstance(data.info, ImageInfo):
        x, info = sign_images(chosen, data.info, side, binarize, seed)
    else:
        refuse_side(side, data)
        x, info = chosen[data.info.inputs], data.info
        _check_rows(x, data)
    labels = {"label": chosen["label"]} if "label" in chosen.fields else {}
    train = Part({info.inputs: x, "pattern": x, **labels})
    parts: dict[str, Any] = {name: _damaged(train, info, noise, copies, seed, name) for name in ("validation", "test")}
    return replace(data, info=info, train=train, **parts)


def _each_class_in_turn(data: DataSet, count: int) -> Int[Tensor, "count"]:
    """The numbers of training examples: the first of every class, then the second of every class, and so on."""
    if not data.info.classes or "label" not in data.train.fields:
        return torch.arange(count)
    labels = data.train["label"].cpu()
    by_class = labels.argsort(stable=True)
    grouped = labels[by_class]
    turn = torch.empty_like(labels)
    turn[by_class] = torch.arange(len(labels)) - torch.searchsorted(grouped, grouped)
    return (turn * data.info.classes + labels).argsort(stable=True)[:count]


def _check_rows(x: Float[Tensor, "n columns"], data: DataSet) -> None:
    wrong = x.abs() != 1
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        names = data.info.channel_names
        name = repr(names[column]) if names else str(column)
        hint = "; set table.standardize=False" if data.info.scales else ""
        raise UsageError(
            f"{data.name}: pattern {row}, a training row, has the value {float(x[row, column]):g} in column {name}; a "
            f"Hopfield network stores rows of -1 and 1{hint}",
            settings=("table.standardize=False",) if hint else (),
        )


def _damaged(train: Part, info: DataInfo, noise: float, copies: int, seed: int, name: str) -> Part:
    """Damaged copies of every pattern: all patterns once, then all again."""
    fields = {field: values.repeat(copies, *[1] * (values.dim() - 1)) for field, values in train.fields.items()}
    return Part({**fields, info.inputs: flip_signs(fields["pattern"], noise, name, seed)})
