"""Samples, reconstructions, latents and traversals of a model as tensors, for reports.

The results are the same each time, and torch's default generator is not used.
"""

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

ENCODED, BATCH = 1000, 500
"""number of examples that are encoded to find the active units, and the batch size"""
MOST_UNITS, MOST_CLASSES = 10, 16
REACH, STEPS = 3.0, 7
"""largest value of a unit in a traversal, and number of steps; the prior has mean 0 and standard deviation 1"""


@torch.no_grad()
def samples(model: Any, n: int, values: bool = False, turns: int | None = None) -> Float[Tensor, "n *shape"] | None:
    """Samples of a model that samples with a generator; None for other models.

    Args:
        model: the model.
        n: number of samples.
        values: sample each value from its distribution, if the model can; else its mean is given.
        turns: number of classes that take turns; n is rounded down to a multiple of it.
    """
    if not can(model, "sample") or not has(model, "generator"):
        return None
    options = {"values": True} if values and has(model, "value_sampling") else {}
    device = next(model.parameters()).device
    n = n // turns * turns if turns else n
    return model.sample(n, generator=generator("shown", device=device), **options).float().cpu()


def by_class(model: Any, info: DataInfo) -> int | None:
    """Number of classes that take turns in a row of samples; None if it is not class-conditional or has too many."""
    return info.classes if has(model, "class_conditional") and 1 < info.classes <= MOST_CLASSES else None


@torch.no_grad()
def reconstructions(model: Any, x: Tensor) -> Float[Tensor, "n *shape"] | None:
    """Reconstructions of examples; None if the model cannot reconstruct."""
    return model.reconstruct(_to(model, x)).to(x.dtype).cpu() if can(model, "reconstruct") else None


@torch.no_grad()
def codes(model: Any, part: Part, inputs: str) -> tuple[Float[Tensor, "n d"], Part] | None:
    """Latents of examples at regular intervals of a part, and the examples; None if latents are not vectors."""
    decodes = can(model, "decode") and not has(model, "class_conditional")  # which needs a class, too
    if not (can(model, "encode") and decodes) or not len(part):
        return None
    if has(model, "density") and part[inputs][0].numel() > 2:  # a code with as many units, all equally active
        return None
    examples = spread_over(part, ENCODED)
    latents = torch.cat([model.encode(_to(model, batch[inputs])) for batch in in_order(examples, BATCH)])
    return (latents.float().cpu(), examples) if latents.dim() == 2 else None


def most_active(codes: Float[Tensor, "n d"], most: int = MOST_UNITS) -> Int[Tensor, "k"]:
    """The numbers of the units that vary most over the examples.

    >>> most_active(torch.tensor([[1.0, 0.0, 5.0], [-1.0, 0.0, -5.0]]), 2)
    tensor([2, 0])
    """
    return activity(codes).argsort(descending=True, stable=True)[:most]


@torch.no_grad()
def traversals(model: Any, units: Int[Tensor, "k"], width: int) -> Float[Tensor, "k*steps *shape"]:
    """Decoded latents in which one unit goes from -3 to 3 and the others are 0, for one unit after the other."""
    z = torch.zeros(len(units), STEPS, width)
    z[torch.arange(len(units)), :, units] = walk()
    return decode_latents(model, z.flatten(0, 1))


def walk() -> Float[Tensor, "steps"]:
    """The values that a unit takes in a traversal."""
    return torch.linspace(-REACH, REACH, STEPS)


def grid(model: Any, side: int) -> Float[Tensor, "side*side *shape"]:
    """Decoded latents of two units on a square grid, row by row; the second unit is largest in the first row."""
    ticks = torch.linspace(-REACH, REACH, side)
    return decode_latents(model, torch.cartesian_prod(ticks.flip(0), ticks).flip(1))


@torch.no_grad()
def divergences(model: Any, x: Tensor) -> Float[Tensor, "n d"] | None:
    """KL divergence of each unit's posterior from the prior; None if the model does not compute it per unit."""
    if not has(model, "unit_kl"):
        return None
    divergences = [model.posterior(_to(model, batch)).kl() for batch in x.split(BATCH)]
    return None if any(batch is None for batch in divergences) else torch.cat(divergences).float().cpu()


@torch.no_grad()
def decode_latents(model: Any, z: Float[Tensor, "n d"]) -> Float[Tensor, "n *shape"]:
    """Decode latents."""
    return torch.cat([model.decode(_to(model, batch)).float().cpu() for batch in z.split(BATCH)])


def _to(model: Any, x: Tensor) -> Tensor:
    parameter = next(model.parameters())
    return x.to(parameter.device, parameter.dtype)


SAMPLES, RECONSTRUCTED, ACROSS = 64, 20, 10


def interleave_rows(*lines: Tensor, across: int = ACROSS) -> Tensor:
    """Images of several groups in rows; the groups take turns, row by row.

    >>> interleave_rows(torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]), across=2)
    tensor([1, 2, 4, 5, 3, 6])
    """
    rows = zip(*(line.split(across) for line in lines), strict=True)
    return torch.cat([line for row in rows for line in row])
