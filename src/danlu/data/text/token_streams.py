"""Batches of running text: lanes, with a state that is carried along, and independent windows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import Part
from danlu.errors import UsageError
from danlu.rng.keys import generator


class Lanes:
    r"""Batches of running text in which each batch continues the previous one, for models that carry a state.

    The text is cut into B lanes, each a contiguous piece. Batch p has positions pT to (p+1)T of every lane: ``token``
    (B, T), and the next token of each, ``target`` (B, T). An epoch of N tokens has floor((N − 1)/(BT)) batches. Then
    the lanes start again, and ``fresh`` (B,) is True for rows into which no state must be carried. An epoch leaves out
    fewer than BT tokens. These differ between epochs, because the first lane starts at an offset that is a function of
    (seed, epoch).

    Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization", 2014, section 4.1: the
    final state of a minibatch is the initial state of the next one.

    Args:
        part: examples with the field ``token``, in memory, mapped from a file or on a device.
        lanes: number of rows B of a batch.
        length: number of tokens T of a row.
        seed: random seed of the offsets.
        device: device of the batches; by default that of the part.

    Raises:
        UsageError: if the part has fewer than BT + 1 tokens.

    >>> stream = Lanes(Part({"token": torch.arange(13)}), lanes=2, length=3)
    >>> first, second = (stream.batch(p, slice(0, 2)) for p in range(2))
    >>> first["token"], first["fresh"]
    (tensor([[0, 1, 2], [6, 7, 8]]), tensor([True, True]))
    >>> second["token"], second["target"], second["fresh"]
    (tensor([[ 3,  4,  5], [ 9, 10, 11]]), tensor([[ 4,  5,  6], [10, 11, 12]]), tensor([False, False]))
    """

    def __init__(self, part: Part, lanes: int, length: int, seed: int = 0, device: torch.device | str | None = None):
        _check(part, lanes, length, "lanes")
        self.part, self.size, self.length, self.seed, self.device = part, lanes, length, seed, device
        self.steps = (len(part) - 1) // (lanes * length)
        self.epoch_rounds = float(self.steps)

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        starts = self.numbers(position, rows)
        fresh = torch.full_like(starts, position % self.steps == 0, dtype=torch.bool)
        return _batch(self.part, starts, self.length, fresh, rows, self.size, self.device)

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Positions in the part of the first tokens of these rows of the batch at this position."""
        epoch, step = divmod(position, self.steps)
        lane = torch.arange(rows.start, rows.stop)
        return self._offset(epoch) + (lane * self.steps + step) * self.length

    def _offset(self, epoch: int) -> int:
        left_out = len(self.part) - 1 - self.steps * self.size * self.length
        return _random_below(left_out + 1, "lanes", self.seed, epoch)


class Windows:
    r"""Batches of windows of a text in random order, for models without a state.

    The windows of an epoch are adjacent, have T tokens each, and occur once each in random order. They start at an
    offset that is a function of (seed, epoch), so each epoch cuts the text at other positions. As in ``Shuffled``, a
    batch can contain the end of an epoch. Batches have the fields of ``Lanes``, and every row is fresh.

    Args:
        part: examples with the field ``token``, in memory, mapped from a file or on a device.
        batch_size: number of rows B of a batch.
        length: number of tokens T of a row.
        seed: random seed of the order and the offsets.
        device: device of the batches; by default that of the part.

    Raises:
        UsageError: if the part has fewer than BT + 1 tokens.

    >>> stream = Windows(Part({"token": torch.arange(100)}), batch_size=2, length=4)
    >>> batch = stream.batch(0, slice(0, 2))
    >>> torch.equal(batch["target"], batch["token"] + 1), batch["fresh"]
    (True, tensor([True, True]))
    """

    def __init__(
        self, part: Part, batch_size: int, length: int, seed: int = 0, device: torch.device | str | None = None
    ):
        _check(part, batch_size, length, "windows")
        self.part, self.size, self.length, self.seed, self.device = part, batch_size, length, seed, device
        self.windows = max(batch_size, (len(part) - length) // length)
        self.epoch_rounds = self.windows / batch_size
        self._orders: dict[int, Tensor] = {}

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        starts = self.numbers(position, rows)
        fresh = torch.ones_like(starts, dtype=torch.bool)
        return _batch(self.part, starts, self.length, fresh, rows, self.size, self.device)

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Positions in the part of the first tokens of these rows of the batch at this position."""
        entries = range(position * self.size + rows.start, position * self.size + rows.stop)
        epochs = range(entries.start // self.windows, (entries.stop - 1) // self.windows + 1)
        starts = []
        for epoch in epochs:
            first = epoch * self.windows
            entries_of_epoch = slice(max(entries.start - first, 0), min(entries.stop - first, self.windows))
            starts.append(self._starts(epoch)[entries_of_epoch])
        return torch.cat(starts)

    def _starts(self, epoch: int) -> Int[Tensor, "windows"]:
        cached = self._orders.get(epoch)
        if cached is not None:
            return cached
        order = torch.randperm(self.windows, generator=generator("windows", self.seed, epoch))
        room = min(self.length, len(self.part) - self.windows * self.length)
        starts = order * self.length + _random_below(room, "windows begin", self.seed, epoch)
        self._orders = {old: o for old, o in self._orders.items() if old == epoch - 1} | {epoch: starts}
        return starts


def lanes_in_order(part: Part, lanes: int, length: int, device: torch.device | str | None = None) -> Iterator[Batch]:
    """A complete text once, for evaluation with a carried state: every token except the first is predicted once.

    If the lanes cannot have equal lengths, the first lanes are one token longer, and the last batch has only these
    lanes, with one token each. With a single lane, every token is predicted from all previous tokens.

    Args:
        part: examples with the field ``token``.
        lanes: maximum number of rows of a batch.
        length: maximum number of tokens of a row.
        device: device of the batches; by default that of the part.

    >>> part = Part({"token": torch.arange(12)})
    >>> [batch["target"].tolist() for batch in lanes_in_order(part, 2, 3)]
    [[[1, 2, 3], [7, 8, 9]], [[4, 5], [10, 11]], [[6]]]
    """
    count = len(part) - 1
    lanes = min(lanes, max(count, 0))
    if not lanes:
        return
    each, longer = divmod(count, lanes)
    lane = torch.arange(lanes)
    starts = lane * each + lane.clamp_max(longer)
    for first in range(0, each, length):
        fresh = torch.full((lanes,), first == 0)
        width = min(length, each - first)
        yield _batch(part, starts + first, width, fresh, slice(0, lanes), lanes, device)
    if longer:
        rows = slice(0, longer)
        yield _batch(part, starts[rows] + each, 1, torch.zeros(longer, dtype=torch.bool), rows, lanes, device)


def windows_in_order(
    part: Part, batch_size: int, length: int, device: torch.device | str | None = None
) -> Iterator[Batch]:
    """A complete text once, in independent windows: every token except the first is predicted once.

    Args:
        part: examples with the field ``token``.
        batch_size: maximum number of rows of a batch.
        length: number of tokens of a row; the remaining tokens are one row of the last batch.
        device: device of the batches; by default that of the part.

    >>> part = Part({"token": torch.arange(9)})
    >>> [batch["target"].tolist() for batch in windows_in_order(part, 2, 3)]
    [[[1, 2, 3], [4, 5, 6]], [[7, 8]]]
    """
    count = len(part) - 1
    starts = torch.arange(max(count, 0) // length) * length
    for block in starts.split(batch_size) if len(starts) else ():
        rows = slice(0, len(block))
        yield _batch(part, block, length, torch.ones_like(block, dtype=torch.bool), rows, len(block), device)
    rest = count - len(starts) * length
    if rest > 0:
        start = torch.tensor([len(starts) * length])
        yield _batch(part, start, rest, torch.ones(1, dtype=torch.bool), slice(0, 1), 1, device)


def _batch(
    part: Part,
    starts: Int[Tensor, "n"],
    length: int,
    fresh: Tensor,
    rows: slice,
    size: int,
    device: torch.device | str | None,
) -> Batch:
    """The tokens of rows with these starts, and the next token of each."""
    tokens = part.fields["token"]
    positions = (starts[:, None] + torch.arange(length + 1)).to(tokens.device)
    values = tokens[positions].to(device or tokens.device).long()
    fields = {"token": values[:, :-1], "target": values[:, 1:], "fresh": fresh.to(values.device)}
    return Batch(fields, rows, size, starts.to(values.device))


def _check(part: Part, rows: int, length: int, what: str) -> None:
    if rows < 1 or length < 1:
        raise UsageError(f"{rows} {what} of {length} tokens: both numbers must be at least 1")
    if rows * length + 1 > len(part):
        fewer = max(1, (len(part) - 1) // length)
        advice = (
            f"use at most {fewer} {what}, or fewer tokens in each"
            if len(part) > length
            else "use fewer tokens in each, or more text"
        )
        raise UsageError(
            f"{rows} {what} of {length} tokens need a text of at least {rows * length + 1:,} tokens; the training "
            f"part has {len(part):,}; {advice}"
        )


def _random_below(limit: int, *parts: int | str) -> int:
    """A random number from 0 to limit - 1, a function of the parts of a key."""
    return int(torch.randint(limit, (), generator=generator(*parts))) if limit > 1 else 0
