"""Distributions of the colors of a pixel, with the outputs of a network as parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from danlu.losses.variational import bernoulli_log_prob, gaussian_log_prob
from danlu.models.pixels.value_scale import ValueScale

Output = Literal["auto", "binary", "categorical", "logistic", "affine"]

LARGEST_LOG_SCALE = 7.0
"""Largest absolute value of α of the affine output. Without a bound, the density of a constant could be infinite."""


class PixelOutput:
    """The distribution of the colors of a pixel, given earlier pixels.

    Values are those of a ``ValueScale``, from -1 to 1. The outputs of a network have one group per color, or a single
    one if the network generates a pixel as a whole.

    Args:
        colors: number of colors.
        levels: number of levels of a color.
        range: lowest and highest level of the data.

    Attributes:
        groups: number of color groups.
        units: number of outputs per group.
        draws: number of random numbers that one color needs.
        continuous: whether values are continuous and ``log_prob`` is a density.
    """

    groups: int
    units: int
    draws: int = 1
    continuous: bool = False

    def __init__(self, colors: int, levels: int, range: Sequence[float]):
        self.colors, self.scale = colors, ValueScale(levels, range, self.continuous)
        self.groups = colors

    def log_prob(
        self, y: Float[Tensor, "n colors h w"], outputs: Float[Tensor, "n groups units h w"]
    ) -> Float[Tensor, "n h w"]:
        """Log-probability of each pixel in nats, given earlier pixels."""
        raise NotImplementedError(f"{type(self).__name__} must define log_prob")

    def draw(
        self,
        outputs: Float[Tensor, "n units"],
        earlier: Float[Tensor, "n k"],
        noise: Float[Tensor, "draws n"],
        temperature: float,
    ) -> Float[Tensor, "n"]:
        """Draw the values of a color of one pixel.

        Args:
            outputs: outputs of the color's group.
            earlier: values of the k earlier colors of the pixel.
            noise: random numbers from ``noise``.
            temperature: above 0; 1 for the distribution itself, less for more probable values.
        """
        raise NotImplementedError(f"{type(self).__name__} must define draw")

    def noise(self, size: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Random numbers for ``draw``: uniform ones from [0, 1), or normal ones for continuous values."""
        draw = torch.randn if self.continuous else torch.rand
        return draw(size, generator=generator, device=like.device, dtype=like.dtype)


class BinaryOutput(PixelOutput):
    """A Bernoulli distribution of two levels. The output of a color is the log-odds of the higher one."""

    def __init__(self, colors: int, levels: int, range: Sequence[float]):
        if levels != 2:
            raise ValueError(
                f"output binary is for images of 2 levels, and these have {levels}; use categorical or logistic"
            )
        super().__init__(colors, levels, range)
        self.units = 1

    def log_prob(
        self, y: Float[Tensor, "n colors h w"], outputs: Float[Tensor, "n groups units h w"]
    ) -> Float[Tensor, "n h w"]:
        ones, logits = (y + 1) / 2, outputs[:, :, 0]
        return bernoulli_log_prob(ones.movedim(1, -1), logits.movedim(1, -1), batch_dims=3)

    def draw(
        self,
        outputs: Float[Tensor, "n units"],
        earlier: Float[Tensor, "n k"],
        noise: Float[Tensor, "draws n"],
        temperature: float,
    ) -> Float[Tensor, "n"]:
        ones = noise[0] < (outputs[:, 0] / temperature).sigmoid()
        return ones.to(outputs.dtype) * 2 - 1


class CategoricalOutput(PixelOutput):
    """A softmax over all levels. van den Oord et al., "Pixel recurrent neural networks", 2016, section 2.2."""

    def __init__(self, colors: int, levels: int, range: Sequence[float]):
        super().__init__(colors, levels, range)
        self.units = levels

    def log_prob(
        self, y: Float[Tensor, "n colors h w"], outputs: Float[Tensor, "n groups units h w"]
    ) -> Float[Tensor, "n h w"]:
        n, colors, h, w = y.shape
        level = self.scale.level(y).long().flatten(0, 1)
        nats = -F.cross_entropy(outputs.flatten(0, 1), level, reduction="none")
        return nats.view(n, colors, h, w).sum(1)

    def draw(
        self,
        outputs: Float[Tensor, "n units"],
        earlier: Float[Tensor, "n k"],
        noise: Float[Tensor, "draws n"],
        temperature: float,
    ) -> Float[Tensor, "n"]:
        level = draw_category(temper(outputs, temperature), noise[0])
        return level.to(outputs.dtype) * (2 / (self.units - 1)) - 1


class AffineOutput(PixelOutput):
    r"""A normal distribution with mean μ and standard deviation exp(α): an affine autoregressive flow.

    .. math:: y_i = e^{\alpha_i} z_i + \mu_i, \qquad z_i \sim \mathcal N(0, 1)

    α and μ depend on earlier values. α is :math:`7 \tanh(a / 7)` of an output a of the network. The temperature scales
    the standard deviation.
    """

    continuous = True

    def __init__(self, colors: int, levels: int, range: Sequence[float]):
        super().__init__(colors, levels, range)
        self.units = 2

    def log_prob(
        self, y: Float[Tensor, "n colors h w"], outputs: Float[Tensor, "n groups units h w"]
    ) -> Float[Tensor, "n h w"]:
        mean, log_scale = (values.movedim(1, -1) for values in _mean_and_log_scale(outputs, 2))
        return gaussian_log_prob(y.movedim(1, -1), mean, 2 * log_scale, batch_dims=3)

    def standardize(
        self, y: Float[Tensor, "n colors h w"], outputs: Float[Tensor, "n groups units h w"]
    ) -> tuple[Float[Tensor, "n colors h w"], Float[Tensor, "n"]]:
        """The latent values z, and log |det dz/dy|."""
        mean, log_scale = _mean_and_log_scale(outputs, 2)
        return (y - mean) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)

    def draw(
        self,
        outputs: Float[Tensor, "n units"],
        earlier: Float[Tensor, "n k"],
        noise: Float[Tensor, "draws n"],
        temperature: float,
    ) -> Float[Tensor, "n"]:
        mean, log_scale = _mean_and_log_scale(outputs, 1)
        return mean + log_scale.exp() * temperature * noise[0]


def _mean_and_log_scale(outputs: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    mean, raw = outputs.unbind(dim)
    return mean, LARGEST_LOG_SCALE * (raw / LARGEST_LOG_SCALE).tanh()


def temper(logits: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, "n k"]:
    """Logits divided by a temperature, less a constant of each row, so that the largest one is 0.

    >>> temper(torch.tensor([[1.0, 2.0]]), 0.5)
    tensor([[-2.,  0.]])
    """
    return (logits - logits.amax(1, keepdim=True)) / temperature


def draw_category(logits: Float[Tensor, "n k"], uniform: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Draw a category by inversion of the cumulative distribution function.

    >>> draw_category(torch.tensor([[0.0, 0.0, -100.0]]).expand(2, 3), torch.tensor([0.1, 0.9]))
    tensor([0, 1])
    """
    probabilities = logits.softmax(1)
    cumulative = probabilities.cumsum(1)
    below = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(1)  # in float32 the sum is not exactly 1
    possible = torch.arange(logits.shape[1], device=logits.device) * (probabilities > 0)
    return below.minimum(possible.amax(1))


def check_temperature(temperature: float) -> None:
    """Check a temperature.

    Raises:
        ValueError: if it is not a finite number above 0, or below the smallest normal number of float32.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature={temperature} must be a finite number greater than 0")
    least = torch.finfo(torch.float32).tiny
    if temperature < least:
        raise ValueError(f"temperature={temperature} is too small; the smallest allowed value is {least}")
