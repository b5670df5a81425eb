"""Exponential moving average of a player's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    r"""An exponential moving average of parameters, in float32 or float64. Buffers have no average.

    .. math:: a \leftarrow d_t a + (1 - d_t) \theta, \qquad d_t = \min(d, (1 + t) / (10 + t))

    The decay rises with the step t, so that the average of a short run does not stay close to the initial weights.
    TensorFlow's ExponentialMovingAverage with ``num_updates`` has the same rule.

    Args:
        module: the module whose weights are averaged.
        decay: d, below 1.

    >>> net = nn.Linear(1, 1)
    >>> average = Average(net, 0.5)
    >>> _ = nn.init.constant_(net.weight, 3.0)
    >>> average.update()
    >>> with average.in_place():
    ...     held = net.weight.item()
    >>> bool(held < 3.0), net.weight.item()
    (True, 3.0)
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module, self.decay, self.steps = module, decay, 0
        self.parameters = {
            name: p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True)
            for name, p in module.named_parameters()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights."""
        self.steps += 1
        weight = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        weights = [
            p.detach().to(a.dtype) for p, a in zip(self.module.parameters(), self.parameters.values(), strict=True)
        ]
        torch._foreach_lerp_(list(self.parameters.values()), weights, weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the module has the averaged weights. Buffers keep their values, and can be changed."""
        tensors: list[Tensor] = list(self.module.parameters())
        saved = [tensor.detach().clone() for tensor in tensors]
        self._write(tensors, list(self.parameters.values()))
        try:
            yield
        finally:
            self._write(tensors, saved)

    @staticmethod
    @torch.no_grad()
    def _write(tensors: list[Tensor], values: list[Tensor]) -> None:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
