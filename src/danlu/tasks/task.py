"""Base class of tasks. A task defines the players that are trained and the turns of a round.

In a turn a player makes an optimizer step, or tensors change without an optimizer. The trainer knows nothing else about
a model family. Ordinary training has one player and one turn, a GAN two players, a Hopfield network no optimizer step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import Part
from danlu.rng.keys import generator

Terms = dict[str, Tensor]
"""Named parts of a loss, each (n,) with one value per example; the loss is the mean over examples of their sum."""


class Descend(NamedTuple):
    """One optimizer step of a player on the mean over examples of the sum of the terms.

    Attributes:
        player: a name in ``Task.players``.
        terms: function from a batch to the terms to minimize.
        fresh: whether the turn draws a new batch; otherwise it reuses the batch of the previous turn.
        in_training: other players that are in training mode: their dropout is active, and their batch normalization
            uses the statistics of the batch. By default other players are evaluated as after training: in evaluation
            mode, with averaged weights if there are any.
    """

    player: str
    terms: Callable[[Batch], Terms]
    fresh: bool = True
    in_training: tuple[str, ...] = ()


class Update(NamedTuple):
    """A change of tensors without an optimizer, for instance weight clipping, a moving average or stored patterns.

    It gets the full batch in every process, so all processes make the same change.

    Attributes:
        apply: function that changes tensors of the task in place, called under ``torch.no_grad``.
        fresh: whether the turn draws a new batch; otherwise it reuses the batch of the previous turn.
        in_training: players that are in training mode; by default all players are in evaluation mode. All players have
            their current weights, and running statistics do not change.
    """

    apply: Callable[[Batch], None]
    fresh: bool = False
    in_training: tuple[str, ...] = ()


Turn = Descend | Update


class Place(NamedTuple):
    """The position of a turn in a run; with the number of the call it determines all random numbers of a task."""

    seed: int
    round: int
    turn: int
    rows: slice
    size: int
    device: torch.device
    dtype: torch.dtype


class Noise:
    """Random numbers of a turn."""

    place: Place | None = None
    calls = 0

    def enter(self, place: Place) -> None:
        """Set the position and reset the number of calls."""
        self.place, self.calls = place, 0

    def draw(self, shape: tuple[int, ...], uniform: bool, batch: Batch | None) -> Tensor:
        """The next numbers, (rows, *shape)."""
        if self.place is None:
            raise RuntimeError("noise() can only be called in a turn: round and turn determine its numbers")
        seed, round, turn, rows, size, device, dtype = self.place
        source = generator("noise", seed, round, turn, self.calls, device=device)
        self.calls += 1
        if batch is not None:
            rows, size = batch.rows, batch.size
        draw = torch.rand if uniform else torch.randn
        return draw((size, *shape), generator=source, device=device, dtype=dtype)[rows]


class Task(nn.Module):
    """Base class of tasks. A task owns all tensors of a training: players, teachers, chains and pools.

    State that is not a parameter is a registered buffer, so it is saved, moved and resumed with everything else. State
    with one entry per row of the batch is registered with ``register_rows``.

    Attributes:
        better: for each score whether "higher" or "lower" is better; the first one is monitored by default.
        replayable: whether all rounds have the same turns, and the turns depend only on tensors and draw no noise.
        mixes: whether the task weights the two labels of mixed images.

    >>> class Mean(Task):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.center = nn.Linear(1, 2, bias=False)
    ...     def players(self):
    ...         return {"center": self.center}
    ...     def turns(self, round):
    ...         return [Descend("center", self.distance), Update(self.shrink)]
    ...     def distance(self, batch):
    ...         return {"square": (batch["x"] - self.center.weight[:, 0]).square().sum(1)}
    ...     def shrink(self, batch):
    ...         self.center.weight.mul_(0.99)
    >>> [type(turn).__name__ for turn in Mean().turns(0)]
    ['Descend', 'Update']
    """

    better: Mapping[str, str] = {}
    replayable: bool = False
    mixes: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._noise = Noise()
        self.row_dimensions: dict[str, int] = {}

    @property
    def model(self) -> nn.Module:
        """The module with the verbs, which is saved and used after training."""
        raise NotImplementedError(f"{type(self).__name__} must define model")

    @property
    def coupled(self) -> str | None:
        """The reason why the loss of an example depends on other examples of its batch, or None if it does not.

        Results of a coupled task change slightly when a batch is split over micro-batches or processes.
        """
        return "batch norm" if any(isinstance(module, _BatchNorm) for module in self.modules()) else None

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """Models of other runs by name. The task never changes them, and a run is resumed with the same ones."""
        return {}

    def players(self) -> dict[str, nn.Module]:
        """The trained modules by name."""
        raise NotImplementedError(f"{type(self).__name__} must define players")

    def turns(self, round: int) -> list[Turn]:
        """The turns of this round, in order."""
        raise NotImplementedError(f"{type(self).__name__} must define turns")

    def draws(self, round: int = 1) -> int:
        """Number of batches that a round draws; round 0 may draw more than the others."""
        return sum(turn.fresh for turn in self.turns(round))

    def scores(self, batch: Batch) -> Terms:
        """Scores on held-out data, one value per example; the reported score is the mean over examples."""
        return {}

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """Scores on held-out data that are not means over examples but need all examples together.

        Args:
            part: held-out data, on any device; it can be larger than the memory of the task's device.
        """
        return {}

    def diagnose(self, scores: Mapping[str, float]) -> str | None:
        """A message about a known failure that the scores of the trained model show, with a remedy; or None."""
        return None

    def diagnose_terms(self, terms: Mapping[str, float]) -> str | None:
        """A message about a known failure that the terms of a round of training show, with a remedy; or None.

        Args:
            terms: the values of a report, by names such as "model/loss".
        """
        return None

    def enter(self, place: Place) -> None:
        """Set the position in the run for ``noise``; the trainer calls this before each turn."""
        self._noise.enter(place)

    def register_rows(self, name: str, state: Tensor, dim: int = 0) -> None:
        """Register a buffer with one slice per row of the batch: chains, pools, recurrent state.

        A turn reads and writes only ``batch.rows`` of that dimension. With several processes, each keeps its own rows;
        they are gathered when the state is saved.

        Args:
            name: name of the buffer.
            state: initial value; its length along ``dim`` is the batch size.
            dim: dimension of the rows.
        """
        self.register_buffer(name, state)
        self.row_dimensions[name] = dim

    def noise(self, shape: tuple[int, ...], uniform: bool = False, batch: Batch | None = None) -> Tensor:
        """Random numbers for the rows of the batch, (n, *shape): normal, or uniform on [0, 1).

        They are drawn for the full batch from (seed, round, turn) and the number of this call in the turn, and sliced
        by row. Processes and micro-batches therefore get the same numbers as a single process.

        Args:
            shape: shape for one example.
            uniform: uniform instead of normal.
            batch: a part of a joined batch; the numbers are then for the rows of this part instead of the whole batch.

        Raises:
            RuntimeError: outside a turn.
        """
        return self._noise.draw(shape, uniform, batch)
