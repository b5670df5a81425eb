"""Chains with few states: exact transition matrices, distributions after some steps, and the noise of finite draws."""

from __future__ import annotations

import math
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.rng.keys import generator
from danlu.sampling.mcmc.gibbs import Gibbs


def sign_states(units: int) -> Float[Tensor, "states units"]:
    """All states of units −1 and 1, in float64; the last unit changes first.

    Args:
        units: number of units.

    >>> sign_states(2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    return torch.tensor(list(product((-1, 1), repeat=units)), dtype=torch.float64)


def sign_index(x: Float[Tensor, "*n units"]) -> Int[Tensor, "*n"]:
    """The number of each state in ``sign_states``.

    Args:
        x: states of units −1 and 1.

    >>> sign_index(sign_states(3)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    powers = 2 ** torch.arange(x.shape[-1], device=x.device).flip(0)
    return ((x > 0).long() * powers).sum(-1)


def sweep_matrix(kernel: Gibbs, units: int) -> Float[Tensor, "states states"]:
    """The exact transition matrix of a systematic sweep over units −1 and 1.

    Args:
        kernel: a Gibbs kernel with a systematic scan, whose logits are used.
        units: number of units.
    """
    states = sign_states(units)
    everyone = torch.arange(len(states))
    sweep = torch.eye(len(states), dtype=torch.float64)
    for unit in range(units):
        probabilities = kernel.logits(states, unit).softmax(1)
        update = torch.zeros_like(sweep)
        for number, value in enumerate(kernel.values):
            after = states.clone()
            after[:, unit] = value
            update[everyone, sign_index(after)] += probabilities[:, number]
        sweep = sweep @ update
    return sweep


def stationary(matrix: Float[Tensor, "states states"]) -> Float[Tensor, "states"]:
    """The stationary distribution of a transition matrix that has one: π T = π and ∑ π = 1, by least squares.

    Args:
        matrix: the transition matrix; each row has the sum 1.

    >>> stationary(torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=torch.float64))
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    count = len(matrix)
    equations = torch.cat([matrix.T - torch.eye(count, dtype=matrix.dtype), matrix.new_ones(1, count)])
    right = matrix.new_zeros(count + 1)
    right[-1] = 1
    return torch.linalg.lstsq(equations, right[:, None], driver="gelsd").solution[:, 0]


def steps_until(
    matrix: Float[Tensor, "states states"],
    start: Float[Tensor, "states"],
    p: Float[Tensor, "states"],
    distance: float,
) -> int:
    """The number of steps after which the distribution of a chain has a total variation to p of at most a distance.

    The total variation to the stationary distribution never rises, so the number is found by bisection.

    Args:
        matrix: the transition matrix, of which p is the limit.
        start: distribution of the first state.
        p: the stationary distribution.
        distance: the distance, above 0.

    >>> half = torch.full((2, 2), 0.5, dtype=torch.float64)
    >>> lazy = 0.9 * torch.eye(2, dtype=torch.float64) + 0.1 * half
    >>> first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    >>> steps_until(lazy, first, half[0], 0.01)  # 0.9^38 / 2 is the first below 0.01
    38
    """
    powers = [matrix]
    while total_variation(start @ powers[-1], p) > distance:
        powers.append(powers[-1] @ powers[-1])
    steps, current = 0, start
    for number in range(len(powers) - 1, -1, -1):
        after = current @ powers[number]
        if total_variation(after, p) > distance:
            steps, current = steps + 2**number, after
    return steps + (total_variation(start, p) > distance)


def total_variation(one: Float[Tensor, "states"], other: Float[Tensor, "states"]) -> float:
    """The total variation of two distributions: the largest difference of the probabilities of an event.

    Args:
        one: probabilities.
        other: other probabilities.

    >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.75, 0.25]))
    0.25
    """
    return float((one - other).abs().sum() / 2)


def frequencies(index: Int[Tensor, "*n"], states: int) -> Float[Tensor, "states"]:
    """The frequency of each state.

    Args:
        index: numbers of states.
        states: number of states.

    >>> frequencies(torch.tensor([0, 2, 2, 2]), 3)
    tensor([0.2500, 0.0000, 0.7500], dtype=torch.float64)
    """
    return torch.bincount(index.flatten(), minlength=states).double() / index.numel()


def noise(p: Float[Tensor, "states"], draws: int) -> float:
    r"""The expected total variation between p and the frequencies of independent draws, for many draws.

    .. math:: \sum_i \sqrt{\frac{p_i (1 - p_i)}{2 \pi n}}

    Args:
        p: probabilities.
        draws: number n of draws.

    >>> round(noise(torch.tensor([0.5, 0.5]), 100), 4)
    0.0399
    """
    return float((p * (1 - p)).clamp(min=0).sqrt().sum()) / math.sqrt(2 * math.pi * draws)


def distance_of_draws(p: Float[Tensor, "states"], draws: int, *parts: int | str) -> float:
    """The total variation between p and the frequencies of independent draws.

    Args:
        p: probabilities.
        draws: number of draws.
        parts: parts of the key of the random numbers.

    >>> p = torch.tensor([0.5, 0.5], dtype=torch.float64)
    >>> 0 < distance_of_draws(p, 1000, "example") < 0.1
    True
    """
    index = torch.multinomial(p, draws, replacement=True, generator=generator("exact", *parts))
    return total_variation(frequencies(index, len(p)), p)


def bin_probabilities(below: Float[Tensor, "edges"]) -> Float[Tensor, "bins"]:
    """The probabilities of the bins between edges, with one bin below and one above all edges.

    Args:
        below: the cumulative distribution at the edges, ascending.

    >>> bin_probabilities(torch.tensor([0.25, 0.75]))
    tensor([0.2500, 0.5000, 0.2500])
    """
    return torch.cat([below.new_zeros(1), below, below.new_ones(1)]).diff()
