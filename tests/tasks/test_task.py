"""Games of several players: who moves, who rests, which batch a turn sees, and where its random numbers come from."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from danlu.data import Part, Shuffled
from danlu.tasks import Descend, Task, Update
from danlu.training import OptimizerSettings, Runtime, Trainer, evaluate

N = 12


def part():
    return Part({"x": torch.randn(N, 3, generator=torch.Generator().manual_seed(1))})


class Duel(Task):
    """Two players whose turns use both, a teacher that is no player, and a look at everything between turns."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.critic, self.generator = (nn.Sequential(nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3)) for _ in range(2))
        self.teacher = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.looks, self.modes = [], []

    def players(self):
        return {"critic": self.critic, "generator": self.generator}

    def turns(self, round):
        look, judge, fool = Update(self.look), Descend("critic", self.judge), Descend("generator", self.fool)
        return [look._replace(fresh=True), judge, look, fool, look, judge._replace(fresh=False), look]

    def look(self, batch):
        assert not torch.is_grad_enabled()
        self.looks.append({name: value.clone() for name, value in self.state_dict().items()})

    def both(self, batch):
        self.modes.append(tuple(part.training for part in (self.critic, self.generator, self.teacher)))
        assert not any(p.requires_grad for p in self.teacher.parameters())
        return self.critic(self.generator(batch["x"])) - self.teacher(batch["x"])

    def judge(self, batch):
        assert not any(p.requires_grad for p in self.generator.parameters())
        return {"square": self.both(batch).square().sum(1)}

    def fool(self, batch):
        assert not any(p.requires_grad for p in self.critic.parameters())
        return {"size": self.both(batch).abs().sum(1)}

    def scores(self, batch):
        return {"size": self.both(batch).abs().sum(1)}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_only_the_mover_moves_and_opponents_and_teachers_rest(optimizer):
    """Parameters, running statistics and their counters: all of the mover's change in its turn, and nothing else."""
    task = Duel()
    trainer = Trainer(
        task, OptimizerSettings(optimizer=optimizer, lr=0.1, weight_decay=0.1), Shuffled(part(), 5), rounds=3
    )
    for _ in trainer:
        looks, task.looks = task.looks, []
        for (before, after), mover in zip(pairwise(looks), ("critic", "generator", "critic"), strict=True):
            assert changed(before, after) == {name for name in before if name.startswith(mover)}


def test_bystanders_never_have_gradients_and_only_the_mover_is_in_training_mode():
    """In every turn from the very first one; to evaluate in between changes nothing."""
    task = Duel()
    before = {name: value.clone() for name, value in task.teacher.state_dict().items()}
    trainer = Trainer(task, OptimizerSettings(lr=0.1), Shuffled(part(), 5), rounds=4)
    for report in trainer:
        assert all(p.grad is None for p in task.teacher.parameters())
        judged, fooled = (True, False, False), (False, True, False)
        assert task.modes == [judged, fooled, judged]
        if report.round == 2:
            evaluate(trainer, part())
        task.modes.clear()
    assert not changed(before, task.teacher.state_dict())


class Shared(Task):
    """Two players that share one parameter."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(1, 1, bias=False)
        self.a, self.b = (nn.ModuleList([self.trunk, nn.Linear(1, 1, bias=False)]) for _ in range(2))
        for w in self.parameters():
            nn.init.constant_(w, 0.5)

    def players(self):
        return {"a": self.a, "b": self.b}

    def turns(self, round):
        return [Descend("a", lambda x: self.push(x, self.a)), Descend("b", lambda x: self.push(x, self.b))]

    def push(self, batch, player):
        return {"output": player[1](player[0](batch["x"])).flatten()}


def test_a_shared_parameter_moves_with_each_player_and_has_one_optimizer_state_for_each():
    """Loss w·v of x = 1: the shared w has gradient v, each v has gradient w; momentum is each player's own."""
    task, stream = Shared(), Shuffled(Part({"x": torch.ones(4, 1, dtype=torch.float64)}), 4)
    descent, runtime = OptimizerSettings(optimizer="momentum", lr=0.1), Runtime(precision="float64")
    trainer = Trainer(task, descent, stream, rounds=3, runtime=runtime)
    for _ in trainer:
        pass
    w, own, m_shared, m_own = 0.5, {"a": 0.5, "b": 0.5}, {"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}
    for _ in range(3):
        for player in ("a", "b"):
            m_shared[player] = 0.9 * m_shared[player] + own[player]
            m_own[player] = 0.9 * m_own[player] + w
            w, own[player] = w - 0.1 * m_shared[player], own[player] - 0.1 * m_own[player]
    assert task.trunk.weight.item() == pytest.approx(w, abs=1e-12)
    assert {name: task.players()[name][1].weight.item() for name in own} == pytest.approx(own, abs=1e-12)
    state = trainer.state()
    for player in ("a", "b"):
        momentum = state[f"player/{player}/SGD/0.weight/momentum_buffer"].item()
        assert momentum == pytest.approx(m_shared[player], abs=1e-12)


class Record(Task):
    """Plays the turns it is given, one tiny player, and keeps the numbers of each batch and the noise it drew."""

    def __init__(self, kinds):
        super().__init__()
        self.player, self.kinds, self.numbers, self.noises = nn.Linear(3, 1), kinds, [], []

    def players(self):
        return {"player": self.player} if any(kind is Descend for kind, _ in self.kinds) else {}

    def turns(self, round):
        return [Descend("player", self.see, f) if k is Descend else Update(self.see, f) for k, f in self.kinds]

    def see(self, batch):
        self.numbers.append(batch.numbers.tolist())
        self.noises.append([self.noise((2, 2)), self.noise((2, 2)), self.noise((), uniform=True)])
        return {"output": self.player(batch["x"]).flatten()}


def played(kinds, rounds=2, batch_size=5, seed=0, grad_accumulation=1):
    task = Record(kinds)
    trainer = Trainer(task, OptimizerSettings(), Shuffled(part(), batch_size), rounds, seed, grad_accumulation)
    return task, trainer, list(trainer)


def test_a_turn_sees_the_batch_of_the_turn_before_unless_it_is_fresh():
    kinds = [(Descend, True), (Update, False), (Descend, False), (Update, True), (Descend, True), (Update, False)]
    task, _, reports = played(kinds)
    stream = Shuffled(part(), 5)
    expected = [stream.batch(p, slice(0, 5)).numbers.tolist() for p in (0, 0, 0, 1, 2, 2, 3, 3, 3, 4, 5, 5)]
    assert task.numbers == expected
    assert [report.drawn for report in reports] == [3, 6]


def test_an_update_sees_the_whole_batch_also_where_descents_see_pieces_of_it():
    task, _, _ = played([(Descend, True), (Update, False)], rounds=1, grad_accumulation=2)
    first, second, whole = task.numbers
    assert (first + second, len(first), len(second)) == (whole, 2, 3)


@pytest.mark.parametrize("kind", [Descend, Update])
def test_the_first_turn_of_a_round_needs_a_fresh_batch(kind):
    with pytest.raises(ValueError, match="first turn of a round cannot reuse a batch; set fresh=True"):
        played([(kind, False), (Descend, True)])


def test_a_game_in_which_nobody_descends():
    task, _, reports = played([(Update, True), (Update, True), (Update, False)], rounds=3)
    assert [(report.round, report.drawn, report.steps) for report in reports] == [(1, 2, []), (2, 4, []), (3, 6, [])]
    assert len(task.numbers) == 9
    assert reports[0].values() == {}


TWO_TURNS = [(Descend, True), (Descend, False)]


@pytest.mark.parametrize("grad_accumulation", [2, 3, 5])
def test_micro_batches_see_the_noise_of_the_whole_batch(grad_accumulation):
    whole, _, _ = played(TWO_TURNS)
    pieces, _, _ = played(TWO_TURNS, grad_accumulation=grad_accumulation)
    for turn, noises in enumerate(whole.noises):
        micro = pieces.noises[turn * grad_accumulation : (turn + 1) * grad_accumulation]
        for call, noise in enumerate(noises):
            assert torch.equal(torch.cat([draw[call] for draw in micro]), noise)
    assert whole.noises[0][0].shape == (5, 2, 2)
    assert whole.noises[0][2].shape == (5,)


def test_noise_differs_between_rounds_turns_calls_and_seeds():
    draws = [n for seed in (0, 1) for noises in played(TWO_TURNS, seed=seed)[0].noises for n in noises[:2]]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 2 * 2 * 2 * 2


def test_noise_of_a_replayed_round_is_the_same():
    task, trainer, _ = played(TWO_TURNS, rounds=3)
    trainer.load_state({name: value.clone() for name, value in trainer.state().items()}, round=1, drawn=1)
    first, task.noises = task.noises[2:4], []
    trainer.run_round()
    for once, again in zip(first, task.noises, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_noise_is_standard_normal_or_uniform():
    """100 000 draws: mean and second moment within five standard errors."""
    task = Record([(Update, True)])
    list(Trainer(task, {}, Shuffled(part(), 12), rounds=1))
    n = 12 * 8334
    normal, uniform = (task.noise((8334,), uniform).double() for uniform in (False, True))
    assert abs(normal.mean()) < 5 / n**0.5
    assert abs(normal.square().mean() - 1) < 5 * (2 / n) ** 0.5  # the variance of z² is 2
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert 0 <= uniform.min() < uniform.max() < 1


@pytest.mark.unchecked
def test_noise_outside_a_turn_is_refused():
    with pytest.raises(RuntimeError, match="can only be called in a turn"):
        Record([]).noise((2,))
