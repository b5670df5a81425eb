"""Modes of the data that samples cover."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

GOOD_DEVIATIONS = 3.0
"""A sample is good within this number of standard deviations of the nearest center."""
COVERED_SAMPLES, COVERED_OF = 20, 2500
"""A mode is covered if it has at least 20 of 2500 samples, or the same fraction of another number."""


class Modes(NamedTuple):
    """Modes that samples cover, and the fraction of good samples.

    Attributes:
        good: fraction of samples near a center.
        covered: number of modes with enough good samples.
        counts: number of good samples nearest to each center, (k,).
    """

    good: float
    covered: int
    counts: Int[Tensor, "k"]


def modes(
    samples: Float[Tensor, "n d"],
    centers: Float[Tensor, "k d"],
    deviation: float,
    within: float = GOOD_DEVIATIONS,
    minimum: int | None = None,
) -> Modes:
    """Count the Gaussians of a mixture that samples cover, and the fraction of good samples.

    A good sample lies within three standard deviations of the nearest center and counts for that center. Srivastava et
    al., "VEEGAN: Reducing mode collapse in GANs using implicit variational learning", 2017, section 4.1, with 2500
    samples. In the paper one good sample captures a mode (``minimum=1``). Here a mode needs 20 of 2500, so stray
    samples between two modes do not count.

    Args:
        samples: generated samples, (n, d). If one is not finite, the fraction of good samples is NaN.
        centers: centers of the Gaussians, (k, d).
        deviation: standard deviation of each Gaussian along every axis.
        within: number of standard deviations within which a sample is good.
        minimum: minimum number of good samples of a covered mode; None means 20 per 2500 samples.

    Raises:
        ValueError: if there are no samples or centers, the widths differ, or a number is out of range.

    >>> x = torch.tensor([[0.0], [0.2], [5.0], [9.9]])
    >>> modes(x, centers=torch.tensor([[0.0], [10.0]]), deviation=0.1, minimum=1)
    Modes(good=0.75, covered=2, counts=tensor([2, 1]))
    """
    if samples.ndim != 2 or centers.ndim != 2 or samples.shape[1] != centers.shape[1]:
        shapes = f"{tuple(samples.shape)} and {tuple(centers.shape)}"
        raise ValueError(f"samples (n, d) and centers (k, d) must have the same d, got {shapes}")
    if not len(samples) or not len(centers):
        raise ValueError(f"at least 1 sample and 1 center are needed, got {len(samples)} and {len(centers)}")
    if not deviation > 0 or not within > 0:
        raise ValueError(f"deviation={deviation} and within={within} must be greater than 0")
    distances = torch.cdist(samples, centers.to(samples), compute_mode="donot_use_mm_for_euclid_dist")
    distance, nearest = distances.nan_to_num(nan=torch.inf).min(dim=1)
    good = distance <= within * deviation
    counts = torch.bincount(nearest[good], minlength=len(centers))
    fraction = float(good.double().mean()) if bool(samples.isfinite().all()) else math.nan
    return Modes(fraction, covered_by(counts, len(samples), minimum), counts)


def classes_covered(predictions: Int[Tensor, "n"], classes: int, minimum: int | None = None) -> int:
    """Count the classes that a classifier predicts for enough samples.

    Args:
        predictions: predicted class of each sample, (n,).
        classes: number of classes.
        minimum: minimum number of samples of a covered class; None means 20 per 2500 samples.

    Raises:
        ValueError: if a predicted class is not from 0 to classes - 1.

    >>> classes_covered(torch.tensor([0, 0, 2, 2, 2, 1]), classes=4, minimum=2)
    2
    """
    if len(predictions) and not 0 <= int(predictions.min()) <= int(predictions.max()) < classes:
        raise ValueError(
            f"predictions must be from 0 to {classes - 1}, got {int(predictions.min())} to {int(predictions.max())}"
        )
    return covered_by(torch.bincount(predictions, minlength=classes), len(predictions), minimum)


def covered_by(counts: Int[Tensor, "k"], samples: int, minimum: int | None = None) -> int:
    """Count the modes that have enough samples.

    Args:
        counts: number of samples of each mode, (k,).
        samples: number of samples drawn, including those of no mode.
        minimum: minimum number of samples of a covered mode; None means 20 per 2500 drawn samples, and at least one.

    Raises:
        ValueError: if ``minimum`` is below 1.

    >>> covered_by(torch.tensor([10, 9, 0]), samples=1250)
    1
    """
    if minimum is None:
        minimum = max(1, -(-samples * COVERED_SAMPLES // COVERED_OF))  # rounded up
    if minimum < 1:
        raise ValueError(
            f"minimum={minimum} must be at least 1; otherwise modes without samples would count as covered"
        )
    return int((counts >= minimum).sum())
