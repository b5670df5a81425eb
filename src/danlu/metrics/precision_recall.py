"""Precision (realism) and recall (coverage of the data) of samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.metrics.distances import PairDistances
from danlu.metrics.neighbors import nearest_neighbors

NEIGHBORS = 3
"""Default k: the distance to the k-th neighbor is the radius of a ball."""


class Manifolds(NamedTuple):
    """Overlap of samples and data, measured with balls around examples.

    Attributes:
        precision: fraction of samples inside a ball of the data.
        recall: fraction of the data inside a ball of the samples.
        density: mean number of balls of the data that contain a sample, divided by k; may be above 1.
        coverage: fraction of the data whose ball contains a sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], neighbors: int = NEIGHBORS) -> Manifolds:
    r"""Precision and recall with balls around each example that reach to its k-th neighbor.

    .. math:: \text{precision} = \frac1m \sum_j \mathbf 1\bigl[\exists i: \lVert y_j - x_i \rVert \le r_k(x_i)\bigr]

    Recall is the same with data and samples exchanged. Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved
    precision and recall metric for assessing generative models", 2019, equations 1 and 2, with k = 3. Density and
    coverage use only balls around the data, which outlying samples cannot enlarge: Naeem, Oh, Uh, Choi and Yoo,
    "Reliable fidelity and diversity metrics for generative models", 2020, equations 3 and 4 (there k = 5).

    Args:
        real: features of examples of the data, (n, d).
        fake: features of generated examples, (m, d). Use m = n; otherwise precision and recall are not comparable.
        neighbors: k, not counting the example itself.

    Raises:
        ValueError: if the widths differ, features are not finite, or a set has no k-th neighbor.

    >>> real, fake = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.5], [0.6], [9.0]])
    >>> overlap = precision_recall(real, fake, neighbors=1)
    >>> round(overlap.precision, 2), round(overlap.recall, 2)  # the ball around 9 reaches back to 0.6
    (0.67, 0.67)
    """
    for x in (real, fake):
        if not 1 <= neighbors < len(x):
            raise ValueError(f"neighbors={neighbors} must be at least 1 and less than the number of examples, {len(x)}")
        if not bool(x.isfinite().all()):
            raise ValueError("some features are infinite or NaN; check the examples and the feature network")
    real_radii, fake_radii = _squared_radii(real, neighbors)[:, None], _squared_radii(fake, neighbors)[None]
    ball_counts = torch.zeros(len(fake), dtype=torch.long, device=fake.device)  # balls of the data around each sample
    covered, recalled = (torch.zeros(len(real), dtype=torch.bool, device=real.device) for _ in range(2))
    pairs = PairDistances(real, fake)
    for rows, bounds in pairs.blocks():
        i, j = pairs.within(rows, bounds, real_radii[rows])
        ball_counts += j.bincount(minlength=len(fake))
        covered[rows][i] = True
        recalled[rows][pairs.within(rows, bounds, fake_radii)[0]] = True
    return Manifolds(
        precision=float((ball_counts > 0).double().mean()),
        recall=float(recalled.double().mean()),
        density=float(ball_counts.double().mean()) / neighbors,
        coverage=float(covered.double().mean()),
    )


def radii(x: Float[Tensor, "n d"], neighbors: int = NEIGHBORS) -> Float[Tensor, "n"]:
    """The distance of each example to its k-th neighbor among the other examples.

    Args:
        x: features, (n, d).
        neighbors: k, not counting the example itself.

    >>> radii(torch.tensor([[0.0], [1.0], [3.0]]), neighbors=1)
    tensor([1., 1., 2.])
    """
    return _squared_radii(x, neighbors).sqrt().to(x.dtype)


def _squared_radii(x: Float[Tensor, "n d"], neighbors: int) -> Float[Tensor, "n"]:
    return nearest_neighbors(x, x, neighbors, exclude_self=True).squared[:, -1]
