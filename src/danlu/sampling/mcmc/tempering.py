"""Parallel tempering: chains at several temperatures, which exchange their states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from danlu.sampling.mcmc.checks import check_log_density
from danlu.sampling.mcmc.kernel import ChainState, Kernel, LogDensity


class ParallelTempering(Kernel):
    r"""Parallel tempering: steps of a kernel at each temperature, then swaps of neighboring temperatures.

    At temperature T the density is proportional to :math:`p^{\beta}` with β = 1 / T. The states of temperatures i and
    j = i + 1 are swapped with the probability

    .. math:: \min\{1, \exp((\beta_i - \beta_j) (\log p(x_j) - \log p(x_i)))\}

    first for even and then for odd i. Geyer, "Markov chain Monte Carlo maximum likelihood", 1991. The states of the
    chains have the shape (chains, temperatures, ...); ``replicas`` makes them, ``kept`` selects those of temperature 1.
    ``ChainState.acceptance`` is the acceptance rate at temperature 1, ``ChainState.swaps`` that of each swap.

    Args:
        log_density: logarithm of the unnormalized density p.
        kernel_at: function from β to a kernel whose density is proportional to :math:`p^\beta`. It is called with a
            tensor that has one β for each row of the states of the kernel, (chains · temperatures,).
        temperatures: ascending from 1, at least 2.
        kernel_steps: number of steps of the kernel before the swaps.

    Raises:
        ValueError: if the temperatures do not ascend from 1, the kernel makes no step, the states have another number
            of temperatures, or the log-density is not finite at the start.

    >>> from danlu.rng import generator
    >>> from danlu.sampling import NormalWalk, MetropolisHastings
    >>> double_well = lambda x: -8 * (x.square() - 1).square()
    >>> walk = lambda beta: MetropolisHastings(lambda x: beta * double_well(x), NormalWalk(0.3))
    >>> kernel = ParallelTempering(double_well, walk, temperatures=(1, 3, 9))
    >>> state = kernel.start(kernel.replicas(torch.ones(100)))
    >>> state = kernel.step(state, generator(0))
    >>> kernel.kept(state.x).shape, state.swaps.shape
    (torch.Size([100]), torch.Size([100, 2]))
    """

    def __init__(
        self,
        log_density: LogDensity,
        kernel_at: Callable[[Tensor], Kernel],
        temperatures: Sequence[int | float],
        kernel_steps: int = 1,
    ):
        temperatures = tuple(temperatures)
        if len(temperatures) < 2 or temperatures[0] != 1 or not _ascends(temperatures):
            raise ValueError(
                f"temperatures={temperatures} must ascend from 1 and be finite, at least 2, for example (1, 2, 4)"
            )
        if kernel_steps < 1:
            raise ValueError(f"kernel_steps={kernel_steps} must be at least 1")
        self.log_density, self.kernel_at = log_density, kernel_at
        self.temperatures, self.kernel_steps = temperatures, kernel_steps

    def replicas(self, x: Shaped[Tensor, "chains *shape"]) -> Shaped[Tensor, "chains temperatures *shape"]:
        """Chains that start from the same values at all temperatures.

        Args:
            x: values of the chains.
        """
        return x[:, None].expand(-1, len(self.temperatures), *x.shape[1:]).clone()

    def kept(self, x: Shaped[Tensor, "chains temperatures *shape"]) -> Shaped[Tensor, "chains *shape"]:
        return x[:, 0]

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        count = len(self.temperatures)
        if x.ndim < 2 or x.shape[1] != count:
            raise ValueError(
                f"start has shape {tuple(x.shape)}; it must be (chains, {count}, ...), one value for each temperature. "
                f"Start from kernel.replicas(x)"
            )
        rows = x.flatten(0, 1)
        check_log_density(self.log_density, rows)
        self._kernel(x)[0].check(rows)

    def start(self, x: Shaped[Tensor, "chains *shape"]) -> ChainState:
        state = super().start(x)
        return state._replace(swaps=state.acceptance.new_ones(len(x), len(self.temperatures) - 1))

    @torch.no_grad()
    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        x = state.x
        kernel, beta = self._kernel(x)
        rows = x.flatten(0, 1)
        inner = kernel.state(rows, kernel.cache(rows))
        acceptance = torch.zeros_like(inner.acceptance)
        for _ in range(self.kernel_steps):
            inner = kernel.step(inner, generator)
            acceptance += inner.acceptance / self.kernel_steps
        log_density = self.log_density(inner.x)
        beta, log_density = beta.to(log_density.dtype).view(x.shape[:2]), log_density.view(x.shape[:2])
        order, swaps = _swapped(beta, log_density, generator)
        x = inner.x.view(x.shape)[torch.arange(len(x), device=x.device)[:, None], order]
        return self.state(x, (), acceptance.view(x.shape[:2])[:, 0], swaps)

    def _kernel(self, x: Tensor) -> tuple[Kernel, Tensor]:
        """The kernel of all rows, and the β of each row."""
        real = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        beta = 1 / torch.tensor(self.temperatures, dtype=real, device=x.device)
        beta = beta.repeat(len(x))
        return self.kernel_at(beta), beta


def _swapped(
    beta: Float[Tensor, "chains temperatures"],
    log_density: Float[Tensor, "chains temperatures"],
    generator: torch.Generator,
) -> tuple[Tensor, Float[Tensor, "chains pairs"]]:
    """The index of the state that each temperature has after the swaps, and whether each pair was swapped."""
    chains, temperatures = beta.shape
    order = torch.arange(temperatures, device=beta.device).repeat(chains, 1)
    swaps = beta.new_empty(chains, temperatures - 1)
    log_uniform = torch.empty_like(swaps).uniform_(generator=generator).log_()
    for first in (0, 1):
        low, high = slice(first, temperatures - 1, 2), slice(first + 1, temperatures, 2)
        values = log_density.gather(1, order)
        log_ratio = (beta[:, low] - beta[:, high]) * (values[:, high] - values[:, low])
        swapped = log_uniform[:, low] < log_ratio
        left, right = order[:, low], order[:, high]
        order[:, low], order[:, high] = torch.where(swapped, right, left), torch.where(swapped, left, right)
        swaps[:, low] = swapped.to(swaps.dtype)
    return order, swaps


def _ascends(temperatures: tuple[int | float, ...]) -> bool:
    """Whether each temperature is greater than the one before, and finite."""
    return all(low < high < float("inf") for low, high in pairwise(temperatures))
