"""Initialization of recurrent layers."""

import pytest
import torch

from danlu.nn import Recurrent, orthogonal_blocks, scale_radius


def radius(weight):
    return float(torch.linalg.eigvals(weight.detach()).abs().max())


@pytest.mark.parametrize("wanted", [0.5, 1.0, 1.2])
def test_spectral_radius(wanted):
    weight = torch.randn(40, 40, dtype=torch.float64)
    direction = weight / weight.norm()
    scale_radius(weight, wanted)
    assert radius(weight) == pytest.approx(wanted, abs=1e-12)
    torch.testing.assert_close(weight / weight.norm(), direction)


def test_a_matrix_without_a_radius_is_left_alone():
    weight = torch.zeros(3, 3)
    with pytest.raises(ValueError, match="all 0"):
        scale_radius(weight)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_an_rnn_begins_with_radius_one_if_asked(nonlinearity):
    plain = Recurrent(3, 50, "rnn", nonlinearity=nonlinearity)
    assert radius(plain.weight_hh_l0) != pytest.approx(1, abs=0.01)
    net = Recurrent(3, 50, "rnn", layers=2, bidirectional=True, nonlinearity=nonlinearity, initial="radius")
    for name, weight in net.named_parameters():
        if name.startswith("weight_hh"):
            assert radius(weight) == pytest.approx(1, abs=1e-5)


def test_orthogonal_blocks():
    weight = torch.empty(2 + 5 + 7, 5, dtype=torch.float64)
    orthogonal_blocks(weight, [2, 5, 7])
    wide, square, tall = weight.split([2, 5, 7])
    torch.testing.assert_close(wide @ wide.T, torch.eye(2).double())
    torch.testing.assert_close(square @ square.T, torch.eye(5).double())
    torch.testing.assert_close(tall.T @ tall, torch.eye(5).double())


@pytest.mark.parametrize(
    ("kind", "reset"), [("rnn", "after"), ("peephole", "after"), ("gru", "after"), ("gru", "notes")]
)
def test_gates_begin_orthogonal_if_asked(kind, reset):
    net = Recurrent(3, 8, kind, reset=reset, initial="orthogonal")
    blocks = net.weight_hh_l0.detach()[3:].split(8) if reset == "notes" else net.weight_hh_l0.detach().split(8)
    for block in blocks:
        torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)
    if reset == "notes":
        torch.testing.assert_close(net.weight_hh_l0[:3] @ net.weight_hh_l0[:3].T, torch.eye(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "peephole", "coupled", "gru"])
def test_else_all_is_uniform_as_in_torch(kind):
    net = Recurrent(30, 64, kind, layers=2)
    for parameter in net.parameters():
        values = parameter.detach()
        assert values.abs().max() <= 1 / 8
        assert values.abs().max() > 0.95 / 8
        if values.numel() > 1000:
            assert float(values.var()) == pytest.approx((2 / 8) ** 2 / 12, rel=0.1)
    torch.manual_seed(7)
    ours = Recurrent(3, 4, "lstm", layers=2, bidirectional=True)
    torch.manual_seed(7)
    theirs = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b), "the same numbers from the same seed"


@pytest.mark.parametrize("kind", ["lstm", "peephole", "coupled"])
def test_the_forget_gate_begins_open(kind):
    """Without weights, c after one step is the gate times c before, plus nothing: the candidate is 0."""
    net = Recurrent(3, 4, kind, layers=2, forget_bias=2.0).double()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "bias" not in name:
                parameter.zero_()
            elif kind == "coupled":
                parameter[4:8] = 0
            else:
                parameter[8:12] = 0
    state = net.zero_state(1)
    state[:, 1] = 1.0
    after = net(torch.zeros(1, 1, 3).double(), state)[1]
    torch.testing.assert_close(after[:, 1], torch.sigmoid(torch.full((1, 2, 4), 2.0, dtype=torch.float64)))
