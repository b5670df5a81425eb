"""Recipes at the size at which they are examined."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from danlu.catalogue import find_recipe
from danlu.nn import Recurrent
from danlu.nn.state_dict import full_tensor
from danlu.recipes import Recipe, build, changed
from danlu.training import Checkpoint, Runtime, Trainer, checkpoint

ROUNDS = 6


def tiny(name: str, **changes: object) -> Recipe:
    """The recipe at the size at which it is examined."""
    cls = find_recipe(name)
    return changed(cls(), {**cls.tiny, "rounds": ROUNDS, **changes})


def trainer_of(recipe: Recipe, runtime: Runtime | None = None) -> Trainer:
    """By default as on a CPU without further settings, with channels-last convolutions."""
    return build(recipe, runtime or Runtime(channels_last=True)).trainer


def without_dropout(trainer: Trainer) -> Trainer:
    for module in trainer.task.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, Recurrent):
            module.dropout = 0.0
    return trainer


def go_on(stopped: Trainer, fresh: Trainer, folder: Path) -> Trainer:
    """A fresh trainer where another stopped, by way of a checkpoint on disk."""
    checkpoint.write(folder, Checkpoint(stopped.round, stopped.state(), {"drawn": stopped.drawn}))
    saved = checkpoint.newest(folder)
    assert saved is not None
    fresh.load_state(saved.tensors, saved.round, saved.page["drawn"])
    return fresh


def play(trainer: Trainer) -> dict[str, Tensor]:
    for _ in trainer:
        pass
    return {name: full_tensor(value).clone() for name, value in trainer.state().items()}


class Finished(NamedTuple):
    """A trainer that has played all its rounds, and its state then; several tests share it, so nobody trains it on."""

    trainer: Trainer
    state: dict[str, Tensor]


@cache
def finished(name: str, **changes: object) -> Finished:
    """The recipe at the size at which it is examined, trained to its end once for all tests."""
    trainer = trainer_of(tiny(name, **changes))
    return Finished(trainer, play(trainer))
