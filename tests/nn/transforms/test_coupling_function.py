"""Couplings with a ReLU network as one autograd function, beside the single operations."""

from functools import partial

import pytest
import torch
from torch import nn

from danlu.nn import Chain, Coupling, CouplingMLP, Inverse, Linear, Reverse, linear
from transform_laws import check, randomized

DOUBLE = torch.float64
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def coupling_of(size=5, swap=False, context=0, hidden=(7, 6), activation="relu"):
    torch.manual_seed(0)
    build = partial(CouplingMLP, hidden=hidden, context=context, activation=activation)
    return randomized(Coupling(size, build, swap))


def observed(coupling):
    """The coupling with a hook, for which the network must be called."""
    coupling.network.layers[0].register_forward_hook(lambda *_: None)
    return coupling


def is_one_function(z):
    return type(z.grad_fn).__name__ == "_CouplingsBackward"


def gradients(coupling, direction, x, context, weights):
    z, log_det = getattr(coupling, direction)(x, context)
    inputs = [t for t in (x, context, *coupling.parameters()) if t is not None and t.requires_grad]
    loss = (z * weights).sum() + (log_det * weights[:, 0]).sum()
    return [z, log_det], torch.autograd.grad(loss, inputs)


@directions
@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
def test_values_and_gradients_are_those_of_single_operations(direction, size, swap, context, hidden):
    x, weights = normal(9, size).requires_grad_(), normal(9, size, seed=1)
    c = normal(9, context, seed=2).requires_grad_() if context else None
    ours, plain = coupling_of(size, swap, context, hidden), observed(coupling_of(size, swap, context, hidden))
    assert is_one_function(getattr(ours, direction)(x, c)[0])
    assert not is_one_function(getattr(plain, direction)(x, c)[0])
    found, expected = (gradients(coupling, direction, x, c, weights) for coupling in (ours, plain))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("context", [0, 3])
def test_laws(swap, context):
    check(coupling_of(swap=swap, context=context), normal(4, 5), normal(4, context, seed=1) if context else None)


def stack_of(context=0, swaps=(False, True, True, False)):
    """Couplings with different weights, some of them in the other direction, and another transform between them."""
    parts = []
    for seed, swap in enumerate(swaps):
        coupling = coupling_of(3, swap, context)
        with torch.no_grad():
            for parameter in coupling.parameters():
                parameter.add_(0.1 * normal(*parameter.shape, seed=seed))
        parts.append(Inverse(coupling) if seed % 2 else coupling)
    return Chain([*parts, Reverse(), *(Inverse(part) for part in parts[:2])])


@directions
@pytest.mark.parametrize("context", [0, 2])
def test_consecutive_couplings_of_a_chain_are_one_function(direction, context):
    x, weights = normal(6, 3).requires_grad_(), normal(6, 3, seed=1)
    c = normal(6, context, seed=2).requires_grad_() if context else None
    ours, plain = stack_of(context), stack_of(context)
    for module in plain.modules():
        if isinstance(module, Coupling):
            observed(module)
    assert functions_of(getattr(ours, direction)(x, c)) == 2
    assert functions_of(getattr(plain, direction)(x, c)) == 0
    found, expected = (gradients(chain, direction, x, c, weights) for chain in (ours, plain))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def functions_of(results):
    """The number of autograd functions of couplings in a graph."""
    seen, left = set(), [result.grad_fn for result in results]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [parent for parent, _ in node.next_functions]
    return sum(type(node).__name__ == "_CouplingsBackward" for node in seen)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_coupling_with_a_hook_is_called(wrapped):
    calls, coupling = [], coupling_of(2)
    part = Inverse(coupling) if wrapped else coupling
    part.register_forward_hook(lambda *_: calls.append(1))
    chain = Chain([coupling_of(2), part, coupling_of(2)])
    assert functions_of(chain(normal(3, 2).requires_grad_())) == (3 if wrapped else 2)
    assert calls == [1]


class Negative(Linear):
    def forward(self, input):
        return -super().forward(input)


class Wrapped(nn.Module):
    """A layer whose result is doubled; the names of the parameters change."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return 2 * self.layer(x)


class Halved(nn.Sequential):
    def forward(self, input):
        return super().forward(input) / 2


def replace(network, number, change):
    network.layers[number] = change(network.layers[number])


def without_bias(layer):
    layer.bias = None
    return layer


def with_own_forward(layer):
    layer.forward = lambda x: type(layer).forward(layer, x) + 1
    return layer


def of_class(kind):
    def change(layer):
        layer.__class__ = kind
        return layer

    return change


REPLACED = {
    "subclass": lambda net: replace(net, 2, of_class(Negative)),
    "subclass at the end": lambda net: replace(net, 4, of_class(Negative)),
    "wrapped square layer": lambda net: replace(net, 2, Wrapped),
    "wrapped first layer": lambda net: replace(net, 0, Wrapped),
    "wrapped last layer": lambda net: replace(net, 4, Wrapped),
    "no bias": lambda net: replace(net, 2, without_bias),
    "weight in another parametrization": lambda net: replace(net, 2, nn.utils.parametrizations.weight_norm),
    "forward of the instance": lambda net: replace(net, 2, with_own_forward),
    "ReLU at the end": lambda net: net.layers.append(nn.ReLU()),
    "other container": lambda net: setattr(net, "layers", Halved(*net.layers)),
}


@directions
@pytest.mark.parametrize("replaced", REPLACED)
def test_a_replaced_layer_is_called(direction, replaced):
    """With gradients and without them, as in the formula of the coupling."""
    coupling, x = coupling_of(4, hidden=(6, 6)), normal(5, 4)
    REPLACED[replaced](coupling.network.double())
    kept, changed = x.chunk(2, 1)
    raw, shift = coupling.network.layers(kept).chunk(2, 1)
    scale = coupling.limit * raw.tanh()
    changed, sign = (
        ((changed - shift) * (-scale).exp(), -1)
        if direction == "inverse"
        else (
            changed * scale.exp() + shift,
            1,
        )
    )
    expected = (torch.cat([kept, changed], 1), sign * scale.sum(1))
    with torch.no_grad():
        constant = getattr(coupling, direction)(x)
    recorded = getattr(coupling, direction)(x)
    assert not is_one_function(recorded[0])
    torch.testing.assert_close(recorded, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(recorded, constant, rtol=1e-12, atol=1e-12)


def test_linear_layers_of_torch_are_one_function_too():
    x, expected = normal(5, 4), coupling_of(4)(normal(5, 4))
    coupling = coupling_of(4)
    replace(coupling.network, 2, of_class(nn.Linear))
    found = coupling(x)
    assert is_one_function(found[0])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@directions
@pytest.mark.parametrize("graph", [False, True])
def test_the_backward_pass_inside_autocast(direction, graph):
    """It has the precision of the forward pass."""
    coupling, x = coupling_of().float(), normal(4, 5).float().requires_grad_()
    inputs, found = [x, *coupling.parameters()], []
    for enabled in (False, True):
        z, log_det = getattr(coupling, direction)(x)
        assert is_one_function(z)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(z.square().sum() + log_det.sum(), inputs, create_graph=graph))
    torch.testing.assert_close(*found, rtol=0, atol=0)


@directions
@pytest.mark.parametrize("layout", ["rows", "columns", "every second value", "one repeated row"])
def test_memory_layouts(direction, layout):
    make = {
        "rows": lambda seed: normal(4, 6, seed=seed),
        "columns": lambda seed: normal(6, 4, seed=seed).t(),
        "every second value": lambda seed: normal(4, 12, seed=seed)[:, ::2],
        "one repeated row": lambda seed: normal(1, 6, seed=seed).expand(4, 6),
    }[layout]
    x, weights = make(0).requires_grad_(), make(1)
    found, expected = (
        gradients(coupling, direction, x, None, weights) for coupling in (coupling_of(6), observed(coupling_of(6)))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@directions
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("swap", [False, True])
def test_second_derivatives(direction, context, swap):
    coupling = coupling_of(3, swap, context)
    names, parameters = zip(*coupling.named_parameters(), strict=True)
    c = (normal(2, context, seed=1).requires_grad_(),) if context else ()

    def function(x, *rest):
        with torch.nn.utils.stateless._reparametrize_module(coupling, dict(zip(names, rest[len(c) :], strict=True))):
            z, log_det = getattr(coupling, direction)(x, *rest[: len(c)])
        assert is_one_function(z)
        return z, log_det

    inputs = (normal(2, 3).requires_grad_(), *c, *(p.detach().clone().requires_grad_() for p in parameters))
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_second_derivatives_of_a_coupling_that_is_used_twice():
    """The second input depends on the parameters; that path must not count twice."""
    x = normal(3, 2).requires_grad_()
    found = []
    for coupling in (coupling_of(2), observed(coupling_of(2))):
        twice, parameters = Chain([coupling, coupling]), list(coupling.parameters())
        z, log_det = twice(x)
        first = torch.autograd.grad(z.square().sum() + log_det.sum(), [x, *parameters], create_graph=True)
        found.append([first, torch.autograd.grad(sum(g.square().sum() for g in first), [x, *parameters])])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@directions
@pytest.mark.parametrize("graph", [False, True])
def test_only_what_needs_a_gradient_gets_one(direction, graph):
    coupling, x = coupling_of(), normal(4, 5)
    for parameter in coupling.parameters():
        parameter.requires_grad_(False)
    coupling.limit.requires_grad_()
    z, log_det = getattr(coupling, direction)(x)
    assert is_one_function(z)
    (gradient,) = torch.autograd.grad(z.sum() + log_det.sum(), coupling.limit, create_graph=graph)
    assert gradient.any()


@pytest.mark.unchecked
@directions
def test_gradients_of_single_examples_with_torch_func(direction):
    coupling, x = coupling_of(), normal(4, 5)
    parameters = {f"coupling.{name}": p.detach() for name, p in coupling.named_parameters()}

    def loss(parameters, row):
        z, log_det = torch.func.functional_call(Direction(coupling, direction), parameters, (row[None],))
        return z.square().sum() + log_det.sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for number, row in enumerate(x):
        z, log_det = getattr(coupling, direction)(row[None])
        expected = torch.autograd.grad(z.square().sum() + log_det.sum(), list(coupling.parameters()))
        torch.testing.assert_close([found[name][number] for name in parameters], list(expected))
    tangent = torch.func.jvp(lambda x: getattr(coupling, direction)(x)[0], (x,), (x,))[1]
    assert tangent.shape == x.shape


class Direction(torch.nn.Module):
    def __init__(self, coupling, direction):
        super().__init__()
        self.coupling, self.direction = coupling, direction

    def forward(self, x):
        return getattr(self.coupling, self.direction)(x)


def test_other_activations_autocast_and_sampling_use_single_operations():
    x = normal(4, 5).requires_grad_()
    assert not is_one_function(coupling_of(activation="tanh")(x)[0])
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_one_function(coupling_of().float()(x.float())[0])
    with torch.no_grad():
        z, log_det = coupling_of()(x)
    torch.testing.assert_close((z, log_det), tuple(t.detach() for t in coupling_of()(x)), rtol=1e-13, atol=1e-13)


def test_a_wrong_number_of_values_is_an_error():
    for size in (4, 6):
        with pytest.raises(RuntimeError, match="split_with_sizes"):
            coupling_of(5)(normal(2, size))


def test_large_products_with_onednn(monkeypatch):
    if not linear.HAS_ONEDNN:
        pytest.skip("this build of torch has no oneDNN")
    x, weights = normal(40, 6).float().requires_grad_(), normal(40, 6, seed=1).float()
    expected = gradients(observed(coupling_of(6).float()), "forward", x, None, weights)
    monkeypatch.setattr(linear, "PREFER_ONEDNN", True)
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)
    found = gradients(coupling_of(6).float(), "forward", x, None, weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
