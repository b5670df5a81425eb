"""Turns recorded once as CUDA graphs and then replayed.

The kernels of a small network finish faster than Python launches them. A CUDA graph launches all kernels of a turn at
once. The first rounds run normally. Then each turn is recorded with tensors at fixed addresses; from then on a turn
consists of filling these tensors and replaying the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from danlu.data.base.batch_stream import Batch
from danlu.errors import UsageError
from danlu.tasks.task import Task, Terms
from danlu.training.player import Player
from danlu.training.runtime import Runtime

WARM_UP = 3
"""rounds before a turn is recorded, in which libraries select their kernels and optimizers create their state"""


class Outcome(NamedTuple):
    """The result of a turn of a player.

    Attributes:
        totals: sum of each term over the examples.
        examples: number of examples.
        norm: norm of the whole gradient, before clipping.
        norms: norm of the gradient of each parameter.
    """

    totals: Terms
    examples: int | Tensor
    norm: Tensor
    norms: Tensor


TurnFunction = Callable[[Batch, Tensor], Outcome]


class Recording(Protocol):
    """A recorded turn."""

    outcome: Outcome
    """The result of the last replay."""

    def replay(self) -> None:
        """Execute the recorded turn."""
        ...


class Graph:
    """A turn recorded as a CUDA graph; recording does not execute it."""

    def __init__(self, turn: Callable[[], Outcome]):
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.outcome = turn()

    def replay(self) -> None:
        """Execute the recorded turn."""
        self._graph.replay()


class Replays:
    """Executes turns, and replays them from the fourth time on.

    Args:
        runtime: the device.
        record: function that records a turn.
    """

    def __init__(self, runtime: Runtime, record: Callable[[Callable[[], Outcome]], Recording] = Graph):
        self._runtime, self._record = runtime, record
        self.forget()

    def forget(self) -> None:
        """Discard the recordings, because tensors were replaced."""
        self._counts: dict[int, int] = {}
        self._recorded: dict[int, tuple[Batch, Tensor, Recording]] = {}

    def run(self, number: int, batch: Batch, lr: float, turn: TurnFunction) -> Outcome:
        """Execute or replay a turn.

        Args:
            number: index of the turn in the round.
            batch: its batch.
            lr: learning rate.
            turn: function that executes the turn, given batch and learning rate.
        """
        count = self._counts[number] = self._counts.get(number, 0) + 1
        if count <= WARM_UP:
            return turn(batch, self._rate(lr))
        if number not in self._recorded:
            static_batch, static_lr = _copy(batch), self._rate(lr)
            self._recorded[number] = static_batch, static_lr, self._record(lambda: turn(static_batch, static_lr))
        static_batch, static_lr, recording = self._recorded[number]
        _fill(static_batch, batch)
        static_lr.fill_(lr)
        recording.replay()
        return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, recording.outcome)

    def _rate(self, lr: float) -> Tensor:
        return torch.tensor(lr, dtype=torch.float32, device=self._runtime.device)


def check_replay(task: Task, players: Mapping[str, Player], runtime: Runtime, grad_accumulation: int) -> None:
    """Check that the turns of a task can be replayed.

    Raises:
        UsageError: with all reasons, if they cannot.
    """
    device = runtime.device.type
    reasons = {
        f"a GPU is required, and the device is {device}": device != "cuda",
        "a single process is required": runtime.world > 1,
        "grad_accumulation must be 1": grad_accumulation > 1,
        "compile cannot be combined with cuda_graphs": runtime.compile,
        f"the turns of {type(task).__name__} differ between rounds": not task.replayable,
    }
    for name, player in players.items():
        optimizer = player.settings.optimizer + (" with eps_inside" if player.settings.eps_inside else "")
        supported = "supported: sgd, momentum, nesterov, adam and adamw, without eps_inside"
        reasons[f"optimizer {optimizer} of {name} cannot be recorded; {supported}"] = not player.maskable
        reasons[f"the moving average (ema) of {name} changes its decay in every round"] = player.average is not None
    if problems := [reason for reason, applies in reasons.items() if applies]:
        raise UsageError("turns cannot be recorded as CUDA graphs: " + "; ".join(problems) + ". Set cuda_graphs=False")


def prepare(player: Player) -> None:
    """Configure the optimizers to keep their step counts on the device."""
    for optimizer in player.optimizers:
        for group in optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True


def _copy(batch: Batch) -> Batch:
    fields = {name: value.clone() for name, value in batch.fields.items()}
    parts = {name: _copy(part) for name, part in batch.parts.items()}
    return Batch(fields, batch.rows, batch.size, batch.numbers.clone(), parts)


def _fill(static_batch: Batch, batch: Batch) -> None:
    static_batch.numbers.copy_(batch.numbers)
    for name, value in static_batch.fields.items():
        value.copy_(batch.fields[name])
    for name, part in static_batch.parts.items():
        _fill(part, batch.parts[name])
