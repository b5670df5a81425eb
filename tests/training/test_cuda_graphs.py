"""Recorded turns give what played turns give. Without a GPU a recording is the turn itself, on the same tensors."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from danlu.data import Batch
from danlu.errors import UsageError
from danlu.training import Graph, OptimizerSettings, Runtime, Trainer
from danlu.training.cuda_graphs import WARM_UP, Outcome, Replays
from examined import play, tiny, trainer_of
from games import GAMES
from rank_jobs import game_of


@dataclass(frozen=True)
class LikeAGPU(Runtime):
    """A runtime that masks steps, as on a GPU."""

    asynchronous = True


class Again:
    """A recording that does the turn again, and like a graph puts the outcome where it was."""

    made = 0
    outcome: Outcome

    def __init__(self, turn):
        self._turn, self._tensors = turn, None
        type(self).made += 1

    def replay(self) -> None:
        new = self._turn()
        if self._tensors is None:
            self.outcome = new
            self._tensors = [new.norm, new.norms, *new.totals.values()]
        for old, value in zip(self._tensors, [new.norm, new.norms, *new.totals.values()], strict=True):
            old.copy_(value)


def trainer(recorded: bool, **changes: object) -> Trainer:
    made = trainer_of(tiny("mlp", rounds=12, **changes), LikeAGPU())
    if recorded:
        made._replays = Replays(made.runtime, Again)
    return made


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_recorded_turns_are_the_played_ones(optimizer):
    changes = {"optimizer": optimizer, "schedule": "cosine", "lr": 0.02, "grad_clip": 0.5, "model.dropout": 0.3}
    played, recorded, Again.made = trainer(False, **changes), trainer(True, **changes), 0
    values = [[report.values() for report in game] for game in (played, recorded)]
    assert Again.made == 1
    for a, b in zip(*values, strict=True):
        assert a == pytest.approx(b, rel=1e-6)
    for name, value in played.state().items():
        torch.testing.assert_close(recorded.state()[name], value, msg=lambda m, name=name: f"{name}: {m}")


def test_a_report_keeps_its_numbers_when_the_turn_is_played_again():
    reports = list(trainer(True))
    assert len({report.values()["classifier/cross_entropy"] for report in reports}) == len(reports)


def test_a_loaded_state_is_recorded_anew():
    whole = play(trainer(True))
    first, second = trainer(True), trainer(True)
    for _ in range(WARM_UP + 2):
        first.run_round(), second.run_round()
    Again.made = 0
    second.load_state({k: v.clone() for k, v in first.state().items()}, first.round, first.drawn)
    for name, value in play(second).items():
        torch.testing.assert_close(value, whole[name])
    assert Again.made == 1  # a graph would go on writing to the tensors of before


def test_a_recorded_turn_sees_each_batch_whole_with_its_numbers_and_parts_and_its_rate():
    replays, source = Replays(Runtime(), Again), torch.Generator().manual_seed(0)

    def batch(part: Batch | None = None) -> Batch:
        numbers = torch.randint(100, (4,), generator=source)
        return Batch({"x": torch.randn(4, generator=source)}, slice(0, 4), 4, numbers, {"part": part} if part else {})

    def turn(seen: Batch, rate: Tensor) -> Outcome:
        inner = seen.part("part")
        totals = {"x": seen["x"].sum(), "numbers": seen.numbers.sum(), "inner x": inner["x"].sum()}
        totals["inner numbers"] = inner.numbers.sum()
        return Outcome(totals, 4, rate.clone(), rate.clone())

    for round in range(WARM_UP + 3):
        given = batch(batch())
        totals, _, norm, _ = replays.run(0, given, round / 8, turn)
        inner = given.parts["part"]
        expected = [given["x"].sum(), given.numbers.sum(), inner["x"].sum(), inner.numbers.sum(), round / 8]
        assert [float(value) for value in (*totals.values(), norm)] == [float(value) for value in expected], round


@pytest.mark.parametrize(("optimizer", "flag"), [("adam", True), ("adamw", True), ("sgd", None)])
def test_before_turns_are_recorded_optimizers_are_told_to_count_on_the_device(optimizer, flag, monkeypatch):
    """torch refuses to record an Adam that was not told, which without a GPU cannot be seen; SGD has no such flag."""
    monkeypatch.setattr("danlu.training.trainer.check_replay", lambda *anything: None)
    made = trainer(False, optimizer=optimizer)
    made.use_replays(Replays(made.runtime, Again))
    groups = [group for each in made.players["classifier"].optimizers for group in each.param_groups]
    assert {group.get("capturable") for group in groups} == {flag}


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("supervised", {}, "a GPU is required, and the device is cpu"),
        ("adversarial", {}, "the turns of Adversarial differ between rounds"),
        ("adversarial", {}, "optimizer rmsprop of critic cannot be recorded; supported: sgd, .* adam and adamw"),
        ("adversarial", {}, "the moving average \\(ema\\) of generator changes its decay"),
        ("supervised", {"grad_accumulation": 2}, "grad_accumulation must be 1"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_every_reason(name, changes, reason):
    with pytest.raises(UsageError, match=reason):
        game_of(name, Runtime(cuda_graphs=True), **changes)


def test_an_optimizer_that_a_setting_keeps_from_being_recorded_is_named_with_it():
    made = trainer(False, optimizer="adam", eps_inside=True)
    with pytest.raises(
        UsageError, match=r"optimizer adam with eps_inside of classifier cannot be recorded; .* without"
    ):
        made.use_replays(Replays(made.runtime, Again))


@pytest.mark.unchecked
def test_several_processes_and_compilation_are_refused():
    task, stream = GAMES["supervised"].task(), trainer(False).stream
    made = Trainer(task, OptimizerSettings(), stream, 3)
    made.runtime = Runtime(world=2, compile=True)
    with pytest.raises(UsageError, match=r"single process.*compile cannot be combined"):
        made.use_replays(Replays(made.runtime))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_on_a_gpu_a_graph_plays_what_the_turn_plays(name, optimizer):
    changes = {"rounds": 12, "optimizer": optimizer, "schedule": "cosine", "deterministic": True}
    runtime = Runtime.start("cuda", deterministic=True)
    played, recorded = (trainer_of(tiny(name, **changes), runtime) for _ in range(2))
    recorded.use_replays(Replays(runtime, Graph))
    whole = play(played)
    for key, value in play(recorded).items():
        torch.testing.assert_close(value, whole[key], rtol=1e-5, atol=1e-6, msg=lambda m, key=key: f"{key}: {m}")
