"""Minibatch discrimination against the formula, loop by loop."""

import pytest
import torch

from danlu.nn import MinibatchDiscrimination


def layer_and_features(n=5):
    torch.manual_seed(0)
    return MinibatchDiscrimination(features=6, kernels=4, width=3).double(), torch.randn(n, 6, dtype=torch.float64)


def test_it_equals_the_formula():
    layer, f = layer_and_features()
    m = [[f[i] @ layer.projection[:, b] for b in range(4)] for i in range(5)]

    def near(i, b):
        return sum((-(m[i][b] - m[j][b]).abs().sum()).exp() for j in range(5) if j != i)

    expected = torch.stack([torch.stack([near(i, b) for b in range(4)]) for i in range(5)])
    out = layer(f)
    assert torch.equal(out[:, :6], f)
    torch.testing.assert_close(out[:, 6:], expected)


def test_equal_examples_are_as_near_as_can_be_and_far_ones_not_at_all():
    layer, f = layer_and_features()
    torch.testing.assert_close(layer(f[:1].expand(5, 6))[:, 6:], torch.full((5, 4), 4.0, dtype=torch.float64))
    assert (layer(1e4 * f)[:, 6:] < 1e-10).all()


def test_the_order_of_the_batch_does_not_matter():
    layer, f = layer_and_features()
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(layer(f[order]), layer(f)[order])


def test_it_has_derivatives():
    layer, f = layer_and_features(n=3)
    assert torch.autograd.gradcheck(layer, f.requires_grad_())


@pytest.mark.unchecked
def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="this batch has 1"):
        MinibatchDiscrimination(3)(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="kernels=0"):
        MinibatchDiscrimination(3, kernels=0)
