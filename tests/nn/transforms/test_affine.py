"""The affine function of single values: hand-written derivatives beside those of autograd."""

import pytest
import torch

from danlu.nn import Affine

bounds = pytest.mark.parametrize("bound", [None, 2.0, 7.0])


def inputs_of(*shape):
    torch.manual_seed(0)
    x, parameters = torch.randn(*shape, dtype=torch.float64), 3 * torch.randn(*shape, 2, dtype=torch.float64)
    return x.requires_grad_(), parameters.requires_grad_()


@bounds
@pytest.mark.parametrize("shape", [(5,), (4, 3)])
def test_values_and_gradients_are_those_of_single_operations(bound, shape):
    affine, (x, parameters) = Affine(bound), inputs_of(*shape)
    results = [f(x, parameters) for f in (affine, affine._standardize)]
    assert type(results[0][0].grad_fn).__name__ == "_StandardizeBackward"
    torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13)
    weights = torch.randn(2, *shape, dtype=torch.float64)
    found, expected = (torch.autograd.grad((torch.stack(r) * weights).sum(), (x, parameters)) for r in results)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@bounds
def test_first_and_second_derivatives(bound):
    affine, inputs = Affine(bound), inputs_of(3, 2)
    assert torch.autograd.gradcheck(affine, inputs)
    assert torch.autograd.gradgradcheck(affine, inputs)


@bounds
def test_second_derivatives_with_constant_parameters(bound):
    """z is linear in x, and its slope has no gradient."""
    affine, (x, parameters) = Affine(bound), inputs_of(3)
    z, log_slope = affine(x, parameters.detach())
    (gradient,) = torch.autograd.grad(z.square().sum() / 2 + log_slope.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, (2 * log_slope).exp().detach(), rtol=1e-12, atol=1e-12)


@bounds
@pytest.mark.parametrize("graph", [False, True])
def test_the_backward_pass_inside_autocast(bound, graph):
    """It has no products, so autocast does not change it."""
    affine, inputs = Affine(bound), [value.detach().float().requires_grad_() for value in inputs_of(4, 3)]
    found = []
    for enabled in (False, True):
        z, log_slope = affine(*inputs)
        assert type(z.grad_fn).__name__ == "_StandardizeBackward"
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(z.square().sum() + log_slope.sum(), inputs, create_graph=graph))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_the_derivative_at_0_and_far_from_0():
    parameters = torch.tensor([[0.0, 0.0], [0.0, 1e30], [0.0, -1e30]], dtype=torch.float64, requires_grad=True)
    z, log_slope = Affine(5.0)(torch.ones(3, dtype=torch.float64), parameters)
    (gradient,) = torch.autograd.grad(z.sum() + log_slope.sum(), parameters)
    assert gradient[0].tolist() == [-1.0, -2.0]
    torch.testing.assert_close(gradient[1:, 1], torch.zeros(2, dtype=torch.float64))
    assert gradient.isfinite().all()


@pytest.mark.unchecked
def test_torch_func():
    affine, (x, parameters) = Affine(), inputs_of(4)
    found = torch.func.vmap(torch.func.grad(lambda x, p: affine(x, p)[0].sum(), argnums=1))(
        x.detach(), parameters.detach()
    )
    (expected,) = torch.autograd.grad(affine(x, parameters)[0].sum(), parameters)
    torch.testing.assert_close(found, expected)
    tangent = torch.func.jvp(lambda x: affine(x, parameters)[0], (x.detach(),), (x.detach(),))[1]
    torch.testing.assert_close(tangent, x * affine(x, parameters)[1].exp())


@bounds
def test_the_inverse_for_many_values_of_one_shape(bound):
    affine, (x, parameters) = Affine(bound), inputs_of(4, 3)
    with torch.no_grad():
        z, log_slope = affine(x, parameters)
        back, inverse_log_slope = affine.inverse_like(torch.empty_like(z))(z, parameters)
    torch.testing.assert_close((back, inverse_log_slope), (x.detach(), -log_slope), rtol=1e-12, atol=1e-12)
