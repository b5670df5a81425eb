"""Whether samples are as varied as the data, copies of it, and distributed as it is: distances between examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.metrics.distances import distances
from danlu.rng.keys import generator


def diversity(samples: Float[Tensor, "n *shape"]) -> float:
    r"""The mean distance between two samples.

    .. math:: \frac{2}{n (n - 1)} \sum_{i < j} \lVert x_i - x_j \rVert

    Divided by that of the data it falls toward 0 when a generator collapses: ``diversity(fake) / diversity(real)``.

    Args:
        samples: at least two.

    Raises:
        ValueError: if there are fewer.

    >>> diversity(torch.tensor([[0.0], [1.0], [3.0]]))
    2.0
    """
    x = samples.flatten(1)
    n = len(x)
    if n < 2:
        raise ValueError(f"diversity compares samples, and there is {n or 'none'}; give at least 2")
    total = 0.0
    for rows, found in distances(x, x):
        found.diagonal(rows.start).zero_()  # of a sample to itself, where rounding leaves something
        total += float(found.sum(dtype=torch.float64))
    return total / (n * (n - 1))


class Nearest(NamedTuple):
    """The nearest training example of each sample.

    Attributes:
        distance: to it.
        number: its place among them.
    """

    distance: Float[Tensor, "n"]
    number: Int[Tensor, "n"]


def nearest(samples: Float[Tensor, "n *shape"], training: Tensor | Iterable[Tensor]) -> Nearest:
    """The nearest training example of each sample. A copy is at distance 0 exactly.

    Args:
        samples: what a generator made.
        training: what it was trained on, all of it or in batches.

    Raises:
        ValueError: if they differ in shape, or one is empty.

    >>> nearest(torch.tensor([[0.9], [5.0]]), torch.tensor([[5.0], [1.0]])).number
    tensor([1, 0])
    """
    best: Nearest | None = None
    before = 0
    for some in [training] if isinstance(training, Tensor) else training:
        found = _nearest(samples, some)
        if best is None:
            best = found
        else:
            closer = found.distance < best.distance
            best = Nearest(
                torch.where(closer, found.distance, best.distance),
                torch.where(closer, found.number + before, best.number),
            )
        before += len(some)
    if best is None:
        raise ValueError("there are no training examples")
    return best


def _nearest(samples: Float[Tensor, "n *shape"], training: Float[Tensor, "m *shape"]) -> Nearest:
    if samples.shape[1:] != training.shape[1:]:
        given = f"{tuple(samples.shape[1:])} and {tuple(training.shape[1:])}"
        raise ValueError(f"samples and training examples must have one shape, and have {given}")
    a, b = samples.flatten(1), training.flatten(1)
    number = torch.cat([found.argmin(dim=1) for _, found in distances(a, b)])
    exact = [(some - b[at]).norm(dim=1) for some, at in zip(a.split(1024), number.split(1024), strict=True)]
    return Nearest(torch.cat(exact), number)


def memorization(ours: Float[Tensor, "n"], usual: Float[Tensor, "k"]) -> float:
    r"""How much nearer samples lie to the training examples than new examples of the data do.

    .. math:: \operatorname{median}_i \min_j \lVert x_i - t_j \rVert \,\big/\,
        \operatorname{median}_i \min_j \lVert h_i - t_j \rVert

    About 1 where a generator has learned the distribution; toward 0 where it repeats what it was trained on; above 1
    where its samples lie off the data.

    Args:
        ours: distance of each sample to the nearest training example, of all of them: among a few a copy has none.
        usual: the same of examples of the data that the generator was not trained on.

    >>> training = torch.tensor([[0.0], [1.0]])
    >>> ours, usual = (nearest(torch.tensor(x), training) for x in ([[0.0], [1.5]], [[2.0], [3.0]]))
    >>> memorization(ours.distance, usual.distance)
    0.1666...
    """
    middle, usually = (float(distance.double().quantile(0.5)) for distance in (ours, usual))
    return middle / usually if usually else float("nan" if not middle else "inf")


def wasserstein_1d(x: Float[Tensor, "*k n"], y: Float[Tensor, "*k m"]) -> Float[Tensor, "*k"]:
    r"""The Wasserstein-1 distance between numbers, exactly: the area between their distribution functions.

    .. math:: W_1 = \int \lvert F_x(t) - F_y(t) \rvert \, dt

    Args:
        x: numbers along the last axis.
        y: other numbers, as many or not.

    Raises:
        ValueError: if there are none.

    >>> wasserstein_1d(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([5.0, 6.0, 8.0]))
    tensor(5.)
    """
    n, m = x.shape[-1], y.shape[-1]
    if not n or not m:
        raise ValueError(f"there are {n} and {m} numbers; there must be some of each")
    if n == m:
        return (x.sort(dim=-1).values - y.sort(dim=-1).values).abs().mean(-1)
    values, order = torch.cat([x, y], dim=-1).sort(dim=-1)
    steps = torch.cat([values.new_full((n,), 1 / n), values.new_full((m,), -1 / m)])
    between = steps[order].cumsum(-1)[..., :-1].abs()  # the distance of the functions from each value to the next
    return (between * values.diff(dim=-1)).sum(-1)


def sliced_wasserstein(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], directions: int = 128, seed: int = 0) -> float:
    r"""The Wasserstein-1 distance of points, seen from many directions; for columns of a table.

    .. math:: \frac1K \sum_k W_1(\theta_k \cdot x, \; \theta_k \cdot y), \qquad \theta_k \text{ uniform on the sphere}

    Bonneel, Rabin, Peyré and Pfister, "Sliced and Radon Wasserstein barycenters of measures", 2015. The directions are
    the same each time, so that two values can be compared.

    Args:
        x: points.
        y: other points, as many or not.
        directions: number K of them; in one dimension there is a single one, and the distance is exact.
        seed: of the directions.

    Raises:
        ValueError: if widths differ, or there are no points or directions.

    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(sliced_wasserstein(x, x + 5), 6)
    5.0
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"points must be (n, d) with one d, and they are {tuple(x.shape)} and {tuple(y.shape)}")
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
