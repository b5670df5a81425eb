"""Streams of batches. A batch is a pure function of its position, so a stream can be resumed at any position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.dataset import Part
from danlu.errors import UsageError
from danlu.rng.keys import generator


@dataclass(slots=True)
class Batch:
    """The examples of one step, or the rows of it that belong to this process and micro-batch.

    Attributes:
        fields: tensors of one length n, by name; ``batch["image"]`` reads one.
        rows: the rows of the whole batch that these are; it indexes a buffer with one row per row of the whole batch.
        size: number of rows of the whole batch, over all processes and micro-batches.
        numbers: number of each example in its part, (n,).
        parts: batches of joined streams, by name; ``batch.part("labeled")`` reads one.
    """

    fields: dict[str, Tensor]
    rows: slice
    size: int
    numbers: Int[Tensor, "n"]
    parts: dict[str, Batch] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def __len__(self) -> int:
        return self.rows.stop - self.rows.start

    def part(self, name: str) -> Batch:
        """The batch of one of the joined streams."""
        return self.parts[name]


@runtime_checkable
class Stream(Protocol):
    """A source of batches."""

    size: int
    """Number of rows of every batch."""
    epoch_rounds: float
    """Number of batches per epoch; it can be fractional."""

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position (0, 1, …)."""
        ...


class PartStream(Stream, Protocol):
    """A stream of the examples of one part."""

    part: Part

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Numbers of the examples in these rows of the batch at this position, without reading the examples."""
        ...


class Shuffled:
    """Batches of an endless sequence of epochs, each a random permutation of the examples.

    Batch p has entries pB to (p+1)B of the concatenated permutations. Every batch is full, every example occurs
    exactly once per epoch, and a batch can contain the end of one epoch and the start of the next.

    Args:
        part: the examples.
        batch_size: number of rows B of a batch, or "full" for all examples.
        seed: random seed of the permutations.

    Raises:
        UsageError: if the part has fewer examples than a batch.

    >>> stream = Shuffled(Part({"x": torch.arange(6)}), batch_size=4)
    >>> seen = torch.cat([stream.batch(p, slice(0, 4))["x"] for p in range(3)])
    >>> seen[:6].sort().values, seen[6:].sort().values
    (tensor([0, 1, 2, 3, 4, 5]), tensor([0, 1, 2, 3, 4, 5]))
    """

    def __init__(self, part: Part, batch_size: int | Literal["full"], seed: int = 0):
        self.part = part
        self.size = len(part) if batch_size == "full" else batch_size
        if self.size < 1:
            raise UsageError(
                f"batch_size must be at least 1, got {self.size} ({len(part):,} training examples)",
                settings=("batch_size",),
            )
        if self.size > len(part):
            raise UsageError(
                f"batch_size={self.size} is larger than the training part of {len(part):,} examples; "
                f"use at most {len(part)}, or 'full'",
                settings=("batch_size",),
            )
        self.seed = seed
        self.epoch_rounds = len(part) / self.size
        self._permutations: dict[int, Tensor] = {}

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        index = self.numbers(position, rows)
        return Batch(self.part.rows(index), rows, self.size, index)

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Numbers of the examples in these rows of the batch at this position."""
        start, length = position * self.size + rows.start, rows.stop - rows.start
        epoch, entry = divmod(start, len(self.part))
        index = self._permutation(epoch)[entry : entry + length]
        if len(index) < length:  # the batch contains the end of an epoch
            index = torch.cat([index, self._permutation(epoch + 1)[: length - len(index)]])
        return index

    def _permutation(self, epoch: int) -> Int[Tensor, "examples"]:
        cached = self._permutations.get(epoch)
        if cached is not None:
            return cached
        order = torch.randperm(len(self.part), generator=generator("order", self.seed, epoch)).to(self.part.device)
        # a new mapping, because several threads may read the old one
        self._permutations = {old: p for old, p in self._permutations.items() if old == epoch - 1} | {epoch: order}
        return order


def in_order(
    part: Part, batch_size: int, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Iterator[Batch]:
    """All examples once, in their order in the part; the last batch can be smaller.

    Args:
        part: the examples; only one batch at a time is copied to the device.
        batch_size: maximum number of rows of a batch.
        device: device of the batches; that of the part if not given.
        dtype: dtype of fractional numbers; that of the part if not given.

    >>> [len(batch) for batch in in_order(Part({"x": torch.arange(5)}), 2)]
    [2, 2, 1]
    """
    for start in range(0, len(part), batch_size):
        stop = min(start + batch_size, len(part))
        fields = part.take(slice(start, stop)).to(device or part.device, dtype).rows(slice(None))
        yield Batch(fields, slice(0, stop - start), stop - start, torch.arange(start, stop))
