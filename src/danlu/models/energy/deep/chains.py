"""Chains of a deep energy model: Langevin steps with and without rejection, from given random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.errors import RunError
from danlu.models.energy.energy_model import Draw
from danlu.sampling.mcmc.checks import first_not_finite
from danlu.sampling.mcmc.langevin import MALA, Langevin

SamplerName = Literal["mala", "langevin"]
Energy = Callable[[Tensor, float], Tensor]
"""function of coordinates (n, ...) and an inverse temperature to energies (n,)"""


class Steps(NamedTuple):
    """How a chain moves in a step.

    Attributes:
        sampler: "mala" accepts or rejects each step, so that the chain has the distribution of the model. "langevin"
            accepts all.
        step_size: ε, in units of the coordinates.
        noise: σ of "langevin"; None means ε.
        gradient_clip: largest absolute value of an entry of the gradient; None for no limit.
    """

    sampler: SamplerName
    step_size: float
    noise: float | None
    gradient_clip: float | None

    def check(self) -> None:
        """Raise a ValueError if a number is out of range, or has no effect."""
        if self.sampler not in ("mala", "langevin"):
            raise ValueError(f"sampler={self.sampler!r} must be 'mala' or 'langevin'")
        if not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size={self.step_size} must be a finite number greater than 0")
        if self.noise is not None and not 0 <= self.noise < math.inf:
            raise ValueError(f"noise={self.noise} must be None or a finite number that is at least 0")
        if self.gradient_clip is not None and not 0 < self.gradient_clip < math.inf:
            raise ValueError(f"gradient_clip={self.gradient_clip} must be None or a finite number greater than 0")
        if self.sampler == "mala" and self.noise is not None:
            raise ValueError("noise has no effect with sampler='mala', whose noise is the step size; leave it out")

    @property
    def temperature(self) -> float:
        """The temperature of the chains, for small steps: (σ / ε)²."""
        return 1.0 if self.noise is None else (self.noise / self.step_size) ** 2

    def finer(self, largest: float) -> Steps:
        """Steps with the same temperature whose noise is at most as given.

        Args:
            largest: largest standard deviation of the noise of a step.

        >>> Steps("langevin", 0.5, 0.25, None).finer(0.125)
        Steps(sampler='langevin', step_size=0.25, noise=0.125, gradient_clip=None)
        """
        noise = self.step_size if self.noise is None else self.noise
        if noise <= largest:
            return self
        step_size = self.step_size * largest / noise
        return self._replace(step_size=step_size, noise=None if self.noise is None else largest)

    def kernel(self, energy: Energy, beta: float) -> MALA | Langevin:
        """The kernel for an inverse temperature.

        Args:
            energy: the energy.
            beta: inverse temperature.
        """
        log_density = lambda u: -energy(u, beta)  # noqa: E731
        if self.sampler == "mala":
            return MALA(log_density, self.step_size, self.gradient_clip)
        return Langevin(log_density, self.step_size, self.noise, self.gradient_clip)


@torch.no_grad()
def move(
    steps: Steps,
    energy: Energy,
    u: Float[Tensor, "n *shape"],
    number: int,
    draw: Draw,
    anneal: bool = False,
    point: Callable[[Tensor], Tensor] = lambda u: u,
) -> tuple[Float[Tensor, "n *shape"], Float[Tensor, "n *shape"]]:
    """Chains after some steps, and the mean of their states in the second half of the steps.

    Args:
        steps: how a chain moves.
        energy: the energy.
        u: coordinates of the chains, (n, ...).
        number: number of steps.
        draw: source of the random numbers.
        anneal: whether the inverse temperature rises from 0 to 1 in the first half of the steps.
        point: function of the states whose mean is returned.

    Raises:
        RunError: if a chain is not finite.
    """
    start, total = number // 2, torch.zeros_like(u)
    state = kernel = None
    for step in range(1, number + 1):
        beta = min(1.0, step / (start + 1)) if anneal else 1.0
        if kernel is None or state is None or beta < 1 or step == start + 1:  # the target changes
            kernel = steps.kernel(energy, beta)
            state = kernel.state(u, kernel.cache(u))
        uniform = draw((), True) if steps.sampler == "mala" else None
        state = kernel.move(state, draw(tuple(u.shape[1:]), False), uniform)
        u = state.x
        if step > start:
            total += point(u)
    check_chains(u, number, steps.step_size)
    return u, total / (number - start)


def check_chains(u: Float[Tensor, "n *shape"], number: int, step_size: float) -> None:
    """Check that chains are finite. On a GPU they are not checked.

    Args:
        u: coordinates of the chains.
        number: number of steps, for the message.
        step_size: ε, for the message.

    Raises:
        RunError: if a chain is not finite.
    """
    if u.device.type != "cpu":
        return
    chain = first_not_finite(u)
    if chain is not None:
        raise RunError(
            f"chain {chain} of the energy model is not finite after {number} steps with step_size={step_size:g}, which "
            f"is too large for the gradient of the energy. Use a smaller step_size, sampler='mala', or a lower lr",
            settings=("model.step_size",),
        )
