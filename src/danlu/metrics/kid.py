"""The kernel distance of two sets of features. With Inception features it is the KID."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.rng.keys import generator

SUBSETS, SIZE = 100, 1000
"""Default number of subsets, and number of examples of each set in a subset."""


class KernelDistance(NamedTuple):
    """Squared kernel distance over random subsets.

    Attributes:
        mean: mean over the subsets; for equal distributions about 0, possibly negative.
        deviation: standard deviation over the subsets.
    """

    mean: float
    deviation: float


def kernel_distance(
    real: Float[Tensor, "n d"],
    fake: Float[Tensor, "m d"],
    subsets: int = SUBSETS,
    size: int = SIZE,
    seed: int = 0,
) -> KernelDistance:
    """The unbiased squared maximum mean discrepancy over random subsets of both sets.

    Unlike the Fréchet distance, its expected value does not depend on the number of examples, and it does not assume
    Gaussian features. Bińkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", 2018, section 4.

    Args:
        real: features of examples of the data, (n, d).
        fake: features of generated examples, (m, d).
        subsets: number of subsets.
        size: number of examples of each set in a subset, drawn without replacement; limited to the smaller set.
        seed: random seed of the subsets.

    Raises:
        ValueError: if the widths differ, a set has fewer than two examples, features are not finite, or ``subsets`` is
            below 1.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> kernel_distance(x, x + 1, subsets=1)
    KernelDistance(mean=9.5, deviation=0.0)
    """
    if subsets < 1:
        raise ValueError(f"subsets={subsets} must be at least 1")
    _check(real, fake)
    size = min(size, len(real), len(fake))
    if size < 2:
        raise ValueError(f"a subset must have at least 2 examples of each set, got {size}")
    source = generator("kernel distance", seed)
    if size == len(real) == len(fake):
        subsets = 1  # every subset is the whole set
    whole = [_within(x.double()) if size == len(x) else None for x in (real, fake)]  # the same for every subset
    values = []
    for _ in range(subsets):
        rows = [torch.randperm(len(x), generator=source)[:size].to(x.device) for x in (real, fake)]
        x, y = real[rows[0]].double(), fake[rows[1]].double()
        values.append(_discrepancy(x, y, *whole))
    estimates = torch.stack(values)
    return KernelDistance(float(estimates.mean()), float(estimates.std(correction=0)))


def squared_discrepancy(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    r"""The unbiased estimate of the squared maximum mean discrepancy with the cubic kernel, in float64.

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{nm} \sum_{i,j} k(x_i, y_j), \qquad k(a, b) = (a^\top b / d + 1)^3

    Gretton et al., "A kernel two-sample test", 2012, lemma 6, with the kernel of Bińkowski et al., 2018.

    Args:
        x: one set, (n, d).
        y: the other set, (m, d).

    >>> squared_discrepancy(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]]))  # 1 + 27 - (1 + 1 + 8 + 27) / 2
    tensor(9.5000, dtype=torch.float64)
    """
    return _discrepancy(x.double(), y.double())


def _discrepancy(x: Tensor, y: Tensor, within_x: Tensor | None = None, within_y: Tensor | None = None) -> Tensor:
    """The estimate; the mean kernel values within the sets can be given."""
    within_x = _within(x) if within_x is None else within_x
    within_y = _within(y) if within_y is None else within_y
    return within_x + within_y - 2 * _k(x, y).mean()


def _within(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The mean kernel value of two different examples of a set."""
    kernel = _k(x, x)
    return (kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))


def _k(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1).pow(3)


def _check(real: Tensor, fake: Tensor) -> None:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        shapes = f"{tuple(real.shape)} and {tuple(fake.shape)}"
        raise ValueError(f"both sets must be features (n, d) with the same d, got {shapes}")
    if not bool(real.isfinite().all()) or not bool(fake.isfinite().all()):
        raise ValueError("some features are infinite or NaN; check the examples and the feature network")
