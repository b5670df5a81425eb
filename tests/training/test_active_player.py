"""The modes and weights of the players that do not move: as after training, unless a turn says otherwise."""

import pytest
import torch
from torch import nn

from danlu.catalogue import RECIPES
from danlu.data import Part, Shuffled
from danlu.errors import Diverged, UsageError
from danlu.tasks import Descend, Task, Update
from danlu.training import OptimizerSettings, Trainer
from danlu.training.player import Player
from danlu.training.validation import evaluation_mode
from examined import ROUNDS, tiny, trainer_of


class Pair(Task):
    """Two players: the second learns from outputs of the first, which are kept, after the first has learned."""

    def __init__(self, rounds=2, in_training=(), teacher=None):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.second, self.teacher = nn.Linear(4, 1), teacher
        self.rounds, self.in_training, self.outputs = rounds, in_training, []

    def players(self):
        return {"first": self.first, "second": self.second}

    def turns(self, round):
        if round < self.rounds:
            return [Descend("first", lambda batch: {"size": self.first(batch["x"]).square().sum(1)})]
        return [Descend("second", self.follow, in_training=self.in_training), Update(self.see)]

    def see(self, batch):
        self.outputs.append(self.first(batch["x"]))

    def follow(self, batch):
        self.outputs.append(self.first(batch["x"]).detach())
        return {"output": self.second(self.outputs[-1])[:, 0]}


X = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


def pair_of(rounds=5, settings=None, **arguments):
    task = Pair(**arguments)
    return Trainer(task, settings or OptimizerSettings(lr=0.1), Shuffled(Part({"x": X}), "full", seed=2), rounds)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_player_that_rests_computes_what_it_computes_after_training(ema):
    trainer = pair_of(settings=OptimizerSettings(lr=0.1, ema=ema))
    list(trainer)
    with evaluation_mode(trainer), torch.no_grad():
        after = trainer.task.first(X)
    orders = [trainer.stream.batch(position, slice(0, 8)).numbers for position in (2, 3, 4)]
    for order, seen in zip(orders, trainer.task.outputs[::2], strict=True):
        assert torch.equal(seen, after[order])
    with_current_weights = trainer.task.first.eval()(X)
    assert torch.equal(with_current_weights, after) == (ema is None)
    for order, seen in zip(orders, trainer.task.outputs[1::2], strict=True):  # an update sees the current weights
        assert torch.equal(seen, with_current_weights[order])


def test_a_player_that_a_turn_names_is_in_training_mode_with_its_current_weights():
    trainer = pair_of(in_training=("first",), settings=OptimizerSettings(lr=0.1, ema=0.9))
    statistics = []
    for _ in trainer:
        statistics.append(trainer.task.first[1].running_mean.clone())
    seen = trainer.task.outputs[0]
    linear, _, _ = trainer.task.first
    h = linear(X[trainer.stream.batch(2, slice(0, 8)).numbers])
    normalized = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt()
    normalized = normalized * trainer.task.first[1].weight + trainer.task.first[1].bias
    dropped = seen == 0
    assert 0 < dropped.sum() < dropped.numel()
    torch.testing.assert_close(seen, (2 * normalized).masked_fill(dropped, 0), atol=1e-5, rtol=1e-5)
    assert torch.equal(statistics[1], statistics[-1])  # they rest


@pytest.mark.parametrize("ema", [None, 0.9])
def test_between_rounds_all_players_have_their_current_weights(ema):
    trainer = pair_of(settings=OptimizerSettings(lr=0.1, ema=ema))
    kept = None
    for report in trainer:
        if report.round == 2:
            kept = trainer.task.first[0].weight.clone()
        if report.round > 2:
            assert torch.equal(kept, trainer.task.first[0].weight)
            assert torch.equal(kept, trainer.state()["task/first.0.weight"])


def test_averages_of_shared_weights_do_not_replace_the_weights_in_training():
    class Twins(Task):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            trunk = nn.Linear(3, 3)
            self.a, self.b = (nn.Sequential(trunk, nn.Linear(3, 1)) for _ in range(2))

        def players(self):
            return {"a": self.a, "b": self.b}

        def turns(self, round):
            return [
                Descend(name, lambda batch, net=net: {"output": net(batch["x"])[:, 0]})
                for name, net in self.players().items()
            ]

    weights = []
    for ema in (None, 0.9):
        trainer = Trainer(Twins(), OptimizerSettings(lr=0.1, ema=ema), Shuffled(Part({"x": X}), 4), rounds=3)
        list(trainer)
        weights.append([p.detach().clone() for p in trainer.task.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_frozen_instance_norm_uses_its_running_statistics():
    teacher = nn.InstanceNorm1d(1, track_running_stats=True)
    teacher.running_mean.fill_(3.0)
    trainer, seen = pair_of(teacher=teacher), []
    real = trainer.task.follow
    trainer.task.follow = lambda batch: seen.append(teacher(batch["x"][:, None])) or real(batch)
    list(trainer)
    expected = (X - 3) / (1 + teacher.eps) ** 0.5
    torch.testing.assert_close(seen[0][:, 0], expected[trainer.stream.batch(2, slice(0, 8)).numbers])


def test_a_turn_that_names_no_player_of_the_task_is_refused():
    with pytest.raises(ValueError, match="unknown player 'frist'"):
        list(pair_of(in_training=("frist",)))


MODES = {
    "critic": {"critic", "generator"},
    "generator": {"critic", "generator"},
    "decoder": {"decoder", "encoder"},
    "encoder": {"decoder", "encoder"},
    "first": {"first"},
    "second": {"second"},
}
"""the players in training mode in the turn of each player; the first of two stacked models is frozen in the second's"""


@pytest.mark.parametrize(("name", "changes"), [*((name, {}) for name in RECIPES), ("vae", {"separate": True})], ids=str)
def test_the_modes_in_the_turns_of_every_recipe(name, changes):
    trainer = trainer_of(tiny(name, **changes))
    for turn in (turn for round in (0, ROUNDS - 1) for turn in trainer.task.turns(round)):
        if isinstance(turn, Descend):
            trainer.active_player.activate(turn.player, turn.in_training)
            modes = {name for name, player in trainer.players.items() if player.module.training}
            assert modes == MODES.get(turn.player, {turn.player})


def test_the_codes_of_the_second_stage_are_those_of_the_finished_first_model():
    first = {"latent": 2, "hidden": (16,), "dropout": 0.5, "norm": "batch"}
    trainer = trainer_of(tiny("semi-vae", first=first, codes="mean", ema=0.9))
    task, codes = trainer.task, []
    real = task._codes

    def recorded(batch):
        codes.append((batch[task.inputs], real(batch)))
        return codes[-1][1]

    task._codes = recorded
    list(trainer)
    with evaluation_mode(trainer), torch.no_grad():
        assert codes
        for x, code in codes:
            torch.testing.assert_close(code, task.first.encode(x), atol=0, rtol=0)


class Outside(Pair):
    def players(self):
        return {"first": self.first, "second": ELSEWHERE}


ELSEWHERE = nn.Linear(4, 1)


def test_a_player_must_be_a_module_of_the_task():
    stream = Shuffled(Part({"x": X}), "full")
    with pytest.raises(ValueError, match="player 'second' is not a module of Outside; assign it to self in __init__"):
        Trainer(Outside(), OptimizerSettings(), stream, 2)


def test_a_player_must_have_a_weight_that_can_move():
    task = Pair()
    task.second.requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="player 'second' has no parameter that requires a gradient"):
        Trainer(task, OptimizerSettings(), Shuffled(Part({"x": X}), "full"), 2)


def test_the_state_of_another_optimizer_or_without_an_average_is_refused():
    net = nn.Linear(3, 1)
    sgd, adam, averaged = (
        Player("net", net, OptimizerSettings(optimizer=name, ema=ema), 2)
        for name, ema in (("momentum", None), ("adam", None), ("adam", 0.9))
    )
    net(X).sum().backward()
    for player in (sgd, adam):
        for optimizer in player.optimizers:
            optimizer.step()
    with pytest.raises(UsageError, match="the checkpoint has a state of SGD for player 'net'; expected Adam, average"):
        adam.load_state(sgd.state())
    with pytest.raises(UsageError, match="the checkpoint has no averaged weights of player 'net'; leave ema out"):
        averaged.load_state(adam.state())


def test_a_task_must_define_its_model_players_and_turns():
    for call, name in ((lambda t: t.model, "model"), (Task.players, "players"), (lambda t: t.turns(0), "turns")):
        with pytest.raises(NotImplementedError, match=f"Task must define {name}"):
            call(Task())


class Alone(Task):
    """One player with dropout and batch statistics."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def players(self):
        return {"net": self.net}

    def turns(self, round):
        return [Descend("net", lambda batch: {"size": self.net(batch["x"]).square().sum(1)})]


@pytest.mark.parametrize("make", [Alone, Pair])
def test_modes_that_a_caller_changes_between_rounds_do_not_change_the_training(make):
    def trained(look):
        trainer = Trainer(make(), OptimizerSettings(lr=0.1), Shuffled(Part({"x": X}), 4, seed=2), rounds=5)
        for _ in trainer:
            look(trainer.task)
        return trainer.task.state_dict()

    expected = trained(lambda task: None)
    for look in (lambda task: task.eval(), lambda task: [player.eval() for player in task.players().values()]):
        assert all(torch.equal(value, expected[name]) for name, value in trained(look).items())


class Counting(Pair):
    """The first player counts its rows while it rests."""

    def __init__(self):
        super().__init__(rounds=0)
        self.first.register_buffer("rows", torch.tensor(0))

    def follow(self, batch):
        self.first.rows += len(batch)
        return super().follow(batch)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_buffer_that_changes_while_its_player_rests_keeps_its_value(ema):
    settings = OptimizerSettings(lr=0.1, ema=ema)
    trainer = Trainer(Counting(), settings, Shuffled(Part({"x": X}), 4, seed=2), rounds=3)
    list(trainer)
    assert trainer.task.first.rows.item() == 12


def test_after_a_round_that_diverges_resting_players_have_their_current_weights():
    class Broken(Pair):
        def follow(self, batch):
            terms = super().follow(batch)
            return {"output": terms["output"] * (torch.nan if self.broken else 1.0)}

    task = Broken()
    task.broken = False
    trainer = Trainer(task, OptimizerSettings(lr=0.1, ema=0.9), Shuffled(Part({"x": X}), "full", seed=2), 9)
    for _ in range(4):
        trainer.run_round()
    before = {name: p.clone() for name, p in task.first.named_parameters()}
    task.broken = True
    with pytest.raises(Diverged):
        trainer.run_round()
    assert all(torch.equal(p, before[name]) for name, p in task.first.named_parameters())
