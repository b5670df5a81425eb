"""How sequences of several lengths lie one after the other in memory, and in which order a layer walks over them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class Steps(NamedTuple):
    """The layout of torch's ``PackedSequence``: entries by time step, in each step the rows that are long enough.

    Rows are sorted, longest first, so that each step holds the first few of them. A layer that reads backwards begins
    with the last step, and a row joins in at its own last entry.

    Attributes:
        sizes: rows of each time step, never growing.
        backwards: whether the last step comes first.

    >>> Steps([2, 2, 1]).split(torch.arange(5))
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    sizes: list[int]
    backwards: bool = False

    def split(self, packed: Float[Tensor, "m ..."]) -> list[Tensor]:
        """The entries of each step, in the order in which a layer reads them."""
        parts = list(packed.split(self.sizes))
        return parts[::-1] if self.backwards else parts

    def previous(self, packed: Float[Tensor, "m width"], start: Float[Tensor, "n width"]) -> Float[Tensor, "m width"]:
        """For each entry what its row held one step before."""
        n = len(start)
        if self.sizes[-1] == n:  # all rows are equally long
            return torch.cat([packed[n:], start] if self.backwards else [start, packed[:-n]])
        found, last = [], start
        for value in self.split(packed):
            found.append(before(last, start, len(value)))
            last = value
        return torch.cat(found[::-1] if self.backwards else found)


def before(last: Tensor, start: Tensor, rows: int) -> Tensor:
    """What the first rows hold after a step; those that join in now hold what they start with."""
    if len(last) == rows:
        return last
    if len(last) > rows:
        return last[:rows]
    return torch.cat([last, start[len(last) : rows]])


def ends(values: list[Tensor]) -> Tensor:
    """What each row holds in the end: a row that is over is not in the steps that follow."""
    if len(values[0]) == len(values[-1]):
        return values[-1]
    over = [value[len(after) :] for value, after in pairwise(values) if len(value) > len(after)]
    return torch.cat([values[-1], *over[::-1]])


def unpacked(x: Float[Tensor, "n t inputs"] | PackedSequence) -> Float[Tensor, "n t inputs"]:
    """The rows themselves.

    Raises:
        ValueError: if they are packed.
    """
    if isinstance(x, PackedSequence):
        raise ValueError("a packed sequence knows its lengths; leave lengths out, or give the rows padded")
    return x


def pack(x: Float[Tensor, "n t inputs"], lengths: Int[Tensor, "n"] | list[int]) -> PackedSequence:
    """Rows of sequences without what is behind their lengths.

    Args:
        x: the rows, padded to the longest or further.
        lengths: steps of each that count.

    Raises:
        ValueError: if the lengths are not one for each row, from 1 to t.

    >>> pack(torch.zeros(2, 3, 1), [1, 3]).batch_sizes
    tensor([2, 1, 1])
    """
    counts = torch.as_tensor(lengths, dtype=torch.int64, device="cpu")
    if counts.shape != (len(x),) or not bool(((counts >= 1) & (counts <= x.shape[1])).all()):
        raise ValueError(
            f"lengths {counts.tolist()} were given for {len(x)} rows of {x.shape[1]} steps; give one for each row, "
            f"from 1 to {x.shape[1]}, and leave empty rows out"
        )
    return pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
