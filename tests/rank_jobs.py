"""What the two processes of the tests are given to do; a process can only be given what it can import."""

from __future__ import annotations

import copy
import errno
import math
import os
import threading
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs import session
from danlu.data import Batch, Shuffled
from danlu.errors import RunError, UsageError
from danlu.models import Model
from danlu.nn import named_tensors
from danlu.nn.state_dict import full_tensor, is_sharded
from danlu.recipes import as_recipe
from danlu.tasks import Supervised, Terms
from danlu.training import Checkpoint, OptimizerSettings, Runtime, Shards, Trainer, checkpoint, evaluate
from danlu.training.checkpoint import newest, write
from examined import play, tiny, trainer_of, without_dropout
from games import GAMES, points


def play_without_dropout(
    runtime: Runtime, name: str, changes: dict[str, object] | None = None
) -> tuple[dict[str, Tensor], str | None]:
    """The state at the end on one of several ranks, and why the game is coupled, if it is."""
    trainer = without_dropout(trainer_of(tiny(name, **(changes or {})), runtime))
    return play(trainer), trainer.task.coupled


def collectives(runtime: Runtime) -> dict[str, object]:
    """What the collectives give on a rank whose tensors hold its number."""
    numbers = [torch.full((2, 3), float(runtime.rank)), torch.tensor(10.0 + runtime.rank)]
    runtime.sum(numbers)
    means = [torch.tensor([float(runtime.rank), 4.0])]
    runtime.mean(means)
    decided = [runtime.broadcast_bool(runtime.rank == 0), runtime.broadcast_bool(runtime.rank == 1)]
    return {
        "sum": [n.tolist() for n in numbers],
        "mean": means[0].tolist(),
        "decided": decided,
        "told": runtime.broadcast(math.nextafter(0.1, runtime.rank)),
        "n": dist.get_world_size(),
    }


def scores_of_a_session(runtime: Runtime) -> dict[str, float]:
    """The validation scores that a run goes by, on a rank that measures a last bit of its own."""
    recipe = tiny("mlp")
    run = session.Session(recipe, recipe.load(), trainer_of(recipe, runtime), None, 1)
    real = session.evaluate
    session.evaluate = lambda *given: {"accuracy": math.nextafter(0.9, runtime.rank)}
    try:
        return run._evaluate()
    finally:
        session.evaluate = real


def normed(runtime: Runtime) -> dict[str, torch.Tensor]:
    """A classifier with batch norm, trained on one of several ranks."""
    trainer = trainer_of(tiny("cnn", **{"model.norm": "batch"}), runtime)
    assert trainer.task.coupled == "batch norm"
    return play(trainer)


def game_of(
    name: str, runtime: Runtime, dropout: bool = True, grad_accumulation: int = 1, shard: bool = False
) -> Trainer:
    """A toy game, always with the same weights at the start."""
    game = GAMES[name]
    optimizer_settings = split(game.optimizer_settings) if shard else game.optimizer_settings
    torch.manual_seed(7)
    task = game.task()
    stream = game.stream(points().to(runtime.device, runtime.dtype))
    trainer = Trainer(
        task, optimizer_settings, stream, rounds=8, seed=5, grad_accumulation=grad_accumulation, runtime=runtime
    )
    return trainer if dropout else without_dropout(trainer)


def split(
    optimizer_settings: OptimizerSettings | dict[str, OptimizerSettings],
) -> OptimizerSettings | dict[str, OptimizerSettings]:
    """The same settings with every player split; instead of l2, which needs whole weights, its equal in SGD."""
    if isinstance(optimizer_settings, dict):
        return {name: split(descent) for name, descent in optimizer_settings.items()}
    return optimizer_settings.model_copy(
        update={"shard": True, "weight_decay": optimizer_settings.l2 or optimizer_settings.weight_decay, "l2": 0.0}
    )


def play_split_game(runtime: Runtime, name: str, grad_accumulation: int = 1) -> tuple[dict[str, Tensor], int]:
    """The state of a toy game whose players are split over the processes, and how many tensors were split."""
    trainer = game_of(name, runtime, dropout=False, grad_accumulation=grad_accumulation, shard=True)
    return play(trainer), sum(is_sharded(value) for value in trainer.state().values())


def play_game(runtime: Runtime, name: str) -> dict[str, Tensor]:
    """The state of a toy game at its end on one of several ranks."""
    return play(game_of(name, runtime, dropout=False))


def create_one(folder: str, ready: Barrier, paths: SimpleQueue[str]) -> None:
    """Make a run in a folder at the same moment as other processes do."""
    os.chdir(folder)
    ready.wait(60)
    paths.put(str(RunFolder.create(None, as_recipe("mlp"), {"recipe": "mlp"}).path))


def save_split_game(runtime: Runtime, name: str, folder: str) -> None:
    """Play half of a split game and write a checkpoint in parts."""
    trainer = game_of(name, runtime, dropout=False, shard=True)
    for _ in range(4):
        trainer.run_round()
    write(Path(folder), Checkpoint(trainer.round, trainer.state(), {"drawn": trainer.drawn}), runtime)


def go_on_split(runtime: Runtime, name: str, folder: str) -> dict[str, Tensor]:
    """Go on from a checkpoint with split players."""
    saved = newest(Path(folder))
    assert saved is not None
    trainer = game_of(name, runtime, dropout=False, shard=True)
    trainer.load_state(saved.tensors, saved.round, saved.page["drawn"])
    return play(trainer)


def refused(runtime: Runtime, name: str) -> str:
    """What a split game says that cannot be played."""
    try:
        play(game_of(name, runtime, dropout=False, shard=True))
    except UsageError as error:
        return str(error)
    return ""


def refused_in_a_method(runtime: Runtime) -> str:
    """What a split module says to a second derivative of a method that is not forward."""
    model = Stack(1).double()
    Shards({"stack": model}, {"stack"}, runtime)
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    try:
        torch.autograd.grad(model.logits(x).sum(), x, create_graph=True)
    except UsageError as error:
        return str(error)
    return ""


class Projected(Supervised):
    """A classifier one of whose scores takes the weights and does not run it."""

    def scores(self, batch: Batch) -> Terms:
        return {"length": (batch["x"] @ self.classifier[0].weight.T).square().sum(1), **super().scores(batch)}


def looked_at(runtime: Runtime) -> dict[str, object]:
    """States and scores of a split player that somebody runs between the rounds, and names of what is split."""
    torch.manual_seed(7)
    task = Projected(nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)), inputs="x")
    data = points().to(runtime.device, runtime.dtype)
    descent = OptimizerSettings(optimizer="adam", lr=0.01, ema=0.9, shard=True)
    trainer = Trainer(task, descent, Shuffled(data, 16), rounds=8, runtime=runtime)
    states, scores = [], []
    for _ in range(2):
        trainer.run_round()
        task.classifier(data["x"])
        scores.append(evaluate(trainer, data))
        task.classifier(data["x"])
        state = trainer.state()
        states.append({name: full_tensor(value).clone() for name, value in state.items()})
    task.classifier(data["x"])
    trainer.load_state(states[0], 1, 1)
    states.append({name: full_tensor(value).clone() for name, value in trainer.state().items()})
    return {"states": states, "scores": scores, "split": [name for name, value in state.items() if is_sharded(value)]}


class Stack(Model):
    """Layers one after the other, used by a method that is not forward."""

    def __init__(self, depth: int):
        super().__init__()
        self.first, self.layers = nn.Linear(2, 6), nn.ModuleList(nn.Linear(6, 6) for _ in range(depth))
        self.shift = nn.Parameter(torch.zeros(3))
        self.last = nn.Linear(6, 3)

    def logits(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for layer in self.layers:
            h = layer(h).tanh()
        return self.last(h) + self.shift

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


def split_stack(runtime: Runtime) -> dict[str, object]:
    """Gradients of a stack whose layers are gathered one at a time, and what it holds while it is whole."""
    torch.manual_seed(0)
    model = Stack(3).double()
    alone = copy.deepcopy(model)
    shards = Shards({"stack": model}, {"stack"}, runtime, block=40)
    x = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mine = runtime.row_slices(8)[0]
    model.logits(x[mine]).square().sum().backward()
    shards.reshard()
    gradients = {name: full_tensor(p.grad) for name, p in model.named_parameters()}
    alone.logits(x).square().sum().backward()
    with shards.gathered(keep=True), torch.no_grad():
        before = {name: value.clone() for name, value in named_tensors(model).items()}
        answers = [model.logits(x), model(x), model.logits(x)]  # nobody gathers meanwhile, so one process could ask
        model.shift.add_(1)
        model.layers[1].weight.mul_(2)
    after = {name: full_tensor(value) for name, value in named_tensors(model).items()}
    model.logits(x)
    return {
        "dropped": all(is_sharded(parameter) for layer in model.layers for parameter in layer.parameters()),
        "layers": len(shards._layers),
        "gradients": (gradients, {name: p.grad for name, p in alone.named_parameters()}),
        "before": (before, named_tensors(alone)),
        "answers": (answers, alone.logits(x).detach()),
        "after": after,
        "kind": describe_kind(model),
    }


def describe_kind(model: Model) -> str:
    return model.kind.__name__


def write_with_a_full_disk(runtime: Runtime, folder: str, failing: int) -> str:
    """What is said by a process when one of them cannot write its part; the earlier checkpoint is there still."""
    trainer = game_of("supervised", runtime, shard=True)
    write(Path(folder), Checkpoint(1, trainer.state(), {}), runtime)
    real = checkpoint._save

    def full(tensors: object, path: Path) -> None:
        if runtime.rank == failing and "part" in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(tensors, path)

    checkpoint._save = full
    try:
        write(Path(folder), Checkpoint(2, trainer.state(), {}), runtime)
    except RunError as error:
        saved = newest(Path(folder))
        return f"{saved.round if saved else None}: {error}"
    finally:
        checkpoint._save = real
    return "written"


def fail_before_a_sum(runtime: Runtime, rank: int) -> None:
    """One rank raises an error; the others wait for it in a collective."""
    if runtime.rank == rank:
        raise ValueError(f"error of rank {rank}")
    dist.all_reduce(torch.ones(1))


def die_before_a_sum(runtime: Runtime, rank: int) -> None:
    """One process ends; the others wait for it in a collective."""
    if runtime.rank == rank:
        os._exit(3)
    dist.all_reduce(torch.ones(1))


def wait_for_ever(runtime: Runtime) -> None:
    """No rank comes back."""
    threading.Event().wait()


def own_rank(runtime: Runtime) -> int:
    """The number of the rank."""
    return runtime.rank


def disagree(runtime: Runtime) -> str:
    """The error of tensors of which one differs in its last bit."""
    same = {"a": torch.ones(3), "c": torch.zeros(2, 2)}
    runtime.check_agreement(same)
    last = math.nextafter(2.0, 3.0 * runtime.rank)  # below 2 on rank 0, above 2 on rank 1
    try:
        runtime.check_agreement({**same, "b": torch.tensor([1.0, last], dtype=torch.double)})
    except RunError as error:
        return str(error)
    return "none"
