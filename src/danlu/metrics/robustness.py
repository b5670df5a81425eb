"""Accuracy of a classifier on shifted and noisy images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.images.warp import move
from danlu.metrics.classification import accuracies
from danlu.rng.keys import generator

Classifier = Callable[[Tensor], Tensor]


class Robustness(NamedTuple):
    """Accuracy for each strength of a corruption.

    Attributes:
        strengths: shift in pixels, or standard deviation of noise as a fraction of the range of values.
        accuracy: fraction of correct predictions at each strength.
    """

    strengths: tuple[float, ...]
    accuracy: tuple[float, ...]


def under_shift(
    classify: Classifier, images: Float[Tensor, "n c h w"], labels: Int[Tensor, "n"], pixels: Sequence[int]
) -> Robustness:
    """Accuracy on shifted images, averaged over four directions. Pixels from outside of the image are zero.

    Args:
        classify: function from images to class probabilities, (n, classes).
        images: images, (n, c, h, w).
        labels: correct classes, (n,).
        pixels: sizes of the shift in pixels.

    >>> bright = lambda x: torch.stack([1 - x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1)
    >>> under_shift(bright, torch.ones(1, 1, 4, 4), torch.tensor([1]), (0, 3)).accuracy
    (1.0, 0.0)
    """
    directions = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]], device=images.device)
    no_flip = torch.zeros(len(images), 2, dtype=torch.bool, device=images.device)
    accuracy = []
    for step in pixels:
        used = directions[:1] if step == 0 else directions
        shifted = [move(images, no_flip, (step * direction).expand(len(images), 2)) for direction in used]
        accuracy.append(sum(_accuracy(classify, batch, labels) for batch in shifted) / len(shifted))
    return Robustness(tuple(map(float, pixels)), tuple(accuracy))


def under_noise(
    classify: Classifier,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, "n"],
    deviations: Sequence[float],
    value_range: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> Robustness:
    """Accuracy on images with normal noise on every value, clipped to the range of values.

    All deviations use the same noise, scaled.

    Args:
        classify: function from images to class probabilities, (n, classes).
        images: images, (n, c, h, w).
        labels: correct classes, (n,).
        deviations: standard deviations of the noise, as fractions of the range.
        value_range: lowest and highest value.
        seed: random seed of the noise.

    >>> dark = lambda x: torch.stack([1 - x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1)
    >>> under_noise(dark, torch.zeros(2, 1, 8, 8), torch.tensor([0, 0]), (0.0, 0.1)).accuracy
    (1.0, 1.0)
    """
    low, high = value_range
    source = generator("robustness", seed, device=images.device)
    noise = torch.randn(images.shape, generator=source, device=images.device, dtype=images.dtype)
    noisy = ((images + deviation * (high - low) * noise).clamp(low, high) for deviation in deviations)
    accuracy = tuple(_accuracy(classify, batch, labels) for batch in noisy)
    return Robustness(tuple(map(float, deviations)), accuracy)


def _accuracy(classify: Classifier, images: Tensor, labels: Tensor) -> float:
    return float(accuracies(classify(images), labels).double().mean())
