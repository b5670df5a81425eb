"""Planar layers: both directions, their derivatives, and the scalar equation of the inverse."""

import math
from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from danlu.nn import Planar
from danlu.nn.transforms.planar import IDENTITY, constrained, planar_of_each
from danlu.nn.transforms.planar_root import planar_root, planar_root_of_tensors
from danlu.nn.transforms.planar_stack import planar_to_data, planar_to_latent
from transform_laws import check, randomized

DOUBLE = torch.float64


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def layer(product, w=(1.0, 2.0), b=0.0):
    """The arguments of a stack of one layer with wᵀu = product."""
    w = torch.tensor([w], dtype=DOUBLE)
    u = product * w / w.square().sum() + torch.tensor([[-w[0, 1], w[0, 0]]]) * 0.3  # and a part across w
    return w, u, torch.tensor([1.0 + product], dtype=DOUBLE), torch.tensor([[b]], dtype=DOUBLE)


def stack(layers, d, seed=0, scale=1.0):
    """The arguments of a stack with random layers, some close to the limit of invertibility."""
    planar = Planar(d, layers).double()
    with torch.no_grad():
        planar.weight.copy_(normal(layers, d, seed=seed))
        planar.direction.copy_(normal(layers, d, seed=seed + 1, scale=scale))
        planar.bias.copy_(normal(layers, seed=seed + 2))
        u, s = planar._constrained()
    return planar.weight.detach(), u.detach(), s.detach(), planar.bias.detach()[:, None]


def published(z, w, u, b):
    """The paper's equations 10 and 11, layer by layer, with the full determinant of each Jacobian."""
    log_det = torch.zeros(len(z), dtype=DOUBLE)
    for w_k, u_k, b_k in zip(w, u, b[:, 0], strict=True):
        a = z @ w_k + b_k
        jacobians = torch.eye(len(w_k), dtype=DOUBLE) + (1 - a.tanh().square())[:, None, None] * torch.outer(u_k, w_k)
        log_det = log_det + torch.linalg.slogdet(jacobians).logabsdet
        z = z + a.tanh()[:, None] * u_k
    return z, log_det


@pytest.mark.parametrize(("layers", "d"), [(1, 1), (1, 3), (5, 2), (8, 5)])
def test_from_latents_to_data_it_is_the_published_flow(layers, d):
    w, u, s, b = stack(layers, d)
    z = normal(6, d, seed=9)
    x, log_det = planar_to_data(z, w, u, s, b)
    expected, expected_log_det = published(z, w, u, b)
    torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("layers", "d", "context"), [(1, 1, 0), (1, 2, 0), (4, 3, 0), (12, 2, 0), (3, 2, 4)])
def test_laws(layers, d, context):
    """Inverse, log-determinants against slogdet of autograd's Jacobian, in both directions."""
    planar = randomized(Planar(d, layers, context), 1.0)
    check(planar, normal(5, d, scale=2), normal(5, context, seed=4) if context else None, tolerance=1e-9)


@pytest.mark.parametrize("product", [-0.999, 0.0, 5.0])
@pytest.mark.parametrize("argument", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("side", [-0.3, -1e-7, 0.0, 1e-7, 0.3])
def test_inverse_on_both_sides_of_the_bend(product, argument, side):
    """w·z + b around -5, 0 and 5, and u·w near the limit, 0 and 5."""
    w, u, s, b = layer(product, b=0.2)
    across = torch.tensor([[-2.0, 1.0]], dtype=DOUBLE)
    z = (argument + side - 0.2) * w / w.square().sum() + across
    x, log_det = planar_to_data(z, w, u, s, b)
    back, inverse_log_det = planar_to_latent(x, w, u, s, b)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-11)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-9)
    derivative = 1 - math.tanh(argument + side) ** 2
    assert log_det.item() == pytest.approx(math.log1p(product * derivative), abs=1e-12)


@pytest.mark.parametrize("s", [1e-6, 1e-3, 0.3, 0.9, 1.0, 1.1, 6.0, 50.0, 1e4])
def test_the_root_solves_its_equation_everywhere(s):
    """The error is that of rounding a and r in the equation, which its derivative turns into an error of the root."""
    positive = torch.logspace(-12, 5, 2000, dtype=DOUBLE)
    a = torch.cat([-positive, torch.zeros(1, dtype=DOUBLE), positive])
    r = _left_side(a, s)
    found = planar_root(r, s)
    slope = s + (1 - s) * a.tanh() ** 2
    rounding = torch.finfo(DOUBLE).eps * (r.abs() + a.abs()) / slope
    assert ((found - a).abs() <= 8 * rounding).all()  # r and the left side have about four roundings each


def _left_side(a, s):
    """a + (s - 1) tanh a without cancellation: near 0 as s a + (1 - s)(a - tanh a), with a series."""
    series = a**3 * (1 / 3 - a**2 * (2 / 15 - a**2 * (17 / 315 - a**2 * (62 / 2835))))
    difference = torch.where(a.abs() < 0.02, series, a - a.tanh())
    return torch.where(a.abs() < 1, s * a + (1 - s) * difference, a + (s - 1) * a.tanh())


def test_the_root_of_single_precision():
    a = torch.linspace(-8, 8, 999)
    found = planar_root((a.double() + 4 * a.double().tanh()).float(), 5.0)
    torch.testing.assert_close(found, a, rtol=1e-6, atol=1e-6)


def test_the_root_of_a_number_that_is_not_finite_is_not_finite():
    a = planar_root(torch.tensor([math.nan, math.inf, -math.inf, 1.0]), 2.0)
    assert a.isfinite().tolist() == [False, False, False, True]


@pytest.mark.parametrize("function", [planar_to_data, planar_to_latent])
@pytest.mark.parametrize("biases", [1, 4])
def test_derivatives(function, biases):
    """First and second derivatives of both directions, with respect to everything."""
    w, u, s, _ = stack(3, 2)
    inputs = [x.clone().requires_grad_() for x in (normal(4, 2), w, u, s, normal(3, biases, seed=7))]
    # s is an argument of its own: the derivatives are those of the formulas in s, in which wᵀu does not occur
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_derivatives_of_layers_that_are_used_twice(direction):
    """The second input depends on the parameters; that path must not count twice."""
    planar, x = Planar(2, 3).double(), normal(4, 2).requires_grad_()
    for graph in (False, True):
        z = getattr(planar, direction)(getattr(planar, direction)(x)[0])[0]
        gradients = torch.autograd.grad(z.square().sum(), [x, *planar.parameters()], create_graph=graph)
        if not graph:
            expected = gradients
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-11)


def test_derivatives_without_a_graph_equal_those_with_one():
    """The fast backward pass against autograd on the plain formulas."""
    for function in (planar_to_data, planar_to_latent):
        inputs = [x.clone().requires_grad_() for x in (normal(6, 3), *stack(9, 3))]
        fast, exact = (
            torch.autograd.grad([y.square().sum() for y in function(*inputs)], inputs, create_graph=graph)
            for graph in (False, True)
        )
        torch.testing.assert_close(fast, exact, rtol=1e-9, atol=1e-11)


def test_only_what_needs_a_gradient_gets_one():
    inputs = [normal(6, 3), *stack(4, 3)]
    inputs[1].requires_grad_()
    for function in (planar_to_data, planar_to_latent):
        for graph in (False, True):
            (gradient,) = torch.autograd.grad(function(*inputs)[1].sum(), inputs[1:2], create_graph=graph)
            assert gradient.any()


def test_every_layer_is_invertible_for_all_parameters():
    planar = Planar(2, 200).double()
    with torch.no_grad():
        planar.weight.copy_(normal(200, 2, scale=3))
        planar.direction.copy_(normal(200, 2, seed=1, scale=5))
        u, s = planar._constrained()
    assert (s > 0).all()
    torch.testing.assert_close((planar.weight * u).sum(1), s - 1, rtol=1e-9, atol=1e-9)
    product = (planar.weight * planar.direction).sum(1)
    torch.testing.assert_close((planar.weight * u).sum(1), F.softplus(product) - 1, rtol=1e-9, atol=1e-9)
    across = torch.stack([-planar.weight[:, 1], planar.weight[:, 0]], 1)
    torch.testing.assert_close((across * u).sum(1), (across * planar.direction).sum(1), rtol=1e-8, atol=1e-8)


def test_a_new_layer_is_close_to_the_identity():
    torch.manual_seed(0)
    planar, z = Planar(2, 16), torch.randn(500, 2)
    x, log_det = planar.inverse(z)
    assert (x - z).square().mean().sqrt() < 0.5
    assert log_det.abs().mean() < 0.5


def test_extreme_parameters_have_finite_log_determinants_in_single_precision():
    w, u, s, b = (x.float() for x in layer(-1 + 1e-9))
    s = torch.tensor([1e-9])
    z = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [3.0, -1.0]])
    x, log_det = planar_to_data(z, w, u, s, b)
    assert log_det.isfinite().all()
    assert log_det[0].item() == pytest.approx(math.log(1e-9))
    assert planar_to_latent(x, w, u, s, b)[1].isfinite().all()


def test_the_shape_of_the_work_is_linear_in_the_dimension():
    """The largest tensor of both directions has layers × examples or dimension × examples entries: no Jacobian."""
    assert Fraction(_largest(4096), _largest(1024)) == 4


def _largest(d):
    """The number of entries of the largest tensor in a pass from latents to data."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in (out if isinstance(out, tuple | list) else [out]) if torch.is_tensor(x))
            return out

    planar, z = Planar(d, 4), torch.randn(8, d)
    with Watch(), torch.no_grad():
        planar.inverse(z)
        planar(z)
    return max(sizes)


def test_a_layer_at_the_limit_of_invertibility_is_inverted_in_float32():
    planar = Planar(2, 1)
    with torch.no_grad():
        planar.weight.copy_(torch.tensor([[15.0, 0.0]]))
        planar.direction.copy_(-50 * planar.weight)
    z = torch.tensor([[0.0, 0.0], [0.5, -1.0], [-2.0, 3.0]])
    x, log_det = planar.inverse(z)
    back, back_log_det = planar(x)
    assert log_det.isfinite().all()
    torch.testing.assert_close(back, z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(back_log_det, -log_det, rtol=1e-3, atol=1e-3)


@pytest.mark.unchecked
@pytest.mark.parametrize("function", [planar_to_data, planar_to_latent])
@pytest.mark.parametrize("biases", [1, 4])
def test_torch_func(function, biases):
    """Values and derivatives are those of autograd; a mapped function gets each stack of an ensemble."""
    inputs = (normal(4, 2), *stack(3, 2)[:3], normal(3, biases, seed=7))
    needed = [x.clone().requires_grad_() for x in inputs]

    def total(*inputs):
        result, log_det = function(*inputs)
        return result.square().sum() + log_det.sum()

    expected = torch.autograd.grad(total(*needed), needed, create_graph=True)
    found = torch.func.grad(total, argnums=tuple(range(5)))(*inputs)
    torch.testing.assert_close(found, tuple(g.detach() for g in expected), rtol=1e-9, atol=1e-11)
    (second,) = torch.autograd.grad(expected[0][0, 0], needed[:1])
    hessian = torch.func.hessian(total)(*inputs)
    torch.testing.assert_close(hessian[0, 0], second, rtol=1e-9, atol=1e-11)
    tangents = tuple(torch.ones_like(x) for x in inputs)
    _, slope = torch.func.jvp(total, inputs, tangents)
    torch.testing.assert_close(slope, sum(g.sum() for g in expected).detach(), rtol=1e-9, atol=1e-11)
    stacks = [stack(3, 2, seed=9 * number) for number in range(3)]
    ensemble = [torch.stack(values) for values in zip(*stacks, strict=True)]
    each = torch.func.vmap(function, (None, 0, 0, 0, 0))(inputs[0], *ensemble)
    alone = [torch.stack(values) for values in zip(*(function(inputs[0], *one) for one in stacks), strict=True)]
    torch.testing.assert_close(list(each), alone, rtol=1e-10, atol=1e-10)


@pytest.mark.unchecked
@pytest.mark.parametrize("s", [1e-6, 1e-3, 0.3, 0.9, 1.0, 1.1, 6.0, 50.0, 1e4])
def test_the_root_in_a_fixed_number_of_steps(s):
    positive = torch.logspace(-12, 5, 2000, dtype=DOUBLE)
    a = torch.cat([-positive, torch.zeros(1, dtype=DOUBLE), positive])
    r, slope = _left_side(a, s), s + (1 - s) * a.tanh() ** 2
    found = torch.func.vmap(planar_root_of_tensors, (0, None))(r, torch.tensor(s, dtype=DOUBLE))
    rounding = torch.finfo(DOUBLE).eps * (r.abs() + a.abs()) / slope
    assert ((found - a).abs() <= 8 * rounding).all()


@pytest.mark.unchecked
def test_derivatives_in_the_middle_of_the_bend():
    """At a = 0, where the start of Newton's method has no derivative, of the first and of the second order."""
    w, u, s, b = layer(-0.9)

    def latent(x):
        return planar_to_latent(x[None], w, u, s, b)[0][0]

    x = torch.zeros(2, dtype=DOUBLE)
    jacobian = torch.eye(2, dtype=DOUBLE) + torch.outer(u[0], w[0])
    torch.testing.assert_close(torch.func.jacfwd(latent)(x), torch.linalg.inv(jacobian), rtol=1e-10, atol=1e-10)
    second = torch.func.jacfwd(torch.func.jacrev(latent))(x)
    torch.testing.assert_close(second, torch.zeros_like(second), rtol=0, atol=1e-9)  # tanh is odd


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_autocast_changes_neither_values_nor_gradients(direction):
    planar, x = Planar(3, 4), normal(5, 3).float()

    def gradients():
        result, log_det = getattr(planar, direction)(x)
        return torch.autograd.grad(result.square().sum() + log_det.sum(), list(planar.parameters()))

    expected = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# layers of each example


def test_layers_of_each_example_are_the_same_layers():
    """For each example its own stack, applied by ``planar_to_data``."""
    k, n, layers, d = 4, 3, 5, 2
    stacks, z = [stack(layers, d, seed=7 * i) for i in range(n)], normal(k, n, d, seed=5)
    w, u, s, b = (torch.stack(values) for values in zip(*stacks, strict=True))
    found, log_det = planar_of_each(z, w, u, s, b[:, :, 0])
    for i in range(n):
        expected, expected_log_det = planar_to_data(z[:, i], *stacks[i])
        torch.testing.assert_close(found[:, i], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(log_det[:, i], expected_log_det, rtol=1e-10, atol=1e-10)


def test_derivatives_of_layers_of_each_example():
    inputs = [normal(2, 3, 2), normal(3, 4, 2, seed=1), normal(3, 4, 2, seed=2), normal(3, 4, seed=3)]

    def function(z, w, u, b):
        return planar_of_each(z, w, *constrained(w, u, IDENTITY), b)

    assert torch.autograd.gradcheck(function, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize("offset", [0.0, IDENTITY])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_constrained_vectors_give_layers_with_an_inverse(offset, scale, dtype):
    """wᵀû > -1, where wᵀû is computed anew, up to rounding; the slope is the formula of the paper."""
    w, u = normal(500, 3, scale=scale).to(dtype), normal(500, 3, seed=1, scale=scale).to(dtype)
    found, slope = constrained(w, u, offset)
    assert (slope > 0).all()
    rounding = 8 * torch.finfo(dtype).eps * (w.abs() * (u.abs() + found.abs())).sum(-1)
    assert ((w * found).sum(-1) + rounding + 1 >= 0).all()
    assert (((w * found).sum(-1) + 1 - slope).abs() <= rounding + 1e-10).all()
    if dtype == DOUBLE:
        expected = torch.logaddexp((w * u).sum(-1) + offset, torch.zeros(500, dtype=DOUBLE)).clamp(min=1e-10)
        torch.testing.assert_close(slope, expected, rtol=1e-12, atol=0)


def test_with_the_offset_zero_is_the_identity_and_there_is_no_pole():
    w = normal(5, 3)
    u, slope = constrained(w, torch.zeros_like(w), IDENTITY)
    torch.testing.assert_close(u, torch.zeros_like(u), rtol=0, atol=1e-14)
    torch.testing.assert_close(slope, torch.ones_like(slope), rtol=0, atol=1e-14)
    direction = normal(5, 3, seed=1)
    for scale in (1e-3, 1e-6, 0.0):
        u, _ = constrained(scale * w, direction, IDENTITY)
        assert (u.norm(dim=-1) <= 1.01 * direction.norm(dim=-1)).all()


VERY_SMALL = [0.0, 1e-30, 1e-11, 0.99e-10]
very_small = pytest.mark.parametrize("norm", VERY_SMALL)


def with_weights_of(norm, dtype=DOUBLE):
    """Layers whose vectors w have this norm."""
    planar = randomized(Planar(3, 4)).to(dtype)
    with torch.no_grad():
        planar.bias.copy_(torch.tensor([1.0, -0.5, 0.2, 2.0]))
        planar.weight.mul_(norm / planar.weight.norm(dim=1, keepdim=True))
    return planar


@very_small
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_layers_with_very_small_weights_are_almost_shifts(norm, dtype):
    planar, z = with_weights_of(norm, dtype), normal(5, 3).to(dtype)
    x, log_det = planar.inverse(z)
    back, back_log_det = planar(x)
    tolerance = {"rtol": 0, "atol": 64 * torch.finfo(dtype).eps}
    shifted = z + planar.bias.tanh() @ planar.direction
    torch.testing.assert_close(x, shifted, rtol=0, atol=tolerance["atol"] + 10 * norm)
    torch.testing.assert_close(back, z, **tolerance)
    torch.testing.assert_close(back_log_det, -log_det, **tolerance)
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda row: planar.inverse(row[None])[0][0], r) for r in z]
    )
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobians).logabsdet, **tolerance)
    for result in (planar.inverse(z), planar(z)):
        gradients = torch.autograd.grad(result[0].square().sum() + result[1].sum(), list(planar.parameters()))
        assert all(g.isfinite().all() for g in gradients)


@very_small
@pytest.mark.parametrize("offset", [0.0, IDENTITY])
def test_the_slope_of_very_small_weights_is_that_of_the_vectors(norm, offset):
    """Also for long vectors u, where wᵀu is not small."""
    w, u = normal(5, 3), normal(5, 3, seed=1, scale=1e9)
    w = w * (norm / w.norm(dim=1, keepdim=True))
    found, slope = constrained(w, u, offset)
    torch.testing.assert_close(slope, 1 + (w * found).sum(-1), rtol=1e-14, atol=1e-14)


def test_the_slope_is_that_of_the_paper_from_the_smallest_square_on():
    w = torch.tensor([1.01e-10, 0.0], dtype=DOUBLE)
    u, slope = constrained(w, torch.tensor([1.0, 2.0], dtype=DOUBLE))
    torch.testing.assert_close(slope, torch.tensor(math.log(1 + math.exp(1.01e-10)), dtype=DOUBLE), rtol=1e-14, atol=0)
    torch.testing.assert_close(1 + w @ u, slope, rtol=1e-14, atol=0)
