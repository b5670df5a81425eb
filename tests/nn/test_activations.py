"""Every activation equals its formula, and an unknown name is refused."""

import pytest
import torch

from danlu.nn import ACTIVATIONS, activation

FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "identity": lambda x: x,
}


def test_every_activation_has_its_formula_here():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_equals_its_formula(name):
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(activation(name)(x), FORMULAS[name](x), atol=1e-12, rtol=0)


def test_each_call_makes_a_new_module():
    assert activation("relu") is not activation("relu")


@pytest.mark.unchecked
def test_an_unknown_activation_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'swish' is unknown; choose one of sigmoid, tanh, relu"):
        activation("swish")
