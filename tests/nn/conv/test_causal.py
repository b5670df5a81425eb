"""Causal convolutions: what an output depends on, and the formula."""

import pytest
import torch

from danlu.models import LanguageModel
from danlu.nn import CausalConvolutions, GatedBlock


def stack(**how):
    torch.manual_seed(0)
    return CausalConvolutions(**{"inputs": 3, "width": 4, "layers": 3, "kernel": 3, **how}).double()


every = pytest.mark.parametrize(
    ("how", "field"),
    [
        ({}, 7),
        ({"dilated": True}, 15),
        ({"kernel": 2, "dilated": True, "inputs": 4}, 8),
        ({"layers": 1, "kernel": 5}, 5),
    ],
)


@every
def test_an_output_depends_on_the_receptive_field_and_on_nothing_else(how, field):
    net = stack(**how)
    assert net.receptive_field == field
    x = torch.randn(2, 20, net.inputs, dtype=torch.float64, requires_grad=True)
    outputs = net(x)[0]
    for t in range(20):
        touched = torch.autograd.grad(outputs[0, t].sum(), x, retain_graph=True)[0].abs().sum(2)
        seen = torch.arange(20)
        assert torch.equal(touched[0] > 0, (seen <= t) & (seen > t - field))
        assert not touched[1].any()


def test_the_default_is_four_blocks_with_kernel_3_and_no_dropout():
    """As in a language model; each block sees two more steps than the one before."""
    net = CausalConvolutions(3, 5)
    assert (len(net.blocks), net.receptive_field, GatedBlock(3, 5).memory) == (4, 1 + 4 * 2, 2)
    assert {module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert LanguageModel(7, kind="convolution", width=5, layers=4).window == net.receptive_field


def test_a_block_is_its_formula():
    torch.manual_seed(1)
    block, x = GatedBlock(3, 3, kernel=2, dilation=2).double(), torch.randn(1, 3, 7).double()
    (W, V), (b, c) = block.convolution.weight.split(3), block.convolution.bias.split(3)
    for t in range(5):
        entries = x[0, :, t], x[0, :, t + 2]
        a = b + sum(W[:, :, k] @ entry for k, entry in enumerate(entries))
        gate = c + sum(V[:, :, k] @ entry for k, entry in enumerate(entries))
        torch.testing.assert_close(block(x)[0, :, t], a * torch.sigmoid(gate) + entries[1])


@every
def test_a_sequence_in_pieces_is_the_whole(how, field):
    net, x = stack(**how), torch.randn(2, 11, how.get("inputs", 3)).double()
    whole, end = net(x)
    state, found = net.zero_state(2), []
    for piece in x.split([1, 4, 1, 5], 1):
        outputs, state = net(piece, state)
        found.append(outputs)
    torch.testing.assert_close(torch.cat(found, 1), whole)
    torch.testing.assert_close(state, end)
    rows = torch.tensor([1])
    torch.testing.assert_close(net(x[rows], end[rows])[0], net(x, end)[0][rows])


def test_steps_before_the_first_are_zeros_in_every_block():
    net, x = stack(), torch.randn(1, 5, 3).double()
    here = x.transpose(1, 2)
    for block in net.blocks:
        here = block(torch.nn.functional.pad(here, (block.memory, 0)))
    torch.testing.assert_close(net(x)[0], here.transpose(1, 2))


def test_dropout_spares_the_shortcut():
    torch.manual_seed(2)
    block, x = GatedBlock(4, 4, kernel=2, dropout=0.5), torch.randn(1, 4, 200)
    left = block(x) - x[:, :, 1:]
    assert 0.4 < float((left == 0).double().mean()) < 0.6
    whole = block.eval()(x) - x[:, :, 1:]
    kept = left != 0
    torch.testing.assert_close(left[kept], 2 * whole[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("how", "words"), [({"kernel": 1}, "at least 2"), ({"layers": 0}, "layers=0"), ({"dropout": -1.0}, "dropout=-1.0")]
)
def test_what_cannot_be_is_refused(how, words):
    with pytest.raises(ValueError, match=words):
        stack(**how)


@pytest.mark.unchecked
def test_what_does_not_fit_is_refused():
    net, x = stack(), torch.zeros(2, 5, 3).double()
    with pytest.raises(ValueError, match=r"expected \(rows, steps, 3\)"):
        net(x[:, :, :2])
    with pytest.raises(ValueError, match="at least one step"):
        net(x[:, :0])
    with pytest.raises(ValueError, match=r"expected \(2, "):
        net(x, net.zero_state(3))
