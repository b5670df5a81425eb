"""Scores on held-out data, and the memory of the best one."""

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
    """The task's scores: means over all examples, and those of the part as a whole.

    Args:
        trainer: whose task to evaluate; it goes on training as before.
        part: the examples, each seen once, in order.
        batch_size: how many at a time.

    >>> from danlu.data.base.batch_stream import Shuffled
    >>> from danlu.tasks.supervised import Supervised
    >>> from danlu.training.optimization import OptimizerSettings
    >>> part = Part({"x": torch.eye(4), "label": torch.zeros(4, dtype=torch.long)})
    >>> task = Supervised(torch.nn.Linear(4, 2), inputs="x")
    >>> trainer = Trainer(task, OptimizerSettings(), Shuffled(part, 2), rounds=1)
    >>> sorted(evaluate(trainer, part))
    ['accuracy', 'cross_entropy']
    """
    if not len(part):
        return {}
    totals: dict[str, float] = {}
    with as_judged(trainer):
        runtime = trainer.runtime
        part = part.to(runtime.device, runtime.dtype)
        for number, batch in enumerate(in_order(part, batch_size)):
            # round -1, which no training has: scores that draw see the same numbers each time
            trainer.task.enter(Place(trainer.seed, -1, number, batch.rows, batch.size, runtime.device, runtime.dtype))
            with runtime.autocast():
                scores = trainer.task.scores(batch)
            for name, values in scores.items():
                totals[name] = totals.get(name, 0.0) + float(values.double().sum())
        with runtime.autocast():
            whole = trainer.task.scores_of_part(part)
    return {name: total / len(part) for name, total in totals.items()} | whole


@contextmanager
def as_judged(trainer: Trainer) -> Iterator[None]:
    """While it lasts the task is as it is judged: in evaluation mode, with the averaged weights where there are any.

    All processes enter it together, and then none waits for another; the training goes on afterwards as before.
    """
    with ExitStack() as stack:
        trainer.shards.rest()
        for player in trainer.players.values():
            stack.enter_context(player.averaged())
        stack.enter_context(trainer.shards.whole())
        trainer.cast.release()  # a resting player's norm would otherwise normalize by its input
        trainer.task.eval()
        yield


@dataclass
class Best:
    """The best score so far, and how long there has been none better.

    Of equal scores the later one is the best, for it has trained longer; but only a better one renews the patience.

    Args:
        monitor: name of the score.
        higher: whether higher is better.
        patience: evaluations without a better score after which to stop, or never.

    >>> best = Best("accuracy", higher=True, patience=2)
    >>> [best.see(n, score) for n, score in enumerate([0.5, 0.7, 0.6, 0.7])]
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

    def see(self, round: int, score: float) -> bool:
        """Take note of a score; whether it is the best so far. NaN never is."""
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
        """Whether the patience is over."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"score": self.score, "round": self.round, "waited": self.waited}

    def load_state(self, state: dict[str, Any]) -> None:
        """The opposite of ``state``."""
        self.score, self.round, self.waited = state["score"], state["round"], state["waited"]
