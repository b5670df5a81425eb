"""Networks with seeded weights, trainers, and the error of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.base.split import stratified_split
from danlu.data.images.augment import Augmented
from danlu.data.images.settings import Augment
from danlu.metrics.classification import accuracies
from danlu.rng.keys import seeded
from danlu.tasks.supervised import Supervised
from danlu.tasks.task import Descend, Place, Task, Turn
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

M = TypeVar("M", bound=nn.Module)


def from_seed(make: Callable[[], M], seed: int) -> M:
    """Build a module with initial weights that depend only on the seed.

    >>> a, b = (from_seed(lambda: nn.Linear(2, 2), seed=3) for _ in range(2))
    >>> torch.equal(a.weight, b.weight)
    True
    """
    with seeded("weights", seed):
        return make()


def classification_trainer(
    network: nn.Module,
    part: Part,
    settings: OptimizerSettings,
    rounds: int,
    batch_size: int | Literal["full"],
    seed: int,
    augment: Augment | None = None,
) -> Trainer:
    """A trainer for the classification of the labels of a part.

    Args:
        network: maps inputs to logits.
        part: the examples, with the field ``image`` or ``x``, and ``label``.
        settings: the optimizer settings.
        rounds: length of the training.
        batch_size: examples per batch, or ``full`` for the whole part.
        seed: random seed of the batches.
        augment: augmentation of the training images, if any.

    >>> part = Part({"x": torch.eye(4), "label": torch.arange(4)})
    >>> trainer = classification_trainer(nn.Linear(4, 4), part, OptimizerSettings(), rounds=3, batch_size=2, seed=0)
    >>> sum(1 for _ in trainer)
    3
    """
    stream = Shuffled(part, batch_size, seed)
    batches = stream if augment is None else Augmented(stream, augment, seed)
    inputs = "image" if "image" in part.fields else "x"
    return Trainer(Supervised(network, inputs=inputs), settings, batches, rounds, seed)


class SinglePlayer(Task):
    """A task with several players in which only one is trained. Updates without an optimizer are skipped.

    Args:
        task: the task with all players.
        player: the name of the player that is trained.

    >>> from danlu.models import MLPCritic, MLPGenerator
    >>> from danlu.tasks import Adversarial
    >>> game = Adversarial(MLPGenerator((1,), 0, None, hidden=()), MLPCritic((1,), 0, (8,)), inputs="x")
    >>> [turn.player for turn in SinglePlayer(game, "generator").turns(0)], list(SinglePlayer(game, "critic").players())
    (['generator'], ['critic'])
    """

    def __init__(self, task: Task, player: str):
        super().__init__()
        self.task, self.player = task, player

    def players(self) -> dict[str, nn.Module]:
        return {self.player: self.task.players()[self.player]}

    def enter(self, place: Place) -> None:
        """Also set the source of the noise of the inner task."""
        super().enter(place)
        self.task.enter(place)

    def turns(self, round: int) -> list[Turn]:
        turns = self.task.turns(round)
        player_turns = [turn for turn in turns if isinstance(turn, Descend) and turn.player == self.player]
        # the others are not players of this task, and are fixed networks in evaluation mode
        return [turn._replace(fresh=True, in_training=()) for turn in player_turns]


def stratified_subset(part: Part, count: int, seed: int) -> Part:
    """A stratified random subset of a part.

    >>> part = Part({"x": torch.arange(10), "label": torch.arange(10) % 2})
    >>> sorted(stratified_subset(part, 4, seed=0)["label"].tolist())
    [0, 0, 1, 1]
    """
    fraction = count / len(part)
    return part.take(stratified_split(part["label"], (fraction, 1 - fraction), seed)[0])


@torch.no_grad()
def error(network: nn.Module, inputs: Float[Tensor, "n ..."], labels: Tensor) -> float:
    """The misclassification rate, in evaluation mode; NaN if an example has no prediction.

    >>> error(nn.Identity(), torch.eye(4), torch.tensor([0, 1, 2, 0]))
    0.25
    """
    network.eval()
    return 1 - float(accuracies(network(inputs), labels).double().mean())
