"""What a model shows of itself, verb by verb, as tensors: the same each time, and torch's own generator untouched."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.metrics.active_units import activity
from danlu.rng.keys import generator
from danlu.verbs import can, has

ENCODED, AT_ONCE = 1000, 500
"""examples whose codes tell which units are active, and how many are encoded in one go"""
MOST_UNITS, MOST_CLASSES = 10, 16
REACH, STEPS = 3.0, 7
"""how far a traversal goes from 0, where a code lies before anything is known of it, and in how many steps"""


def are_pictures(info: DataInfo) -> bool:
    """Whether an example can be looked at."""
    return info.kind == "images" and info.shape[0] in (1, 3)


@torch.no_grad()
def samples(model: Any, n: int, values: bool = False, turns: int | None = None) -> Float[Tensor, "n *shape"] | None:
    """Draws from a model that samples with a generator; with their own spread, if it can and is asked.

    Where so many classes take turns, there are no more draws than fill whole turns.
    """
    if not can(model, "sample") or not has(model, "generator"):
        return None
    own = {"values": True} if values and has(model, "value_sampling") else {}
    device = next(model.parameters()).device
    n = n // turns * turns if turns else n
    return model.sample(n, generator=generator("shown", device=device), **own).float().cpu()


def by_class(model: Any, info: DataInfo) -> int | None:
    """How many classes a model draws one after the other, if it is told them and a line has room for all of them."""
    return info.classes if has(model, "class_conditional") and 1 < info.classes <= MOST_CLASSES else None


@torch.no_grad()
def reconstructions(model: Any, x: Tensor) -> Float[Tensor, "n *shape"] | None:
    """Examples as they come back from a model that reconstructs."""
    return model.reconstruct(_to(model, x)).to(x.dtype).cpu() if can(model, "reconstruct") else None


@torch.no_grad()
def codes(model: Any, part: Part, inputs: str) -> tuple[Float[Tensor, "n d"], Part] | None:
    """The codes of examples that are evenly spread over a part, and these; of a model whose codes are rows."""
    decodes = can(model, "decode") and not has(model, "class_conditional")  # else a code alone is not enough
    if not (can(model, "encode") and decodes) or not len(part):
        return None
    some = spread_over(part, ENCODED)
    found = torch.cat([model.encode(_to(model, batch[inputs])) for batch in in_order(some, AT_ONCE)])
    return (found.float().cpu(), some) if found.dim() == 2 else None


def most_active(codes: Float[Tensor, "n d"], most: int = MOST_UNITS) -> Int[Tensor, "k"]:
    """The numbers of the units that vary most over the examples.

    >>> most_active(torch.tensor([[1.0, 0.0, 5.0], [-1.0, 0.0, -5.0]]), 2)
    tensor([2, 0])
    """
    return activity(codes).argsort(descending=True, stable=True)[:most]


@torch.no_grad()
def traversals(model: Any, units: Int[Tensor, "k"], width: int) -> Float[Tensor, "k*steps *shape"]:
    """What becomes of an example when one unit of its code goes from -3 to 3 and the others stay 0, unit after unit."""
    z = torch.zeros(len(units), STEPS, width)
    z[torch.arange(len(units)), :, units] = walk()
    return decoded(model, z.flatten(0, 1))


def walk() -> Float[Tensor, "steps"]:
    """The values that a unit takes in a traversal."""
    return torch.linspace(-REACH, REACH, STEPS)


def grid(model: Any, side: int) -> Float[Tensor, "side*side *shape"]:
    """What a code of two units stands for at the points of a square, row by row; the second unit is largest above."""
    ticks = torch.linspace(-REACH, REACH, side)
    return decoded(model, torch.cartesian_prod(ticks.flip(0), ticks).flip(1))


@torch.no_grad()
def divergences(model: Any, x: Tensor) -> Float[Tensor, "n d"] | None:
    """Divergence of each unit's posterior from the prior, of a model whose posterior knows it unit by unit."""
    if not has(model, "unit_divergence"):
        return None
    found = [model.posterior(_to(model, some)).divergence() for some in x.split(AT_ONCE)]
    return None if any(part is None for part in found) else torch.cat(found).float().cpu()


@torch.no_grad()
def decoded(model: Any, z: Float[Tensor, "n d"]) -> Float[Tensor, "n *shape"]:
    """The examples of codes."""
    return torch.cat([model.decode(_to(model, some)).float().cpu() for some in z.split(AT_ONCE)])


def _to(model: Any, x: Tensor) -> Tensor:
    some = next(model.parameters())
    return x.to(some.device, some.dtype)


SAMPLES, RECONSTRUCTED, ACROSS = 64, 20, 10


def above(*lines: Tensor, across: int = ACROSS) -> Tensor:
    """Pictures of several kinds in rows, the kinds below each other.

    >>> above(torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]), across=2)
    tensor([1, 2, 4, 5, 3, 6])
    """
    rows = zip(*(line.split(across) for line in lines), strict=True)
    return torch.cat([line for row in rows for line in row])
