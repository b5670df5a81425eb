"""The fully connected players against the same layers written as products of matrices."""

import pytest
import torch
from torch.nn import functional as F

from danlu.models import MLPCritic, MLPGenerator


def stirred(player):
    """In float64, with parameters and running statistics that are not the first ones."""
    generator = torch.Generator().manual_seed(0)
    for tensor in player.double().state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.3)
    return player


def numbers(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


LABELS = torch.tensor([0, 2, 1, 1])
BESIDE = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]], dtype=torch.float64)


@pytest.mark.parametrize("range", [(0.0, 1.0), None])
def test_the_generator_is_its_matrices(range):
    net = stirred(MLPGenerator((1, 2, 3), 3, range, latent=4, hidden=(5, 6), norm="layer"))
    h = torch.cat([numbers(4, 4), BESIDE], dim=1)
    for layer in net.body:
        h = h @ layer.linear.weight.T + layer.linear.bias
        h = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        h = (layer.norm.weight * h + layer.norm.bias).clamp(min=0)
    h = h @ net.last.weight.T + net.last.bias
    torch.testing.assert_close(net(numbers(4, 4), LABELS), (h if range is None else h.tanh()).view(4, 1, 2, 3))


def test_the_critic_is_its_matrices():
    net = stirred(MLPCritic((2, 3), 3, hidden=(5, 4), norm="batch", minibatch=2))
    h = torch.cat([numbers(4, 2, 3).reshape(4, 6), BESIDE], dim=1)
    for layer in net.body:
        h = h @ layer.linear.weight.T + layer.linear.bias
        h = (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt()
        h = layer.norm.weight * h + layer.norm.bias
        h = torch.where(h > 0, h, 0.2 * h)
    torch.testing.assert_close(net.features(numbers(4, 2, 3), LABELS), h)
    known = F.linear(net.minibatch(h), net.last.weight, net.last.bias)[:, 0]
    torch.testing.assert_close(net(numbers(4, 2, 3), LABELS), known)
    assert net.of_label is None, "the label stands beside the example"


def test_the_parameters_by_hand():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    assert count(MLPGenerator((1, 28, 28), 10, (0.0, 1.0), 64, (256, 128))) == 75 * 256 + 257 * 128 + 129 * 784
    assert count(MLPCritic((2,), 0, (128, 128), minibatch=8)) == 3 * 128 + 129 * 128 + 128 * 8 * 5 + 137


def test_dropout_is_at_work_while_training_alone():
    torch.manual_seed(0)
    net, x = MLPCritic((2,), 0, hidden=(64,), dropout=0.5), torch.ones(3, 2)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"hidden": ()}, "leaves no features"), ({"hidden": (0,)}, "hidden"), ({"dropout": 1.0}, "dropout=1.0")],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLPCritic((2,), 0, **arguments)
