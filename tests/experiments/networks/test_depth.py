"""The experiment on depth: its networks, their gradients, and how they are trained."""

import math

import pytest
import torch
from torch import nn

from danlu.data import Part, digits
from danlu.experiments.harness.criteria import favorable
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


def test_gradients_are_compared_between_networks_without_normalization():
    for one in (depth.VANISHES, *depth.KEPT):
        for name in (one.arm, one.than):
            network = depth.NETWORKS[name.rsplit(", ", 1)[0]](depth.DEEP)
            assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()), name


def made_up(losses=(), gradients=()):
    """Numbers in which every comparison is favorable, but for the values that are given by network and depth."""
    arms = favorable(depth.CRITERIA)
    for name in depth.NETWORKS:
        for layers in (depth.SHALLOW, depth.DEEP):
            values = arms.setdefault(depth.arm(name, layers), {})
            values.setdefault("loss", [0.5] * 5)
            values.setdefault("gradient", [1.0] * 5)
    for quantity, given in (("loss", dict(losses)), ("gradient", dict(gradients))):
        for (name, layers), value in given.items():
            arms[depth.arm(name, layers)][quantity] = [value + 1e-4 * k for k in range(5)]
    return depth.EXPERIMENT.verdict({"arms": arms}).reason


@pytest.mark.parametrize(("loss", "succeeds"), [(0.4, True), (0.9, False), (2.3, False)])
def test_training_succeeds_by_the_threshold_of_the_criterion(loss, succeeds):
    """A loss of 0.9 is too low for 'does not train' and too high for 'trains', for every network."""
    text = made_up({(depth.PLAIN_NORM, depth.DEEP): loss})
    assert f"at most {depth.ROUNDS} rounds" in text
    assert ("training succeeds, too, with 'plain, batch norm'" in text) == succeeds
    assert ("not shown that the network 'plain, batch norm' of 64 layers does not train" in text) == (loss == 0.9)
    residual = made_up({(depth.RESIDUAL, depth.DEEP): loss})
    assert ("not shown that the network 'residual' of 64 layers trains" in residual) == (not succeeds)


@pytest.mark.parametrize(
    ("few", "many", "words"),
    [(0.7, 8000, "grows with the depth instead of vanishing: 0.7 with 4 layers, 8000 with 64"),
     (0.7, 1e-9, "vanishes, too: 0.7 with 4 layers, 10⁻⁹ with 64"),
     (0.7, 70, "changes by less than a factor of 1000: 0.7 with 4 layers, 70 with 64")],
)  # fmt: skip
def test_the_gradient_with_batch_norm_is_described_by_its_change(few, many, words):
    arms = {depth.arm(depth.PLAIN_NORM, 4): few, depth.arm(depth.PLAIN_NORM, 64): many}
    arms = {name: {"gradient": [value, value]} for name, value in arms.items()}
    arms |= {depth.arm(name, 64): {"gradient": [2.0]} for name in depth.SKIPS}
    assert words in depth._with_batch_norm(arms)


def test_shallow_networks_that_fail_are_counted():
    assert "some training fails" not in made_up()
    text = made_up({(depth.DENSE_NOTES, depth.SHALLOW): depth.TRAINED - 2.5e-4})  # of 0 to 4 e-4, two are above
    assert text.endswith("With 4 layers some training fails, too: 'dense, block of the notes' with 2 of 5 seeds.")
