"""Scores on held-out data, and the best score so far."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import Part
from danlu.tasks.task import Place
from danlu.training.trainer import Trainer


@torch.no_grad()
def evaluate(trainer: Trainer, part: Part, batch_size: int = 500) -> dict[str, float]:
    """The scores of the task: means over all examples, and scores that need the whole part.

    They are computed as those of the finished model, also if the training uses mixed precision.

    Args:
        trainer: the trainer of the task; the evaluation does not affect the training.
        part: the examples, on any device; each is used once, in order.
        batch_size: number of examples per batch.

    >>> from danlu.data import Shuffled
    >>> from danlu.tasks import Supervised
    >>> from danlu.training import OptimizerSettings
    >>> part = Part({"x": torch.eye(4), "label": torch.zeros(4, dtype=torch.long)})
    >>> task = Supervised(torch.nn.Linear(4, 2), inputs="x")
    >>> trainer = Trainer(task, OptimizerSettings(), Shuffled(part, 2), rounds=1)
    >>> sorted(evaluate(trainer, part))
    ['accuracy', 'cross_entropy']
    """
    if not len(part):
        return {}
    totals: dict[str, float] = {}
    with evaluation_mode(trainer):
        runtime = trainer.runtime
        for number, batch in enumerate(in_order(part, batch_size, runtime.device, runtime.dtype)):
            # round -1 does not occur in training: scores that use random numbers get the same ones each time
            trainer.task.enter(Place(trainer.seed, -1, number, batch.rows, batch.size, runtime.device, runtime.dtype))
            scores = trainer.task.scores(batch)
            for name, values in scores.items():
                totals[name] = totals.get(name, 0.0) + float(values.double().sum())
        part_scores = trainer.task.scores_of_part(part)
    return {name: total / len(part) for name, total in totals.items()} | part_scores


@contextmanager
def evaluation_mode(trainer: Trainer) -> Iterator[None]:
    """A context for evaluation: the task is in evaluation mode, with averaged weights if there are any.

    All processes enter it together; within it, no process waits for another. Training then continues as before.
    """
    with ExitStack() as stack:
        trainer.shards.reshard()
        trainer.active_player.release()
        for player in trainer.players.values():
            stack.enter_context(player.averaged())
        stack.enter_context(trainer.shards.gathered())
        trainer.task.eval()
        yield


@dataclass
class Best:
    """The best score so far, and the number of evaluations since the last improvement.

    Among equal scores the latest is the best, because it was trained longest. Only a better score resets the patience.

    Args:
        monitor: name of the score.
        higher: whether higher is better.
        patience: number of evaluations without improvement after which to stop; None for never.

    >>> best = Best("accuracy", higher=True, patience=2)
    >>> [best.update(n, score) for n, score in enumerate([0.5, 0.7, 0.6, 0.7])]
    [True, True, False, True]
    >>> best.round, best.exhausted
    (3, True)
    """

    monitor: str
    higher: bool
    patience: int | None = None
    score: float | None = None
    round: int | None = None
    waited: int = 0

    def update(self, round: int, score: float) -> bool:
        """Record a score, and return whether it is the best so far. NaN is never the best."""
        if math.isnan(score):
            self.waited += 1
            return False
        gain = math.inf if self.score is None else (score - self.score) * (1 if self.higher else -1)
        self.waited = 0 if gain > 0 else self.waited + 1
        if gain >= 0:
            self.score, self.round = score, round
        return gain >= 0

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"score": self.score, "round": self.round, "waited": self.waited}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a result of ``state``."""
        self.score, self.round, self.waited = state["score"], state["round"], state["waited"]
