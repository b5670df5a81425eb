"""Minibatch discrimination against the formula, loop by loop."""

import pytest
import torch

from danlu.nn import MinibatchDiscrimination, minibatch_discrimination


def layer_and_features(n=5):
    torch.manual_seed(0)
    return MinibatchDiscrimination(features=6, kernels=4, width=3).double(), torch.randn(n, 6, dtype=torch.float64)


def test_it_equals_the_formula():
    layer, f = layer_and_features()
    m = [[f[i] @ layer.projection[:, b] for b in range(4)] for i in range(5)]

    def near(i, b):
        return sum((-(m[i][b] - m[j][b]).abs().sum()).exp() for j in range(5) if j != i)

    expected = torch.stack([torch.stack([near(i, b) for b in range(4)]) for i in range(5)])
    out = layer(f)
    assert torch.equal(out[:, :6], f)
    torch.testing.assert_close(out[:, 6:], expected)


def test_equal_examples_are_as_near_as_can_be_and_far_ones_not_at_all():
    layer, f = layer_and_features()
    torch.testing.assert_close(layer(f[:1].expand(5, 6))[:, 6:], torch.full((5, 4), 4.0, dtype=torch.float64))
    assert (layer(1e4 * f)[:, 6:] < 1e-10).all()


def test_the_order_of_the_batch_does_not_matter():
    layer, f = layer_and_features()
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(layer(f[order]), layer(f)[order])


def test_it_has_derivatives():
    layer, f = layer_and_features(n=3)
    assert torch.autograd.gradcheck(layer, f.requires_grad_())


@pytest.mark.unchecked
def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="this batch has 1"):
        MinibatchDiscrimination(3)(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="kernels=0"):
        MinibatchDiscrimination(3, kernels=0)


def similarities_and_gradients(layer, rows):
    rows = rows.detach().requires_grad_()
    found = layer(rows)
    (gradient,) = torch.autograd.grad(found.square().sum(), rows)
    return found, gradient


@pytest.mark.parametrize("chunk", [1, 100, 10**6], ids=["one kernel", "two kernels", "all kernels"])
@pytest.mark.parametrize("layout", ["dense", "columns first", "every second example"])
def test_the_fast_form_equals_the_plain_one(monkeypatch, chunk, layout):
    """With all kernels at once and with parts of them, and with two equal examples, whose slope is 0."""
    monkeypatch.setattr(minibatch_discrimination, "CHUNK", chunk)
    torch.manual_seed(0)
    rows = {
        "dense": lambda: torch.randn(5, 4, 3),
        "columns first": lambda: torch.randn(3, 5, 4).permute(1, 2, 0),
        "every second example": lambda: torch.randn(5, 8, 3)[:, ::2],
    }[layout]().double()
    rows[:, 1] = rows[:, 0]
    forms = (minibatch_discrimination._Similarities.apply, minibatch_discrimination._similarities)
    for ours, plain in zip(*(similarities_and_gradients(form, rows) for form in forms), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-14)


def test_the_layer_uses_the_fast_form_where_autograd_records():
    layer, f = layer_and_features()
    recorded = layer(f)
    assert "_Similarities" in str(recorded.grad_fn.next_functions[1][0].next_functions)
    with torch.no_grad():
        torch.testing.assert_close(layer(f), recorded.detach(), rtol=1e-12, atol=0)


@pytest.mark.unchecked
def test_a_second_derivative_is_an_error():
    layer, f = layer_and_features()
    (slope,) = torch.autograd.grad(layer(f.requires_grad_()).square().sum(), f, create_graph=True)
    torch.testing.assert_close(slope, torch.autograd.grad(layer(f).square().sum(), f)[0])
    with pytest.raises(RuntimeError, match="not implemented"):
        torch.autograd.grad(slope.square().sum(), f)


@pytest.mark.unchecked
def test_an_ensemble_under_torch_func_has_the_scores_of_each_member():
    layer, f = layer_and_features()
    projections = torch.randn(3, *layer.projection.shape, dtype=torch.float64)
    found = torch.func.vmap(lambda p: torch.func.functional_call(layer, {"projection": p}, (f,)))(projections)
    for scores, projection in zip(found, projections, strict=True):
        layer.projection.data = projection
        torch.testing.assert_close(scores, layer(f))
