"""Diversity, memorization and Wasserstein distance of samples, from distances between examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.metrics.distances import distances
from danlu.metrics.neighbors import Neighbors, nearest_neighbors
from danlu.rng.keys import generator


def diversity(samples: Float[Tensor, "n *shape"]) -> float:
    r"""The mean distance between two samples.

    .. math:: \frac{2}{n (n - 1)} \sum_{i < j} \lVert x_i - x_j \rVert

    The ratio ``diversity(fake) / diversity(real)`` falls toward 0 when a generator collapses.

    Args:
        samples: at least two samples, (n, *shape).

    Raises:
        ValueError: if there are fewer than two samples.

    >>> diversity(torch.tensor([[0.0], [1.0], [3.0]]))
    2.0
    """
    x = samples.flatten(1)
    n = len(x)
    if n < 2:
        raise ValueError(f"diversity needs at least 2 samples, got {n}")
    total = 0.0
    for _, block in distances(x, x):  # the distance of a sample to itself is exactly 0
        total += float(block.sum(dtype=torch.float64))
    return total / (n * (n - 1))


class Nearest(NamedTuple):
    """The nearest training example of each sample.

    Attributes:
        distance: distance to this example, (n,).
        indices: index of this example in the training examples, (n,).
    """

    distance: Float[Tensor, "n"]
    indices: Int[Tensor, "n"]


def nearest(samples: Float[Tensor, "n *shape"], training: Tensor | Iterable[Tensor]) -> Nearest:
    """Find the nearest training example of each sample. The distance of an exact copy is exactly 0.

    The distance is NaN if the sample, or an example that may be nearer, is not finite.

    Args:
        samples: generated samples, (n, *shape).
        training: training examples, as one tensor or as batches.

    Raises:
        ValueError: if the shapes differ, or a set is empty.

    >>> nearest(torch.tensor([[0.9], [5.0]]), torch.tensor([[5.0], [1.0]])).indices
    tensor([1, 0])
    """
    best: Neighbors | None = None
    offset = 0
    for batch in [training] if isinstance(training, Tensor) else training:
        candidate = _nearest(samples, batch)
        if best is None:
            best = candidate
        else:
            closer = (candidate.squared < best.squared) | candidate.squared.isnan()
            best = Neighbors(
                torch.where(closer, candidate.squared, best.squared),
                torch.where(closer, candidate.indices + offset, best.indices),
            )
        offset += len(batch)
    if best is None:
        raise ValueError("training must have at least one example")
    return Nearest(best.squared[:, 0].sqrt().to(samples.dtype), best.indices[:, 0])


def _nearest(samples: Float[Tensor, "n *shape"], training: Float[Tensor, "m *shape"]) -> Neighbors:
    if samples.shape[1:] != training.shape[1:]:
        shapes = f"{tuple(samples.shape[1:])} and {tuple(training.shape[1:])}"
        raise ValueError(f"samples and training examples must have the same shape, got {shapes}")
    return nearest_neighbors(samples.flatten(1), training.flatten(1))


def memorization(sample_distances: Float[Tensor, "n"], data_distances: Float[Tensor, "k"]) -> float:
    r"""Median distance of samples to the training examples, relative to that of new examples of the data.

    .. math:: \operatorname{median}_i \min_j \lVert x_i - t_j \rVert \,\big/\,
        \operatorname{median}_i \min_j \lVert h_i - t_j \rVert

    About 1 if the generator has learned the distribution; near 0 if it repeats training examples; above 1 if its
    samples are far from the data.

    Args:
        sample_distances: distance of each sample to its nearest training example, (n,). Use all training examples:
            a copy of an omitted example would be missed.
        data_distances: the same distance for examples of the data that the generator was not trained on, (k,).

    >>> training = torch.tensor([[0.0], [1.0]])
    >>> fake, real = (nearest(torch.tensor(x), training) for x in ([[0.0], [1.5]], [[2.0], [3.0]]))
    >>> memorization(fake.distance, real.distance)
    0.1666...
    """
    sample_median, data_median = (
        float(distance.double().quantile(0.5)) for distance in (sample_distances, data_distances)
    )
    return sample_median / data_median if data_median else float("nan" if not sample_median else "inf")


def wasserstein_1d(x: Float[Tensor, "*k n"], y: Float[Tensor, "*k m"]) -> Float[Tensor, "*k"]:
    r"""The exact Wasserstein-1 distance of two sets of numbers: the area between their distribution functions.

    .. math:: W_1 = \int \lvert F_x(t) - F_y(t) \rvert \, dt

    Args:
        x: numbers along the last axis, (*k, n).
        y: other numbers, (*k, m).

    Returns:
        one distance for each pair of sets, (*k,); NaN if a number is not finite.

    Raises:
        ValueError: if a set is empty.

    >>> wasserstein_1d(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([5.0, 6.0, 8.0]))
    tensor(5.)
    """
    n, m = x.shape[-1], y.shape[-1]
    if not n or not m:
        raise ValueError(f"both sets must have at least one number, got {n} and {m}")
    finite = x.isfinite().all(-1) & y.isfinite().all(-1)
    if n == m:
        return (x.sort(dim=-1).values - y.sort(dim=-1).values).abs().mean(-1).masked_fill(~finite, torch.nan)
    values, order = torch.cat([x, y], dim=-1).sort(dim=-1)
    steps = torch.cat([values.new_full((n,), 1 / n), values.new_full((m,), -1 / m)])
    differences = steps[order].cumsum(-1)[..., :-1].abs()  # difference of the functions between neighboring values
    return (differences * values.diff(dim=-1)).sum(-1).masked_fill(~finite, torch.nan)


def sliced_wasserstein(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], directions: int = 128, seed: int = 0) -> float:
    r"""The mean Wasserstein-1 distance of points projected on random directions, for example of rows of a table.

    .. math:: \frac1K \sum_k W_1(\theta_k \cdot x, \; \theta_k \cdot y), \qquad \theta_k \text{ uniform on the sphere}

    Bonneel, Rabin, Peyré and Pfister, "Sliced and Radon Wasserstein barycenters of measures", 2015. The directions
    depend only on the seed, so two values can be compared.

    Args:
        x: points, (n, d).
        y: other points, (m, d).
        directions: number K of directions. In one dimension there is a single direction and the distance is exact.
        seed: random seed of the directions.

    Raises:
        ValueError: if the widths differ, or there are no points or directions.

    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(sliced_wasserstein(x, x + 5), 6)
    5.0
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"points must be (n, d) with the same d, got {tuple(x.shape)} and {tuple(y.shape)}")
    if directions < 1:
        raise ValueError(f"directions={directions} must be at least 1")
    d = x.shape[1]
    if d == 1:
        theta = torch.ones(1, 1, dtype=torch.float64)
    else:
        source = generator("sliced wasserstein", seed)
        theta = torch.randn(directions, d, generator=source, dtype=torch.float64)
        theta /= theta.norm(dim=1, keepdim=True)
    theta = theta.to(x.device)
    return float(wasserstein_1d(theta @ x.double().T, theta @ y.double().T).mean())
