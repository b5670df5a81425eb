"""Posteriors q(z | x) that a normalizing flow makes of independent normal units."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.latent.posterior import Diagonal, DiagonalPosterior
from danlu.rng.keys import generator as generator_for

Layers = Callable[[Float[Tensor, "k n d"]], tuple[Float[Tensor, "k n d"], Float[Tensor, "k n"]]]
"""the layers of a flow: from k vectors for each example to their images and log-determinants"""
DRAWS = 8
"""Number of fixed draws for the mean of a posterior, which are used with both signs."""


class Transformed(NamedTuple):
    r"""Layers of a flow applied to independent normal units: :math:`z_0 \sim q_0`, :math:`z_K = f(z_0)`.

    .. math:: \log q(z_K) = \log q_0(z_0) - \log \left| \det \frac{\partial f}{\partial z_0} \right|

    Rezende and Mohamed, "Variational inference with normalizing flows", 2015, equation 13.

    Attributes:
        base: the normal units.
        layers: f, with its log-determinants.
        noise: normal noise with which the mean is estimated, (draws, 1, d).
    """

    base: Diagonal
    layers: Layers
    noise: Tensor

    @property
    def mean(self) -> Float[Tensor, "n d"]:
        """An estimate of the mean from a few draws, which are the same in each call and for each example.

        Each draw occurs with both signs, so that the estimate is exact where the layers are affine functions.
        """
        n = self.base.mean.shape[0]  # len would become a constant in an export
        noise = self.noise.to(self.base.mean.dtype).expand(-1, n, -1)
        return self.draw(torch.cat([noise, -noise]))[0].mean(0)

    def draw(self, noise: Float[Tensor, "k n d"]) -> tuple[Tensor, Tensor]:
        """Draw codes from standard normal noise, and compute their log-densities."""
        z, log_q = self.base.draw(noise)
        z, log_det = self.layers(z)
        return z, log_q - log_det

    def kl(self) -> None:
        """None: the KL divergence has no closed form."""
        return


class FlowPosterior(nn.Module):
    """Base class of posteriors with a flow. A subclass defines ``layers_for``.

    Args:
        features: number of features.
        latent: number of latent units.

    Attributes:
        unit_kl: False: the KL divergence has no closed form.
    """

    unit_kl = False
    noise: Tensor

    def __init__(self, features: int, latent: int):
        super().__init__()
        self.base = DiagonalPosterior(features, latent)
        noise = torch.randn(DRAWS, 1, latent, generator=generator_for("posterior mean"))
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, features: Float[Tensor, "n f"]) -> Transformed:
        """The distribution for each row of features."""
        # with autocast, the numbers of the networks have a precision that is too low for sums
        base = Diagonal(*(values.to(self.noise.dtype) for values in self.base(features)))
        return Transformed(base, self.layers_for(features), self.noise)

    def layers_for(self, features: Float[Tensor, "n f"]) -> Layers:
        """The layers for each row of features."""
        raise NotImplementedError(f"{type(self).__name__} must define layers_for")
