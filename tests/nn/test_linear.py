"""The linear map by way of oneDNN: torch's, in value and in derivatives of first and second order."""

import pytest
import torch
from torch.nn import functional as F

from danlu.nn import Linear, linear

needs = pytest.mark.skipif(not linear.HAS_ONEDNN, reason="this build of torch has no oneDNN")


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)
    monkeypatch.setattr(linear, "PREFER_ONEDNN", linear.HAS_ONEDNN)


def close(ours, theirs, inputs):
    """Up to rounding in float32 of sums of so many products."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=4e-6 * inputs**0.5)


@needs
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n", "inputs", "outputs"), [(1, 1, 1), (7, 5, 3), (100, 784, 500), (3, 1, 4), (0, 4, 2)])
def test_values_and_gradients_are_torchs(n, inputs, outputs, bias):
    torch.manual_seed(0)
    layer, x = Linear(inputs, outputs, bias=bias), torch.randn(n, inputs, requires_grad=True)
    given = (x, *layer.parameters())
    ours, theirs = layer(x), F.linear(x, layer.weight, layer.bias)
    close(ours, theirs, inputs)
    weights = torch.randn_like(theirs)
    for a, b in zip(
        torch.autograd.grad(ours, given, weights), torch.autograd.grad(theirs, given, weights), strict=True
    ):
        close(a, b, max(n, outputs))


@needs
def test_second_derivatives_are_torchs():
    """Of a penalty on a gradient, as critics have it."""
    torch.manual_seed(0)
    first, second, x = Linear(6, 8), Linear(8, 1), torch.randn(5, 6, requires_grad=True)
    found = []
    for quick in (True, False):
        h = first(x).tanh() if quick else F.linear(x, first.weight, first.bias).tanh()
        out = second(h) if quick else F.linear(h, second.weight, second.bias)
        slope = torch.autograd.grad(out.sum(), x, create_graph=True)[0]
        found.append(torch.autograd.grad(slope.square().sum(), [first.weight, first.bias, second.weight]))
    for a, b in zip(*found, strict=True):
        close(a, b, 8)


@needs
def test_what_lies_otherwise_in_memory_is_the_same():
    torch.manual_seed(0)
    layer, x = Linear(6, 4), torch.randn(6, 9)
    close(layer(x.t()), F.linear(x.t().contiguous(), layer.weight, layer.bias), 6)
    layer(x.t()).t().contiguous().sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum(1).expand(4, 6))


@needs
def test_half_of_the_columns_is_multiplied_as_a_matrix_of_its_own():
    torch.manual_seed(0)
    layer, x = Linear(6, 4), torch.randn(9, 12).chunk(2, dim=1)[0].requires_grad_()
    assert linear._dense(x).data_ptr() != x.data_ptr()
    assert linear._dense(x).is_contiguous()
    assert linear._dense(x.contiguous().t()).stride() == (1, 6), "what is only turned stays where it is"
    close(layer(x), F.linear(x, layer.weight, layer.bias), 6)
    ours = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight])
    torchs = torch.autograd.grad(F.linear(x, layer.weight, layer.bias).square().sum(), [x, layer.weight])
    for a, b in zip(ours, torchs, strict=True):
        close(a, b, 5)


@pytest.mark.parametrize("kind", ["float64", "no gradient", "three dimensions", "autocast"])
def test_everything_else_is_torchs_own(kind, monkeypatch):
    monkeypatch.setattr(linear._Product, "apply", lambda *_: pytest.fail("not here"))
    layer, x = Linear(4, 3), torch.randn(5, 4)
    if kind == "float64":
        assert layer.double()(x.double()).dtype == torch.float64
    elif kind == "no gradient":
        with torch.no_grad():
            assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    elif kind == "three dimensions":
        assert layer(x[None]).shape == (1, 5, 3)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16


@needs
@pytest.mark.parametrize("quicker", [True, False])
def test_products_for_formulas_are_torchs(monkeypatch, quicker):
    monkeypatch.setattr(linear, "PREFER_ONEDNN", quicker)
    torch.manual_seed(0)
    a, b, row, total = torch.randn(7, 5), torch.randn(3, 5).t(), torch.randn(3), torch.randn(7, 3)
    expected = total + a @ b
    with torch.no_grad():
        close(linear.product(a, b), a @ b, 5)
        close(linear.product(a, b, row), a @ b + row, 5)
        linear.add_product_(total, a, b)
    close(total, expected, 5)


@needs
def test_products_where_autograd_records_have_torchs_gradients():
    torch.manual_seed(0)
    a, b = torch.randn(7, 5, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    total = torch.zeros(7, 3)
    linear.add_product_(total, a, b)
    expected = torch.autograd.grad((a @ b).square().sum(), [a, b])
    for out in (linear.product(a, b), total):
        for ours, theirs in zip(torch.autograd.grad(out.square().sum(), [a, b]), expected, strict=True):
            close(ours, theirs, 7)


def test_small_maps_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 61)
    assert not linear._use_onednn_for_training(torch.zeros(5, 4), torch.zeros(3, 4))
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 60)
    assert linear._use_onednn_for_training(torch.zeros(5, 4), torch.zeros(3, 4)) == linear.HAS_ONEDNN


def test_the_state_is_torchs():
    layer = Linear(4, 3)
    torch.nn.Linear(4, 3).load_state_dict(layer.state_dict())
    assert repr(layer) == repr(torch.nn.Linear(4, 3))
