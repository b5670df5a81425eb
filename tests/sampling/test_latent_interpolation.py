"""Interpolations are compared with their formulas in NumPy."""

import numpy as np
import torch

from danlu.models import VAE
from danlu.sampling import lerp


def test_lerp_is_the_weighted_mean_of_the_ends():
    a, b = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    t = np.linspace(0, 1, 7)[:, None]
    expected = (1 - t) * a.numpy()[:, None] + t * b.numpy()[:, None]
    np.testing.assert_allclose(lerp(a, b, 7).numpy(), expected, rtol=1e-14, atol=1e-14)


def test_the_ends_of_an_interpolation_are_exact():
    a, b = torch.randn(4, 6), torch.randn(4, 6)
    line = lerp(a, b, 5)
    assert torch.equal(line[:, 0], a)
    assert torch.equal(line[:, -1], b)


def test_a_vae_interpolates_between_the_reconstructions_of_its_inputs():
    model = VAE((1, 8, 8), latent=3, hidden=(16,)).eval()
    a, b = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    steps = model.interpolate(a, b, 4)
    torch.testing.assert_close(steps[:, 0], model.reconstruct(a))
    torch.testing.assert_close(steps[:, -1], model.reconstruct(b))
