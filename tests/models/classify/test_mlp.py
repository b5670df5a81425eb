"""The multilayer perceptron against matrix products written out."""

import pytest
import torch
from torch.nn import functional as F

from danlu.models import MLP

ACTIVATIONS = {
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": torch.tanh,
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x * torch.sigmoid(x),
    "leaky_relu": lambda x: torch.maximum(x, 0.01 * x),
    "identity": lambda x: x,
}


def by_hand(net, x, activation, norm):
    """Logits from the state dict alone."""
    state, h, layer = net.state_dict(), x.flatten(1), 0
    while f"body.{layer}.linear.weight" in state:
        part = {k.removeprefix(f"body.{layer}."): v for k, v in state.items() if k.startswith(f"body.{layer}.")}
        h = h @ part["linear.weight"].T + part["linear.bias"]
        if norm:
            dim = 0 if norm == "batch" else 1
            mean, var = h.mean(dim, keepdim=True), h.var(dim, unbiased=False, keepdim=True)
            h = (h - mean) / (var + 1e-5).sqrt() * part["norm.weight"] + part["norm.bias"]
        h = ACTIVATIONS[activation](h)
        layer += 1
    return h @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5), (4, 4, 4, 4, 4, 4)])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_equal_matrix_products(hidden, norm, activation):
    torch.manual_seed(0)
    net = MLP((2, 3), 4, hidden, activation, norm).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(net(x), by_hand(net, x, activation, norm), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("shape", "classes", "hidden", "count"),
    [
        ((1, 28, 28), 10, (512,), 407_050),
        ((4,), 3, (), 4 * 3 + 3),
        ((4,), 3, (5, 6), 4 * 5 + 5 + 5 * 6 + 6 + 6 * 3 + 3),
    ],
)
def test_number_of_parameters(shape, classes, hidden, count):
    assert sum(p.numel() for p in MLP(shape, classes, hidden).parameters()) == count


def test_classify_gives_the_softmax_of_the_logits():
    net, x = MLP((6,), 4).double(), torch.randn(5, 6, dtype=torch.float64)
    expected = torch.exp(net(x)) / torch.exp(net(x)).sum(1, keepdim=True)
    torch.testing.assert_close(net.classify(x), expected)


def test_dropout_falls_on_hidden_units_in_training_only():
    torch.manual_seed(0)
    net = MLP((6,), 4, hidden=(64,), dropout=0.5)
    x = torch.randn(5, 6)
    hidden = F.relu(x @ net.body[0].linear.weight.T + net.body[0].linear.bias)
    assert torch.equal(net.eval().body(x), hidden)
    dropped = net.train().body(x)
    torch.testing.assert_close(dropped[dropped != 0], 2 * hidden[dropped != 0])
    assert 0.3 < (dropped[hidden > 0] == 0).float().mean() < 0.7  # about 160 coins: more than five standard errors


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": (0,)}, "hidden=.*integers >= 1; to remove a layer, omit its width"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and less than 1"),
        ({"activation": "rellu"}, "'rellu' is unknown; choose one of"),
        ({"norm": "instance"}, "norm.*batch.*layer"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{"shape": (4,), "classes": 2, **arguments})
