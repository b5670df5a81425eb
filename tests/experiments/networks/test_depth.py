"""The experiment on depth: its networks, their gradients, and how they are trained."""

import math

import pytest
import torch
from torch import nn

from danlu.data import Part, digits
from danlu.experiments.networks import depth
from danlu.losses.classification import cross_entropy


@pytest.mark.parametrize("name", depth.NETWORKS)
@pytest.mark.parametrize("layers", [4, 16, 64])
def test_networks_have_as_many_layers_as_they_say(name, layers):
    network = depth.NETWORKS[name](layers)
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in network.modules()) == layers


def test_the_gradient_is_that_of_the_first_convolution_in_double_precision():
    torch.manual_seed(0)
    network = depth.NETWORKS[depth.RESIDUAL](4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    part = digits().train
    found = depth.first_gradient(network, part, 20)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.double().train()
    cross_entropy(network(part["image"][:20].double()), part["label"][:20]).mean().backward()
    assert found == pytest.approx(float(network.conv1.weight.grad.norm()), rel=1e-10)


def test_the_gradient_of_a_chain_of_small_factors_vanishes_by_them():
    """Each of the layers after the first has slope 1/10."""

    def chain(layers):
        network = nn.Sequential(*(nn.Conv2d(1, 1, 1, bias=False) for _ in range(layers)), nn.Flatten(), nn.Linear(1, 2))
        with torch.no_grad():
            for layer in network[:layers]:
                layer.weight.fill_(0.1)
            network[-1].weight.copy_(torch.tensor([[1.0], [-1.0]]))
            network[-1].bias.zero_()
        return network

    part = Part({"image": torch.ones(4, 1, 1, 1), "label": torch.zeros(4, dtype=torch.long)})
    one, other = (depth.first_gradient(chain(layers), part) for layers in (10, 30))
    assert other / one == pytest.approx(1e-20, rel=1e-5)
    assert depth.first_gradient(chain(60), part) == depth.NO_GRADIENT


def test_the_second_rate_is_tried_only_if_the_first_does_not_train(monkeypatch):
    tried = []
    losses = {0.05: 2.0, 0.005: 0.4}
    monkeypatch.setattr(depth, "_learn", lambda network, part, rate, *rest: tried.append(rate) or losses[rate])
    assert depth.best_loss(nn.Linear(1, 1), digits().train, 1, 0, (0.05, 0.005)) == 0.4
    assert depth.best_loss(nn.Linear(1, 1), digits().train, 1, 0, (0.005, 0.05)) == 0.4
    assert tried == [0.05, 0.005, 0.005]


def test_a_network_that_diverges_has_the_loss_of_guessing():
    torch.manual_seed(0)
    found = depth._learn(depth.NETWORKS[depth.PLAIN](4), digits().train, 1e30, 20, 0)
    assert found == depth.GUESSING == pytest.approx(math.log(10))
