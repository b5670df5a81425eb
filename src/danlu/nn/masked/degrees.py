"""Degrees of the units of an autoregressive network: which units may be connected."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.rng.counter_based import bits

Degrees = Literal["sequential", "random"]


def hidden_degrees(
    width: int, lowest: int, highest: int, kind: Degrees = "sequential", seed: int = 0
) -> Int[Tensor, "width"]:
    """The degrees of the units of a hidden layer, in ascending order.

    If the layer is wide enough, every degree occurs: "sequential" repeats lowest, …, highest in turn, "random" has each
    degree once and draws the others uniformly. In a narrower layer "sequential" spaces the degrees evenly, and "random"
    has the lowest degree and draws different other ones. Germain et al. 2015, section 4.1, draw all degrees. Units of a
    layer can be exchanged, so the ascending order is no restriction.

    Args:
        width: number of units.
        lowest: the lowest degree.
        highest: the highest degree.
        kind: "sequential" or "random".
        seed: seed of random degrees.

    Raises:
        ValueError: if the kind is unknown.

    >>> hidden_degrees(7, 1, 3), hidden_degrees(3, 1, 9)
    (tensor([1, 1, 1, 2, 2, 3, 3]), tensor([1, 5, 9]))
    """
    if kind not in get_args(Degrees):
        raise ValueError(f"degrees={kind!r} is unknown; choose sequential or random")
    count = highest - lowest + 1
    units, repeated = torch.arange(min(width, count)), torch.arange(max(width - count, 0))
    if width < count and kind == "random":
        others = bits(seed, torch.arange(count - 1)).argsort() + 1
        units = torch.cat([units[:1], others[: width - 1]])
    elif width < count:
        units = units * (count - 1) // max(width - 1, 1)
    extra = bits(seed, repeated) if kind == "random" else repeated
    return lowest + torch.cat([units, extra % count]).sort().values
