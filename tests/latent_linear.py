"""Probabilistic principal components as a VAE: a model of which everything is known.

p(x | z) = N(W z + b, σ² I), whose marginal is N(b, W Wᵀ + σ² I) and whose posterior is N(M⁻¹ Wᵀ (x − b), σ² M⁻¹) with
M = Wᵀ W + σ² I (Tipping and Bishop, "Probabilistic principal component analysis", 1999, equations 4 and 7). The columns
of W are at right angles, so that the posterior's units are independent and a diagonal encoder can be exact.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributions

from danlu.models import VAE

VALUES, LATENT, WIDTH = 5, 3, 8


class Linear(NamedTuple):
    """The model, and what defines it."""

    vae: VAE
    weights: Tensor
    bias: Tensor
    variance: float

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x)."""
        covariance = self.weights @ self.weights.T + self.variance * torch.eye(VALUES, dtype=x.dtype)
        return distributions.MultivariateNormal(self.bias, covariance).log_prob(x)

    def posterior(self, x: Tensor) -> distributions.MultivariateNormal:
        """Exact p(z | x)."""
        precision = self.weights.T @ self.weights + self.variance * torch.eye(LATENT, dtype=x.dtype)
        mean = torch.linalg.solve(precision, self.weights.T @ (x - self.bias).T).T
        return distributions.MultivariateNormal(mean, self.variance * torch.linalg.inv(precision))

    def elbo(self, x: Tensor) -> Tensor:
        """log p(x) less the divergence of the encoder's posterior from the true one, both in closed form."""
        found = self.vae.posterior(x)
        q = distributions.MultivariateNormal(found.mean, torch.diag_embed(found.log_variance.exp()))
        return self.log_prob(x) - distributions.kl_divergence(q, self.posterior(x))


def linear(seed: int = 0, sigma: float = 0.6, exact: bool = True) -> Linear:
    """The model with the true posterior, or with an encoder made at random.

    Args:
        seed: of the weights.
        sigma: deviation of p(x | z).
        exact: whether the encoder gives the true posterior.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    weights = torch.linalg.qr(draw(VALUES, LATENT)).Q * torch.tensor([1.5, 1.0, 0.5], dtype=torch.float64)
    bias = draw(VALUES)
    vae = VAE((VALUES,), LATENT, (WIDTH,), activation="identity", likelihood="gaussian", spread=sigma).double().eval()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(0.3 * draw(*parameter.shape))
        through, first = vae.autoencoder.generation.decoder.dense[0].linear, vae.autoencoder.generation.decoder.first
        through.weight.copy_(torch.eye(WIDTH, LATENT))
        through.bias.zero_()
        first.weight.copy_(weights @ torch.eye(LATENT, WIDTH, dtype=torch.float64))
        first.bias.copy_(bias)
        if exact:
            precision = weights.T @ weights + sigma**2 * torch.eye(LATENT, dtype=torch.float64)
            map_ = torch.linalg.solve(precision, weights.T)
            encoder, head = vae.autoencoder.inference.encoder.first, vae.autoencoder.inference.posterior.linear
            encoder.weight.copy_(torch.eye(WIDTH, VALUES))
            encoder.bias.zero_()
            head.weight.zero_()
            head.weight[:LATENT] = map_ @ torch.eye(VALUES, WIDTH, dtype=torch.float64)
            head.bias[:LATENT] = -map_ @ bias
            head.bias[LATENT:] = (sigma**2 / precision.diagonal()).log()
    return Linear(vae, weights, bias, sigma**2)
