"""Spectral norm against singular values and against torch's own."""

import copy

import pytest
import torch
from torch import nn

from danlu.nn import SpectralNorm, spectral_norm, spectral_norm_weights
from danlu.nn.norm.spectral import power_iteration_step


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4), nn.Linear(4, 1)).double()


def largest(weight):
    return float(torch.linalg.svdvals(weight.detach().flatten(1))[0])


def test_the_largest_singular_value_becomes_one():
    plain = network()
    net = spectral_norm(copy.deepcopy(plain))
    for _ in range(300):
        power_iteration_step(net)
    for k in (0, 3, 4):
        assert largest(net[k].weight) == pytest.approx(1, abs=1e-10)
        torch.testing.assert_close(net[k].weight * largest(plain[k].weight), plain[k].weight)


def test_a_step_of_the_power_iteration():
    torch.manual_seed(1)
    weight = torch.randn(4, 3, 2, dtype=torch.float64)
    norm = SpectralNorm(weight)
    u, matrix = norm.u.clone(), weight.flatten(1)
    v = matrix.T @ u
    v = v / v.norm()
    u = matrix @ v
    u = u / u.norm()
    norm.power_iteration_step(weight)
    torch.testing.assert_close(norm.v, v)
    torch.testing.assert_close(norm.u, u)
    torch.testing.assert_close(norm(weight), weight / (u @ matrix @ v))


def test_forward_moves_nothing_while_it_learns():
    net = spectral_norm(network()).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    first = net(torch.ones(2, 2, 4, 4, dtype=torch.float64))
    assert torch.equal(first, net(torch.ones(2, 2, 4, 4, dtype=torch.float64)))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    power_iteration_step(net)
    for norm, _ in spectral_norm_weights(net):
        norm.u.neg_()  # what moves after forward does not disturb backward
        norm.v.neg_()
    first.sum().backward()


def test_the_gradient_is_torchs():
    torch.manual_seed(2)
    ours, x = spectral_norm(nn.Linear(6, 4).double()), torch.randn(3, 6, dtype=torch.float64)
    theirs = nn.Linear(6, 4).double()
    (norm, weight), *_ = spectral_norm_weights(ours)
    with torch.no_grad():
        theirs.weight.copy_(weight)
        theirs.bias.copy_(ours.bias)
    theirs = nn.utils.parametrizations.spectral_norm(theirs).eval()  # which stops its vectors
    theirs.parametrizations.weight[0]._u.copy_(norm.u)
    theirs.parametrizations.weight[0]._v.copy_(norm.v)
    for net in (ours, theirs):
        net(x).square().sum().backward()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(weight.grad, theirs.parametrizations.weight.original.grad)


def test_it_has_derivatives_of_both_orders():
    weight = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    norm = SpectralNorm(weight)
    assert torch.autograd.gradcheck(norm, weight)
    assert torch.autograd.gradgradcheck(norm, weight)


def test_a_fresh_network_takes_over_the_state_exactly_and_a_copy_is_its_own():
    torch.manual_seed(4)
    net, x = spectral_norm(network()), torch.randn(2, 2, 4, 4, dtype=torch.float64)
    torch.manual_seed(5)
    fresh = spectral_norm(
        nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4), nn.Linear(4, 1)).double()
    )
    assert fresh.state_dict().keys() == net.state_dict().keys()
    fresh.load_state_dict(net.state_dict())
    twin = copy.deepcopy(net)
    for other in (fresh, twin):
        assert torch.equal(other(x), net(x))
    power_iteration_step(fresh)
    power_iteration_step(net)
    assert torch.equal(fresh(x), net(x)), "the vectors came along"
    assert not torch.equal(twin(x), net(x)), "the copy has its own"
