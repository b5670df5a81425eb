"""NaN and infinity: told by player, term, round and tensor, before the step that would spread them."""

import math

import pytest
import torch
from torch import nn

from danlu.data import Part, Shuffled
from danlu.errors import Diverged
from danlu.tasks import Descend, Task
from danlu.training import FiniteCheck, OptimizerSettings, PlayerStep, Report, Runtime, Trainer

OPTIMIZERS = ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]


class Walk(Task):
    """One player called walker, who walks well but for one round, in which ``spoil`` makes its terms of the loss."""

    def __init__(self, spoil, bad_round):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.spoil, self.bad_round = nn.Linear(4, 2), spoil, bad_round

    def players(self):
        return {"walker": self.net}

    def turns(self, round):
        return [Descend("walker", self.spoilt if round == self.bad_round else self.walk)]

    def walk(self, batch):
        return {"square": (self.net(batch["x"]) - 1).square().sum(1)}

    def spoilt(self, batch):
        return self.spoil(self.walk(batch)["square"], self.net.weight)


class MaskingRuntime(Runtime):
    """The path of a GPU, where a flag on the device leaves a bad step out and the host asks a round later."""

    asynchronous = True


PLAIN, MASKING = Runtime(precision="float64"), MaskingRuntime(precision="float64")

# name: (the terms, the term to blame, the first bad tensor)
BAD = {
    "nan loss": (lambda s, w: {"square": s + math.nan}, "square", "term square"),
    "infinite loss": (lambda s, w: {"square": s, "extra": s.detach() * math.inf}, "extra", "term extra"),
    "nan everywhere": (lambda s, w: {"square": s * math.nan}, "square", "gradient of weight"),
    "nan gradient of a finite loss": (lambda s, w: {"square": s + (0 * w).sum().sqrt()}, None, "gradient of weight"),
}


def trainer_of(bad, optimizer, runtime=PLAIN, bad_round=2, **descent):
    x = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    settings = OptimizerSettings(optimizer=optimizer, lr=0.1, grad_clip=1.0, **descent)
    return Trainer(Walk(BAD[bad][0], bad_round), settings, Shuffled(Part({"x": x}), "full"), rounds=5, runtime=runtime)


def snapshot(trainer):
    return {name: value.clone() for name, value in trainer.state().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def blame(error):
    return error.player, error.term, error.round, error.tensor


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "muon"])
@pytest.mark.parametrize("bad", BAD)
def test_nan_and_infinity_stop_the_run_before_the_step(optimizer, bad):
    trainer = trainer_of(bad, optimizer, ema=0.9)
    trainer.run_round(), trainer.run_round()
    before = snapshot(trainer)
    with pytest.raises(Diverged, match="player 'walker' is not finite in round 2") as caught:
        trainer.run_round()
    assert blame(caught.value) == ("walker", BAD[bad][1], 2, BAD[bad][2])
    assert equal(before, snapshot(trainer))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("ask", ["play", "settle"])
def test_where_steps_are_masked_the_bad_one_is_left_out_and_told_later(optimizer, bad, ask):
    """Optimizers without a fused step cannot mask, and stop at once here too."""
    trainer = trainer_of(bad, optimizer, MASKING)
    masks = trainer.players["walker"].maskable
    assert masks == (optimizer != "rmsprop")
    trainer.run_round(), trainer.run_round()
    before = snapshot(trainer)
    if masks:
        trainer.run_round()  # the bad round is not known to be bad yet
        assert equal(before, snapshot(trainer))
    with pytest.raises(Diverged) as caught:
        trainer.check_values() if masks and ask == "settle" else trainer.run_round()
    assert blame(caught.value) == ("walker", BAD[bad][1], 2, BAD[bad][2])


def test_where_steps_are_masked_a_bad_last_round_is_told_at_the_end():
    trainer = trainer_of("nan loss", "adamw", MASKING, bad_round=4)
    with pytest.raises(Diverged, match="in round 4"):
        list(trainer)


@pytest.fixture
def filled_memory():
    """Memory that nobody wrote to holds NaN, so that reading it shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_a_first_step_that_is_left_out_leaves_no_trace_in_the_optimizer(optimizer, filled_memory):
    """The step after it is what a first step would have been."""
    masked = trainer_of("nan loss", optimizer, MASKING, bad_round=0)
    masked.run_round()
    with pytest.raises(Diverged):
        masked.run_round()  # sound itself, and played to its end before the round before it is found bad
    once = trainer_of("nan loss", optimizer)
    once.run_round()
    torch.testing.assert_close(masked.task.net.state_dict(), once.task.net.state_dict(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_where_steps_are_masked_sound_rounds_are_the_same(optimizer):
    masked, plain = (trainer_of("nan loss", optimizer, runtime, bad_round=None) for runtime in (MASKING, PLAIN))
    assert [report.values() for report in masked] == [report.values() for report in plain]
    assert equal(masked.state(), plain.state())


def test_a_norm_that_overflows_is_blamed_on_the_gradient():
    """Each parameter's norm is finite in float32, and the root of the sum of their squares is not."""
    player = trainer_of("nan loss", "sgd").players["walker"]
    for parameter in player.parameters:
        parameter.grad = torch.zeros_like(parameter)
    norms = torch.tensor([1.5e19, 1.5e19])
    doubt = FiniteCheck(player, 3, {"square": torch.tensor(1.0)}, torch.linalg.vector_norm(norms), norms)
    with pytest.raises(Diverged, match="the gradient of player 'walker' is not finite in round 3") as caught:
        doubt.check_values()
    assert "None" not in caught.value.tensor


def test_the_values_of_a_report_are_means_over_examples_and_turns():
    moves = [
        PlayerStep("a", {"x": torch.tensor(6.0)}, 3, torch.tensor(0.5), 0.1),
        PlayerStep("b", {"x": torch.tensor(8.0)}, torch.tensor(4.0), torch.tensor(1.0), 0.2),
        PlayerStep("a", {"x": torch.tensor(30.0)}, 5, torch.tensor(1.5), 0.1),
    ]
    expected = {
        "a/x": (2.0 + 6.0) / 2, "a/gradient_norm": 1.0, "a/lr": 0.1, "b/x": 2.0, "b/gradient_norm": 1.0, "b/lr": 0.2,
    }  # fmt: skip
    assert Report(1, 3, moves).values() == pytest.approx(expected)
