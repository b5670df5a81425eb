"""WaveNet: what each output depends on, its formula, and its sequential evaluation beside full passes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from conditioner_laws import (
    assert_generates_like_full_passes,
    assert_solves_backward_like_full_passes,
    assert_uses_current_weights,
)
from danlu.nn import WaveNet

KINDS = {
    "kernel of 2": {"layers": 3},
    "kernel of 3": {"layers": 3, "kernel": 3},
    "kernel of 4": {"layers": 2, "kernel": 4},
    "one layer": {"layers": 1},
    "dilations that begin again": {"layers": 12, "channels": 3},
    "longer dilations than the sequence": {"size": 5, "layers": 5},
    "one entry": {"size": 1},
    "two entries": {"size": 2, "kernel": 3},
    "five outputs": {"outputs": 5},
    "two channels": {"channels": 2},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without_context = pytest.mark.parametrize("context", [0, 3])


def network_of(kind, context=0):
    torch.manual_seed(0)
    net = WaveNet(**{"size": 21, "channels": 4, "layers": 4, "context": context, **KINDS[kind]}).double()
    with torch.no_grad():  # the outputs are small at first
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for layer in (net.skip, net.head):  # rectifiers that are on for some inputs
            layer.bias.add_(1)
    return net


def inputs_of(net, n=10):
    torch.manual_seed(1)
    context = None if net.context is None else torch.randn(n, net.context.in_features, dtype=torch.float64)
    return torch.randn(n, net.size, dtype=torch.float64), context


def dependences(net):
    """The largest derivative of the outputs for each entry with respect to each input, (size, size)."""
    x, context = inputs_of(net)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, context).sum(0), x)  # (size, outputs, n, size)
    return jacobian.abs().amax((1, 2))


@every_kind
@with_and_without_context
def test_an_output_depends_on_exactly_the_entries_of_the_receptive_field(kind, context):
    """None of its own or later entries, and all of the last ones before it, as many as the formula says."""
    net = network_of(kind, context)
    assert net.receptive_field == 1 + (KINDS[kind].get("kernel", 2) - 1) * sum(net.dilations)
    expected = torch.ones(net.size, net.size).tril(-1).triu(-net.receptive_field).bool()
    assert (dependences(net) != 0).equal(expected)


def test_the_receptive_field_is_that_of_the_paper():
    """Layers 1, 2, 4, …, 512 with a kernel of 2 have 1024 inputs in figure 3 and section 2.1."""
    assert WaveNet(4, layers=10).receptive_field == 1024
    assert WaveNet(4, layers=11).dilations[-2:] == (512, 1)


@every_kind
def test_every_output_depends_on_the_context_the_first_one_too(kind):
    net = network_of(kind, context=3)
    x, context = inputs_of(net)
    jacobian = torch.autograd.functional.jacobian(lambda c: net(x, c).sum(0), context)
    assert (jacobian.abs().amax(2) > 0).all()


@every_kind
@with_and_without_context
def test_the_outputs_are_those_of_the_formula(kind, context):
    """Position by position, from the equations of the paper."""
    net = network_of(kind, context)
    x, c = inputs_of(net, n=2)
    channels, zero = len(net.input.bias), torch.zeros(2, len(net.input.bias), dtype=torch.float64)
    before = torch.cat([torch.zeros(2, 1, dtype=torch.float64), x[:, :-1]], 1)
    h = [before[:, t : t + 1] * net.input.weight[:, 0, 0] + net.input.bias for t in range(net.size)]
    skip = [net.skip.bias.expand(2, -1) for _ in h]
    for k, (layer, d) in enumerate(zip(net.gates, net.dilations, strict=True)):
        kernel, z = layer.weight.shape[2], []
        for t in range(net.size):
            y = layer.bias.expand(2, -1)
            if c is not None:
                y = y + c @ net.context.weight[2 * channels * k : 2 * channels * (k + 1)].t()
            for j in range(kernel):
                place = t - (kernel - 1 - j) * d
                y = y + (h[place] if place >= 0 else zero) @ layer.weight[:, :, j].t()
            z.append(y[:, :channels].tanh() * y[:, channels:].sigmoid())
        weight = net.skip.weight[:, channels * k : channels * (k + 1), 0]
        skip = [s + one @ weight.t() for s, one in zip(skip, z, strict=True)]
        if k < len(net.residual):
            h = [old + one @ net.residual[k].weight[:, :, 0].t() for old, one in zip(h, z, strict=True)]
    hidden = [(s.relu() @ net.head.weight[:, :, 0].t() + net.head.bias).relu() for s in skip]
    outputs = torch.stack([one @ net.output.weight[:, :, 0].t() + net.output.bias for one in hidden], 1)
    torch.testing.assert_close(net(x, c), outputs, rtol=1e-12, atol=1e-12)


@every_kind
@with_and_without_context
@pytest.mark.parametrize("n", [0, 1, 4])
def test_the_sequential_evaluation_equals_full_passes(kind, context, n):
    net = network_of(kind, context)
    assert_generates_like_full_passes(net, *inputs_of(net, n))


@every_kind
@with_and_without_context
@pytest.mark.parametrize("n", [0, 1, 4])
def test_the_sequential_backward_pass_equals_full_passes(kind, context, n):
    net = network_of(kind, context)
    assert_solves_backward_like_full_passes(net, *inputs_of(net, n), 1e-11)


def test_the_sequential_evaluation_is_that_of_the_current_weights():
    net = network_of("kernel of 2")
    assert_uses_current_weights(net, inputs_of(net)[0])


@pytest.mark.parametrize("kernel", [2, 3])
def test_both_sequential_directions_need_the_operations_of_one_pass(kernel):
    """Multiplications in matrix products; a full pass for each entry would need 64 times as many."""
    net, x = WaveNet(64, channels=16, layers=5, kernel=kernel), torch.randn(8, 64)

    def count(call):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            call()
        return counter.get_total_flops()

    one_pass = count(lambda: net(x))
    generated = count(lambda: net.generate(lambda i, outputs: outputs[:, 0], x))
    solved = count(lambda: net.backsolve(lambda i, g: torch.stack([g, g], 1), x))
    assert 0.9 * one_pass <= generated <= one_pass  # the oldest inputs of the first blocks are zeros in both
    assert 1.9 * one_pass <= solved <= 2.1 * one_pass  # a pass for the slopes, and the transposed products


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0 and outputs=2 must be at least 1"),
        ({"size": 4, "layers": 0}, "layers"),
        ({"size": 4, "channels": 0}, "channels"),
        ({"size": 4, "kernel": 1}, "kernel=1 must be at least 2"),
        ({"size": 4, "kernel": 2.5}, "kernel=2.5 must be an integer"),
        ({"size": 4, "context": -1}, "context=-1 must be at least 0"),
    ],
)
def test_wrong_arguments_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        WaveNet(**arguments)


def test_a_missing_or_an_unexpected_context_is_an_error():
    with pytest.raises(ValueError, match="needs context"):
        WaveNet(2, context=3)(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="has no context"):
        WaveNet(2)(torch.zeros(1, 2), torch.zeros(1, 3))
