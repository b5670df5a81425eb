"""Games of generator and critic on the digits, and how far generated digits are from the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.evaluation.feature_networks import ClassifierFeatures, extract, moments
from danlu.experiments.harness.trainers import classifying, from_seed
from danlu.metrics.frechet import Moments, frechet_distance
from danlu.metrics.modes import classes_covered
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.classify.cnn import CNN
from danlu.rng.keys import generator as generator_of
from danlu.training.optimization import OptimizerSettings
from danlu.training.schedules import Schedule
from danlu.training.trainer import Trainer
from danlu.training.validation import as_judged

JUDGED = 1000  # generated pictures that are scored
NAME = "digits-cnn"  # what scores call the judge


class Quality(NamedTuple):
    """What a judge finds in generated pictures.

    Attributes:
        fid: Fréchet distance of its features from those of the training pictures.
        covered: classes that it finds in them.
        guesses: the class that it takes each for.
    """

    fid: float
    covered: int
    guesses: Tensor


class DigitsJudge:
    """A small convolutional classifier of the digits, whose features stand where Inception's do for photographs.

    Args:
        seed: of its weights and its training.
        rounds: of its training.
        schedule: of its learning rate.
    """

    def __init__(self, seed: int, rounds: int = 300, schedule: Schedule = "constant"):
        self.part, info = digits().train, digits().info
        classifier = from_seed(lambda: cast(CNN, CNN(info.shape, info.classes, hidden=(32,))), seed)
        for _ in classifying(classifier, self.part, OptimizerSettings(lr=3e-3, schedule=schedule), rounds, 128, seed):
            pass
        self.network = ClassifierFeatures(classifier.eval(), NAME)
        self.real = moments(self.network, self.part["image"])

    def look(self, pictures: Tensor) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n classes"]]:
        """Its features of pictures, and how probable it thinks each class."""
        seen = extract(self.network, pictures)
        assert seen.probabilities is not None
        return seen.features, seen.probabilities

    def fid(self, features: Float[Tensor, "n d"]) -> float:
        """How far pictures with these features are from the training pictures."""
        return frechet_distance(self.real, Moments.of(features, self.network.origin))

    def __call__(self, pictures: Tensor) -> Quality:
        """How far these are from the training pictures, and what is in them."""
        features, probabilities = self.look(pictures)
        guesses = probabilities.argmax(1)
        return Quality(self.fid(features), classes_covered(guesses, probabilities.shape[1]), guesses)


def pair(make: Callable[[], Generator], against: Callable[[], Critic], seed: int) -> tuple[Generator, Critic]:
    """Generator and critic with the weights that this seed gives."""
    return from_seed(make, 2 * seed), from_seed(against, 2 * seed + 1)


@torch.no_grad()
def samples(trainer: Trainer, n: int, seed: int) -> Tensor:
    """What the generator of a game makes as it is judged, from codes that the seed gives."""
    generator = cast(Generator, trainer.task.model)
    with as_judged(trainer):
        return generator.sample(n, generator=generator_of("judged", seed))


def pixels_alone(part: Part, seed: int) -> Tensor:
    """Pictures each pixel of which comes from another example: every pixel is right, and no picture is."""
    x = part["image"].flatten(1)
    orders = torch.rand(x.shape, generator=generator_of("pixels", seed)).argsort(0)
    return x.gather(0, orders).view_as(part["image"])
