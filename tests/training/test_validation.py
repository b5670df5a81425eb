"""Scores on held-out data, the memory of the best one, and that looking changes nothing."""

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from danlu.data import Part, Shuffled
from danlu.tasks import Descend, Supervised, Task
from danlu.training import Best, OptimizerSettings, Runtime, Trainer, evaluate


def part(n, seed):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=source)
    return Part({"x": x, "label": (x[:, 0] > 0).long() + (x[:, 1] > 1).long()})


def trainer_with(precision="float32", **settings):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    runtime = Runtime(precision=precision)
    data = part(40, seed=1).to("cpu", runtime.dtype)
    descent = OptimizerSettings(lr=0.05, **settings)
    return Trainer(Supervised(net, inputs="x"), descent, Shuffled(data, 16), rounds=12, runtime=runtime)


def state_of(trainer):
    return {name: value.clone() for name, value in trainer.state().items()}


def probabilities_of(weights, x):
    """Logits written out, from running statistics and without dropout."""
    h = x @ weights["0.weight"].T + weights["0.bias"]
    h = (h - weights["1.running_mean"]) / (weights["1.running_var"] + 1e-5).sqrt()
    h = h * weights["1.weight"] + weights["1.bias"]
    return (h @ weights["3.weight"].T + weights["3.bias"]).softmax(1)


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_scores_equal_sklearns_and_are_those_of_the_average_if_there_is_one(average, batch_size):
    trainer = trainer_with("float64", ema=average)
    for _ in trainer:
        pass
    held_out = part(30, seed=2)
    starts = ("task/classifier.", *(() if average is None else ("player/classifier/average/",)))  # buffers have none
    weights = {name.removeprefix(start): v for start in starts for name, v in trainer.state().items() if start in name}
    probabilities = probabilities_of(weights, held_out["x"].double()).numpy()
    labels = held_out["label"].numpy()
    scores = evaluate(trainer, held_out, batch_size)
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, probabilities.argmax(1)))
    assert scores["cross_entropy"] == pytest.approx(log_loss(labels, probabilities, labels=range(3)), abs=1e-10)


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("rounds", [{0}, {3, 4, 9}])
def test_training_goes_on_bit_for_bit_as_if_nobody_had_looked(average, rounds):
    """With dropout and batch norm, which would show a wrong mode or a random number drawn in between."""
    undisturbed, disturbed = trainer_with(ema=average), trainer_with(ema=average)
    if 0 in rounds:
        evaluate(disturbed, part(30, seed=2))
    for _ in undisturbed:
        pass
    for report in disturbed:
        assert all(module.training for module in disturbed.task.modules())
        if report.round in rounds:
            before = state_of(disturbed)
            evaluate(disturbed, part(30, seed=2))
            after = state_of(disturbed)
            assert all(torch.equal(before[name], after[name]) for name in before)
    a, b = undisturbed.state(), disturbed.state()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_network_that_comes_in_evaluation_mode_is_trained_in_training_mode():
    """As one that was loaded from a folder does, to be trained further."""
    fresh, loaded = trainer_with(), trainer_with()
    loaded.task.classifier.eval()
    for _ in zip(fresh, loaded, strict=True):
        pass
    a, b = fresh.state(), loaded.state()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_weights_come_back_when_evaluation_fails():
    trainer = trainer_with(ema=0.9)
    trainer.run_round()
    before = state_of(trainer)
    with pytest.raises(KeyError):
        evaluate(trainer, Part({"x": torch.randn(3, 4)}))  # no labels
    after = state_of(trainer)
    assert all(torch.equal(before[name], after[name]) for name in before)


class TwoNorms(Task):
    """A player with running statistics, which rest while the other one moves; it is judged by the first."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, track_running_stats=True))
        self.b = nn.Linear(6, 1)

    def players(self):
        return {"a": self.a, "b": self.b}

    def turns(self, round):
        return [Descend("a", self.miss), Descend("b", self.miss)]

    def miss(self, batch):
        return {"miss": (self.b(self.a(batch["x"]).flatten(1))[:, 0] - batch["x"][:, 0]).square()}

    def scores(self, batch):
        return {"sum": self.a(batch["x"]).flatten(1).square().sum(1)}

    def scores_of_part(self, part):
        assert not self.training
        assert not torch.is_grad_enabled()
        return {"largest": float(self.a(part["x"]).max()), "examples": float(len(part))}


def two_norms(**settings):
    torch.manual_seed(0)
    return Trainer(TwoNorms(), OptimizerSettings(lr=0.05, **settings), Shuffled(part(40, seed=1), 16), rounds=5)


def test_a_norm_that_rests_is_judged_by_its_running_statistics():
    """After the last turn, the other player's, as after the loop, which everybody has left."""
    trainer, held_out = two_norms(), part(30, seed=2)
    within = [evaluate(trainer, held_out) for _ in trainer][-1]
    assert within == evaluate(trainer, held_out)
    norm = trainer.task.a[2]
    h = trainer.task.a[:2](held_out["x"])
    mean, variance = norm.running_mean[:, None], norm.running_var[:, None]
    expected = ((h - mean) / (variance + norm.eps).sqrt()).flatten(1).square().sum(1).mean()
    assert within["sum"] == pytest.approx(expected.item(), rel=1e-5)


def test_training_goes_on_as_if_nobody_had_looked_at_a_game_of_two():
    undisturbed, disturbed = two_norms(), two_norms()
    for _ in undisturbed:
        pass
    for _ in disturbed:
        evaluate(disturbed, part(30, seed=2))
    a, b = undisturbed.state(), disturbed.state()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("average", [None, 0.9])
def test_scores_of_the_whole_part_join_the_means_and_are_of_the_average(average):
    trainer, held_out = two_norms(ema=average), part(30, seed=2)
    for _ in trainer:
        pass
    scores = evaluate(trainer, held_out, batch_size=7)
    assert scores.keys() == {"sum", "largest", "examples"}
    assert scores["examples"] == 30
    net = nn.Sequential(*TwoNorms().a).eval()
    start = "task/a." if average is None else "player/a/average/"
    state = trainer.state()
    net.load_state_dict({name: state.get(start + name, state[f"task/a.{name}"]) for name in net.state_dict()})
    assert scores["largest"] == pytest.approx(float(net(held_out["x"]).max()), rel=1e-6)


def test_nothing_is_said_of_no_examples():
    assert evaluate(two_norms(), part(0, seed=2)) == {}


def seen(best, scores):
    return [best.update(round, score) for round, score in enumerate(scores)]


@pytest.mark.parametrize(("higher", "sign"), [(True, 1), (False, -1)])
def test_best_keeps_the_last_of_the_best_scores_and_waits_for_a_better_one(higher, sign):
    best = Best("score", higher)
    scores = [sign * s for s in (1.0, 3.0, 3.0, 2.0, 4.0, math.nan, 4.0)]
    assert seen(best, scores) == [True, True, True, False, True, False, True]
    assert (best.score, best.round, best.waited) == (sign * 4, 6, 2)


def test_nan_is_never_the_best_not_even_as_the_first():
    best = Best("score", higher=False)
    assert seen(best, [math.nan, math.nan, 5.0, math.nan]) == [False, False, True, False]
    assert (best.score, best.round) == (5.0, 2)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_is_over_after_so_many_evaluations_without_a_better_score(patience):
    best = Best("score", higher=True, patience=patience)
    best.update(0, 1.0)
    for round in range(1, patience + 1):
        assert not best.exhausted
        best.update(round, 0.5)
    assert best.exhausted
    best.update(patience + 1, 2.0)
    assert not best.exhausted


def test_without_patience_there_is_no_end_to_waiting():
    best = Best("score", higher=True)
    seen(best, [1.0] + [0.0] * 100)
    assert not best.exhausted


@pytest.mark.parametrize("scores", [[], [math.nan], [1.0, 0.5], [1.0, 2.0]])
def test_best_goes_on_from_its_state(scores):
    best, again = Best("score", higher=True, patience=2), Best("score", higher=True, patience=2)
    seen(best, scores)
    again.load_state(best.state())
    assert again == best
    for score in (0.7, 1.5):
        assert again.update(9, score) == best.update(9, score)
        assert again.exhausted == best.exhausted


def test_a_large_part_is_moved_batch_by_batch():
    """No tensor of the size of the part is made, whatever the type in which scores are computed."""
    rows, largest = 1000, 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if torch.is_tensor(out) and out.untyped_storage().data_ptr() not in inputs:
                largest = max(largest, len(out) if out.dim() else 0)
            return out

    held_out = part(rows, seed=1)
    inputs = {values.untyped_storage().data_ptr() for values in held_out.fields.values()}
    trainer = trainer_with("float64")
    with Watch():
        scores = evaluate(trainer, held_out, batch_size=50)
    assert largest == 50
    weights = {name: value.double() for name, value in trainer.task.model.state_dict().items()}
    expected = log_loss(held_out["label"], probabilities_of(weights, held_out["x"].double()))
    assert scores["cross_entropy"] == pytest.approx(expected, rel=1e-12)


class Noisy(Supervised):
    """Its score is its noise, one number for each example."""

    def scores(self, batch):
        return {"noise": self.noise(())}


def test_an_evaluation_has_the_noise_of_every_other_evaluation_and_another_for_each_batch_and_seed():
    def scores(seed, rounds, batch_size, examples=20):
        trainer = Trainer(Noisy(nn.Linear(4, 3), inputs="x"), OptimizerSettings(), Shuffled(part(40, 1), 16), 3, seed)
        for _ in range(rounds):
            trainer.run_round()
        return evaluate(trainer, part(examples, seed=2), batch_size)["noise"]

    assert len({scores(0, rounds, 20) for rounds in range(3)}) == 1
    assert len({scores(seed, 0, 20) for seed in range(3)}) == 3
    one, two = scores(0, 0, 10, examples=10), scores(0, 0, 10)
    assert one != pytest.approx(two)  # the second batch has other numbers than the first
