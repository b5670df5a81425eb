"""Scores of generated examples against the training part, with the features of a feature extractor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import DataSet, spread_over
from danlu.data.datasets.toy_2d import GRID_DEVIATION, RING_DEVIATION, grid_centers, ring_centers
from danlu.data.kinds import find_kind
from danlu.errors import UsageError
from danlu.evaluation.feature_extractors import (
    INCEPTION_BATCH,
    Features,
    check_features,
    feature_name,
    features_for,
    is_trained,
)
from danlu.evaluation.feature_networks import FeatureNetwork, extract, moments, score_name
from danlu.evaluation.reference_moments import reference_moments
from danlu.metrics.frechet import Moments, frechet_distance
from danlu.metrics.inception_score import inception_score
from danlu.metrics.kid import kernel_distance
from danlu.metrics.modes import classes_covered, modes
from danlu.metrics.precision_recall import NEIGHBORS as K_TH
from danlu.metrics.precision_recall import precision_recall
from danlu.metrics.sample_diversity import diversity, memorization, nearest, sliced_wasserstein
from danlu.rng.keys import generator
from danlu.storage.access import Access
from danlu.training.runtime import Runtime
from danlu.verbs import can, has

GENERATED = 10_000
"""number of generated examples that are scored at the end of a run"""
BATCH = 500
DISTANCE_EXAMPLES, TRAINING_EXAMPLES = 1000, 20_000
"""number of examples for distances; number of training examples that represent the training part"""
BRIEF_EXAMPLES = 1000
"""number of training examples that represent the training part in a dry run"""
NEIGHBORS, NEIGHBOR_BATCH = 200_000, 2000
"""maximum number of training examples for nearest-neighbor search; examples per batch"""
DETAILED, MANIFOLDS = 10_000, 2000
"""number of real and of generated examples for the kernel distance, and for precision and recall"""
MIXTURES = {"ring": (ring_centers, RING_DEVIATION), "grid": (grid_centers, GRID_DEVIATION)}
"""data sets with known modes"""


class GenerativeScorer:
    """Scores examples that a model generates.

    Args:
        data: the data set of the model; generated examples are compared with its training part.
        count: number of generated examples that are scored at an evaluation.
        runtime: device and precision.
        access: the cache, and the receiver of progress messages.
        folder: folder of the run for the classifier, if the run keeps one.
        feature_extractor: auto is a classifier of the same data if it has classes, else the values of the images.

    Attributes:
        brief: for a dry run: a classifier that is not cached is trained for two rounds, and its features are compared
            with few training examples. Nothing is cached.

    Raises:
        UsageError: if the features cannot be used for the data, or ``count`` is too small.
    """

    def __init__(
        self,
        data: DataSet,
        count: int,
        runtime: Runtime,
        access: Access | None = None,
        folder: Path | None = None,
        feature_extractor: Features = "auto",
    ):
        check_features(feature_extractor, data.info)
        if count < 2:
            raise UsageError(f"eval_samples={count} must be 0 (no scores) or at least 2, for example 2000")
        self.feature_extractor: Features = feature_extractor
        self.batch_size = INCEPTION_BATCH if feature_extractor == "inception" else BATCH
        self.data, self.count, self.runtime = data, count, runtime
        self.distance = find_kind(data.info.kind).distance
        if self.distance not in QUICK_SCORES:
            raise UsageError(
                f"generated {data.info.kind} cannot be scored; use eval_samples=0", settings=("eval_samples=0",)
            )
        self.access, self.folder, self.brief = access or Access(), folder, False

    @property
    def monitored(self) -> str:
        """The name of the first score of ``quick_scores``, which selects the weights; lower is better."""
        return score_name(self.distance, feature_name(self.data, self.feature_extractor), self.count, "train")

    @property
    def ready(self) -> bool:
        """Whether the feature extractor is available without training."""
        return is_trained(self.data, self.access, self.folder, self.feature_extractor)

    @cached_property
    def network(self) -> FeatureNetwork:
        """The feature extractor."""
        return features_for(self.data, self.runtime, self.access, self.folder, self.feature_extractor, self.brief)

    @cached_property
    def _moments(self) -> Moments:
        if self.brief and not self.ready:
            few = spread_over(self.data.train, BRIEF_EXAMPLES)[self.data.info.inputs]
            return moments(self.network, few, self.batch_size)
        return reference_moments(self.network, self.data.fingerprint(), "train", self._batches, self.access)

    def quick_scores(self, x: Tensor) -> dict[str, float]:
        """The scores for every evaluation during training, the monitored score first.

        Args:
            x: generated examples in the range of the data, on the CPU. If some are not finite, all scores are NaN, and
                ``not_finite`` is their number.
        """
        return _scores_of_finite(x, partial(QUICK_SCORES[self.distance], self))

    def _point_scores(self, x: Tensor) -> dict[str, float]:
        return {
            self._name("SWD", x): sliced_wasserstein(x, self._training_examples),
            **self._mixture_scores(x),
            **self._diversity_scores(x),
        }

    def _image_scores(self, x: Tensor) -> dict[str, float]:
        extracted = extract(self.network, x, self.batch_size)
        scores = {self._name("FID", x): self._frechet(extracted.features)}
        if extracted.probabilities is not None:
            scores[self._name("IS", x, with_reference=False)] = inception_score(extracted.probabilities).mean
        if extracted.probabilities is not None and self.feature_extractor == "auto":
            scores["classes_covered"] = float(
                classes_covered(extracted.probabilities.argmax(1), self.data.info.classes)
            )
        return {**scores, **self._diversity_scores(x)}

    def all_scores(self, x: Tensor) -> dict[str, float]:
        """All scores of generated examples, which are in the range of the data and on the CPU.

        Examples that are not finite are treated as in ``quick_scores``.
        """
        return _scores_of_finite(x, self._all_scores)

    def _all_scores(self, x: Tensor) -> dict[str, float]:
        scores = self.quick_scores(x)
        if self.distance == "FID":
            subsets = (random_subset(examples, DETAILED) for examples in (self._training_examples, x))
            real, fake = (extract(self.network, examples, self.batch_size).features.float() for examples in subsets)
            scores[self._name("KID", fake)] = kernel_distance(real, fake).mean
            count = min(len(real), len(fake), MANIFOLDS)
            if count > K_TH:
                real, fake = random_subset(real, count), random_subset(fake, count)
                manifolds = precision_recall(real, fake)
                scores[self._name("precision", fake)] = manifolds.precision
                scores[self._name("recall", fake)] = manifolds.recall
        return scores

    def coverage(self, scores: Mapping[str, float]) -> dict[str, float]:
        """The fraction of modes or classes of the data that are covered; empty if they are not counted.

        Args:
            scores: the result of ``quick_scores``.
        """
        if "modes_covered" in scores:
            return {"coverage": scores["modes_covered"] / len(MIXTURES[self.data.name][0]())}
        if "classes_covered" in scores:
            return {"coverage": scores["classes_covered"] / self._classes}
        return {}

    def draw(self, model: Any, count: int | None = None) -> Tensor:
        """Generate examples, the same in each call, on the CPU; clamped to the bounds of the data."""
        x, bounds = draw_samples(model, self.count if count is None else count), self.data.info.bounds
        if bounds is None:
            return x
        return x.clamp(*bounds).masked_fill(~x.isfinite(), torch.nan)  # clamp would hide infinity

    def _name(self, score: str, x: Tensor, with_reference: bool = True) -> str:
        return score_name(score, self.network.origin, len(x), "train" if with_reference else None)

    def _frechet(self, features: Tensor) -> float:
        return frechet_distance(Moments.of(features, self.network.origin), self._moments)

    def _batches(self) -> Iterator[Tensor]:
        return (batch[self.data.info.inputs] for batch in in_order(self.data.train, self.batch_size))

    def _mixture_scores(self, x: Tensor) -> dict[str, float]:
        if self.data.name not in MIXTURES:
            return {}
        centers, deviation = MIXTURES[self.data.name]
        mixture = modes(x, centers(), deviation)
        return {"modes_covered": float(mixture.covered), "good_samples": mixture.good}

    def _diversity_scores(self, x: Tensor) -> dict[str, float]:
        """Diversity, and distance to the training examples, both relative to the data."""
        subset = random_subset(x, DISTANCE_EXAMPLES)
        scores = {"diversity": diversity(subset) / self._diversity}
        if len(self.data.validation):
            neighbors = nearest(subset, training_batches(self.data))
            scores["memorization"] = memorization(neighbors.distance, self._validation_distances)
        return scores

    @cached_property
    def _training_examples(self) -> Tensor:
        return spread_over(self.data.train, TRAINING_EXAMPLES)[self.data.info.inputs].cpu().float()

    @cached_property
    def _validation_distances(self) -> Tensor:
        """Distances of validation examples to their nearest training example."""
        unseen = spread_over(self.data.validation, DISTANCE_EXAMPLES)[self.data.info.inputs].cpu().float()
        return nearest(unseen, training_batches(self.data)).distance

    @cached_property
    def _classes(self) -> int:
        """Number of classes that the training part itself covers."""
        return classes_covered(self.data.train["label"], self.data.info.classes) or self.data.info.classes

    @cached_property
    def _diversity(self) -> float:
        return diversity(spread_over(self.data.train, DISTANCE_EXAMPLES)[self.data.info.inputs].cpu().float())


def _scores_of_finite(x: Tensor, score: Callable[[Tensor], dict[str, float]]) -> dict[str, float]:
    """The scores of examples; NaN for all scores, and the number of examples that are not finite, if there are any."""
    count = int((~x.flatten(1).isfinite().all(1)).sum())
    if not count:
        return score(x)
    names = score(x.nan_to_num(0.0, 0.0, 0.0))  # the names of the scores depend on the data and the number of examples
    return {**dict.fromkeys(names, float("nan")), "not_finite": float(count)}


def training_batches(data: DataSet) -> Iterator[Tensor]:
    """The training examples for the search of nearest neighbors, in batches on the CPU."""
    batches = in_order(spread_over(data.train, NEIGHBORS), NEIGHBOR_BATCH)
    return (batch[data.info.inputs].cpu().float() for batch in batches)


def random_subset(x: Tensor, most: int) -> Tensor:
    """At most ``most`` random rows of a tensor, the same in each call; the first rows would be biased if sorted.

    >>> len(random_subset(torch.zeros(5, 2), 3)), len(random_subset(torch.zeros(2, 2), 3))
    (3, 2)
    """
    if len(x) <= most:
        return x
    return x[torch.randperm(len(x), generator=generator("some"))[:most].to(x.device)]


@torch.no_grad()
def draw_samples(model: Any, count: int) -> Tensor:
    """Samples of a model, the same in each call, on the CPU."""
    source = generator("judged", device=next(model.parameters()).device)
    options = {"generator": source} if has(model, "generator") else {}
    parts = (min(BATCH, count - start) for start in range(0, count, BATCH))
    return torch.cat([model.sample(n, **options).float().cpu() for n in parts])


def only_generates(model: Any) -> bool:
    """Whether a model samples but has no likelihood, bound of it, or energy."""
    return can(model, "sample") and not any(can(model, verb) for verb in ("log_prob", "log_prob_bound", "energy"))


QUICK_SCORES: dict[str, Callable[[GenerativeScorer, Tensor], dict[str, float]]] = {
    "FID": GenerativeScorer._image_scores,
    "SWD": GenerativeScorer._point_scores,
}
"""for each distance in the table of kinds, the function that computes it first, and further scores"""
