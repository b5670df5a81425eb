"""Every autograd function of the package: derivatives of both orders and torch.func against the plain formula.

A function that does not support second derivatives or torch.func must raise an error. Cases cover memory layouts that
are not dense, sizes below and above each threshold, and inputs that share a history.
"""

import ast
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import danlu
from danlu.losses import chunked_cross_entropy
from danlu.nn import MADE, Affine, Autoregressive, GaussianMixture, Linear, MaskedLinear, Recurrent, linear
from danlu.nn.masked import linear as masked_linear

TESTED = {"_Product", "_Chunked", "_Scan", "_FirstDerivativesOnly", "_MaskedProduct", "_Solve", "_LogCDF", "_Quantile"}
TESTED |= {"_ToData", "_ToLatent"}  # in tests/nn/transforms/test_planar.py
TESTED |= {"_Couplings", "_Standardize"}  # in tests/nn/transforms/test_coupling_function.py and test_affine.py
TESTED |= {"_Similarities"}  # in tests/nn/test_minibatch_discrimination.py

VARIANTS = {
    "peephole": {"kind": "peephole"},
    "coupled": {"kind": "coupled"},
    "before": {"kind": "gru", "reset": "before"},
    "notes": {"kind": "gru", "reset": "notes"},
}
variants = pytest.mark.parametrize("name", VARIANTS)

LAYOUTS = {
    "dense": lambda n, k: torch.randn(n, k),
    "transposed": lambda n, k: torch.randn(k, n).t(),
    "half of the columns": lambda n, k: torch.randn(n, 2 * k).chunk(2, 1)[1],
    "every second column": lambda n, k: torch.randn(n, 2 * k)[:, ::2],
    "one repeated row": lambda n, k: torch.randn(1, k).expand(n, k),
}


def test_every_autograd_function_of_the_package_is_tested_here():
    functions = {
        node.name
        for path in Path(danlu.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and any("autograd.Function" in ast.unparse(base) for base in node.bases)
    }
    assert functions == TESTED


@pytest.fixture
def onednn(monkeypatch):
    if not linear.HAS_ONEDNN:
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(linear, "PREFER_ONEDNN", True)


def close(ours, theirs):
    """Equal up to float32 rounding, relative to the largest entry."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5 * float(b.abs().max()))


def second_derivatives(function, inputs):
    """Gradients of the squared gradients of a quartic function."""
    gradients = torch.autograd.grad(function(*inputs).square().square().mean(), inputs, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs)


@pytest.mark.parametrize("least", [1, 10**9], ids=["oneDNN", "below the threshold"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_second_derivatives_of_linear_in_every_memory_layout(onednn, monkeypatch, layout, least):
    monkeypatch.setattr(linear, "MIN_PRODUCTS", least)
    torch.manual_seed(0)
    layer, x = Linear(6, 4), LAYOUTS[layout](5, 6).requires_grad_()
    inputs = (x, layer.weight, layer.bias)
    close(second_derivatives(lambda x, *_: layer(x), inputs), second_derivatives(F.linear, inputs))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_second_derivatives_of_linear_at_a_size_that_uses_onednn_by_itself(onednn, layout):
    torch.manual_seed(0)
    layer, x = Linear(256, 128), LAYOUTS[layout](33, 256).requires_grad_()
    assert linear._use_onednn_for_training(x, layer.weight)
    inputs = (x, layer.weight, layer.bias)
    close(second_derivatives(lambda x, *_: layer(x), inputs), second_derivatives(F.linear, inputs))


@pytest.mark.unchecked
@pytest.mark.parametrize("least", [1, 10**9], ids=["oneDNN", "below the threshold"])
@pytest.mark.parametrize("transform", ["grad", "vmap", "both", "weights", "jacrev", "jacfwd", "hessian", "dual"])
def test_linear_under_torch_func(onednn, monkeypatch, transform, least):
    monkeypatch.setattr(linear, "MIN_PRODUCTS", least)
    torch.manual_seed(0)
    layer, x = Linear(3, 2), torch.randn(5, 3)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}
    stacked = {name: torch.randn(4, *value.shape) for name, value in parameters.items()}

    def ours(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,)).square()

    def plain(parameters, x):
        return F.linear(x, parameters["weight"], parameters["bias"]).square()

    def apply(function):
        def of_weights(parameters, x):
            return function(parameters, x).square().sum()

        if transform == "grad":
            return torch.func.grad(of_weights)(parameters, x)
        if transform == "vmap":
            return torch.func.vmap(function, (None, 1))(parameters, torch.randn(5, 7, 3, generator=seeded()))
        if transform == "both":  # a gradient for each example
            return torch.func.vmap(torch.func.grad(of_weights), (None, 0))(parameters, x[:, None])
        if transform == "weights":  # an ensemble
            return torch.func.vmap(torch.func.grad(of_weights), (0, None))(stacked, x)
        if transform == "dual":
            return torch.func.jvp(lambda w: function(w, x), (parameters,), ({k: v + 1 for k, v in parameters.items()},))
        return getattr(torch.func, transform)(function if transform != "hessian" else of_weights)(parameters, x)

    leaves = [torch.utils._pytree.tree_leaves(apply(function)) for function in (ours, plain)]
    close(*leaves)


def seeded():
    return torch.Generator().manual_seed(1)


def head(n=5, d=3, v=7):
    torch.manual_seed(0)
    features, weight, bias = torch.randn(n, d), torch.randn(v, d), torch.randn(v)
    return [x.double().requires_grad_() for x in (features, weight, bias)], torch.arange(n) % v


def plain_cross_entropy(features, weight, bias, targets):
    return F.cross_entropy(F.linear(features, weight, bias), targets, reduction="none")


@pytest.mark.parametrize("rows", [2, 5])
def test_derivatives_of_chunked_cross_entropy_with_tied_weights(rows):
    """The features depend on the weights; a gradient must not count that path twice."""
    (features, weight, bias), targets = head()
    inputs = (weight, bias)

    def losses(cross_entropy):
        def function(weight, bias):
            return cross_entropy((weight[targets.flip(0)] * features.detach()).tanh(), weight, bias, targets)

        return function

    ours = losses(lambda *x: chunked_cross_entropy(*x, rows))
    plain = losses(plain_cross_entropy)
    for create_graph in (False, True):
        gradients = [torch.autograd.grad(f(*inputs).sum(), inputs, create_graph=create_graph) for f in (ours, plain)]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(second_derivatives(ours, inputs), second_derivatives(plain, inputs), rtol=1e-9, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_of_chunked_cross_entropy_in_every_memory_layout(layout):
    (_, _, bias), targets = head()
    torch.manual_seed(1)
    inputs = (LAYOUTS[layout](5, 3).double().requires_grad_(), LAYOUTS[layout](7, 3).double().requires_grad_(), bias)
    found = [
        second_derivatives(lambda *x, f=f: f(*x, targets), inputs) for f in (chunked_cross_entropy, plain_cross_entropy)
    ]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.unchecked
@pytest.mark.parametrize("rows", [1, 100])
def test_chunked_cross_entropy_under_torch_func_is_an_error_at_every_size(rows):
    inputs, targets = head()
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(lambda x: chunked_cross_entropy(x, *inputs[1:], targets, rows).sum())(inputs[0])


def variant(name):
    torch.manual_seed(0)
    net = Recurrent(3, 4, **VARIANTS[name]).double()
    x, state = torch.randn(2, 5, 3).double().requires_grad_(), net.zero_state(2).normal_().requires_grad_()
    return net, x, state


@pytest.mark.unchecked
@variants
@pytest.mark.parametrize("of", ["input", "state", "weights", "upstream"])
@pytest.mark.parametrize("by", ["grad", "backward"])
def test_second_derivatives_of_recurrent_variants_are_an_error(name, of, by):
    """For a penalty on the gradient of the input, with respect to each tensor on which that gradient depends."""
    net, x, state = variant(name)
    upstream = torch.ones(2, 5, 4, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(net(x, state)[0], x, upstream, create_graph=True)[0]
    torch.testing.assert_close(slope, torch.autograd.grad(net(x, state)[0], x, upstream)[0])
    inputs = {"input": [x], "state": [state], "weights": [*net.parameters()], "upstream": [upstream]}[of]
    penalty = slope.square().sum()
    differentiate = {
        "grad": lambda: torch.autograd.grad(penalty, inputs, allow_unused=True),
        "backward": lambda: penalty.backward(inputs=inputs),
    }[by]
    with pytest.raises(RuntimeError, match="first derivatives only"):
        differentiate()


@pytest.mark.unchecked
@variants
def test_recurrent_variants_under_torch_func_are_an_error(name):
    net, x, state = variant(name)
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(lambda x: net(x, state)[0].sum())(x)


@variants
@pytest.mark.parametrize("layout", ["dense", "steps first", "half of the features", "every second step"])
def test_gradients_of_recurrent_variants_in_every_memory_layout(name, layout):
    net, _, state = variant(name)
    torch.manual_seed(1)
    x = {
        "dense": lambda: torch.randn(2, 5, 3),
        "steps first": lambda: torch.randn(5, 2, 3).transpose(0, 1),
        "half of the features": lambda: torch.randn(2, 5, 6)[..., 3:],
        "every second step": lambda: torch.randn(2, 10, 3)[:, ::2],
    }[layout]()
    x = x.double().requires_grad_()
    copy = x.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    ours, theirs = (
        torch.autograd.grad(net(z, state)[0].square().sum(), (z, state, *net.parameters())) for z in (x, copy)
    )
    torch.testing.assert_close(ours, theirs)


@variants
def test_gradients_of_recurrent_variants_under_autocast(name):
    """They are those in the type of the weights at the rounded input."""
    net, x, state = variant(name)
    net, x, state = net.float(), x.detach().bfloat16().requires_grad_(), state.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours = torch.autograd.grad(net(x, state)[0].square().sum(), (x, state, *net.parameters()))
    exact = x.detach().float().requires_grad_()
    theirs = torch.autograd.grad(net(exact, state)[0].square().sum(), (exact, state, *net.parameters()))
    assert ours[0].dtype == torch.bfloat16
    torch.testing.assert_close((ours[0].float(), *ours[1:]), (theirs[0].bfloat16().float(), *theirs[1:]))


@pytest.fixture
def in_blocks(monkeypatch):
    monkeypatch.setattr(masked_linear, "MIN_WIDTH", 1)
    monkeypatch.setattr(masked_linear, "MIN_PRODUCTS", 1)


def masked(inputs=6, outputs=12):
    torch.manual_seed(0)
    layer = MaskedLinear(torch.arange(inputs), torch.arange(outputs) * inputs // outputs)
    return layer, lambda x, weight, bias: F.linear(x, weight * layer.mask, bias)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_of_masked_products_in_every_memory_layout(in_blocks, layout):
    layer, plain = masked()
    torch.manual_seed(0)
    inputs = (LAYOUTS[layout](5, 6).requires_grad_(), layer.weight, layer.bias)
    assert masked_linear._use_blocks(inputs[0], layer.weight)
    functions = (lambda x, *_: layer(x), plain)
    close(*(torch.autograd.grad(f(*inputs).square().sum(), inputs) for f in functions))
    close(*(second_derivatives(f, inputs) for f in functions))


@pytest.mark.parametrize("graph", [False, True])
def test_gradients_of_masked_products_inside_autocast(in_blocks, graph):
    """They have the precision of the forward pass."""
    layer, _ = masked()
    inputs, found = (torch.randn(5, 6, requires_grad=True), layer.weight, layer.bias), []
    for enabled in (False, True):
        y = layer(inputs[0]).square().sum()
        assert "_MaskedProduct" in str(y.grad_fn.next_functions[0][0].next_functions)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(y, inputs, create_graph=graph))
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.unchecked
@pytest.mark.parametrize("transform", ["grad", "vmap", "both", "weights", "jacrev", "jacfwd", "hessian", "dual"])
def test_masked_products_under_torch_func(in_blocks, transform):
    layer, product = masked()
    x = torch.randn(5, 6)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}
    stacked = {name: torch.randn(4, *value.shape) for name, value in parameters.items()}

    def ours(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,)).square()

    def plain(parameters, x):
        return product(x, parameters["weight"], parameters["bias"]).square()

    def apply(function):
        def of_weights(parameters, x):
            return function(parameters, x).square().sum()

        if transform == "grad":
            return torch.func.grad(of_weights)(parameters, x)
        if transform == "vmap":
            return torch.func.vmap(function, (None, 1))(parameters, torch.randn(5, 7, 6, generator=seeded()))
        if transform == "both":  # a gradient for each example
            return torch.func.vmap(torch.func.grad(of_weights), (None, 0))(parameters, x[:, None])
        if transform == "weights":  # an ensemble
            return torch.func.vmap(torch.func.grad(of_weights), (0, None))(stacked, x)
        if transform == "dual":
            return torch.func.jvp(lambda w: function(w, x), (parameters,), ({k: v + 1 for k, v in parameters.items()},))
        return getattr(torch.func, transform)(function if transform != "hessian" else of_weights)(parameters, x)

    leaves = [torch.utils._pytree.tree_leaves(apply(function)) for function in (ours, plain)]
    close(*leaves)


@pytest.mark.unchecked
def test_the_sequential_direction_under_torch_func_is_an_error():
    layer, z = Autoregressive(MADE(3, 2, (8,)), Affine()), torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match=r"functorch transforms|inference"):
        torch.func.grad(lambda z: layer.inverse(z)[0].sum())(z)


@pytest.mark.unchecked
def test_forward_derivatives_of_gaussian_mixtures_are_an_error():
    """Reverse ones of both orders are tested with the mixture."""
    mixture, x, parameters = GaussianMixture(2), torch.zeros(3), torch.randn(3, 6)
    with pytest.raises(RuntimeError, match="jvp"):
        torch.func.jvp(lambda x: mixture(x, parameters)[0], (x,), (x,))
