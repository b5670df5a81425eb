"""A run in memory: data, game and trainer, made from a recipe, and the loop that reads the trainer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from danlu.app.asked import build
from danlu.app.interrupt import Interrupt
from danlu.app.pictures import draw, is_time
from danlu.app.run_folder import RunFolder
from danlu.app.screen import Screen
from danlu.data.dataset import DataSet
from danlu.data.residence import settle
from danlu.data.source import Access
from danlu.errors import UsageError, nearest
from danlu.recipes.recipe import Recipe
from danlu.training import checkpoint
from danlu.training.checkpoint import Checkpoint
from danlu.training.evaluation import Best, as_judged, evaluate
from danlu.training.runtime import DeviceName, Runtime
from danlu.training.trainer import Trainer

SECONDS_BETWEEN_SAVES = 30.0
CHECKPOINTS_KEPT = 3
LINES_OF_LOG = 500


@dataclass
class Session:
    """Everything that a run needs in memory.

    Attributes:
        recipe: what is trained.
        data: the data set.
        trainer: plays the game.
        best: the best validation score, if one is watched.
        every: rounds between evaluations.
        residence: where the training examples stay, in words.
        access: what was used to get the data.
        stopped: whether somebody asked to stop before the end.
        seconds: how long it has trained, over all its lives.
    """

    recipe: Recipe
    data: DataSet
    trainer: Trainer
    best: Best | None
    every: int
    residence: str = "in memory"
    access: Access = field(default_factory=Access)
    stopped: bool = False
    seconds: float = 0.0
    _now: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls, recipe: Recipe, device: DeviceName = "auto", access: Access | None = None, alone: bool = False
    ) -> Session:
        """Load the data and build the game; two calls with one recipe build the same.

        Args:
            recipe: what to train.
            device: where.
            access: what may be used to get the data.
            alone: whether to leave other processes alone, though a launcher has started some.

        Raises:
            UsageError: if recipe, data and device do not go together.
        """
        r = recipe
        runtime = Runtime.start(
            device, r.precision, r.compile, r.replay, r.deterministic, r.tf32, alone, r.channels_last
        )
        data: DataSet = recipe.load(access)
        task = build(recipe, data.info)
        stream, residence = settle(data.train, recipe.batch_size, recipe.seed, runtime.device, runtime.dtype)
        if recipe.augment.mixes and not task.mixes:
            raise UsageError(f"mixup and cutmix mix labels, which {type(task).__name__} does not read; leave both at 0")
        stream = recipe.as_seen(stream, recipe.seed)
        rounds = recipe.length(stream.epoch_rounds)
        trainer = Trainer(task, recipe.descents(), stream, rounds, recipe.seed, recipe.accumulate, runtime)
        every = recipe.evaluate_every or max(1, round(stream.epoch_rounds))
        watched = _watched(recipe, trainer, bool(len(data.validation)))
        return cls(recipe, data, trainer, watched, every, residence, access or Access())

    def play(self, run: RunFolder, screen: Screen, interrupt: Interrupt) -> None:
        """Read the trainer to its end, to the end of patience, or until somebody asks to stop."""
        trainer, runtime = self.trainer, self.trainer.runtime
        log_every = max(1, trainer.rounds // LINES_OF_LOG)
        self._now = self._saved = time.monotonic()
        for report in trainer if not self._exhausted() else ():
            evaluated = report.round % self.every == 0 or report.round == trainer.rounds
            better = False
            if evaluated or report.round % log_every == 0:
                entry: dict[str, Any] = {
                    "round": report.round,
                    "epoch": report.drawn / trainer.stream.epoch_rounds,
                    **report.values(),
                    **(self._scores() if evaluated else {}),
                }
                run.log(entry)
                screen.show(report.round, entry, evaluated)
                better = evaluated and self._is_better(entry)
            if evaluated and is_time(report.round, trainer.rounds, self.every, self.recipe.pictures):
                self._draw(run)
            if runtime.decide(better or time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES):
                self.save(run)
            if runtime.decide(self._exhausted()):
                break
            if report.round < trainer.rounds and runtime.decide(interrupt.asked):
                self.stopped = True
                break
        self.save(run)

    def _draw(self, run: RunFolder) -> None:
        """Pictures, before the checkpoint that would say they are there."""
        trainer = self.trainer
        with torch.no_grad(), as_judged(trainer), trainer.runtime.autocast():
            if not trainer.runtime.rank:
                draw(trainer.task.model, self.data.validation, self.data.info, run.samples, trainer.round)

    def _is_better(self, entry: dict[str, Any]) -> bool:
        return self.best is not None and self.best.see(entry["round"], entry[f"validation/{self.best.watch}"])

    def _exhausted(self) -> bool:
        return self.best is not None and self.best.exhausted

    def _scores(self) -> dict[str, float]:
        """Those of process 0: the last bit may differ, and then the processes would disagree about the best."""
        tell, found = self.trainer.runtime.tell, evaluate(self.trainer, self.data.validation)
        return {f"validation/{name}": tell(value) for name, value in found.items()}

    def save(self, run: RunFolder) -> None:
        """Write a checkpoint, and drop those that nobody will want."""
        self.trainer.settle()
        state = self.trainer.state()
        now = time.monotonic()
        self.seconds += now - self._now
        self._now = self._saved = now
        runtime = self.trainer.runtime
        if not runtime.rank:
            run.sync_metrics()
        best = self.best.state() if self.best else None
        page: dict[str, Any] = {"drawn": self.trainer.drawn, "best": best, "seconds": self.seconds}
        checkpoint.write(run.checkpoints, Checkpoint(self.trainer.round, state, page), runtime)
        if not runtime.rank:
            checkpoint.prune(run.checkpoints, CHECKPOINTS_KEPT, self.best.round if self.best else None)

    def load(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.trainer.load_state(saved.tensors, saved.round, saved.page["drawn"])
        self.seconds = saved.page.get("seconds", 0.0)
        if self.best is not None and saved.page["best"] is not None:
            self.best.load_state(saved.page["best"])


def _watched(recipe: Recipe, trainer: Trainer, validated: bool) -> Best | None:
    better = trainer.task.better
    name = recipe.watch or next(iter(better), "none")
    if name == "none":
        if recipe.patience is not None:
            raise UsageError("patience needs a validation score to watch, and this task has none")
        return None
    if name not in better:
        raise UsageError(f"watch: there is no score named {name!r}; {nearest(name, [*better, 'none'])}")
    if not validated:
        if recipe.patience is not None or recipe.watch is not None:
            word = "patience" if recipe.patience is not None else "watch"
            raise UsageError(f"{word} needs validation examples, and {recipe.data} has none, as it was split")
        return None
    return Best(name, better[name] == "higher", recipe.patience)
