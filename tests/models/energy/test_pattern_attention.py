"""The modern form against attention, autograd and its own energy."""

import math

import pytest
import torch
from torch.nn import functional

from danlu.data.base.sign_flips import flip_signs
from danlu.models import Hopfield


def signs(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1


def stored(patterns, **options):
    model = Hopfield(patterns.shape[1:], len(patterns), form="modern", **options)
    model.store(patterns)
    return model


@pytest.mark.parametrize("beta", [None, 0.3, 2.0])
def test_an_update_is_attention_with_patterns_as_keys_and_values(beta):
    x = signs(7, 16).double()
    states = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = functional.scaled_dot_product_attention(states, x, x, scale=beta)
    model = stored(x, beta=beta)
    torch.testing.assert_close(model(states), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(model.recall(states, steps=1), expected, rtol=0, atol=1e-14)


def test_an_update_is_a_step_down_the_gradient_of_the_energy():
    model = stored(signs(7, 16), beta=0.4)
    states = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.energy(states).sum(), states)
    torch.testing.assert_close(states - gradient, model(states), rtol=0, atol=1e-13)


def test_the_energy_never_rises_and_is_never_negative():
    model = stored(signs(20, 16), beta=0.25)
    trace = model.recall_trace(signs(50, 16, seed=1))
    assert (trace.energies.diff(dim=0) <= 1e-12).all()
    assert (trace.energies >= 0).all()
    assert trace.flips is None
    assert trace.period.tolist() == [1] * 50
    assert torch.equal(trace.energy_curve(3)[1], trace.energies[:, 3])


def test_many_more_patterns_than_the_classic_form_stores():
    """As many patterns as units, from 20 % noise; the classic form recalls none of them."""
    x = signs(100, 100)
    damaged = flip_signs(x, 0.2, 0)
    model = stored(x, beta=1.0)
    torch.testing.assert_close(model.recall(damaged), x, rtol=0, atol=1e-6)
    classic = Hopfield((100,), 100)
    classic.store(x)
    assert not (classic.recall(damaged) == x).all(1).any()


def test_a_small_beta_gives_the_mean_of_the_patterns():
    x = signs(6, 30)
    torch.testing.assert_close(stored(x, beta=1e-6).recall(signs(2, 30)), x.mean(0).expand(2, -1), rtol=0, atol=1e-4)


@pytest.mark.unchecked
def test_what_the_modern_form_does_not_have():
    model = stored(signs(2, 4))
    with pytest.raises(ValueError, match="the modern form has no couplings; use form='classic'"):
        _ = model.couplings
    with pytest.raises(ValueError, match="has no couplings"):
        model.set_couplings(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="synchronous has no effect"):
        model.recall(signs(2, 4), synchronous=True)
    with pytest.raises(ValueError, match="must have finite values"):
        model.energy(torch.full((1, 4), math.inf))
    with pytest.raises(ValueError, match=r"no patterns are stored; call store\(x\) first"):
        Hopfield((4,), 2, form="modern").recall(signs(2, 4))
