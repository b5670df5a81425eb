"""Toy games, one of each kind that the models need; each says in a few lines what it would take a family to say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from danlu.data import Batch, Part, Shuffled, Stream, join_streams
from danlu.losses import per_example
from danlu.tasks import Descend, Supervised, Task, Terms, Turn, Update
from danlu.training import OptimizerSettings

ADAM = OptimizerSettings(optimizer="adam", lr=0.01)


def two_layers(inputs: int, outputs: int, *between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), *between, nn.Linear(12, outputs))


class Adversarial(Task):
    """Five turns of a critic, clipped after each, then one of a generator (WGAN)."""

    def __init__(self):
        super().__init__()
        self.critic, self.generator = two_layers(2, 1), two_layers(3, 2)

    def players(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "generator": self.generator}

    def turns(self, round: int) -> list[Turn]:
        judge = Descend("critic", self.judge, in_training=("generator",))
        return [judge, Update(self.clip)] * 5 + [Descend("generator", self.fool, in_training=("critic",))]

    def judge(self, batch: Batch) -> Terms:
        fake = self.generator(self.noise((3,))).detach()
        return {"fake": self.critic(fake)[:, 0], "real": -self.critic(batch["x"])[:, 0]}

    def fool(self, batch: Batch) -> Terms:
        return {"fool": -self.critic(self.generator(self.noise((3,))))[:, 0]}

    def clip(self, batch: Batch) -> None:
        for parameter in self.critic.parameters():
            parameter.clamp_(-0.1, 0.1)


class Penalized(Adversarial):
    """The critic's gradient is held near 1 by a penalty, which needs second derivatives (WGAN-GP)."""

    def turns(self, round: int) -> list[Turn]:
        judge = Descend("critic", self.judge, in_training=("generator",))
        return [judge] * 2 + [Descend("generator", self.fool, in_training=("critic",))]

    def judge(self, batch: Batch) -> Terms:
        fake = self.generator(self.noise((3,))).detach()
        mixed = torch.lerp(fake, batch["x"], self.noise((1,), uniform=True)).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(mixed).sum(), mixed, create_graph=True)
        penalty = 10 * (slope.square().sum(1).add(1e-12).sqrt() - 1).square()
        return {"fake": self.critic(fake)[:, 0], "real": -self.critic(batch["x"])[:, 0], "penalty": penalty}


class Contrastive(Task):
    """An energy falls on data and rises on samples, which Langevin steps carry on from a pool (deep energy model).

    Each row of the batch has four slots of the pool to itself, and each round goes on from one of them.
    """

    def __init__(self, rows: int):
        super().__init__()
        self.energy = two_layers(2, 1)
        self.register_rows("pool", torch.randn(4, rows, 2, generator=torch.Generator().manual_seed(0)), dim=1)

    def players(self) -> dict[str, nn.Module]:
        return {"energy": self.energy}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("energy", self.contrast)]

    def contrast(self, batch: Batch) -> Terms:
        slot = (4 * self.noise((), uniform=True)).long()
        mine, row = self.pool[:, batch.rows], torch.arange(len(batch))
        x = mine[slot, row]
        for _ in range(5):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(x).sum(), x)
            x = x - 0.1 * slope + 0.05 * self.noise((2,))
        mine[slot, row] = x.detach()
        return {"data": self.energy(batch["x"])[:, 0], "samples": -self.energy(x.detach())[:, 0]}


class Distillation(Task):
    """A student follows a frozen teacher and the moving average of itself, which is pulled along after each turn."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = two_layers(2, 3), two_layers(2, 3, nn.Dropout(0.5))
        self.mean = copy.deepcopy(self.student)

    def players(self) -> dict[str, nn.Module]:
        return {"student": self.student}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("student", self.follow), Update(self.pull)]

    def follow(self, batch: Batch) -> Terms:
        said = self.student(batch["x"]).log_softmax(1)
        return {
            "teacher": F.kl_div(said, self.teacher(batch["x"]).softmax(1), reduction="none").sum(1),
            "mean": F.kl_div(said, self.mean(batch["x"] + 0.1 * self.noise((2,))).softmax(1), reduction="none").sum(1),
        }

    def pull(self, batch: Batch) -> None:
        for mean, now in zip(self.mean.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(now, 0.05)


class Shared(Task):
    """Two players share an encoder: one tells classes apart, one reconstructs."""

    def __init__(self):
        super().__init__()
        encoder = two_layers(2, 4)
        self.teller, self.painter = nn.Sequential(encoder, nn.Linear(4, 3)), nn.Sequential(encoder, nn.Linear(4, 2))

    def players(self) -> dict[str, nn.Module]:
        return {"teller": self.teller, "painter": self.painter}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("teller", self.tell), Descend("painter", self.paint, fresh=False)]

    def tell(self, batch: Batch) -> Terms:
        return {"class": F.cross_entropy(self.teller(batch["x"]), batch["label"], reduction="none")}

    def paint(self, batch: Batch) -> Terms:
        return {"square": (self.painter(batch["x"]) - batch["x"]).square().sum(1)}


class SemiSupervised(Task):
    """Few labeled and many unlabeled examples at once: cross-entropy, and equal answers to noisy copies."""

    def __init__(self):
        super().__init__()
        self.teller = two_layers(2, 3)

    def players(self) -> dict[str, nn.Module]:
        return {"teller": self.teller}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("teller", self.both)]

    def both(self, batch: Batch) -> Terms:
        few, many = batch.part("labeled"), batch.part("unlabeled")
        noisy = many["x"] + 0.1 * self.noise((2,), batch=many)
        apart = (self.teller(many["x"]).softmax(1) - self.teller(noisy).softmax(1)).square().sum(1)
        told = F.cross_entropy(self.teller(few["x"]), few["label"], reduction="none")
        return {"class": told, "agreement": per_example(apart, len(few))}


class ClosedForm(Task):
    """Nobody descends: outer products of patterns are added up, each seen once (Hopfield)."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.zeros(2, 2))

    def players(self) -> dict[str, nn.Module]:
        return {}

    def turns(self, round: int) -> list[Turn]:
        return [Update(self.store, fresh=True)]

    def store(self, batch: Batch) -> None:
        self.weights += batch["x"].T @ batch["x"] / batch.size


class Lanes(Task):
    """Each row of the batch is a lane whose recurrent state is carried on from round to round."""

    def __init__(self, rows: int):
        super().__init__()
        self.cell, self.head = nn.GRUCell(2, 5), nn.Linear(5, 2)
        self.reader = nn.ModuleList([self.cell, self.head])
        self.register_rows("state", torch.zeros(rows, 5))

    def players(self) -> dict[str, nn.Module]:
        return {"reader": self.reader}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("reader", self.read)]

    def read(self, batch: Batch) -> Terms:
        state = self.cell(batch["x"], self.state[batch.rows].clone())  # backward needs the old state
        self.state[batch.rows] = state.detach()
        return {"square": (self.head(state) - batch["x"].flip(1)).square().sum(1)}


ROWS = 16


def points(count: int = 60) -> Part:
    """Points of the plane with one of three labels."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(1))
    return Part({"x": x, "label": (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()})


class Game(NamedTuple):
    """How a game is made: its task, its optimizer_settings, its streams."""

    task: Callable[[], Task]
    optimizer_settings: OptimizerSettings | dict[str, OptimizerSettings] = ADAM
    stream: Callable[[Part], Stream] = lambda part: Shuffled(part, ROWS, seed=3)


def few_and_many(part: Part) -> Stream:
    few = part.take(torch.arange(9))
    return join_streams(labeled=Shuffled(few, 8, seed=3), unlabeled=Shuffled(part, 32, seed=4))


GAMES: dict[str, Game] = {
    "supervised": Game(lambda: Supervised(two_layers(2, 3, nn.Dropout(0.3)), inputs="x")),
    "adversarial": Game(
        Adversarial,
        {
            "critic": OptimizerSettings(optimizer="rmsprop", lr=0.01),
            "generator": OptimizerSettings(optimizer="adam", ema=0.9),
        },
    ),
    "penalized": Game(Penalized, OptimizerSettings(optimizer="adam", lr=0.01, betas=(0.0, 0.9), grad_clip=1.0)),
    "contrastive": Game(lambda: Contrastive(ROWS)),
    "distillation": Game(Distillation, OptimizerSettings(optimizer="nesterov", lr=0.05, l2=0.01)),
    "shared": Game(Shared),
    "semi-supervised": Game(SemiSupervised, ADAM, few_and_many),
    "closed-form": Game(ClosedForm, {}),
    "lanes": Game(
        lambda: Lanes(ROWS), OptimizerSettings(optimizer="momentum", lr=0.05, grad_clip=0.1)
    ),  # Adam would hide the norm
}
