"""Conditional batch norm against a loop over all numbers, and against torch's batch norm."""

import pytest
import torch
from torch import nn

from danlu.nn import ConditionalBatchNorm
from danlu.tasks import Task
from danlu.training import ActivePlayer, OptimizerSettings, Player
from danlu.training.optimization.optimizers import hidden_matrices, weights

LABELS = torch.tensor([0, 2, 1, 1, 0])
WHOLE = torch.eye(3, dtype=torch.float64)[LABELS]
MIXED = torch.tensor([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0], [0.2, 0.3, 0.5], [0, 0, 1]], dtype=torch.float64)


def norm_and_batch(*positions):
    torch.manual_seed(0)
    norm = ConditionalBatchNorm(4, classes=3).double()
    nn.init.uniform_(norm.gain, 0.5, 1.5)
    nn.init.normal_(norm.shift)
    x = 2 * torch.randn(5, 4, *positions, dtype=torch.float64) + torch.arange(5.0).view(5, *[1] * (1 + len(positions)))
    return norm, x


def by_loops(norm, x, fractions, statistics=None):
    """Each number by itself."""
    gains, shifts = norm.gain.tolist(), norm.shift.tolist()
    flat, y = x.flatten(2) if x.dim() > 2 else x[:, :, None], torch.zeros_like(x)
    out = y.view_as(flat)
    for c in range(flat.shape[1]):
        values = flat[:, c].flatten().tolist()
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        if statistics is not None:
            mean, variance = (float(s[c]) for s in statistics)
        for n in range(flat.shape[0]):
            gain = sum(fraction * gains[k][c] for k, fraction in enumerate(fractions[n].tolist()))
            shift = sum(fraction * shifts[k][c] for k, fraction in enumerate(fractions[n].tolist()))
            for p in range(flat.shape[2]):
                out[n, c, p] = gain * (float(flat[n, c, p]) - mean) / (variance + norm.eps) ** 0.5 + shift
    return y


@pytest.mark.parametrize("positions", [(), (5,), (2, 3)])
@pytest.mark.parametrize("fractions", [WHOLE, MIXED], ids=["labels", "mixed"])
def test_it_is_the_formula(positions, fractions):
    norm, x = norm_and_batch(*positions)
    torch.testing.assert_close(norm(x, fractions), by_loops(norm, x, fractions))
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    statistics = norm.running_mean, norm.running_var
    torch.testing.assert_close(norm.eval()(x, fractions), by_loops(norm, x, fractions, statistics))


@pytest.mark.parametrize("training", [True, False])
def test_at_first_it_is_torchs_batch_norm(training):
    _, x = norm_and_batch(2, 3)
    ours, theirs = ConditionalBatchNorm(4, 3).double().train(training), nn.BatchNorm2d(4).double().train(training)
    for _ in range(2):
        torch.testing.assert_close(ours(x, WHOLE), theirs(x))
    for name, kept in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), kept)


def test_of_one_class_alone_it_is_torchs_batch_norm_with_that_gain_and_shift():
    norm, x = norm_and_batch(2, 3)
    for k in range(3):
        theirs = nn.BatchNorm2d(4).double()
        theirs.load_state_dict({"weight": norm.gain[k], "bias": norm.shift[k]}, strict=False)
        torch.testing.assert_close(norm(x, WHOLE.new_ones(5, 1) * torch.eye(3, dtype=torch.float64)[k]), theirs(x))


def test_it_has_derivatives_of_both_orders():
    norm, x = norm_and_batch(2)

    def of(x, gain, shift):
        return torch.func.functional_call(norm, {"gain": gain, "shift": shift}, (x, MIXED))

    given = (x.requires_grad_(), norm.gain, norm.shift)
    assert torch.autograd.gradcheck(of, given)
    assert torch.autograd.gradgradcheck(of, given)


def test_channels_may_come_last():
    norm, x = norm_and_batch(2, 3)
    y = norm(x.contiguous(memory_format=torch.channels_last), WHOLE)
    torch.testing.assert_close(y, norm(x, WHOLE))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_the_loop_takes_it_for_a_batch_norm():
    """It couples examples, leaves its running statistics alone in the other's turn, and never decays nor is Muon's."""

    class Two(Task):
        def __init__(self):
            super().__init__()
            self.norm, self.other = ConditionalBatchNorm(4, 3), nn.Linear(4, 4)

        def players(self):
            return {"norm": self.norm, "other": self.other}

    task = Two()
    players = {name: Player(name, module, OptimizerSettings(), 1) for name, module in task.players().items()}
    assert task.coupled == "batch norm"
    cast = ActivePlayer(task, players)
    x = torch.arange(20.0).view(5, 4)
    cast.activate("other", ("norm",))
    task.norm(x, WHOLE.float())
    assert not task.norm.running_mean.any()
    cast.activate("norm")
    task.norm(x, WHOLE.float())
    assert task.norm.running_mean.all()
    assert [id(s) for s in cast.running_statistics()] == [id(task.norm.running_mean), id(task.norm.running_var)]
    assert weights(task) == hidden_matrices(task) == [task.other.weight]


@pytest.mark.unchecked
def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="classes=0 must be at least 1"):
        ConditionalBatchNorm(4, 0)
    with pytest.raises(ValueError, match=r"input of shape \(5, 3\); expected 4 features"):
        ConditionalBatchNorm(4, 3)(torch.zeros(5, 3), WHOLE.float())
