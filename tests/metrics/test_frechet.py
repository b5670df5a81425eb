"""The Fréchet distance against closed forms, scipy's matrix root and torchmetrics."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from danlu.metrics import Moments, Origin, fid_from_features, frechet_distance


def draw(n, d, seed, decay=2.0):
    """Features whose variances fall over ``decay`` powers of ten, turned at random, with a mean."""
    source = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(d, d, generator=source, dtype=torch.float64)).Q
    scales = torch.logspace(0, -decay / 2, d, dtype=torch.float64)
    mean = 0.3 * torch.randn(d, generator=source, dtype=torch.float64)
    return torch.randn(n, d, generator=source, dtype=torch.float64) * scales @ turn + mean


def by_scipy(real, fake):
    (mu1, sigma1), (mu2, sigma2) = ((x.mean(0).numpy(), np.cov(x.numpy().T)) for x in (real, fake))
    root = scipy.linalg.sqrtm(sigma1 @ sigma2).real
    return np.sum((mu1 - mu2) ** 2) + np.trace(sigma1 + sigma2 - 2 * root)


def by_torchmetrics(real, fake):
    moments = [(x.double().mean(0), torch.cov(x.double().T)) for x in (real, fake)]
    return float(_compute_fid(*moments[0], *moments[1]))


def test_blocks_of_the_product_meet():
    """A triangular factor, and one of eigenvectors, wider than one block, against the product of matrices."""
    real, fake = draw(700, 520, seed=15), draw(600, 520, seed=16)
    expected = pytest.approx(by_torchmetrics(real, fake), rel=1e-6)
    assert frechet_distance(Moments.of(real), Moments.of(fake)) == expected
    assert frechet_distance(Moments.of(real[:400]), Moments.of(fake[:300])) == pytest.approx(
        fid_from_features(real[:400], fake[:300]), rel=1e-8
    )


def test_commuting_gaussians_have_a_closed_form():
    """With diagonal covariances the distance is Σ (μ - ν)² + (σ - τ)²."""
    mu, nu = torch.tensor([[0.0, 1, 2], [1, -1, 0.5]], dtype=torch.float64)
    sigma, tau = torch.tensor([[1.0, 2, 0.1], [0.5, 3, 0.4]], dtype=torch.float64)
    a, b = (gaussian(mean, torch.diag(deviation**2)) for mean, deviation in ((mu, sigma), (nu, tau)))
    expected = float((mu - nu).square().sum() + (sigma - tau).square().sum())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_two_by_two_covariances_that_do_not_commute():
    """tr √M = √(tr M + 2 √det M) for 2 × 2 matrices with positive eigenvalues, by Cayley and Hamilton."""
    one = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    other = torch.tensor([[1.0, -0.7], [-0.7, 3.0]], dtype=torch.float64)
    product = one @ other
    root = math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    zero = torch.zeros(2, dtype=torch.float64)
    found = frechet_distance(gaussian(zero, one), gaussian(zero, other))
    assert found == pytest.approx(float(one.trace() + other.trace()) - 2 * root, rel=1e-12)


def gaussian(mean, covariance, count=1000):
    return Moments.from_state({"count": torch.tensor(count), "mean": mean, "scatter": covariance * (count - 1)})


def test_a_sample_converges_to_the_distance_of_its_gaussians():
    source = torch.Generator().manual_seed(3)
    x = torch.randn(200_000, 2, generator=source) * torch.tensor([1.0, 2.0])
    y = torch.randn(200_000, 2, generator=source) * torch.tensor([3.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert fid_from_features(x, y) == pytest.approx(1 + 4 + 1, rel=0.02)


@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 32), (300, 400, 32), (40, 30, 64), (200, 20, 64), (20, 200, 64)])
def test_equal_to_scipy_and_torchmetrics(n, m, d):
    """More and fewer examples than features. The peers' roots of zero eigenvalues are rounding, about 1e-8 each."""
    real, fake = draw(n, d, seed=4), draw(m, d, seed=5)
    expected = pytest.approx(by_torchmetrics(real, fake), rel=1e-6)
    assert fid_from_features(real, fake) == expected
    assert frechet_distance(Moments.of(real), Moments.of(fake)) == expected
    assert by_scipy(real, fake) == expected


def test_badly_scaled_features_equal_torchmetrics():
    """Variances over six powers of ten, as those of a trained network."""
    real, fake = draw(2000, 256, seed=6, decay=6), draw(2000, 256, seed=7, decay=6)
    assert fid_from_features(real, fake) == pytest.approx(by_torchmetrics(real, fake), rel=1e-6)


def test_the_two_ways_agree_where_examples_are_few():
    real, fake = draw(60, 100, seed=8), draw(50, 100, seed=9)
    one, other = fid_from_features(real, fake), frechet_distance(Moments.of(real), Moments.of(fake))
    assert one == pytest.approx(other, rel=1e-9)
    assert fid_from_features(fake, real) == pytest.approx(one, rel=1e-12)


def test_features_that_never_change_do_no_harm():
    """Dead units make both covariances singular: Cholesky's factor does not exist."""
    real, fake = draw(300, 6, seed=10), draw(300, 6, seed=11)
    dead = torch.zeros(300, 2, dtype=torch.float64)
    padded = [torch.cat([x, dead], dim=1) for x in (real, fake)]
    expected = fid_from_features(real, fake)
    assert frechet_distance(*map(Moments.of, padded)) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_to_itself():
    x = draw(500, 16, seed=12)
    assert fid_from_features(x, x) == pytest.approx(0, abs=1e-9)
    assert fid_from_features(x[:10], x[:10]) == pytest.approx(0, abs=1e-9)


@pytest.mark.unchecked
def test_moments_of_different_features_are_refused():
    x = draw(20, 4, seed=13)
    inception = Moments.of(x, Origin("inception", "299×299"))
    for other in (Origin("digits-cnn"), Origin("inception"), Origin("inception", "299×299", "abc")):
        with pytest.raises(ValueError, match="cannot be compared"):
            frechet_distance(inception, Moments.of(x, other))


@pytest.mark.unchecked
def test_what_is_no_set_of_features_is_refused():
    x = draw(20, 4, seed=14)
    broken = x.clone()
    broken[3, 1] = math.nan
    with pytest.raises(ValueError, match="infinite or NaN"):
        fid_from_features(x, broken)
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        fid_from_features(x, x[:1])
    with pytest.raises(ValueError, match="4 and 3"):
        fid_from_features(x, x[:, :3])
    with pytest.raises(ValueError, match="4 and 3"):
        frechet_distance(Moments.of(x), Moments.of(x[:, :3]))
