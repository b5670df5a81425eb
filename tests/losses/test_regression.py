"""Losses of numbers against their definitions and against torch's, in float64."""

import torch
from scipy.stats import norm
from torch.nn import functional as F

from danlu.losses import gaussian_nll, huber, squared_error

SOURCE = torch.Generator().manual_seed(0)
PREDICTED, TARGET, LOG_VARIANCE = torch.randn(3, 50, generator=SOURCE, dtype=torch.float64) * 2


def test_squared_error_and_huber_follow_their_definitions():
    r = PREDICTED - TARGET
    torch.testing.assert_close(squared_error(PREDICTED, TARGET), F.mse_loss(PREDICTED, TARGET, reduction="none") / 2)
    expected = torch.where(r.abs() <= 0.7, r**2 / 2, 0.7 * (r.abs() - 0.35))
    assert 0 < int((r.abs() <= 0.7).sum()) < len(r)
    torch.testing.assert_close(huber(PREDICTED, TARGET, 0.7), expected)


def test_gaussian_nll_is_the_density_of_scipy_and_that_of_torch():
    nll = gaussian_nll(PREDICTED, LOG_VARIANCE, TARGET)
    density = norm.logpdf(TARGET.numpy(), PREDICTED.numpy(), (LOG_VARIANCE / 2).exp().numpy())
    torch.testing.assert_close(nll, -torch.from_numpy(density))
    torch.testing.assert_close(
        nll, F.gaussian_nll_loss(PREDICTED, TARGET, LOG_VARIANCE.exp(), full=True, reduction="none", eps=1e-12)
    )
