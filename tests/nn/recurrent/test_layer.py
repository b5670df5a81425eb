"""Recurrent layers beside torch's own, and what all kinds have in common."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from danlu.nn import Recurrent
from danlu.nn.recurrent.cell_types import KINDS
from danlu.nn.recurrent.fused import KernelArguments, flatten_parameters, fused_layer_by_layer

TORCHS = {
    "rnn": (nn.RNN, {"kind": "rnn"}, {}),
    "relu": (nn.RNN, {"kind": "rnn", "nonlinearity": "relu"}, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {"kind": "lstm"}, {}),
    "gru": (nn.GRU, {"kind": "gru"}, {}),
}
ALL = [
    {"kind": kind, **({"reset": other} if kind == "gru" else {"nonlinearity": other} if kind == "rnn" else {})}
    for kind, other in KINDS
]
every = pytest.mark.parametrize("how", ALL, ids=lambda how: "-".join(how.values()))


def pair(name, layers=2, bidirectional=True, **more):
    torch.manual_seed(0)
    module, ours, theirs = TORCHS[name]
    how = {"bidirectional": bidirectional, **more}
    reference = module(5, 6, num_layers=layers, batch_first=True, **how, **theirs)
    net = Recurrent(5, 6, layers=layers, **how, **ours)
    net.load_state_dict(reference.state_dict())
    return net, reference


def hidden(state):
    """As torch has it: layers before rows, one tensor or two."""
    parts = [part.transpose(0, 1).contiguous() for part in state.unbind(1)]
    return tuple(parts) if len(parts) == 2 else parts[0]


def stacked(after):
    return torch.stack([part.transpose(0, 1) for part in (after if isinstance(after, tuple) else (after,))], 1)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_standard_kinds_equal_torchs(name, bidirectional, layers, bias, packed):
    net, reference = pair(name, layers, bidirectional, bias=bias)
    x, state = torch.randn(4, 7, 5, requires_grad=True), net.zero_state(4).normal_().requires_grad_()
    given = pack_padded_sequence(x, torch.tensor([3, 7, 1, 3]), True, enforce_sorted=False) if packed else x
    (ours, end), (theirs, after) = net(given, state), reference(given, hidden(state))
    if packed:
        assert torch.equal(ours.batch_sizes, theirs.batch_sizes)
        assert torch.equal(ours.sorted_indices, theirs.sorted_indices)
        ours, theirs = ours.data, theirs.data
    close(ours, theirs)
    close(end, stacked(after))
    weights = [torch.randn_like(ours), torch.randn_like(end)]
    mine = torch.autograd.grad((ours, end), (x, state, *net.parameters()), weights, retain_graph=True)
    others = torch.autograd.grad((theirs, stacked(after)), (x, state, *reference.parameters()), weights)
    for a, b in zip(mine, others, strict=True):
        close(a, b)


@pytest.mark.parametrize("name", TORCHS)
def test_state_dicts_go_both_ways(name):
    net, reference = pair(name)
    assert list(net.state_dict()) == list(reference.state_dict())
    fresh = type(reference)(5, 6, num_layers=2, batch_first=True, bidirectional=True, **TORCHS[name][2])
    fresh.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 5)
    assert torch.equal(fresh(x)[0], reference(x)[0])


@every
def test_parameters_are_named_as_torchs(how):
    net = Recurrent(5, 6, **how, layers=2, bidirectional=True)
    names = list(nn.GRU(5, 6, 2, bidirectional=True).state_dict())
    peepholes = {f"peephole_l{layer}{end}" for layer in (0, 1) for end in ("", "_reverse")}
    assert net.state_dict().keys() == set(names) | (peepholes if how["kind"] == "peephole" else set())


def test_numbers_of_parameters():
    def count(**how):
        return sum(p.numel() for p in Recurrent(10, 10, bias=False, **how).parameters())

    assert count(kind="lstm") == 8 * 100
    assert count(kind="peephole") == 8 * 100 + 3 * 10, "diagonal weights"
    assert count(kind="coupled") == count(kind="gru", reset="notes") == 6 * 100


@every
@pytest.mark.parametrize("packed", [False, True])
def test_lengths_in_both_directions_are_runs_of_single_rows(how, packed):
    torch.manual_seed(1)
    net = Recurrent(3, 4, **how, layers=2, bidirectional=True).double()
    x, state, lengths = torch.randn(4, 6, 3).double(), net.zero_state(4).normal_(), [2, 6, 1, 6]
    if packed:
        data, end = net(pack_sequence([x[k, :t] for k, t in enumerate(lengths)], enforce_sorted=False), state)
        outputs = nn.utils.rnn.pad_packed_sequence(data, batch_first=True)[0]
    else:
        outputs, end = net(x, state, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, after = net(x[row : row + 1, :length], state[row : row + 1])
        torch.testing.assert_close(outputs[row, :length], alone[0])
        torch.testing.assert_close(end[row], after[0])
        assert not outputs[row, length:].any()


@every
def test_a_sequence_in_two_halves_is_the_whole(how):
    torch.manual_seed(2)
    net = Recurrent(3, 4, **how, layers=3).double()
    x = torch.randn(2, 9, 3).double()
    whole, end = net(x)
    first, state = net(x[:, :4])
    second, after = net(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(after, end)
    given = list(net.parameters())
    by_halves = torch.autograd.grad(first.sum() + second.square().sum(), given)
    by_whole = torch.autograd.grad(whole[:, :4].sum() + whole[:, 4:].square().sum(), given)
    for a, b in zip(by_halves, by_whole, strict=True):
        torch.testing.assert_close(a, b)


@every
def test_the_state_is_a_tensor_by_rows(how):
    torch.manual_seed(3)
    net = Recurrent(3, 4, **how, layers=2, bidirectional=True)
    x = torch.randn(5, 4, 3)
    outputs, state = net(x)
    assert state.shape == net.zero_state(5).shape == (5, 1 + (how["kind"] not in ("rnn", "gru")), 4, 4)
    torch.testing.assert_close(state[:, 0, 2], outputs[:, -1, :4], msg="the last layer's h, forwards")
    torch.testing.assert_close(state[:, 0, 3], outputs[:, 0, 4:], msg="and backwards")
    keeper = nn.Module()
    keeper.register_buffer("carried", state.detach())
    rows = torch.tensor([3, 0])
    some = net(x[rows], keeper.carried[rows])
    for a, b in zip(some, net(x, keeper.carried), strict=True):
        torch.testing.assert_close(a, b[rows])
    assert not keeper.carried[rows].requires_grad


@every
def test_copies_and_types(how):
    net = Recurrent(3, 4, **how)
    twin = copy.deepcopy(net).double()
    x = torch.randn(2, 3, 3)
    torch.testing.assert_close(twin(x.double())[0].float(), net(x)[0])
    with torch.no_grad():
        assert torch.equal(net(x)[0], net(x)[0])
        assert not net(x)[0].requires_grad
    assert net.zero_state(1).device == Recurrent(3, 4, **how).to("meta").to_empty(device="cpu").zero_state(1).device


@pytest.mark.parametrize("at_once", [True, False])
def test_laid_together_the_parameters_stay_what_they_are(at_once):
    net, reference = pair("lstm")
    align_rows = {name: value.clone() for name, value in net.state_dict().items()}
    parameters = dict(net.named_parameters())
    if at_once:
        flatten_parameters(net, net._names(), "lstm", 5, 6, True, 2, True)
    else:
        for inputs, names in (5, net._names()[:8]), (12, net._names()[8:]):
            flatten_parameters(net, names, "lstm", inputs, 6, True, 1, True)
    assert all(parameters[name] is value for name, value in net.named_parameters())
    assert all(torch.equal(align_rows[name], value) for name, value in net.state_dict().items())
    x = torch.randn(2, 3, 5)
    assert torch.equal(net(x)[0], reference(x)[0])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", TORCHS)
def test_layers_one_by_one_are_all_at_once(name, bidirectional):
    """What a GPU does where there is dropout, which torch's kernels have in evaluation no more than ours."""
    net, reference = pair(name, 3, bidirectional, dropout=0.4)
    x, state = torch.randn(4, 7, 5), net.zero_state(4).normal_()
    weights = [net.get_parameter(name) for name in net._names()]
    given = pack_padded_sequence(x, torch.tensor([7, 3, 3, 1]), True)
    for data in x, given:
        ours, end = fused_layer_by_layer(
            net.cells.kernel, data, state, weights, KernelArguments(True, 3, 0.4, False, bidirectional)
        )
        theirs, after = reference.eval()(data, hidden(state))
        close(ours, theirs.data if isinstance(theirs, PackedSequence) else theirs)
        close(end, stacked(after))


def test_layers_one_by_one_have_dropout_between_them_alone():
    net, _ = pair("lstm", 2, False)
    for parameter in net.parameters():
        parameter.data.zero_()
    with (
        torch.no_grad()
    ):  # h of the first layer is tanh(1/2) / 2 in every unit, and the second is linear in it at first
        net.bias_ih_l0[12:18] = 50.0
        net.weight_ih_l1[12:18] = torch.eye(6) * 1e-3
    weights = [net.get_parameter(name) for name in net._names()]
    outputs = [
        fused_layer_by_layer(
            "lstm",
            torch.zeros(500, 1, 5),
            net.zero_state(500),
            weights,
            KernelArguments(True, 2, 0.25, training, False),
        )[0]
        for training in (True, False)
    ]
    kept = outputs[0].detach() != 0
    assert 0.72 < float(kept.double().mean()) < 0.78
    torch.testing.assert_close(outputs[0][kept], outputs[1][kept] / 0.75, rtol=1e-5, atol=0)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"kind": "cnn"}, "kinds are coupled, gru, lstm, peephole, rnn"),
        ({"kind": "lstm", "reset": "before"}, "no reset gate"),
        ({"kind": "gru", "nonlinearity": "relu"}, "for kind='rnn'"),
        ({"kind": "gru", "reset": "never"}, "after, before or notes"),
        ({"layers": 0}, "layers=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"initial": "radius"}, "kind='rnn'"),
        ({"initial": "zeros"}, "uniform, orthogonal or radius"),
        ({"kind": "gru", "forget_bias": 1.0}, "has none"),
    ],
)
def test_what_cannot_be_is_refused(how, words):
    with pytest.raises(ValueError, match=words):
        Recurrent(3, 4, **how)


@pytest.mark.unchecked
@every
def test_what_does_not_fit_is_refused(how):
    net, x = Recurrent(3, 4, **how), torch.zeros(2, 5, 3)
    with pytest.raises(ValueError, match="inputs=3"):
        net(torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match="at least one step"):
        net(torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match=r"expected \(2, "):
        net(x, net.zero_state(3))
    for lengths in ([5], [0, 5], [5, 6]):
        with pytest.raises(ValueError, match="from 1 to 5"):
            net(x, lengths=lengths)
    with pytest.raises(ValueError, match="has its own lengths"):
        net(pack_sequence([x[0]]), lengths=[5])
