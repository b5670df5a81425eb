"""Runs of many chains with one kernel: burn-in, thinning, draws and their diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.sampling.mcmc.checks import check_draws
from danlu.sampling.mcmc.diagnostics import EssMethod, effective_sample_size, rhat
from danlu.sampling.mcmc.kernel import ChainState, Kernel
from danlu.sampling.mcmc.step_generators import StepGenerators


@dataclass(frozen=True)
class Draws:
    """The draws of many chains.

    Attributes:
        values: kept draws, (chains, draws, ...).
        state: state after the last step, from which the chains can continue.
        steps: number of the next step: all steps so far, with those of the burn-in.
        acceptance: mean acceptance rate of each chain after the burn-in, (chains,).
        swaps: mean acceptance rate of the swaps of each pair of neighboring temperatures, (pairs,); no pairs unless the
            kernel is parallel tempering.
    """

    values: Tensor
    state: ChainState
    steps: int
    acceptance: Tensor
    swaps: Tensor

    def rhat(self) -> Float[Tensor, "..."]:
        """R-hat of each coordinate, rank-normalized; see ``rhat``."""
        return rhat(self.values)

    def effective_sample_size(self, method: EssMethod = "bulk") -> Float[Tensor, "..."]:
        """Effective sample size of each coordinate; see ``effective_sample_size``.

        Args:
            method: "bulk", "tail" or "mean".
        """
        return effective_sample_size(self.values, method)


@torch.no_grad()
def run_chains(
    kernel: Kernel,
    start: Tensor | ChainState,
    draws: int,
    burn_in: int = 0,
    thin: int = 1,
    seed: int | torch.Generator = 0,
    first_step: int = 0,
    keep: Callable[[Tensor], Tensor] | None = None,
) -> Draws:
    """Run chains and keep their draws.

    With an integer seed, the random numbers of a step depend on the seed and the number of the step. A run from
    ``state`` of another run, with its ``steps`` as ``first_step``, continues it: the draws are those of one long run.
    A generator is used in order, so this holds too if both runs use the same one.

    Args:
        kernel: the kernel.
        start: values of the chains, (chains, ...), or the state of an earlier run.
        draws: number of draws to keep of each chain.
        burn_in: number of steps before the first ones that count.
        thin: number of steps for each draw; the last of them is kept.
        seed: random seed, or a generator on the device of the chains.
        first_step: number of the first step, for an integer seed.
        keep: function of the states (chains, ...) that returns what is kept, (chains, ...). None keeps the states.

    Raises:
        ValueError: if a number is out of range, or the kernel cannot start.
        RunError: if the values of a chain are not finite at the end.

    >>> from danlu.sampling import MetropolisHastings, NormalWalk
    >>> normal = MetropolisHastings(lambda x: -x.square().sum(1) / 2, NormalWalk(1.0))
    >>> run = run_chains(normal, torch.zeros(4, 2), draws=10, burn_in=5, thin=2)
    >>> run.values.shape, run.acceptance.shape, run.steps
    (torch.Size([4, 10, 2]), torch.Size([4]), 25)
    >>> first = run_chains(normal, torch.zeros(4, 2), draws=6, burn_in=5, thin=2)
    >>> rest = run_chains(normal, first.state, draws=4, thin=2, first_step=first.steps)
    >>> torch.cat([first.values, rest.values], 1).equal(run.values)
    True
    """
    for name, number, least in (("draws", draws, 1), ("burn_in", burn_in, 0), ("thin", thin, 1)):
        if number < least:
            raise ValueError(f"{name}={number} must be at least {least}")
    state = start if isinstance(start, ChainState) else kernel.start(start)
    next_generator = StepGenerators("chains", seed, first_step, state.x.device)
    for _ in range(burn_in):
        state = kernel.step(state, next_generator())
    values, acceptance, swaps = None, torch.zeros_like(state.acceptance), torch.zeros_like(state.swaps)
    for number in range(draws):
        for _ in range(thin):
            state = kernel.step(state, next_generator())
            acceptance += state.acceptance
            swaps += state.swaps
        value = kernel.kept(state.x) if keep is None else keep(kernel.kept(state.x))
        if values is None:
            values = value.new_empty(len(value), draws, *value.shape[1:])
        values[:, number] = value
    check_draws(state.x, next_generator.step)
    assert values is not None
    count = draws * thin
    return Draws(values, state, next_generator.step, acceptance / count, swaps.mean(0) / count)
