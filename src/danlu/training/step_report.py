"""What the trainer says of a round, and the check that its numbers are finite."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from danlu.errors import Diverged
from danlu.training.player import Player


class PlayerStep(NamedTuple):
    """What happened in a turn.

    Attributes:
        player: who moved.
        totals: sum of each term over the examples.
        examples: how many there were.
        norm: of the gradient, before clipping.
        lr: learning rate.
    """

    player: str
    totals: dict[str, Tensor]
    examples: int | Tensor
    norm: Float[Tensor, ""]
    lr: float

    def values(self) -> dict[str, float]:
        """Mean of each term over the examples, norm and learning rate, by name. This waits for the device."""
        means = {name: float(total) / float(self.examples) for name, total in self.totals.items()}
        values = {**means, "gradient_norm": float(self.norm), "lr": self.lr}
        return {f"{self.player}/{name}": value for name, value in values.items()}


class Report(NamedTuple):
    """What happened in a round.

    Attributes:
        round: rounds that are done, this one included.
        drawn: batches that are drawn so far.
        moves: one for each turn in which a player descended; tensors are read only if somebody reads them.
    """

    round: int
    drawn: int
    moves: list[PlayerStep]

    def values(self) -> dict[str, float]:
        """Each term, norm and learning rate by name, averaged over the turns in which a player made it."""
        seen: dict[str, list[float]] = {}
        for move in self.moves:
            for name, value in move.values().items():
                seen.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in seen.items()}


class FiniteCheck(NamedTuple):
    """A step whose numbers may not be finite: asked at once on a CPU, with the next report on a GPU.

    Attributes:
        player: who moves.
        round: when.
        totals: sum of each term.
        norm: of the whole gradient.
        norms: of each parameter's gradient.
    """

    player: Player
    round: int
    totals: dict[str, Tensor]
    norm: Float[Tensor, ""]
    norms: Float[Tensor, "k"]

    def finite(self) -> Bool[Tensor, ""]:
        """Whether all is well, on the device."""
        return torch.stack([self.norm, *self.totals.values()]).isfinite().all()

    def settle(self) -> None:
        """Look at the numbers.

        Raises:
            Diverged: if one is not finite.
        """
        if math.isfinite(self.norm.item()) and all(math.isfinite(term.item()) for term in self.totals.values()):
            return
        bad_term = next((name for name, term in self.totals.items() if not term.isfinite()), None)
        bad_gradients = (~self.norms.isfinite()).nonzero().flatten().tolist()
        if bad_gradients:
            tensor = f"gradient of {self.player.moving()[bad_gradients[0]]}"
        else:
            tensor = f"term {bad_term}" if bad_term else "norm of the whole gradient"
        raise Diverged(self.player.name, bad_term, self.round, tensor)
