"""Running text as batches: lanes, along which a state can be carried, and windows, which stand alone."""

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
    r"""Batches of running text of which each goes on where the last one ended: for models that carry a state.

    The text lies in B lanes, each a contiguous stretch of it. Batch p holds positions pT to (p+1)T of every lane, as
    ``token`` (B, T), and what comes next after each, ``target`` (B, T). An epoch of N tokens has as many batches as
    fit, the whole part of (N − 1)/(BT); then the lanes begin again, and ``fresh`` (B,) says that no state is to be
    carried into a row. An epoch leaves out fewer than BT tokens, and each leaves out others: its lanes begin so many
    tokens late as (seed, epoch) says.

    Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization", 2014, section 4.1: successive
    minibatches, whose final states are the next ones' initial states.

    Args:
        part: with the field ``token``, in memory, mapped from a file or on a device.
        lanes: B, the rows of a batch.
        length: T, tokens of a row.
        seed: of the beginnings.
        device: where batches are wanted; where the part is if not given.

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
        """Where in the part these rows of the batch at this position begin."""
        epoch, step = divmod(position, self.steps)
        lane = torch.arange(rows.start, rows.stop)
        return self._begin(epoch) + (lane * self.steps + step) * self.length

    def _begin(self, epoch: int) -> int:
        left_out = len(self.part) - 1 - self.steps * self.size * self.length
        return _drawn(left_out + 1, "lanes", self.seed, epoch)


class Windows:
    r"""Batches of windows of a text in random order: for models that see nothing before their window.

    The windows of an epoch, T tokens each, lie side by side and come once each, shuffled; they begin so many tokens
    late as (seed, epoch) says, so that each epoch cuts the text elsewhere. Batches lie across the ends of epochs, as
    those of ``Shuffled`` do, and have the fields of ``Lanes``; every row is fresh.

    Args:
        part: with the field ``token``, in memory, mapped from a file or on a device.
        batch_size: B, the rows of a batch.
        length: T, tokens of a row.
        seed: of order and beginnings.
        device: where batches are wanted; where the part is if not given.

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
        """Where in the part these rows of the batch at this position begin."""
        entries = range(position * self.size + rows.start, position * self.size + rows.stop)
        epochs = range(entries.start // self.windows, (entries.stop - 1) // self.windows + 1)
        found = []
        for epoch in epochs:
            first = epoch * self.windows
            some = slice(max(entries.start - first, 0), min(entries.stop - first, self.windows))
            found.append(self._starts(epoch)[some])
        return torch.cat(found)

    def _starts(self, epoch: int) -> Int[Tensor, "windows"]:
        known = self._orders.get(epoch)
        if known is not None:
            return known
        order = torch.randperm(self.windows, generator=generator("windows", self.seed, epoch))
        room = min(self.length, len(self.part) - self.windows * self.length)
        starts = order * self.length + _drawn(room, "windows begin", self.seed, epoch)
        self._orders = {old: o for old, o in self._orders.items() if old == epoch - 1} | {epoch: starts}
        return starts


def lanes_in_order(part: Part, lanes: int, length: int, device: torch.device | str | None = None) -> Iterator[Batch]:
    """The whole of a text once, for evaluation with a carried state: every token but the first is predicted once.

    The first lanes are one token longer where that is needed; then the last batch has them alone, one token each. In
    a single lane every token is predicted from all before it.

    Args:
        part: with the field ``token``.
        lanes: most rows of a batch; fewer if there are fewer tokens.
        length: most tokens of a row.
        device: where batches are wanted; where the part is if not given.

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
    """The whole of a text once, in windows that stand alone: every token but the first is predicted once.

    Args:
        part: with the field ``token``.
        batch_size: most rows of a batch.
        length: tokens of a row; the last batch has the rest of the text in one row, if there is any.
        device: where batches are wanted; where the part is if not given.

    >>> part = Part({"token": torch.arange(9)})
    >>> [batch["target"].tolist() for batch in windows_in_order(part, 2, 3)]
    [[[1, 2, 3], [4, 5, 6]], [[7, 8]]]
    """
    count = len(part) - 1
    starts = torch.arange(max(count, 0) // length) * length
    for some in starts.split(batch_size) if len(starts) else ():
        rows = slice(0, len(some))
        yield _batch(part, some, length, torch.ones_like(some, dtype=torch.bool), rows, len(some), device)
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
    """Rows of so many tokens from each start, and the tokens one later."""
    tokens = part.fields["token"]
    places = (starts[:, None] + torch.arange(length + 1)).to(tokens.device)
    found = tokens[places].to(device or tokens.device).long()
    fields = {"token": found[:, :-1], "target": found[:, 1:], "fresh": fresh.to(found.device)}
    return Batch(fields, rows, size, starts.to(found.device))


def _check(part: Part, rows: int, length: int, what: str) -> None:
    if rows < 1 or length < 1:
        raise UsageError(f"{rows} {what} of {length} tokens: there is at least one, of at least one token")
    if rows * length + 1 > len(part):
        fewer = max(1, (len(part) - 1) // length)
        advice = f"use at most {fewer}, or shorter ones" if len(part) > length else "use shorter ones, or more text"
        raise UsageError(
            f"{rows} {what} of {length} tokens need a text of {rows * length + 1:,} tokens, and the training part has "
            f"{len(part):,}; {advice}"
        )


def _drawn(below: int, *places: int | str) -> int:
    """A number from 0 to before another: a function of the place."""
    return int(torch.randint(below, (), generator=generator(*places))) if below > 1 else 0
