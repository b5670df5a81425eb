"""Virtual batch norm against the statistics of the reference batch and each example together."""

import pytest
import torch
from torch.nn import functional as F

from danlu.nn import VirtualBatchNorm


def norm_and_batch(*positions, reference=4):
    torch.manual_seed(0)
    norm = VirtualBatchNorm(3, reference).double()
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.normal_(norm.bias)
    return norm, 2 * torch.randn(7, 3, *positions, dtype=torch.float64) + torch.arange(7.0).view(
        7, *[1] * (1 + len(positions))
    )


def by_torch(norm, x, of):
    """The examples by the statistics of others, as batch norm of torch gives them."""
    dims = [d for d in range(of.dim()) if d != 1]
    mean, variance = of.mean(dims), of.var(dims, correction=0)
    return F.batch_norm(x, mean, variance, norm.weight, norm.bias, eps=norm.eps)


@pytest.mark.parametrize("positions", [(), (5,), (2, 3)])
def test_each_example_goes_by_the_reference_batch_and_itself(positions):
    norm, x = norm_and_batch(*positions)
    fixed = x[:4]
    expected = [by_torch(norm, fixed, fixed)] + [by_torch(norm, e[None], torch.cat([fixed, e[None]])) for e in x[4:]]
    torch.testing.assert_close(norm(x), torch.cat(expected))


@pytest.mark.parametrize("positions", [(), (2, 3)])
def test_an_example_does_not_depend_on_the_others_of_its_batch(positions):
    norm, x = norm_and_batch(*positions)
    y = norm(x)
    for k in range(4, 7):
        torch.testing.assert_close(norm(torch.cat([x[:4], x[k : k + 1]]))[4], y[k])
    other = x.clone()
    other[0] += 1
    assert not torch.allclose(norm(other)[4:], y[4:]), "it does depend on the reference"


def test_it_has_derivatives_of_both_orders():
    norm, x = norm_and_batch(2)
    assert torch.autograd.gradcheck(norm, x.requires_grad_())
    assert torch.autograd.gradgradcheck(norm, x)


def test_channels_may_come_last():
    norm, x = norm_and_batch(2, 3)
    torch.testing.assert_close(norm(x.contiguous(memory_format=torch.channels_last)), norm(x))


@pytest.mark.unchecked
def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="batch of 3 must start with the 4 reference"):
        VirtualBatchNorm(2, 4)(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="reference=0"):
        VirtualBatchNorm(2, 0)
