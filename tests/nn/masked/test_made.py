"""MADE: what each output depends on, and its sequential evaluation beside full passes."""

import pytest
import torch

from conditioner_laws import (
    assert_generates_like_full_passes,
    assert_solves_backward_like_full_passes,
    assert_uses_current_weights,
)
from danlu.nn import MADE

KINDS = {
    "no hidden layer": {"hidden": ()},
    "one hidden layer": {"hidden": (20,)},
    "three hidden layers": {"hidden": (20, 30, 17)},
    "narrow": {"hidden": (3, 2)},
    "random degrees": {"hidden": (20, 30), "degrees": "random"},
    "narrow and random": {"hidden": (4, 3), "degrees": "random"},
    "residual": {"hidden": (20, 20, 20), "residual": True},
    "residual and random": {"hidden": (20, 20, 20), "residual": True, "degrees": "random"},
    "ReLU": {"hidden": (20, 20), "activation": "relu"},
    "one entry": {"size": 1},
    "two entries": {"size": 2},
    "30 outputs": {"outputs": 30},
    "three groups of degrees": {"size": 70, "hidden": (90, 80)},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without_context = pytest.mark.parametrize("context", [0, 3])


def made_of(kind, context=0):
    torch.manual_seed(0)
    return MADE(**{"size": 6, "activation": "tanh", "context": context, **KINDS[kind]}).double()


def inputs_of(made, n=5):
    torch.manual_seed(1)
    context = None if made.context is None else torch.randn(n, made.context.in_features, dtype=torch.float64)
    return torch.randn(n, made.size, dtype=torch.float64), context


def dependences(made):
    """The largest derivative of the outputs for each entry with respect to each input, (size, size)."""
    x, context = inputs_of(made)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x, context).sum(0), x)  # (size, outputs, n, size)
    return jacobian.abs().amax((1, 2))


@every_kind
@with_and_without_context
def test_no_output_depends_on_its_own_entry_or_a_later_one(kind, context):
    depends = dependences(made_of(kind, context))
    assert torch.equal(depends.triu(), torch.zeros_like(depends))


@every_kind
@with_and_without_context
def test_every_output_depends_on_all_earlier_entries_if_there_are_enough_units(kind, context):
    if "narrow" in kind:
        pytest.skip("fewer units than entries")
    made = made_of(kind, context)
    assert (dependences(made) > 0).equal(torch.ones(made.size, made.size).tril(-1).bool())


@every_kind
def test_every_output_depends_on_the_context_the_first_one_too(kind):
    made = made_of(kind, context=3)
    x, context = inputs_of(made)
    jacobian = torch.autograd.functional.jacobian(lambda c: made(x, c).sum(0), context)
    assert (jacobian.abs().amax(2) > 0).all()


@every_kind
@with_and_without_context
@pytest.mark.parametrize("n", [0, 1, 5])
def test_the_sequential_evaluation_equals_full_passes(kind, context, n):
    made = made_of(kind, context)
    assert_generates_like_full_passes(made, *inputs_of(made, n))


@every_kind
@with_and_without_context
@pytest.mark.parametrize("n", [0, 1, 5])
def test_the_sequential_backward_pass_equals_full_passes(kind, context, n):
    made = made_of(kind, context)
    assert_solves_backward_like_full_passes(made, *inputs_of(made, n), 1e-12)


def test_the_sequential_evaluation_is_that_of_the_current_weights():
    made = made_of("one hidden layer")
    assert_uses_current_weights(made, inputs_of(made)[0])


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0 and outputs=2 must be at least 1"),
        ({"size": 2, "hidden": (0,)}, "hidden=.0,. must be integers >= 1"),
        ({"size": 2, "hidden": (4, 5), "residual": True}, "residual needs hidden layers of one width"),
        ({"size": 2, "context": -1}, "context=-1 must be at least 0"),
    ],
)
def test_wrong_arguments_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        MADE(**arguments)


def test_a_missing_or_an_unexpected_context_is_an_error():
    with pytest.raises(ValueError, match="needs context"):
        MADE(2, context=3)(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="has no context"):
        MADE(2)(torch.zeros(1, 2), torch.zeros(1, 3))


@pytest.mark.unchecked
def test_unknown_degrees_are_an_error():
    with pytest.raises(ValueError, match="degrees='x' is unknown; choose sequential or random"):
        MADE(3, degrees="x")
