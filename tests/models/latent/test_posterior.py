"""Independent normal units: their KL divergences, draws and densities beside those of torch."""

import torch
from torch import distributions

from danlu.models import Diagonal


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergences_and_densities_of_normal_units():
    mean, log_variance, noise = normal(5, 3, seed=0), normal(5, 3, seed=1), normal(4, 5, 3, seed=2)
    posterior = Diagonal(mean, log_variance)
    known = distributions.Normal(mean, (log_variance / 2).exp())
    prior = distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(posterior.kl(), distributions.kl_divergence(known, prior))
    z, log_q = posterior.draw(noise)
    torch.testing.assert_close((z - mean) / known.scale, noise)
    torch.testing.assert_close(log_q, known.log_prob(z).sum(-1))
