"""Every kind against a loop over rows, layers, directions and steps, written from its formula."""

import pytest
import torch
from torch import nn

from danlu.nn import Recurrent

KINDS = {
    "rnn": {"kind": "rnn"},
    "relu": {"kind": "rnn", "nonlinearity": "relu"},
    "lstm": {"kind": "lstm"},
    "peephole": {"kind": "peephole"},
    "coupled": {"kind": "coupled"},
    "gru": {"kind": "gru"},
    "before": {"kind": "gru", "reset": "before"},
    "notes": {"kind": "gru", "reset": "notes"},
}
every = pytest.mark.parametrize("name", KINDS)


def step(name, x, state, W, U, b_x, b_h, peephole):
    """One step of one row; matrices and biases come as one block for each gate."""
    h, sigmoid = state[0], torch.sigmoid
    a = [w @ x + p + u @ h + q for w, u, p, q in zip(W, U, b_x, b_h, strict=True) if w.shape[1] == len(x)]
    if name == "rnn":
        return (torch.tanh(a[0]),)
    if name == "relu":
        return (torch.relu(a[0]),)
    if name == "lstm":
        c = sigmoid(a[1]) * state[1] + sigmoid(a[0]) * torch.tanh(a[2])
        return sigmoid(a[3]) * torch.tanh(c), c
    if name == "peephole":
        i, f = sigmoid(a[0] + peephole[0] * state[1]), sigmoid(a[1] + peephole[1] * state[1])
        c = f * state[1] + i * torch.tanh(a[2])
        return sigmoid(a[3] + peephole[2] * c) * torch.tanh(c), c
    if name == "coupled":
        i = sigmoid(a[0])
        c = (1 - i) * state[1] + i * torch.tanh(a[1])
        return sigmoid(a[2]) * torch.tanh(c), c
    r, z = sigmoid(a[0]), sigmoid(a[1])
    if name == "gru":
        return ((1 - z) * torch.tanh(W[2] @ x + b_x[2] + r * (U[2] @ h + b_h[2])) + z * h,)
    if name == "before":
        return ((1 - z) * torch.tanh(W[2] @ x + b_x[2] + U[2] @ (r * h) + b_h[2]) + z * h,)
    return ((1 - z) * h + z * torch.tanh(W[2] @ (r * x) + b_x[2] + U[2] @ h + b_h[2]),)


def loop(name, net, x, state, lengths):
    """Outputs, zero behind each row's length, and the state in the end."""
    outputs, after = torch.zeros(*x.shape[:2], net.outputs, dtype=x.dtype), torch.zeros_like(state)
    for row, length in enumerate(lengths):
        sequence = list(x[row, :length])
        for layer in range(net.layers):
            found = []
            for direction in range(net.directions):
                end = f"l{layer}" + "_reverse" * direction
                gates = {"rnn": 1, "relu": 1, "lstm": 4, "peephole": 4}.get(name, 3)
                sizes = [len(sequence[0]) if name == "notes" and g == 0 else net.width for g in range(gates)]
                W, U, b_x, b_h = (
                    getattr(net, f"{part}_{end}").split(sizes)
                    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                place = layer * net.directions + direction
                now, ran = tuple(state[row, :, place]), []
                for entry in sequence[::-1] if direction else sequence:
                    now = step(name, entry, now, W, U, b_x, b_h, getattr(net, f"peephole_{end}", None))
                    ran.append(now[0])
                found.append(ran[::-1] if direction else ran)
                after[row, :, place] = torch.stack(now)
            sequence = [torch.cat(both) for both in zip(*found, strict=True)]
        outputs[row, :length] = torch.stack(sequence)
    return outputs, after


def network(name, **more):
    torch.manual_seed(0)
    net = Recurrent(3, 4, **KINDS[name], **more).double()
    x, state = torch.randn(5, 6, 3).double().requires_grad_(), net.zero_state(5).normal_().requires_grad_()
    return net, x, state


@every
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [2, 6, 1, 4, 4], [3, 2, 1, 5, 2]])
def test_outputs_states_and_gradients_are_those_of_a_loop(name, bidirectional, lengths):
    net, x, state = network(name, layers=2, bidirectional=bidirectional)
    given = (x, state, *net.parameters())
    ours, theirs = net(x, state, lengths), loop(name, net, x, state, lengths or [6] * 5)
    weights = [torch.randn_like(part) for part in theirs]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    by_ours, by_theirs = (torch.autograd.grad(outputs, given, weights) for outputs in (ours, theirs))
    for a, b in zip(by_ours, by_theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        assert b.abs().max() > 0


@every
@pytest.mark.parametrize("which", [0, 1])
def test_gradients_of_outputs_alone_and_of_the_state_alone(name, which):
    net, x, state = network(name)
    ours, theirs = net(x, state)[which], loop(name, net, x, state, [6] * 5)[which]
    weights = torch.randn_like(theirs)
    for a, b in zip(*(torch.autograd.grad(o, [x, state], weights) for o in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@every
@pytest.mark.parametrize("lengths", [None, [3, 1]])
def test_gradients_are_those_of_differences(name, lengths):
    torch.manual_seed(1)
    net = Recurrent(2, 2, **KINDS[name], bidirectional=True).double()
    names, values = zip(*net.named_parameters(), strict=True)
    given = (torch.randn(2, 3, 2).double().requires_grad_(), net.zero_state(2).normal_().requires_grad_())

    def run(x, state, *parameters):
        return torch.func.functional_call(net, dict(zip(names, parameters, strict=True)), (x, state, lengths))

    inputs = (*given, *(value.detach().requires_grad_() for value in values))
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@every
def test_without_biases_they_are_zero(name):
    net, x, state = network(name)
    bare = Recurrent(3, 4, **KINDS[name], bias=False).double()
    bare.load_state_dict({k: v for k, v in net.state_dict().items() if "bias" not in k})
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            if "bias" in key:
                parameter.zero_()
    for a, b in zip(bare(x, state), net(x, state), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["peephole", "coupled", "before", "notes"])
def test_deriving_twice_is_refused(name):
    net, x, state = network(name)
    slope = torch.autograd.grad(net(x, state)[0].sum(), x, create_graph=True)[0]
    plain = torch.autograd.grad(net(x, state)[0].sum(), x)[0]
    torch.testing.assert_close(slope, plain)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        (slope.square().sum() + net.weight_ih_l0.sum()).backward()


@pytest.mark.parametrize("name", ["rnn", "gru"])
def test_what_the_refusal_names_can_be_derived_twice(name):
    net, x, state = network(name)
    slope = torch.autograd.grad(net(x, state)[0].square().sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(slope.square().sum(), net.weight_hh_l0)[0].abs().max() > 0


@every
def test_backward_can_run_again_and_an_input_without_gradient_has_none(name):
    net, x, state = network(name, layers=2)
    outputs = net(x.detach(), state)[0].square().sum()
    first, second = (torch.autograd.grad(outputs, [*net.parameters()], retain_graph=True) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@every
def test_under_autocast_a_cpu_computes_in_the_weights_own_type(name):
    net, x, state = network(name, layers=2)
    net, x, state = net.float(), x.detach().float(), state.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(x.bfloat16(), state)[0]
        outputs.sum().backward()
    assert torch.equal(outputs, net(x.bfloat16().float(), state)[0])
    assert net.weight_hh_l0.grad.dtype == torch.float32


@pytest.mark.parametrize("name", ["peephole", "coupled", "before", "notes", "lstm"])
def test_dropout_is_between_layers_alone(name):
    torch.manual_seed(2)
    x = torch.randn(4, 5, 3)
    net = Recurrent(3, 8, **KINDS[name], layers=2, dropout=0.5)
    below = Recurrent(3, 8, **KINDS[name])
    below.load_state_dict({k: v for k, v in net.state_dict().items() if k.endswith("l0")})
    assert not torch.equal(net(x)[0], net(x)[0])
    torch.testing.assert_close(net(x)[1][:, :, :1], below(x)[1], msg="the first layer's input is whole")
    assert torch.equal(net.eval()(x)[0], net(x)[0])
    alone = Recurrent(3, 8, **KINDS[name], dropout=0.5)
    assert torch.equal(alone(x)[0], alone(x)[0])


@pytest.mark.parametrize("name", ["peephole", "coupled", "before", "notes"])
def test_dropout_scales_what_it_leaves(name):
    torch.manual_seed(3)
    x = torch.randn(2, 3, 4)
    net = Recurrent(4, 6, **KINDS[name], layers=2, dropout=0.25)
    below, above = Recurrent(4, 6, **KINDS[name]), Recurrent(6, 6, **KINDS[name])
    below.load_state_dict({k: v for k, v in net.state_dict().items() if k.endswith("l0")})
    above.load_state_dict({k.replace("l1", "l0"): v for k, v in net.state_dict().items() if k.endswith("l1")})
    torch.manual_seed(4)
    ours = net(x)[0]
    torch.manual_seed(4)
    between = nn.functional.dropout(below(x)[0].transpose(0, 1).reshape(6, 6), 0.25).view(3, 2, 6).transpose(0, 1)
    torch.testing.assert_close(ours, above(between)[0])
