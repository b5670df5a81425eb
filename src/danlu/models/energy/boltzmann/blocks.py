"""Units without couplings among themselves: a coloring of the mask of couplings, and blocks of a Gibbs sweep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

BLOCK = 64
"""units of a block whose units have couplings among themselves"""


class Block(NamedTuple):
    """Units that a sweep updates together.

    Attributes:
        units: their numbers.
        independent: whether there are no couplings between them.
    """

    units: Int[Tensor, "block"]
    independent: bool


def independent_sets(mask: Bool[Tensor, "units units"]) -> list[Int[Tensor, "set"]]:
    """A partition of the units into sets without couplings inside, smallest sets first.

    A greedy coloring, the units with most couplings first. Welsh and Powell, "An upper bound for the chromatic number
    of a graph and its application to timetabling problems", 1967.

    Args:
        mask: which units are coupled, symmetric.

    >>> star = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]]).bool()
    >>> [units.tolist() for units in independent_sets(star)]
    [[0], [1, 2]]
    """
    coupled = mask.cpu().numpy()
    members = np.zeros((0, len(coupled)), dtype=bool)
    for unit in np.argsort(-coupled.sum(1), kind="stable"):
        free = ~(members & coupled[unit]).any(1)
        if not free.any():
            members, free = np.append(members, np.zeros_like(coupled[:1]), 0), np.append(free, True)
        members[free.argmax(), unit] = True
    sets = sorted(members, key=np.sum)  # stable, so a mask of all pairs keeps the order of the units
    return [torch.from_numpy(one.nonzero()[0]).to(mask.device) for one in sets]


def blocks_of(mask: Bool[Tensor, "units units"], size: int = BLOCK) -> list[Block]:
    """Blocks of all units. A large independent set is one block; units of small sets share blocks.

    Args:
        mask: which units are coupled, symmetric.
        size: largest number of units of a shared block.

    >>> [block.units.tolist() for block in blocks_of(~torch.eye(5, dtype=torch.bool), size=2)]
    [[0, 1], [2, 3], [4]]
    """
    sets = independent_sets(mask)
    blocks = list[Block]()
    small = [units for units in sets[:-1] if len(units) <= size // 2]
    for units in torch.cat(small).split(size) if small else ():
        blocks.append(Block(units, len(units) == 1))
    return blocks + [Block(units, True) for units in sets[len(small) :]]
