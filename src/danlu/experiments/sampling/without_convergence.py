"""Two proposals with which the chains do not converge: one that cannot reach every state, and a periodic one."""

from __future__ import annotations

from typing import Any

import torch

from danlu.experiments.sampling.exact_chains import bin_probabilities, distance_of_draws, frequencies, total_variation
from danlu.experiments.sampling.proposals import RING, log_normal_walk, ring_walk
from danlu.rng.keys import generator
from danlu.sampling.mcmc.chains import run_chains
from danlu.sampling.mcmc.metropolis import MetropolisHastings

STEPS, BINS = 200, 20  # steps of the chains; bins of the continuous densities
TRAPPED, PERIODIC, LAZY = "x keeps its sign", "steps of ±1 on a ring", "steps of −1, 0 or 1 on a ring"


def trapped(seed: int, chains: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The measures of a normal density and the proposal that keeps the sign, and a histogram.

    Args:
        seed: random seed.
        chains: number of chains.
    """
    mean = float(torch.rand(1, generator=generator("mean", seed), dtype=torch.float64)) - 0.5
    normal = torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), 1.0)
    edges = normal.icdf(torch.arange(1, BINS, dtype=torch.float64) / BINS)
    p = bin_probabilities(normal.cdf(edges))
    kernel = MetropolisHastings(lambda x: -(x - mean).square() / 2, log_normal_walk(True))
    start = torch.ones(chains, dtype=torch.float64)
    x = run_chains(kernel, start, 1, burn_in=STEPS - 1, seed=generator("trapped", seed)).values[:, 0]
    distance = total_variation(frequencies(torch.bucketize(x, edges), BINS), p)
    excess = distance - distance_of_draws(p, chains, "trapped", seed)
    shown = {"mean": mean, "histogram": torch.histc(x, 32, -4, 4).div(chains * 0.25).tolist()}
    return {TRAPPED: {"excess": excess, "distance": distance}}, shown


def on_ring(seed: int, chains: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The measures of both walks on a ring, and their distances after each step.

    Args:
        seed: random seed.
        chains: number of chains.
    """
    p = torch.full((RING,), 1 / RING, dtype=torch.float64)
    draws = distance_of_draws(p, chains, "ring", seed)
    arms, shown = {}, {}
    for arm, stays in ((PERIODIC, False), (LAZY, True)):
        kernel = MetropolisHastings(lambda x: torch.zeros(len(x), dtype=torch.float64), ring_walk(stays))
        start = torch.zeros(chains, dtype=torch.long)
        index = run_chains(kernel, start, STEPS, seed=generator("ring", arm, seed)).values
        distances = [total_variation(frequencies(step, RING), p) for step in index.unbind(1)]
        arms[arm] = {"excess": distances[-1] - draws, "distance": distances[-1]}
        shown[arm] = distances
    return arms, shown
