"""What the two processes of the tests are given to do; a process can only be given what it can import."""

import os

import torch
import torch.distributed as dist
from torch import Tensor

from danlu.app.asked import as_recipe
from danlu.app.run_folder import RunFolder
from danlu.nn.state import is_split
from danlu.training.descent import Descent
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer
from examined import play, tiny, trainer_of, without_dropout
from games import GAMES, points


def play_without_dropout(runtime: Runtime, name: str) -> tuple[dict[str, Tensor], str | None]:
    """The state at the end on one of several ranks, and why the game is coupled, if it is."""
    trainer = without_dropout(trainer_of(tiny(name), runtime))
    return play(trainer), trainer.task.coupled


def collectives(runtime: Runtime) -> dict[str, object]:
    """What the collectives give on a rank whose tensors hold its number."""
    numbers = [torch.full((2, 3), float(runtime.rank)), torch.tensor(10.0 + runtime.rank)]
    runtime.sum(numbers)
    means = [torch.tensor([float(runtime.rank), 4.0])]
    runtime.mean(means)
    decided = [runtime.decide(runtime.rank == 0), runtime.decide(runtime.rank == 1)]
    return {
        "sum": [n.tolist() for n in numbers],
        "mean": means[0].tolist(),
        "decided": decided,
        "n": dist.get_world_size(),
    }


def normed(runtime: Runtime) -> dict[str, torch.Tensor]:
    """A classifier with batch norm, trained on one of several ranks."""
    trainer = trainer_of(tiny("cnn", **{"model.norm": "batch"}), runtime)
    assert trainer.task.coupled == "batch norm"
    return play(trainer)


def game_of(name: str, runtime: Runtime, dropout: bool = True, accumulate: int = 1, shard: bool = False) -> Trainer:
    """A toy game, always with the same weights at the start."""
    game = GAMES[name]
    descents = split(game.descents) if shard else game.descents
    torch.manual_seed(7)
    task = game.task()
    stream = game.stream(points().to(runtime.device, runtime.dtype))
    trainer = Trainer(task, descents, stream, rounds=8, seed=5, accumulate=accumulate, runtime=runtime)
    return trainer if dropout else without_dropout(trainer)


def split(descents: Descent | dict[str, Descent]) -> Descent | dict[str, Descent]:
    """The same descents with every player split; instead of l2, which needs whole weights, its equal in SGD."""
    if isinstance(descents, dict):
        return {name: split(descent) for name, descent in descents.items()}
    return descents.model_copy(update={"shard": True, "weight_decay": descents.l2 or descents.weight_decay, "l2": 0.0})


def play_split_game(runtime: Runtime, name: str, accumulate: int = 1) -> tuple[dict[str, Tensor], int]:
    """The state of a toy game whose players are split over the processes, and how many tensors were split."""
    trainer = game_of(name, runtime, dropout=False, accumulate=accumulate, shard=True)
    return play(trainer), sum(is_split(value) for value in trainer.state().values())


def play_game(runtime: Runtime, name: str) -> dict[str, Tensor]:
    """The state of a toy game at its end on one of several ranks."""
    return play(game_of(name, runtime, dropout=False))


def create_one(folder: str, ready) -> str:
    """A run made in a folder at the same moment as in other processes."""
    os.chdir(folder)
    ready.wait(60)
    return str(RunFolder.create(None, "mlp", as_recipe("mlp"), {}).path)
