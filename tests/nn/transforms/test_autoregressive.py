"""Autoregressive transforms: both directions, their Jacobians, and gradients of the sequential direction."""

import pytest
import torch
from torch import nn

from danlu.nn import (
    MADE,
    Affine,
    Autoregressive,
    Chain,
    Conditioner,
    Gate,
    GaussianMixture,
    Inverse,
    Reverse,
    WaveNet,
)
from danlu.nn.transforms import autoregressive

SIZE = 4
UNIVARIATE = {
    "affine": lambda: Affine(),
    "affine without bound": lambda: Affine(bound=None),
    "mixture": lambda: GaussianMixture(3),
    "gate": lambda: Gate(),
}


class Linear(Conditioner):
    """A conditioner without methods of its own: the parameters are linear functions of earlier entries."""

    def __init__(self, size, outputs, context=0):
        super().__init__(size, outputs)
        self.weight = nn.Parameter(torch.randn(outputs, size, size) / 2)
        self.of_context = nn.Parameter(torch.randn(outputs, size, context)) if context else None

    def forward(self, x, context=None):
        y = torch.einsum("oij,nj->nio", self.weight.tril(-1), x)
        return y if context is None else y + torch.einsum("oic,nc->nio", self.of_context, context)


CONDITIONERS = {
    "MADE": lambda outputs, context: MADE(SIZE, outputs, (12, 12), context, activation="tanh"),
    "WaveNet": lambda outputs, context: WaveNet(SIZE, outputs, 3, layers=2, kernel=3, context=context),
    "without fast methods": lambda outputs, context: Linear(SIZE, outputs, context),
}
every_kind = pytest.mark.parametrize("kind", UNIVARIATE)
every_conditioner = pytest.mark.parametrize("conditioner", CONDITIONERS)
with_and_without_context = pytest.mark.parametrize("context", [0, 2])


def layer_of(kind="affine", conditioner="MADE", context=0):
    torch.manual_seed(0)
    univariate = UNIVARIATE[kind]()
    return Autoregressive(CONDITIONERS[conditioner](univariate.outputs, context), univariate).double()


def inputs_of(n=3, context=0):
    torch.manual_seed(1)
    return torch.randn(n, SIZE, dtype=torch.float64), torch.randn(n, context, dtype=torch.float64) if context else None


@every_kind
@every_conditioner
@with_and_without_context
def test_the_inverse_and_its_log_determinant(kind, conditioner, context):
    layer, (x, c) = layer_of(kind, conditioner, context), inputs_of(context=context)
    for a, forth, back in ((x, layer, layer.inverse), (2 * x, layer.inverse, layer)):
        b, log_det = forth(a, c)
        again, other = back(b, c)
        torch.testing.assert_close(again, a, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(other, -log_det, rtol=1e-10, atol=1e-10)


@every_kind
@every_conditioner
@with_and_without_context
def test_the_jacobian_is_triangular_and_its_determinant_is_the_returned_one(kind, conditioner, context):
    layer, (x, c) = layer_of(kind, conditioner, context), inputs_of(1, context)
    for direction in (layer, layer.inverse):
        jacobian = torch.autograd.functional.jacobian(lambda x, f=direction: f(x, c)[0], x)[0, :, 0]
        assert torch.equal(jacobian.triu(1), torch.zeros_like(jacobian))
        assert (jacobian.diag() > 0).all()
        assert (jacobian.tril(-1) != 0).sum() == SIZE * (SIZE - 1) / 2
        torch.testing.assert_close(direction(x, c)[1][0], torch.linalg.slogdet(jacobian)[1], rtol=1e-10, atol=1e-10)


@every_kind
@every_conditioner
@pytest.mark.parametrize("context", [2, pytest.param(0, marks=pytest.mark.long)])
def test_gradients_of_the_sequential_direction(kind, conditioner, context):
    """By finite differences, with respect to the input, the context and all parameters."""
    layer, (z, c) = layer_of(kind, conditioner, context), inputs_of(2, context)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    parameters = [p.detach().clone().requires_grad_() for p in parameters]

    def function(z, c, *parameters):
        named = {f"layer.{name}": p for name, p in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Both(layer), named, (z, c))

    c = None if c is None else c.requires_grad_()
    assert torch.autograd.gradcheck(function, (z.requires_grad_(), c, *parameters), fast_mode=True)


class Both(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, z, c):
        return self.layer.inverse(z, c)


@every_kind
@every_conditioner
def test_gradients_are_those_of_the_weights_of_the_forward_pass(kind, conditioner):
    """With functional_call the module has its own weights again when the gradients are computed."""
    layer, other, (z, c) = layer_of(kind, conditioner, 2), layer_of(kind, conditioner, 2), inputs_of(context=2)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.5).add_(0.1)
    z.requires_grad_()
    given = {f"layer.{name}": p for name, p in other.named_parameters()}
    found = []
    for x, log_det in (torch.func.functional_call(Both(layer), given, (z, c)), other.inverse(z, c)):
        loss = x.square().sum() + log_det.sum()
        found.append(torch.autograd.grad(loss, (z, *other.parameters())))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@every_conditioner
def test_weights_that_change_before_the_gradients_are_computed_are_an_error(conditioner):
    layer, (z, _) = layer_of(conditioner=conditioner), inputs_of()
    x, _ = layer.inverse(z.requires_grad_())
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(1.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(x.sum(), z)


@every_conditioner
def test_gradients_of_the_sequential_direction_equal_those_of_unrolled_passes(conditioner):
    layer, (z, _) = layer_of("affine", conditioner), inputs_of(5)
    z.requires_grad_()
    x = torch.zeros_like(z)
    for _ in range(SIZE):
        x, log_slope = layer.univariate.inverse(z, layer.conditioner(x))
    expected = (x, log_slope.sum(1))
    inputs, weights = (z, *layer.parameters()), torch.randn(5, SIZE, dtype=torch.float64)
    losses = [(x * weights).sum() + log_det.square().sum() for x, log_det in (layer.inverse(z), expected)]
    ours, plain = (torch.autograd.grad(loss, inputs, allow_unused=True) for loss in losses)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.unchecked
@pytest.mark.parametrize("of", ["input", "parameters", "upstream", "context"])
def test_second_derivatives_of_the_sequential_direction_are_an_error(of):
    layer, (z, c) = layer_of(context=2), inputs_of(context=2)
    z.requires_grad_(), c.requires_grad_()
    upstream = torch.ones_like(z, requires_grad=True)
    (first,) = torch.autograd.grad(layer.inverse(z, c)[0], z, upstream, create_graph=True)
    inputs = {"input": [z], "parameters": [*layer.parameters()], "upstream": [upstream], "context": [c]}[of]
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(first.square().sum(), inputs, allow_unused=True)


def test_second_derivatives_of_the_direction_of_one_pass():
    for kind in UNIVARIATE:
        layer, (x, _) = layer_of(kind), inputs_of(2)
        assert torch.autograd.gradgradcheck(layer, (x.requires_grad_(),), fast_mode=True), kind


@pytest.mark.parametrize("n", [0, 1, 7])
def test_numbers_of_examples_below_and_above_a_part(n, monkeypatch):
    monkeypatch.setattr(autoregressive, "ROWS", 3)
    monkeypatch.setattr(autoregressive, "VALUES", 1)
    layer, (z, c) = layer_of(context=2), inputs_of(n, context=2)
    x, log_det = layer.inverse(z, c)
    assert x.shape == (n, SIZE)
    assert log_det.shape == (n,)
    torch.testing.assert_close(layer(x, c)[0], z, rtol=1e-10, atol=1e-10)


def test_without_gradients_nothing_is_recorded():
    layer, (z, _) = layer_of(), inputs_of()
    with torch.no_grad():
        x, log_det = layer.inverse(z)
    assert not x.requires_grad
    again, other = layer.inverse(z)
    assert again.requires_grad
    assert other.requires_grad
    torch.testing.assert_close((x, log_det), (again.detach(), other.detach()), rtol=1e-12, atol=1e-12)


@every_kind
@every_conditioner
@with_and_without_context
def test_with_autocast_only_the_network_has_low_precision(kind, conditioner, context):
    layer = layer_of(kind, conditioner, context).float()
    x, c = (None if a is None else a.float() for a in inputs_of(50, context))
    with torch.autocast("cpu", torch.bfloat16):
        parameters = layer.conditioner(x, c)
        z, log_det = layer(x, c)
        with torch.no_grad():
            y, other = layer.inverse(x, c)
        again, with_gradient = layer.inverse(x, c)
        expected = layer.univariate(y, layer.conditioner(y, c).float())[1].sum(1)
    assert parameters.dtype == torch.bfloat16
    assert all(a.dtype == torch.float32 for a in (z, log_det, y, other, again, with_gradient))
    exact, log_slopes = layer.univariate(x.double(), parameters.double())
    torch.testing.assert_close((z, log_det), (exact.float(), log_slopes.sum(1).float()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(with_gradient, -expected, rtol=1e-4, atol=1e-4)
    layer(x, c)[1].sum().backward()


@every_conditioner
@with_and_without_context
@pytest.mark.parametrize("forward_inside", [False, True])
def test_the_backward_pass_of_the_inverse_inside_autocast(conditioner, context, forward_inside):
    """The triangular system is solved in the precision of z, inside of autocast as outside of it."""
    layer = layer_of("affine", conditioner, context).float()
    z, c = (None if a is None else a.float() for a in inputs_of(5, context))
    z.requires_grad_()
    found = []
    for backward_inside in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=forward_inside):
            x, log_det = layer.inverse(z, c)
        with torch.autocast("cpu", torch.bfloat16, enabled=backward_inside):
            found.append(torch.autograd.grad(x.square().sum(), z, retain_graph=True)[0])
            gradients = torch.autograd.grad(x.sum() + log_det.sum(), [z, *layer.parameters()])
        assert all(g.isfinite().all() for g in gradients)
    torch.testing.assert_close(*found, rtol=0, atol=0)


@every_conditioner
def test_a_context_of_low_precision_with_autocast(conditioner):
    """Such as the output of another network."""
    layer = layer_of("affine", conditioner, 2).float()
    z, c = (a.float() for a in inputs_of(5, 2))
    z.requires_grad_()
    found = []
    for context in (c.bfloat16(), c.bfloat16().float()):
        with torch.autocast("cpu", torch.bfloat16):
            x, log_det = layer.inverse(z, context)
        found.append(torch.autograd.grad(x.sum() + log_det.sum(), [z, *layer.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_a_flow_of_layers_in_alternating_order_and_directions():
    layers = Chain([layer_of(), Reverse(), Inverse(layer_of()), Reverse(), layer_of("mixture")])
    x, _ = inputs_of(5)
    z, log_det = layers(x)
    again, other = layers.inverse(z)
    torch.testing.assert_close(again, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(other, -log_det, rtol=1e-9, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda x: layers(x)[0].sum(0), x).transpose(0, 1)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)


@pytest.mark.unchecked
def test_a_conditioner_with_another_number_of_outputs_is_an_error():
    with pytest.raises(ValueError, match="has 3 outputs for each entry, and Affine has 2 parameters"):
        Autoregressive(MADE(2, 3), Affine())


def test_affine_is_the_formula_of_the_paper_and_its_scales_are_bounded():
    x, mean, raw = torch.randn(3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = torch.stack([mean, raw], 1)
    z, log_slope = Affine(bound=None)(x, parameters)
    torch.testing.assert_close(z, (x - mean) * torch.exp(-raw))
    torch.testing.assert_close(log_slope, -raw)
    parameters[:, 1] *= 1e30
    assert (Affine(bound=5.0)(x, parameters)[1].abs() <= 5.0).all()
    small = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Affine(bound=5.0)(x[:1], small)[1].sum(), small)
    assert slope[0, 1] == -1
