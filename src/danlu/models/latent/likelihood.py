"""The distribution p(x | z) of an example, with the output of a decoder as parameters."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.data.base.effects import Needs
from danlu.losses.variational import bernoulli_log_prob, discretized_logistic_log_prob, gaussian_log_prob

Family = Literal["bernoulli", "gaussian", "logistic"]
Spread = float | Literal["shared", "each"]

LEVELS = 256
"""number of levels of bytes"""
SPREAD_NEEDS = (Needs("spread", ("likelihood",), ("gaussian", "logistic")),)
"""the argument of models that a Bernoulli distribution does not have"""
LEAST_LOG_SPREAD = -6.0
"""Minimum log-spread, less than one gray level. Without it, the density of a constant value could become infinite."""


class Likelihood(nn.Module):
    """The distribution of the values of an example, which are independent given the latent code.

    Args:
        family: "bernoulli" for values 0 and 1, or values in between as probabilities of 1; "gaussian" for any real
            values; "logistic" for gray values, a logistic distribution discretized to their levels.
        spread: standard deviation of "gaussian" or scale of "logistic": a fixed number, "shared" to learn one for all
            values, or "each" for a decoder that outputs one per value.
        levels: for "logistic", number of equidistant levels from 0 to 1; 256 for bytes.

    Attributes:
        outputs: number of decoder outputs per value.

    Raises:
        ValueError: if the family is unknown, the spread is not greater than 0, or there are fewer than 2 levels.

    >>> likelihood = Likelihood("gaussian", spread=1.0)
    >>> likelihood.log_prob(torch.zeros(2, 3), torch.zeros(1, 2, 1, 3))
    tensor([[-2.7568, -2.7568]])
    """

    def __init__(self, family: Family = "bernoulli", spread: Spread = "shared", levels: int = LEVELS):
        super().__init__()
        if family not in ("bernoulli", "gaussian", "logistic"):
            raise ValueError(f"likelihood={family!r} is unknown; choose one of bernoulli, gaussian, logistic")
        if (isinstance(spread, str) and spread not in ("shared", "each")) or (
            not isinstance(spread, str) and not 0 < spread < float("inf")
        ):
            raise ValueError(f"spread={spread!r} must be a number greater than 0, or 'shared', or 'each'")
        if levels < 2:
            raise ValueError(f"levels={levels} must be at least 2")
        self.family: Family = family
        self.levels = levels
        self.spread: Spread = spread
        self.outputs = 2 if spread == "each" and family != "bernoulli" else 1
        learned = spread == "shared" and family != "bernoulli"
        self.log_spread = nn.Parameter(torch.tensor(-1.0)) if learned else None

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Log-probability of each example in nats, summed over its values.

        For "logistic", values between two levels are rounded to the nearest level, so that the probabilities of a value
        sum to 1.

        Args:
            x: the examples, (n, *shape).
            output: output of the decoder for k codes of each example, (k, n, outputs, *shape).

        Returns:
            log-probabilities, (k, n).
        """
        center = output[:, :, 0]
        match self.family:
            case "bernoulli":
                return bernoulli_log_prob(x.expand_as(center), center, batch_dims=2)
            case "gaussian":
                return gaussian_log_prob(x, center, 2 * self._log_spread(output), batch_dims=2)
        log_spread = self._log_spread(output)
        return discretized_logistic_log_prob(self._rounded(x), center, log_spread, self.levels, batch_dims=2)

    def mean(self, output: Tensor) -> Tensor:
        """The mean of each value; for "logistic" the center, clipped to the range of values.

        Args:
            output: output of the decoder, (n, outputs, *shape).

        Returns:
            means, (n, *shape).
        """
        match self.family:
            case "bernoulli":
                return output[:, 0].sigmoid()
            case "gaussian":
                return output[:, 0]
        return output[:, 0].clamp(0, 1)

    def draw(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a value from each distribution, (n, *shape).

        Args:
            output: output of the decoder, (n, outputs, *shape).
            generator: random number generator.
        """
        center = output[:, 0]
        shape, device, dtype = center.shape, center.device, center.dtype
        if self.family == "gaussian":
            noise = torch.randn(shape, generator=generator, device=device, dtype=dtype)
            return center + self._log_spread(output[None])[0].exp() * noise
        uniform = torch.rand(shape, generator=generator, device=device, dtype=dtype)
        if self.family == "bernoulli":
            return (uniform < center.sigmoid()).to(dtype)
        x = center + self._log_spread(output[None])[0].exp() * uniform.logit(1e-6)
        return self._rounded(x)

    def _rounded(self, x: Tensor) -> Tensor:
        """The nearest levels."""
        return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def _log_spread(self, output: Tensor) -> Tensor:
        """Logarithm of standard deviation or scale, for outputs (k, n, outputs, *shape)."""
        if self.log_spread is not None:
            raw = self.log_spread.expand(output[:, :, 0].shape)
        elif self.spread == "each":
            raw = output[:, :, 1]
        else:
            return output.new_tensor(self.spread).log().expand(output[:, :, 0].shape)
        return LEAST_LOG_SPREAD + F.softplus(raw - LEAST_LOG_SPREAD)
