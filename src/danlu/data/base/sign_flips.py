"""Noise of values −1 and 1: each value changes its sign with a given probability."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.rng.counter_based import uniforms
from danlu.rng.keys import key


def flip_signs(x: Float[Tensor, "n *shape"], probability: float, *parts: int | str) -> Float[Tensor, "n *shape"]:
    """Change the sign of each value with a probability, independently.

    Args:
        x: the values.
        probability: the probability, from 0 to 1.
        parts: the parts of the key of the random numbers. The same key gives the same random numbers, so a larger
            probability changes the same signs and others.

    >>> x = torch.ones(2, 500)
    >>> low, high = flip_signs(x, 0.1, "example"), flip_signs(x, 0.3, "example")
    >>> bool((high <= low).all()), abs(float(high.mean()) - 0.4) < 0.1
    (True, True)
    """
    counters = torch.arange(x.numel(), device=x.device).view(x.shape)
    return torch.where(uniforms(key("sign flips", *parts), counters, torch.float64) < probability, -x, x)
