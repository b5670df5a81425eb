"""Moments by batches against numpy, wherever the batches are cut."""

import math

import numpy as np
import pytest
import torch

from danlu.metrics import Moments, Origin


def draw(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_moments_by_batches_equal_numpy():
    x = draw(103, 7, seed=0) + 1e3  # a large mean would eat the variances if squares were summed
    moments = Moments(7)
    for batch in x.split([1, 50, 0, 3, 49]):
        moments.update(batch)
    assert moments.count == 103
    np.testing.assert_allclose(moments.mean.numpy(), x.numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance().numpy(), np.cov(x.numpy().T), rtol=1e-9, atol=1e-12)


def test_merged_moments_equal_those_of_all():
    x = draw(60, 5, seed=1)
    a, b = Moments.of(x[:20]), Moments.of(x[20:])
    a.merge(b)
    whole = Moments.of(x)
    torch.testing.assert_close(a.covariance(), whole.covariance(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(a.mean, whole.mean, rtol=1e-12, atol=1e-12)
    assert a.count == 60


def test_blocks_of_the_scatter_matrix_meet():
    """Wider than one block: every entry, on both sides of the diagonal."""
    x = torch.randn(20, 1100, dtype=torch.float64)
    torch.testing.assert_close(Moments.of(x).covariance(), torch.cov(x.T), rtol=1e-11, atol=1e-12)


def test_moments_go_to_tensors_and_back():
    origin = Origin("cnn", "8×8", "abc")
    moments = Moments.of(draw(9, 3, seed=2), origin)
    back = Moments.from_state(moments.state(), origin)
    assert back.count == 9
    assert back.origin == origin
    assert torch.equal(back.covariance(), moments.covariance())
    assert torch.equal(back.mean, moments.mean)


@pytest.mark.unchecked
def test_what_is_no_set_of_features_is_refused():
    x = draw(20, 4, seed=3)
    with pytest.raises(ValueError, match="infinite or NaN"):
        Moments(4).update(x / 0)
    with pytest.raises(ValueError, match="infinite or NaN"):
        Moments(4).update(torch.tensor([[math.inf] * 4, [-math.inf] * 4]))
    with pytest.raises(ValueError, match="at least 2 examples, got 0"):
        Moments(4).covariance()
    with pytest.raises(ValueError, match="expected 3 features, got 4"):
        Moments(3).update(x)
    with pytest.raises(ValueError, match="width=0"):
        Moments(0)
    with pytest.raises(ValueError, match="int64"):
        Moments.of(x.long())
    with pytest.raises(ValueError, match="cannot be compared"):
        Moments.of(x, Origin("inception")).merge(Moments.of(x, Origin("columns")))
