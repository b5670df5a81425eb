"""The mixture of discretized logistic distributions of PixelCNN++."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.losses.variational import discretized_logistic_log_prob
from danlu.models.pixels.outputs import PixelOutput, draw_category, temper
from danlu.nn.dense import check_width

LEAST_LOG_SCALE = -7.0
"""smallest logarithm of a scale of values from -1 to 1, as in the published code"""
LARGEST_LOG_SCALE = 7.0
"""largest logarithm of a scale; without a bound, gradients could be infinite"""
FIRST_LOG_SCALE = -1.5
"""logarithm of the scale for an output of 0, about the distance of the centers of ten components"""


class Mixture(NamedTuple):
    """Parameters of the mixture at each pixel, for K components; ``size`` is (h, w), or () for a single pixel.

    Attributes:
        logits: logits of the components, (n, K, *size).
        means: centers without the dependence on earlier colors, (n, colors, K, *size).
        log_scales: logarithms of the scales, (n, colors, K, *size).
        coefficients: factors of earlier colors in the centers, (n, pairs, K, *size), in the order (1, 0), (2, 0),
            (2, 1), … of (color, earlier color).
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor


class LogisticOutput(PixelOutput):
    r"""A mixture of discretized logistic distributions, whose components are shared by the colors of a pixel.

    .. math:: p(y) = \sum_k \pi_k \prod_c P(y_c \mid m_{kc}, s_{kc}), \qquad
        m_{kc} = \mu_{kc} + \sum_{b < c} \alpha_{kcb} \, y_b

    with P the probability of the interval of a level; the lowest and the highest level include the tails.
    Salimans, Karpathy, Chen and Kingma, "PixelCNN++: improving the PixelCNN with discretized logistic mixture
    likelihood and other modifications", 2017, equations 1 to 3. An output of 0 gives centers that are spread evenly
    over the components. Scales are from exp(-7) to exp(7).

    The colors of a pixel are drawn in turn, each from its conditional distribution: the weights of the components are
    those given the earlier colors. The temperature divides the logarithms of these weights and multiplies the scales.

    Args:
        colors: number of colors.
        levels: number of levels of a color.
        range: lowest and highest level of the data.
        components: number of components K.
    """

    draws = 2

    def __init__(self, colors: int, levels: int, range: Sequence[float], components: int = 10):
        super().__init__(colors, levels, range)
        check_width("components", components)
        self.components, self.groups = components, 1
        self._sizes = (1, colors, colors, colors * (colors - 1) // 2)
        self.units = components * sum(self._sizes)

    def log_prob(
        self, y: Float[Tensor, "n colors h w"], outputs: Float[Tensor, "n groups units h w"]
    ) -> Float[Tensor, "n h w"]:
        return self._joint(self.mixture(outputs[:, 0]), y).logsumexp(1)

    def draw(
        self,
        outputs: Float[Tensor, "n units"],
        earlier: Float[Tensor, "n k"],
        noise: Float[Tensor, "draws n"],
        temperature: float,
    ) -> Float[Tensor, "n"]:
        mixture = self.mixture(outputs)
        weights = self._joint(mixture, earlier)
        component = draw_category(temper(weights, temperature), noise[0])[:, None]
        mean, log_scale = (values.gather(1, component)[:, 0] for values in self._color(mixture, earlier))
        return self.scale.nearest(mean + log_scale.exp() * temperature * noise[1].logit())

    def mixture(self, outputs: Float[Tensor, "n units *size"]) -> Mixture:
        """The parameters from the outputs of a network."""
        parts = outputs.unflatten(1, (-1, self.components)).split(self._sizes, 1)
        logits, means, raw, coefficients = parts
        step = 2 / self.components
        centers = torch.arange(self.components, dtype=outputs.dtype, device=outputs.device) * step + (step / 2 - 1)
        log_scales = LEAST_LOG_SCALE + F.softplus(raw + (FIRST_LOG_SCALE - LEAST_LOG_SCALE))
        log_scales = log_scales.clamp(max=LARGEST_LOG_SCALE)
        return Mixture(logits[:, 0], means + centers.view(-1, *[1] * (means.dim() - 3)), log_scales, coefficients)

    def _color(self, mixture: Mixture, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """Centers and logarithms of the scales of the color after the earlier ones, (n, K, *size)."""
        color = earlier.shape[1]
        first = color * (color - 1) // 2
        mean = mixture.means[:, color]
        if color:
            coefficients = mixture.coefficients[:, first : first + color]
            mean = mean + (coefficients * earlier[:, :, None]).sum(1)
        return mean, mixture.log_scales[:, color]

    def _joint(self, mixture: Mixture, y: Float[Tensor, "n k *size"]) -> Float[Tensor, "n components *size"]:
        """Log-probability of each component together with the first k colors."""
        total = mixture.logits.log_softmax(1)
        for color in range(y.shape[1]):
            mean, log_scale = self._color(mixture, y[:, :color])
            total = total + self._log_mass(y[:, color, None].expand_as(mean), mean, log_scale)
        return total

    def _log_mass(self, y: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Log-probability of each value; the function in ``danlu.losses`` has values from 0 to 1, half as long."""
        unit, center = ((values.unsqueeze(-1) + 1) / 2 for values in (y, mean))
        log_half = log_scale.unsqueeze(-1) - math.log(2)
        return discretized_logistic_log_prob(unit, center, log_half, self.scale.levels, batch_dims=y.dim())
