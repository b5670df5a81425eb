"""A model remembers its constructor's arguments, also when it is copied or pickled."""

import copy
import pickle

import pytest
import torch
from torch import nn

from danlu.models import Model


class Affine(Model):
    """A small model with an argument of every kind."""

    def __init__(self, inputs: int, outputs: int = 2, *, bias: bool = True, hidden: tuple[int, ...] = ()):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=bias)

    def forward(self, x):
        return self.linear(x)


class Deeper(Affine):
    """A model whose constructor calls another model's with other arguments."""

    def __init__(self, width: int):
        super().__init__(width, width)


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((3,), {}, {"inputs": 3, "outputs": 2, "bias": True, "hidden": ()}),
        ((3, 4), {"bias": False}, {"inputs": 3, "outputs": 4, "bias": False, "hidden": ()}),
        ((), {"inputs": 1, "hidden": (5, 6)}, {"inputs": 1, "outputs": 2, "bias": True, "hidden": (5, 6)}),
    ],
)
def test_arguments_are_kept_however_they_were_given(args, kwargs, expected):
    model = Affine(*args, **kwargs)
    assert model.arguments == expected
    assert Affine(**model.arguments).arguments == expected


def test_the_arguments_are_those_of_the_outermost_constructor():
    assert Deeper(3).arguments == {"width": 3}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_arguments_and_weights_survive(again):
    model = Affine(3, bias=False, hidden=(1,))
    copied = again(model)
    assert copied.arguments == model.arguments
    x = torch.randn(4, 3)
    assert torch.equal(copied(x), model(x))


def test_nothing_of_it_shows_in_the_state_dict():
    assert list(Affine(3).state_dict()) == ["linear.weight", "linear.bias"]


def test_two_models_do_not_share_their_arguments():
    a, b = Affine(3), Affine(4)
    assert (a.arguments["inputs"], b.arguments["inputs"]) == (3, 4)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((3,), {"widht": 2}), ((3,), {"inputs": 3})])
def test_wrong_arguments_are_pythons_own_error(args, kwargs):
    with pytest.raises(TypeError):
        Affine(*args, **kwargs)
