"""Generators and critics for the digits, and the quality of generated digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.evaluation.feature_networks import ClassifierFeatures, extract, moments
from danlu.experiments.harness.trainers import classification_trainer, from_seed
from danlu.metrics.frechet import Moments, frechet_distance
from danlu.metrics.modes import classes_covered
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.classify.cnn import CNN
from danlu.rng.keys import generator as generator_of
from danlu.rng.keys import key
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer
from danlu.training.validation import evaluation_mode

SCORED_IMAGES = 1000  # generated images that are scored
FEATURES_NAME = "digits-cnn"  # the name of the feature extractor in scores


class Quality(NamedTuple):
    """The quality of a set of generated images.

    Attributes:
        fid: Fréchet distance between their features and those of the training images.
        covered: the number of classes that are predicted at least once.
        predictions: the predicted class of each image.
    """

    fid: float
    covered: int
    predictions: Tensor


class DigitsEvaluator:
    """A small convolutional classifier of the digits that serves as the feature extractor in place of Inception.

    It is trained with the optimizer and the learning rate of the recipe ``cnn``.

    Args:
        seed: random seed of the weights and of the training.
        rounds: length of the training.
        schedule: learning-rate schedule of the training.
    """

    def __init__(self, seed: int, rounds: int = 300, schedule: Schedule = "constant"):
        self.part, info = digits().train, digits().info
        classifier = from_seed(lambda: cast(CNN, CNN(info.shape, info.classes, hidden=(32,))), seed)
        for _ in classification_trainer(
            classifier, self.part, OptimizerSettings(lr=3e-3, schedule=schedule), rounds, 128, seed
        ):
            pass
        self.network = ClassifierFeatures(classifier.eval(), FEATURES_NAME)
        self.real = moments(self.network, self.part["image"])

    def extract_features(self, images: Tensor) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n classes"]]:
        """The features and the class probabilities of images."""
        extracted = extract(self.network, images)
        assert extracted.probabilities is not None
        return extracted.features, extracted.probabilities

    def fid(self, features: Float[Tensor, "n d"]) -> float:
        """The Fréchet distance between images with these features and the training images."""
        return frechet_distance(self.real, Moments.of(features, self.network.origin))

    def __call__(self, images: Tensor) -> Quality:
        """The quality of generated images."""
        features, probabilities = self.extract_features(images)
        predictions = probabilities.argmax(1)
        return Quality(self.fid(features), classes_covered(predictions, probabilities.shape[1]), predictions)


@lru_cache(maxsize=1)
def evaluator_of(seed: int, rounds: int) -> DigitsEvaluator:
    """The evaluator of a seed. The last one is kept for the next run with this seed in the same process."""
    return DigitsEvaluator(seed, rounds)


def pair(
    make_generator: Callable[[], Generator], make_critic: Callable[[], Critic], seed: int
) -> tuple[Generator, Critic]:
    """Build a generator and a critic with seeded initial weights, independent of each other."""
    return from_seed(make_generator, key("generator", seed)), from_seed(make_critic, key("critic", seed))


@torch.no_grad()
def samples(trainer: Trainer, n: int, seed: int) -> Tensor:
    """Draw images from the generator of a task in evaluation mode, with seeded latents."""
    generator = cast(Generator, trainer.task.model)
    with evaluation_mode(trainer):
        return generator.sample(n, generator=generator_of("judged", seed))


def pixels_alone(part: Part, seed: int) -> Tensor:
    """Images whose pixels come from different examples: the marginal distributions match, the joint one does not."""
    x = part["image"].flatten(1)
    orders = torch.rand(x.shape, generator=generator_of("pixels", seed)).argsort(0)
    return x.gather(0, orders).view_as(part["image"])
