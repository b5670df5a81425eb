"""Learning-rate schedules: pure functions of the round, as factors of the peak learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["constant", "linear", "cosine", "step", "inverse_sqrt", "one_cycle"]


def warm_up(round: int, warmup: int) -> float:
    """Linear warm-up: 1/warmup in round 0, 1 from round warmup - 1.

    >>> [warm_up(t, 4) for t in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """
    return min(1.0, (round + 1) / warmup) if warmup else 1.0


def linear(round: int, rounds: int, start: int = 0, floor: float = 0.0) -> float:
    r"""Linear decay from 1 in round ``start`` to ``floor`` in the last round.

    .. math:: 1 - (1 - f) \, p, \qquad p = (t - s) / (T - 1 - s)

    with rounds t = 0, …, T − 1. If ``start`` is the last round, its factor is ``floor``.

    >>> [linear(t, 5, floor=0.2) for t in range(5)]
    [1.0, 0.8, 0.6, 0.4, 0.2]
    """
    progress = _progress(round, start, rounds)
    return (1 - progress) + floor * progress  # exactly 1 and floor at the ends


def cosine(round: int, rounds: int, start: int = 0, floor: float = 0.0) -> float:
    r"""Cosine decay from 1 in round ``start`` to ``floor`` in the last round.

    .. math:: f + \tfrac12 (1 - f) (1 + \cos(\pi p)), \qquad p = (t - s) / (T - 1 - s)

    with rounds t = 0, …, T − 1. If ``start`` is the last round, its factor is ``floor``. Loshchilov and Hutter, "SGDR:
    stochastic gradient descent with warm restarts", 2017, equation 5.

    >>> cosine(0, 11), round(cosine(5, 11), 12), cosine(10, 11, floor=0.1)
    (1.0, 0.5, 0.1)
    """
    return _between(1.0, floor, _progress(round, start, rounds))


def step(round: int, rounds: int, milestones: Sequence[float] = (0.5, 0.75), gamma: float = 0.1) -> float:
    """Step decay: multiplied by gamma at each milestone, a fraction of the training.

    >>> [step(t, 100) for t in (49, 50, 75)]
    [1.0, 0.1, 0.010000000000000002]
    """
    # the quotient is rounded as the milestone was: 7 / 10 equals 0.7, but 0.7 * 10 exceeds 7
    return gamma ** sum(round / rounds >= milestone for milestone in milestones)


def inverse_sqrt(round: int, warmup: int) -> float:
    r"""Linear warm-up, then :math:`\sqrt{w / t}` with t counted from 1.

    With the peak learning rate :math:`(d w)^{-1/2}` this is :math:`d^{-1/2} \min(t^{-1/2}, t w^{-3/2})`, equation 3 of
    Vaswani et al., "Attention is all you need", 2017.

    >>> inverse_sqrt(3, 4), inverse_sqrt(15, 4)
    (1.0, 0.5)
    """
    t, w = round + 1, max(1, warmup)
    return min(t / w, math.sqrt(w / t))


def one_cycle(round: int, rounds: int, rise: float = 0.3, start: float = 1 / 25, floor: float = 4e-6) -> float:
    """One cycle: up to the peak, then down to the floor, each along half a cosine. The momentum is constant.

    Smith and Topin, "Super-convergence", 2018, in the cosine form of torch's OneCycleLR.

    Args:
        round: the round, counted from 0.
        rounds: total number of rounds.
        rise: fraction of the training in which the rate rises.
        start: factor of the first round.
        floor: factor of the last round.

    >>> [round(one_cycle(t, 100), 6) for t in (0, 29, 99)]
    [0.04, 1.0, 4e-06]
    """
    top, last = rise * rounds - 1, rounds - 1
    if round <= top:
        return _between(start, 1.0, round / top if top > 0 else 1.0)
    return _between(1.0, floor, (round - top) / (last - top) if last > top else 1.0)


def _progress(round: int, start: int, rounds: int) -> float:
    """0 up to round ``start``, then linear to 1 in the last round."""
    last = rounds - 1
    if round < start:
        return 0.0
    return min(1.0, (round - start) / (last - start)) if last > start else 1.0


def _between(a: float, b: float, progress: float) -> float:
    return b + (a - b) * 0.5 * (1 + math.cos(math.pi * progress))
