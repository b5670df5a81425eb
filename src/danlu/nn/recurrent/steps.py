"""Memory layout of sequences of different lengths, and the order in which a layer reads them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class Steps(NamedTuple):
    """The layout of torch's ``PackedSequence``: entries ordered by time step, each step with the rows that reach it.

    Rows are sorted by length, longest first, so each step holds the first ``sizes[t]`` rows. A layer that reads
    backwards starts with the last step; a row then starts at its own last entry.

    Attributes:
        sizes: number of rows of each time step, non-increasing.
        backwards: whether the steps are read from the last to the first.

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
        """For each entry, the value of the same row one step earlier, in reading order."""
        n = len(start)
        if self.sizes[-1] == n:  # all rows are equally long
            return torch.cat([packed[n:], start] if self.backwards else [start, packed[:-n]])
        shifted, last = [], start
        for value in self.split(packed):
            shifted.append(align_rows(last, start, len(value)))
            last = value
        return torch.cat(shifted[::-1] if self.backwards else shifted)


def align_rows(last: Tensor, start: Tensor, rows: int) -> Tensor:
    """The state of the first ``rows`` rows after a step; rows that start at this step get their initial state."""
    if len(last) == rows:
        return last
    if len(last) > rows:
        return last[:rows]
    return torch.cat([last, start[len(last) : rows]])


def final_states(values: list[Tensor]) -> Tensor:
    """The state of each row after its own last step; finished rows are absent from later steps."""
    if len(values[0]) == len(values[-1]):
        return values[-1]
    finished = [value[len(after) :] for value, after in pairwise(values) if len(value) > len(after)]
    return torch.cat([values[-1], *finished[::-1]])


def unpacked(x: Float[Tensor, "n t inputs"] | PackedSequence) -> Float[Tensor, "n t inputs"]:
    """Check that an input is not packed.

    Raises:
        ValueError: if it is.
    """
    if isinstance(x, PackedSequence):
        raise ValueError("a packed sequence has its own lengths; omit lengths, or pass padded rows")
    return x


def pack(x: Float[Tensor, "n t inputs"], lengths: Int[Tensor, "n"] | list[int]) -> PackedSequence:
    """Pack padded sequences.

    Args:
        x: padded sequences, batch first.
        lengths: number of valid steps of each row.

    Raises:
        ValueError: if there is not one length from 1 to t for each row.

    >>> pack(torch.zeros(2, 3, 1), [1, 3]).batch_sizes
    tensor([2, 1, 1])
    """
    counts = torch.as_tensor(lengths, dtype=torch.int64, device="cpu")
    if counts.shape != (len(x),) or not bool(((counts >= 1) & (counts <= x.shape[1])).all()):
        raise ValueError(
            f"lengths {counts.tolist()} do not match {len(x)} rows of {x.shape[1]} steps; give one for each row, "
            f"from 1 to {x.shape[1]}, and omit empty rows"
        )
    return pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
