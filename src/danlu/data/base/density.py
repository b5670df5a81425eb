"""Likelihoods of examples in nats: dequantization of discrete values, and the units of densities.

A model of continuous values has a density, and the values of most data sets are discrete: pixels have gray levels.
Uniform noise u fills the gap Δ between neighboring levels (Uria, Murray and Larochelle, "RNADE", 2013). By Jensen's
inequality the density of the sum gives a lower bound of the probability P of the discrete values (Theis, van den Oord
and Bethge, "A note on the evaluation of generative models", 2016, section 3.1):

.. math:: \\log P(x) \\ge \\mathbb E_u \\log p(x + \\Delta u) + d \\log \\Delta, \\qquad u \\sim U[0, 1)^d
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.dataset import DataInfo
from danlu.rng.counter_based import bits, uniforms
from danlu.rng.keys import key


def dequantize(
    x: Float[Tensor, "n *shape"], uniform: Float[Tensor, "n *shape"], info: DataInfo
) -> Float[Tensor, "n *shape"]:
    """Add noise that fills the gap between neighboring values; continuous values stay as they are.

    Args:
        x: the examples.
        uniform: random numbers from [0, 1).
        info: the description of the examples.

    >>> from danlu.data.images.info import ImageInfo
    >>> dequantize(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]), ImageInfo((1, 1, 2), levels=3))
    tensor([[0.2500, 1.2500]])
    """
    return x if info.spacing is None else x + info.spacing * uniform


def fixed_noise(x: Float[Tensor, "n *shape"], numbers: Int[Tensor, "n"]) -> Float[Tensor, "n *shape"]:
    """Uniform random numbers from [0, 1) for scores: a function of the number of an example and the position in it.

    The same numbers give the same noise, so scores of different models and at different times are comparable.

    >>> a, b = (fixed_noise(torch.zeros(2, 3), torch.tensor(numbers)) for numbers in ([4, 7], [7, 4]))
    >>> torch.equal(a, b.flip(0))
    True
    """
    seeds = bits(key("dequantization"), numbers.to(x.device))[:, None]
    counters = torch.arange(x[0].numel(), device=x.device)
    precision = torch.float64 if x.dtype == torch.float64 else torch.float32
    return uniforms(seeds, counters, precision).view(x.shape).to(x.dtype)


def log_volume(info: DataInfo) -> float:
    r"""The number to add to a log-density of examples: ``d log Δ`` for discrete values, and for columns
    ``−Σ log |scale|``, which converts a density of standardized columns to one in the units of the file.

    >>> from danlu.data.tables.info import TableInfo
    >>> log_volume(TableInfo((1,), columns=("height",), shift=(1.7,), scale=(0.1,)))
    2.302...
    """
    if info.spacing is not None:
        return math.prod(info.shape) * math.log(info.spacing)
    return -math.fsum(math.log(abs(scale)) for scale in info.scales)


def bits_per_dimension(log_prob: Float[Tensor, "n"], values: int) -> Float[Tensor, "n"]:
    r"""Negative log-likelihood in bits per value, :math:`-\log p / (d \ln 2)`; lower is better.

    Args:
        log_prob: log-likelihood in nats of each example.
        values: number d of values of an example.

    >>> bits_per_dimension(torch.tensor([-64 * math.log(2.0)]), 8)
    tensor([8.])
    """
    return -log_prob / (values * math.log(2))
