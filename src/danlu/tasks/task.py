"""A task is a game: a list of turns in which players descend, or tensors change without an optimizer.

This is all that the trainer knows of a model family. Ordinary training is a game with one player and one turn; a GAN
is a game with two players; a Hopfield network is a game in which nobody descends.
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
    """A player moves: one step of its optimizer on the mean of the sum of the terms.

    Attributes:
        player: who moves, a name in ``Task.players``.
        terms: what it minimizes, from a batch.
        fresh: whether the turn draws a new batch; else it sees the batch of the turn before it.
    """

    player: str
    terms: Callable[[Batch], Terms]
    fresh: bool = True


class Update(NamedTuple):
    """Tensors change without an optimizer: clip a critic, pull a teacher along, store patterns.

    It sees the whole batch in every process, so that all of them make the same change.

    Attributes:
        apply: changes tensors of the task in place, under ``torch.no_grad``.
        fresh: whether the turn draws a new batch; else it sees the batch of the turn before it.
    """

    apply: Callable[[Batch], None]
    fresh: bool = False


Turn = Descend | Update


class Place(NamedTuple):
    """Where in a run a turn is; with the number of the call it names every random number that a task draws."""

    seed: int
    round: int
    turn: int
    rows: slice
    size: int
    device: torch.device
    dtype: torch.dtype


class Noise:
    """Draws the random numbers of one place after the other."""

    place: Place | None = None
    calls = 0

    def enter(self, place: Place) -> None:
        """Numbers for this place from now on, from the first call again."""
        self.place, self.calls = place, 0

    def draw(self, shape: tuple[int, ...], uniform: bool, batch: Batch | None) -> Tensor:
        """The next numbers, (rows, *shape)."""
        if self.place is None:
            raise RuntimeError("noise() belongs inside a turn: the trainer's round and turn say which numbers it gives")
        seed, round, turn, rows, size, device, dtype = self.place
        source = generator("noise", seed, round, turn, self.calls, device=device)
        self.calls += 1
        if batch is not None:
            rows, size = batch.rows, batch.size
        draw = torch.rand if uniform else torch.randn
        return draw((size, *shape), generator=source, device=device, dtype=dtype)[rows]


class Task(nn.Module):
    """The game that trains a model: it owns every tensor of it, players, teachers, chains and pools.

    State that is not a parameter is a registered buffer, so that it is saved, moved and resumed with everything else.
    What belongs to the rows of the batch is registered by ``register_rows``.

    Attributes:
        better: for each score whether "higher" or "lower" is better; the first one is watched by default.
        replayable: whether a round has the same turns each time, which depend on nothing but tensors and draw no noise.
        mixes: whether it weighs the two labels of pictures that were mixed.

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

    better: ClassVar[Mapping[str, str]] = {}
    replayable: bool = False
    mixes: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._noise = Noise()
        self.row_dimensions: dict[str, int] = {}

    @property
    def model(self) -> nn.Module:
        """The module with the verbs: what is saved and used in the end."""
        raise NotImplementedError(f"{type(self).__name__} must say which module is its model")

    @property
    def coupled(self) -> str | None:
        """Why the loss of one example depends on the others of its batch, or None if it does not.

        A coupled game changes a little when a batch is split over micro-batches or processes.
        """
        return "batch norm" if any(isinstance(module, _BatchNorm) for module in self.modules()) else None

    def players(self) -> dict[str, nn.Module]:
        """The modules that move, by name."""
        raise NotImplementedError(f"{type(self).__name__} must name its players")

    def turns(self, round: int) -> list[Turn]:
        """The turns of this round, in order."""
        raise NotImplementedError(f"{type(self).__name__} must list its turns")

    def draws(self, round: int = 1) -> int:
        """How many batches a round draws; the first round, 0, may draw more than others."""
        return sum(turn.fresh for turn in self.turns(round))

    def scores(self, batch: Batch) -> Terms:
        """What to measure on held-out data, one value per example; the score is the mean over examples."""
        return {}

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """What to measure on held-out data that is no mean over examples: of all of them together.

        Args:
            part: on the device of the task.
        """
        return {}

    def diagnose(self, scores: Mapping[str, float]) -> str | None:
        """What has gone wrong, as the scores of the trained model show it, and what to do; in a sentence or two."""
        return None

    def enter(self, place: Place) -> None:
        """Called by the trainer before a turn: where in the run the numbers of ``noise`` come from."""
        self._noise.enter(place)

    def register_rows(self, name: str, state: Tensor, dim: int = 0) -> None:
        """Register a buffer in which each row of the batch has a slice of its own: chains, pools, recurrent state.

        A turn reads and writes only ``batch.rows`` of that dimension. Several processes then keep their own rows, and
        bring them together when the state is saved.

        Args:
            name: of the buffer.
            state: its beginning; its length along ``dim`` is the batch size.
            dim: which dimension has the rows.
        """
        self.register_buffer(name, state)
        self.row_dimensions[name] = dim

    def noise(self, shape: tuple[int, ...], uniform: bool = False, batch: Batch | None = None) -> Tensor:
        """Random numbers for the rows of the batch, (n, *shape): normal, or uniform on [0, 1).

        They are drawn for the whole batch from (seed, round, turn) and the number of this call in the turn, and
        sliced by row, so that processes and micro-batches see the numbers that one process would see.

        Args:
            shape: shape for one example.
            uniform: uniform instead of normal.
            batch: for the rows of this part of a batch instead of the whole, where several come together.

        Raises:
            RuntimeError: outside a turn.
        """
        return self._noise.draw(shape, uniform, batch)
