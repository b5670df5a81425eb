"""Reports on rounds, and the check that their values are finite."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from danlu.errors import Diverged
from danlu.training.player import Player


class PlayerStep(NamedTuple):
    """The report on a turn in which a player took a step.

    Attributes:
        player: name of the player.
        totals: sum of each term over the examples.
        examples: number of examples.
        norm: norm of the gradient, before clipping.
        lr: learning rate.
    """

    player: str
    totals: dict[str, Tensor]
    examples: int | Tensor
    norm: Float[Tensor, ""]
    lr: float

    def values(self) -> dict[str, float]:
        """Mean of each term over the examples, gradient norm and learning rate, by name. Synchronizes the device."""
        means = {name: float(total) / float(self.examples) for name, total in self.totals.items()}
        values = {**means, "gradient_norm": float(self.norm), "lr": self.lr}
        return {f"{self.player}/{name}": value for name, value in values.items()}


class Report(NamedTuple):
    """The report on a round.

    Attributes:
        round: number of completed rounds, including this one.
        drawn: number of batches drawn so far.
        steps: one for each optimizer step; the tensors stay on the device until they are read.
    """

    round: int
    drawn: int
    steps: list[PlayerStep]

    def values(self) -> dict[str, float]:
        """Each term, gradient norm and learning rate by name, averaged over the turns of a player."""
        values_by_name: dict[str, list[float]] = {}
        for step in self.steps:
            for name, value in step.values().items():
                values_by_name.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in values_by_name.items()}


class FiniteCheck(NamedTuple):
    """A check that the values of a step are finite: made before the step on a CPU, with the next report on a GPU.

    Attributes:
        player: the player.
        round: the round.
        totals: sum of each term.
        norm: norm of the whole gradient.
        norms: norm of the gradient of each parameter.
    """

    player: Player
    round: int
    totals: dict[str, Tensor]
    norm: Float[Tensor, ""]
    norms: Float[Tensor, "k"]

    def finite(self) -> Bool[Tensor, ""]:
        """Whether all values are finite, as a tensor on the device."""
        return torch.stack([self.norm, *self.totals.values()]).isfinite().all()

    def check_values(self) -> None:
        """Read the values.

        Raises:
            Diverged: if a value is not finite.
        """
        if math.isfinite(self.norm.item()) and all(math.isfinite(term.item()) for term in self.totals.values()):
            return
        bad_term = next((name for name, term in self.totals.items() if not term.isfinite()), None)
        bad_gradients = (~self.norms.isfinite()).nonzero().flatten().tolist()
        if bad_gradients:
            tensor = f"gradient of {self.player.names_with_gradient()[bad_gradients[0]]}"
        else:
            tensor = f"term {bad_term}" if bad_term else "norm of the whole gradient"
        raise Diverged(self.player.name, bad_term, self.round, tensor)
