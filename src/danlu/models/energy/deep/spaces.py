"""The coordinates in which chains of a deep energy model move, and the base distribution of the model in them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.energy.data_moments import DataMoments
from danlu.models.energy.unit_values import check_finite, check_range

CONSTANT = 1e-6
"""largest standard deviation of a column with one value, as a fraction of its mean: rounding in float32"""


class Space(nn.Module, ABC):
    r"""An affine map of each value, :math:`u = (x - m) / s`, and a base distribution q(u) whose normalizer is known."""

    uniform: ClassVar[bool]
    """whether ``base_sample`` takes uniform random numbers instead of normal ones"""

    @abstractmethod
    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        """Add examples to the statistics that determine the map."""

    def check(self, x: Float[Tensor, "n *shape"]) -> None:
        """Check values of examples.

        Args:
            x: the examples.

        Raises:
            ValueError: if a value is not possible.
        """
        check_finite(x)

    @abstractmethod
    def center(self) -> Float[Tensor, "*_shape"]:
        """m, which broadcasts with an example."""

    @abstractmethod
    def scale(self) -> Float[Tensor, "*_shape"]:
        """s, which broadcasts with an example."""

    @abstractmethod
    def base_energy(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The energy of the base distribution."""

    @abstractmethod
    def base_log_z(self, values: int) -> float:
        """The logarithm of the integral of exp(−energy) of the base over u.

        Args:
            values: number of values of an example.
        """

    @abstractmethod
    def base_sample(self, noise: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        """Draws of the base.

        Args:
            noise: random numbers of the kind ``uniform``.
        """

    @abstractmethod
    def confine(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The point of the space that coordinates of a chain stand for."""

    @abstractmethod
    def to_example(self, x: Float[Tensor, "n *shape"], whole: bool) -> Float[Tensor, "n *shape"]:
        """Values of examples for values of chains: pixels have levels.

        Args:
            x: the values, with noise between the levels.
            whole: round them to levels. Otherwise they are means, of which the mean of the noise is subtracted.
        """

    def middle_of_level(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        """Values of chains for values of examples: the middle between a level and the next one."""
        return x

    def encode(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        """u of x."""
        return (x - self.center()) / self.scale()

    def decode(self, u: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        """x of u."""
        return u * self.scale() + self.center()


class Plane(Space):
    r"""All real numbers, with the mean and the standard deviation of the data: the base is N(0, I).

    Args:
        shape: shape of an example.

    >>> plane = Plane((1,))
    >>> plane.observe(torch.tensor([[1.0], [5.0]]))
    >>> plane.encode(torch.tensor([[7.0]])), plane.decode(torch.tensor([[2.0]]))
    (tensor([[2.]]), tensor([[7.]]))
    """

    uniform = False

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.moments = DataMoments(shape)

    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        self.moments.add(x)

    def center(self) -> Float[Tensor, "*_shape"]:
        return self.moments.mean

    def scale(self) -> Float[Tensor, "*_shape"]:
        variance = self.moments.variance()
        rounding = (CONSTANT * self.moments.mean).square()
        constant = variance <= rounding.clamp(min=torch.finfo(variance.dtype).tiny)
        return torch.where(constant, 1e-3 * variance.mean().clamp(min=1e-6), variance).sqrt()

    def base_energy(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        return u.square().flatten(1).sum(1) / 2

    def base_log_z(self, values: int) -> float:
        return values / 2 * math.log(2 * math.pi)

    def base_sample(self, noise: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return noise

    def confine(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return u

    def to_example(self, x: Float[Tensor, "n *shape"], whole: bool) -> Float[Tensor, "n *shape"]:
        return x


class Box(Space):
    r"""Pixels: a level, and noise up to the next one. u is from −1 to 1, and the base is uniform.

    Chains are reflected at the faces of the box: they move in unlimited coordinates, in which the energy is that of the
    reflected point. This is a Markov chain in the box with the right distribution, also with rejection.

    Args:
        range: the smallest and the largest level.
        levels: number of levels.

    Raises:
        ValueError: if the levels are not at least 2, or the range is empty.

    >>> box = Box((0.0, 1.0), levels=2)
    >>> box.encode(torch.tensor([0.0, 1.0, 2.0])), box.confine(torch.tensor([0.5, 1.5, -1.25, 5.0]))
    (tensor([-1.,  0.,  1.]), tensor([ 0.5000,  0.5000, -0.7500,  1.0000]))
    """

    uniform = True
    middle: Tensor
    radius: Tensor

    def __init__(self, range: Sequence[float], levels: int):
        super().__init__()
        low, high = range
        if levels < 2:
            raise ValueError(f"levels={levels} must be at least 2")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"range={tuple(range)} must be two finite numbers, the smaller one first")
        self.range, self.gap = (low, high), (high - low) / (levels - 1)
        self.register_buffer("middle", torch.tensor((low + high + self.gap) / 2))
        self.register_buffer("radius", torch.tensor((high + self.gap - low) / 2))

    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        del x

    def check(self, x: Float[Tensor, "n *shape"]) -> None:
        low, high = self.range[0], self.range[1] + self.gap  # the noise after the largest level ends there
        check_range(x, low, high, self.gap * 1e-3)

    def center(self) -> Float[Tensor, "*_shape"]:
        return self.middle

    def scale(self) -> Float[Tensor, "*_shape"]:
        return self.radius

    def base_energy(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        return u.new_zeros(len(u))

    def base_log_z(self, values: int) -> float:
        return values * math.log(2)

    def base_sample(self, noise: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return 2 * noise - 1

    def confine(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        reflected = 1 - ((u + 1).remainder(4) - 2).abs()
        return torch.where(u.abs() <= 1, u, reflected)  # without rounding inside

    def middle_of_level(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return x + self.gap / 2

    def to_example(self, x: Float[Tensor, "n *shape"], whole: bool) -> Float[Tensor, "n *shape"]:
        low, high = self.range
        if not whole:
            return (x - self.gap / 2).clamp(low, high)
        return (low + ((x - low) / self.gap).floor() * self.gap).clamp(low, high)
