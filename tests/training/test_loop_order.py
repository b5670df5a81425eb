"""What happens when in a round: the rate of this round, the average after the step, one dropout mask for each place."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

from danlu.data import Part, Shuffled
from danlu.tasks import Descend, Task
from danlu.training import OptimizerSettings, Runtime, Trainer


class Slope(Task):
    """Its gradient is 1 in every turn, so that a step of plain descent is the learning rate."""

    def __init__(self, turns=1):
        super().__init__()
        self.player, self.dropout, self.count, self.masks = nn.Linear(1, 1, bias=False), nn.Dropout(0.5), turns, []
        nn.init.zeros_(self.player.weight)

    def players(self):
        return {"player": self.player}

    def turns(self, round):
        return [Descend("player", self.fall)] * self.count

    def fall(self, batch):
        self.masks.append(tuple(self.dropout(torch.ones(64)).tolist()))
        return {"slope": self.player(torch.ones(len(batch), 1))[:, 0]}


class Dropping(Slope):
    """Its dropout is the player's own, and so in training mode."""

    def __init__(self, turns):
        super().__init__(turns)
        self.player = nn.Sequential(nn.Linear(1, 1), self.dropout)


def trainer_of(task, grad_accumulation=1, seed=0, rank=0, **settings):
    stream = Shuffled(Part({"x": torch.zeros(8, 1)}), 4)
    settings = OptimizerSettings(optimizer="sgd", lr=0.5, **settings)
    trainer = Trainer(task, settings, stream, 4, seed, grad_accumulation, Runtime())
    if rank:  # as in this process of several, without the others
        row_slices = trainer._row_slices
        with patch.object(Runtime, "row_slices", lambda self, size, parts: row_slices):
            trainer = Trainer(task, settings, stream, 4, seed, grad_accumulation, Runtime(rank=rank))
    return trainer


def test_a_round_has_the_learning_rate_of_its_own_number():
    task = Slope()
    trainer, before = trainer_of(task, schedule="linear"), 0.0
    for round in range(4):
        report = trainer.run_round()
        after = task.player.weight.item()
        expected = 0.5 * trainer.players["player"].settings.factor(round, 4)
        assert before - after == pytest.approx(expected, rel=1e-6)
        assert report.values()["player/lr"] == pytest.approx(expected)
        before = after
    factors = {trainer.players["player"].settings.factor(round, 4) for round in range(4)}
    assert len(factors) == 4  # else another round's rate would be found right


def test_the_average_takes_in_the_weights_after_the_step():
    task = Slope()
    trainer, average = trainer_of(task, ema=0.9), 0.0
    for step in range(1, 5):
        trainer.run_round()
        fraction = 1 - min(0.9, (1 + step) / (10 + step))
        average += fraction * (task.player.weight.item() - average)
        with trainer.players["player"].averaged():
            assert task.player.weight.item() == pytest.approx(average, rel=1e-5)


def test_each_seed_process_round_turn_and_micro_batch_has_a_dropout_mask_of_its_own():
    """And the same again in another training."""

    def masks(seed, rank):
        task = Dropping(turns=3)
        list(trainer_of(task, grad_accumulation=2, seed=seed, rank=rank))
        assert len(task.masks) == 4 * 3 * 2
        return task.masks

    places = [(seed, rank) for seed in (0, 1) for rank in (0, 1, 2)]
    first = [mask for place in places for mask in masks(*place)]
    assert len(set(first)) == len(first) == 6 * 4 * 3 * 2
    assert first == [mask for place in places for mask in masks(*place)]
