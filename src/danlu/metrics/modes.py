"""Which modes of the data a generator reaches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

WITHIN = 3.0
"""deviations from the nearest center up to which a sample is good"""
LEAST, OF = 20, 2500
"""a mode is covered from 20 of 2500 samples on, and from as large a share of another number"""


class Modes(NamedTuple):
    """What became of samples.

    Attributes:
        good: share of samples that lie near a center.
        covered: number of modes with enough of them.
        counts: good samples nearest to each center.
    """

    good: float
    covered: int
    counts: Int[Tensor, "k"]


def modes(
    samples: Float[Tensor, "n d"],
    centers: Float[Tensor, "k d"],
    deviation: float,
    within: float = WITHIN,
    least: int | None = None,
) -> Modes:
    """How many of the Gaussians of a mixture samples cover, and which share of the samples is good.

    A sample is good if it lies within three deviations of the nearest center; it counts for that center. Srivastava et
    al., "VEEGAN: Reducing mode collapse in GANs using implicit variational learning", 2017, section 4.1, with 2500
    samples. There a mode is captured with one good sample (``least=1``); here it takes 20 of 2500, so that stray
    samples on the way from one mode to another do not count.

    Args:
        samples: what the generator made.
        centers: of the Gaussians.
        deviation: of each Gaussian along every axis.
        within: deviations up to which a sample is good.
        least: good samples that a covered mode has; none means 20 for every 2500 samples.

    Raises:
        ValueError: if there are no samples or centers, widths differ, or a number is out of range.

    >>> x = torch.tensor([[0.0], [0.2], [5.0], [9.9]])
    >>> modes(x, centers=torch.tensor([[0.0], [10.0]]), deviation=0.1, least=1)
    Modes(good=0.75, covered=2, counts=tensor([2, 1]))
    """
    if samples.ndim != 2 or centers.ndim != 2 or samples.shape[1] != centers.shape[1]:
        given = f"{tuple(samples.shape)} and {tuple(centers.shape)}"
        raise ValueError(f"samples (n, d) and centers (k, d) must have the same d, and are {given}")
    if not len(samples) or not len(centers):
        raise ValueError(f"there are {len(samples)} samples and {len(centers)} centers; there must be some of each")
    if not deviation > 0 or not within > 0:
        raise ValueError(f"deviation={deviation} and within={within} must be above 0")
    distances = torch.cdist(samples, centers.to(samples), compute_mode="donot_use_mm_for_euclid_dist")
    distance, nearest = distances.nan_to_num(nan=torch.inf).min(dim=1)
    good = distance <= within * deviation
    counts = torch.bincount(nearest[good], minlength=len(centers))
    return Modes(float(good.double().mean()), covered_by(counts, len(samples), least), counts)


def classes_covered(guesses: Int[Tensor, "n"], classes: int, least: int | None = None) -> int:
    """How many classes a classifier finds among samples.

    Args:
        guesses: the class of each sample.
        classes: how many there are.
        least: samples that a covered class has; none means 20 for every 2500 samples.

    >>> classes_covered(torch.tensor([0, 0, 2, 2, 2, 1]), classes=4, least=2)
    2
    """
    if len(guesses) and not 0 <= int(guesses.min()) <= int(guesses.max()) < classes:
        raise ValueError(f"guesses run from {int(guesses.min())} to {int(guesses.max())}, beyond classes={classes}")
    return covered_by(torch.bincount(guesses, minlength=classes), len(guesses), least)


def covered_by(counts: Int[Tensor, "k"], samples: int, least: int | None = None) -> int:
    """How many modes have enough samples.

    Args:
        counts: samples of each mode.
        samples: how many were drawn, those of no mode too.
        least: samples that a covered mode has; none means 20 for every 2500 drawn, and at least one.

    Raises:
        ValueError: if a mode without samples would be covered.

    >>> covered_by(torch.tensor([10, 9, 0]), samples=1250)
    1
    """
    if least is None:
        least = max(1, -(-samples * LEAST // OF))  # rounded up
    if least < 1:
        raise ValueError(f"least={least} must be at least 1, or modes without samples are covered")
    return int((counts >= least).sum())
