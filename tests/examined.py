"""Recipes at the size at which they are examined."""

import torch
from torch import Tensor, nn

from danlu.catalogue import find_data, find_recipe
from danlu.data.stream import Shuffled
from danlu.recipes.files import changed
from danlu.recipes.recipe import Recipe
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

ROUNDS = 6


def tiny(name: str, **changes: object) -> Recipe:
    """The recipe at the size at which it is examined."""
    cls = find_recipe(name)
    return changed(cls(), {**cls.tiny, "rounds": ROUNDS, **changes})


def trainer_of(recipe: Recipe, runtime: Runtime | None = None) -> Trainer:
    data = find_data(recipe.data)()
    runtime = runtime or Runtime()
    torch.manual_seed(recipe.seed)
    task = recipe.task(data.info)
    stream = Shuffled(data.train.to(runtime.device, runtime.dtype), recipe.batch_size, recipe.seed)
    rounds = recipe.length(stream.epoch_rounds)
    return Trainer(task, recipe.descents(), stream, rounds, recipe.seed, recipe.accumulate, runtime)


def without_dropout(trainer: Trainer) -> Trainer:
    for module in trainer.task.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return trainer


def play(trainer: Trainer) -> dict[str, Tensor]:
    for _ in trainer:
        pass
    return {name: value.clone() for name, value in trainer.state().items()}
