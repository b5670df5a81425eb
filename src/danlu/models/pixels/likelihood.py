"""The log-probability of each pixel from the outputs of a network, in limited memory and sufficient precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.pixels.outputs import PixelOutput

OUTPUTS = 2**24
"""Outputs of a network that are computed at a time if no gradient is needed: 64 MiB in float32. The 256 levels of 500
color images of 32×32 pixels would need 1.6 GB, and their logarithms as much."""


def pixel_log_probs(
    network: Callable[[Tensor, Tensor | None], Tensor],
    output: PixelOutput,
    y: Float[Tensor, "n colors h w"],
    class_weights: Float[Tensor, "n classes"] | None,
) -> Float[Tensor, "n h w"]:
    """Log-probability of each pixel in nats, given earlier pixels.

    Without gradients, images pass through the network in batches with at most ``OUTPUTS`` outputs.

    Args:
        network: function from images of values from -1 to 1 and one-hot labels to outputs (n, groups, units, h, w).
        output: the distribution.
        y: values from -1 to 1.
        class_weights: one-hot labels, or None.
    """
    if torch.is_grad_enabled():
        return output.log_prob(*_precise(y, network(y, class_weights)))
    rows = max(1, OUTPUTS // (output.groups * output.units * math.prod(y.shape[2:])))
    batches = y.split(rows)
    weights = [None] * len(batches) if class_weights is None else class_weights.split(rows)
    return torch.cat(
        [output.log_prob(*_precise(*part)) for part in zip(batches, map(network, batches, weights), strict=True)]
    )


def _precise(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Values and outputs in float32 or float64: with autocast, outputs are bfloat16, whose 8 bits are too few for the
    centers of a mixture between 256 levels, and for sums over pixels."""
    dtype = torch.promote_types(y.dtype, torch.float32)
    return y.to(dtype), outputs.to(dtype)
