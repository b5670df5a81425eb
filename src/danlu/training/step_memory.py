"""The memory that a training takes, measured on one small step of each player."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.data.base.batch_stream import Batch, Stream
from danlu.data.base.joined_streams import rows_of_parts
from danlu.errors import UsageError
from danlu.rng.keys import key
from danlu.tasks.task import Descend, Place, Terms
from danlu.training.trainer import Trainer

ROWS = 2
"""Rows of the smaller of the two measured batches, if no micro-batch is smaller; batch normalization needs two."""
_TOO_FEW = "Expected more than 1 value per channel"
"""beginning of the error of torch's batch normalization for a single example"""
BACKWARD = 1.5
"""Peak of a step divided by the bytes saved for backward, without gradients of parameters. Backward allocates gradients
of activations and frees saved tensors; in the built-in recipes the measured quotient is mostly between 0.6 and 1.8."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training holds, approximately.

    Attributes:
        weights: parameters and buffers of the task.
        training: gradients, optimizer states and averages of all players.
        fixed: bytes that a step saves for backward for a batch of any size.
        per_row: bytes that a step saves for backward for each row of the batch.
        examples_per_row: values of a term per row of the batch: the tokens of a row of text, otherwise 1.

    >>> StepMemory(weights=400, training=1200, fixed=0, per_row=10.0, examples_per_row=1.0).total(rows=20)
    1900
    """

    weights: int
    training: int
    fixed: float
    per_row: float
    examples_per_row: float

    @property
    def per_example(self) -> int:
        """Bytes saved for backward for each value of a term: for each example, or each token of a text."""
        return round(self.per_row / self.examples_per_row)

    def total(self, rows: int) -> int:
        """Bytes at the peak of a step.

        Args:
            rows: rows of a micro-batch.
        """
        return self.weights + self.training + round(BACKWARD * (self.fixed + self.per_row * rows))


def measure_step(trainer: Trainer, smallest: int = ROWS) -> StepMemory:
    """Take one step of each player on a few rows, and measure allocated memory and memory saved for backward.

    The step also shows whether the smallest micro-batch of the training is possible. The saved tensors of two small
    batches give a part that is fixed and a part that grows with the rows. Turns without an optimizer are left out. The
    step changes the task: use a trainer that is discarded afterwards.

    Args:
        trainer: in one process, not compiled and without CUDA graphs.
        smallest: rows of the smallest micro-batch of the training.

    Raises:
        UsageError: if the smallest micro-batch has one row, and a layer normalizes over the examples.

    >>> from danlu.data import Shuffled
    >>> from danlu.data import Part
    >>> from danlu.tasks import Supervised
    >>> from danlu.training import OptimizerSettings
    >>> stream = Shuffled(Part({"x": torch.randn(8, 4), "label": torch.arange(8) % 2}), batch_size=8)
    >>> task = Supervised(torch.nn.Linear(4, 2), inputs="x")
    >>> memory = measure_step(Trainer(task, OptimizerSettings(optimizer="momentum", schedule="constant"), stream, 1))
    >>> memory.weights, memory.training
    (40, 80)
    """
    small_batch, large_batch = _measured_batches(trainer.stream, smallest)
    steps = []
    for number, turn in enumerate(_different_turns(trainer)):
        small, large = (_step(trainer, turn, number, batch) for batch in (small_batch, large_batch))
        rows, saved, examples = (b - a for a, b in zip(small, large, strict=True))
        steps.append(_Line(max(0.0, small.saved - small.rows * saved / rows), saved / rows, examples / rows or 1.0))
    largest = max(steps, key=lambda line: line.fixed + line.per_row * trainer.stream.size, default=_Line(0.0, 0.0, 1.0))
    players = trainer.players.values()
    gradients = [p.grad for player in players for p in player.parameters if p.grad is not None]
    states = [x for player in players for x in player.state().values()]
    return StepMemory(_size(_tensors(trainer)), _size([*gradients, *states]), *largest)


class _Step(NamedTuple):
    """The measurements of one step: rows of the batch, bytes saved for backward, and values of a term."""

    rows: int
    saved: int
    examples: int


class _Line(NamedTuple):
    """Bytes saved as a linear function of the rows: the last three attributes of ``StepMemory``."""

    fixed: float
    per_row: float
    examples_per_row: float


def _different_turns(trainer: Trainer) -> list[Descend]:
    """The optimizer steps of the first and of the last round, each once: a task may begin with other turns."""
    task = trainer.task
    turns = [turn for round in (0, trainer.rounds - 1) for turn in task.turns(round) if isinstance(turn, Descend)]
    return list({(turn.player, turn.terms): turn for turn in turns}.values())


def _measured_batches(stream: Stream, smallest: int) -> tuple[Batch | None, Batch]:
    """Two small batches; None and the whole batch if the batch cannot be split.

    Each of joined streams has two rows, if it has as many in the smallest micro-batch.
    """
    fewest = min(ROWS, _fewest(stream, smallest) or ROWS)
    for rows in range(min(smallest, ROWS), stream.size // 2 + 1):
        if (_fewest(stream, rows) or 0) >= fewest and _fewest(stream, 2 * rows):
            return stream.batch(0, slice(0, rows)), stream.batch(0, slice(0, 2 * rows))
    return None, stream.batch(0, slice(0, stream.size))


def _fewest(stream: Stream, rows: int) -> int | None:
    """The rows of the smallest of joined streams in the first rows of a batch; None if they are not whole rows."""
    try:
        return min(part.stop - part.start for part in rows_of_parts(stream, slice(0, rows)).values())
    except UsageError:
        return None


def _tensors(trainer: Trainer) -> list[Tensor]:
    return [*trainer.task.parameters(), *trainer.task.buffers()]


def _step(trainer: Trainer, turn: Descend, number: int, batch: Batch | None) -> _Step:
    """One step of a player: the rows, the bytes that it saves for backward, and the length of its terms."""
    if batch is None:
        return _Step(0, 0, 0)
    runtime, player = trainer.runtime, trainer.players[turn.player]
    trainer.active_player.activate(turn.player, turn.in_training)
    player.clear()
    size = trainer.stream.size
    trainer.task.enter(Place(trainer.seed, 0, number, batch.rows, size, runtime.device, runtime.dtype))
    runtime.seed_default(key("memory", trainer.seed, number))
    with _saved_for_backward(_tensors(trainer)) as saved, runtime.autocast():
        terms = _terms(turn, batch)
        examples = len(next(iter(terms.values())))
        loss = torch.stack([x.sum() for x in (terms | player.penalties(examples)).values()]).sum()
    size_of_saved = sum(storage.nbytes() for storage in saved.values())
    loss.backward()
    player.step(0.0)
    return _Step(len(batch), size_of_saved, examples)


def _terms(turn: Descend, batch: Batch) -> Terms:
    try:
        return turn.terms(batch)
    except ValueError as error:
        if not str(error).startswith(_TOO_FEW) or min(map(len, (batch, *batch.parts.values()))) > 1:
            raise
        raise UsageError(
            f"a batch of {batch.size} gives a micro-batch of one example, and a layer of {turn.player} normalizes over "
            f"the examples, which needs at least two; use a larger batch_size, a "
            f"smaller grad_accumulation, fewer processes, or another norm",
            settings=("batch_size", "grad_accumulation"),
        ) from error


@contextmanager
def _saved_for_backward(excluded: Iterable[Tensor]) -> Iterator[dict[int, torch.UntypedStorage]]:
    """A context that collects the storages that autograd saves in it, except those of ``excluded``."""
    excluded_storages = {x.untyped_storage()._cdata for x in excluded}
    saved: dict[int, torch.UntypedStorage] = {}

    def record(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in excluded_storages:
            saved[storage._cdata] = storage  # a reference, so that its address is not reused
        return x

    with torch.autograd.graph.saved_tensors_hooks(record, lambda x: x):
        yield saved


def _size(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors; a storage that several tensors share is counted once."""
    return sum({s._cdata: s.nbytes() for s in (x.untyped_storage() for x in tensors)}.values())
