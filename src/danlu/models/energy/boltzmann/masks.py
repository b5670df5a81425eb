"""Which units of a Boltzmann machine are coupled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

CouplingsName = Literal["all", "semi-restricted", "restricted", "neighbors"]


def coupling_mask(
    couplings: CouplingsName, shape: Sequence[int], hidden: int, radius: float = 1.0
) -> Bool[Tensor, "units units"]:
    """The mask of couplings of a name. Visible units come first, then hidden ones.

    Args:
        couplings: "all": every pair; "semi-restricted": no pair of hidden units; "restricted": only pairs of a visible
            and a hidden unit; "neighbors": as semi-restricted, but visible units only with those within a distance.
        shape: shape of an example; its last two sizes, or its only one, are the grid of the distance.
        hidden: number of hidden units.
        radius: the distance for neighbors, in values of the grid.

    Raises:
        ValueError: if the name is unknown.

    >>> coupling_mask("restricted", (2,), 1).int().tolist()
    [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    """
    if couplings not in get_args(CouplingsName):
        raise ValueError(f"couplings={couplings!r} must be one of {', '.join(get_args(CouplingsName))}")
    visible = math.prod(shape)
    mask = torch.ones(visible + hidden, visible + hidden, dtype=torch.bool)
    if couplings != "all":
        mask[visible:, visible:] = False
    if couplings == "restricted":
        mask[:visible, :visible] = False
    if couplings == "neighbors":
        mask[:visible, :visible] = _near(shape, radius)
    return mask.fill_diagonal_(False)


def _near(shape: Sequence[int], radius: float) -> Bool[Tensor, "visible visible"]:
    """Which pairs of values are within a distance; channels have the places of their pixels."""
    grid = shape[-2:]
    places = torch.cartesian_prod(*(torch.arange(size) for size in grid)).reshape(-1, len(grid))
    places = places.repeat(math.prod(shape) // len(places), 1)
    return (places[:, None] - places).square().sum(-1) <= radius**2


def check_mask(mask: Tensor, units: int) -> None:
    """Check that a tensor is a mask of couplings.

    Args:
        mask: the tensor.
        units: number of units.

    Raises:
        ValueError: if it is not boolean, has another size, is not symmetric, or couples a unit with itself.
    """
    if mask.dtype != torch.bool or mask.shape != (units, units):
        raise ValueError(
            f"the mask of couplings must be boolean with the shape ({units}, {units}): visible and hidden units; got "
            f"{str(mask.dtype).removeprefix('torch.')} with the shape {tuple(mask.shape)}"
        )
    if mask.diagonal().any():
        unit = int(mask.diagonal().int().argmax())
        raise ValueError(
            f"the mask couples unit {unit} with itself; its diagonal must be False: mask.fill_diagonal_(False)"
        )
    if not torch.equal(mask, mask.T):
        first, second = (mask != mask.T).nonzero()[0].tolist()
        raise ValueError(
            f"the mask must be symmetric, and its entries at ({first}, {second}) and ({second}, {first}) differ; use "
            f"mask | mask.T"
        )
