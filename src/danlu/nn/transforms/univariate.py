"""The interface of increasing functions of single values, and the bound of their log-scales."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from danlu.nn.masked.conditioner import NextArray

Inverse = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""from z and parameters to x and the logarithm of its derivative"""
BOUND = 7.0
"""Default bound of log-scales: a scale is between 1/1097 and 1097."""


class Univariate:
    """Base class of increasing functions that are applied to each value with its own parameters.

    Args:
        outputs: number of parameters of a value; they are the outputs of a network.
        bound: bound B of log-scales; None for no bound.

    Raises:
        ValueError: if the bound is not greater than 0.
    """

    def __init__(self, outputs: int, bound: float | None):
        if bound is not None and not 0 < bound < math.inf:
            raise ValueError(f"bound={bound} must be greater than 0; None for no bound")
        self.outputs, self.bound = outputs, bound

    def __call__(
        self, x: Float[Tensor, "*n"], parameters: Float[Tensor, "*n outputs"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """z, and the logarithm of its derivative with respect to x."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def inverse(
        self, z: Float[Tensor, "*n"], parameters: Float[Tensor, "*n outputs"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """x, and the logarithm of its derivative with respect to z."""
        raise NotImplementedError(f"{type(self).__name__} must define inverse")

    def inverse_like(self, z: Float[Tensor, "*n"]) -> Inverse:
        """``inverse`` for many values of one shape and type, without gradients.

        A subclass can prepare its constants as tensors: with small tensors, an operation on a Python number takes twice
        as long as one on a tensor.

        Args:
            z: a tensor of this shape and type; its values are not used.
        """
        return self.inverse

    def inverse_of_arrays(self, z: np.ndarray, log_slopes: np.ndarray) -> NextArray | None:
        """``inverse`` of one entry after the other in NumPy; None if the function has no such form.

        Args:
            z: the entries, (size, n).
            log_slopes: memory for the logarithms of the derivatives, (size, n).

        Returns:
            The step of ``MADE.generate_arrays``: from i and the parameters of entry i, (outputs, n), to x_i, (n,).
        """
        del z, log_slopes
        return None

    def bounded(self, raw: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        r"""Log-scales between −B and B, :math:`a / (1 + |a| / B)`; without a bound, a itself.

        >>> import torch
        >>> Univariate(2, bound=7.0).bounded(torch.tensor([0.0, 7.0, 1e9]))
        tensor([0.0000, 3.5000, 7.0000])
        """
        return raw if self.bound is None else raw / (raw.abs() / self.bound + 1)
