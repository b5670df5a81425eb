"""Mean and covariance of features, accumulated over batches, and the origin of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 256  # columns of the scatter matrix per multiplication


class Origin(NamedTuple):
    """Origin of features. Statistics of different origins are never compared.

    Attributes:
        name: name of the feature network, as it appears in names of scores.
        resize: size to which images were resized before the network, "" if they were not resized.
        weights: first characters of the SHA-256 of its weights, "" if it has no weights.
    """

    name: str = "features"
    resize: str = ""
    weights: str = ""

    def __str__(self) -> str:
        resized = f" at {self.resize}" if self.resize else ""
        return f"{self.name}{resized}" + (f" with weights {self.weights}…" if self.weights else "")


class Moments:
    r"""Mean and covariance of features, accumulated over batches in float64.

    .. math:: \mu = \frac1n \sum_i f_i, \qquad \Sigma = \frac{1}{n-1} \sum_i (f_i - \mu)(f_i - \mu)^\top

    Each batch is centered separately before it is added (Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979), so a small variance keeps its precision beside a large mean.

    Args:
        width: number d of features.
        origin: origin of the features.
        device: device of mean and scatter.

    Attributes:
        count: number n of examples so far.
        mean: mean of the features, (d,).
        scatter: the sum in the formula of Σ, without the division, (d, d).

    Raises:
        ValueError: if ``width`` is below 1.

    >>> moments = Moments(2)
    >>> for batch in torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 3.0]]).split(2):
    ...     moments.update(batch)
    >>> moments.count, moments.mean, moments.covariance()
    (3, tensor([2., 1.], dtype=torch.float64), tensor([[1., 0.],
            [0., 3.]], dtype=torch.float64))
    """

    def __init__(self, width: int, origin: Origin = Origin(), device: torch.device | str = "cpu"):  # noqa: B008
        if width < 1:
            raise ValueError(f"width={width} must be at least 1: the number of features")
        self.origin = origin
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(width, width, dtype=torch.float64, device=device)

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], origin: Origin = Origin()) -> Moments:  # noqa: B008
        """Compute the moments of a complete set of features."""
        check_shape(features)
        moments = cls(features.shape[1], origin, features.device)
        moments.update(features)
        return moments

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.mean)

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add a batch.

        Raises:
            ValueError: if it has a different number of features, or some are not finite.
        """
        check_shape(features)
        if features.shape[1] != self.width:
            raise ValueError(f"expected {self.width} features, got {features.shape[1]}")
        if not len(features):
            return
        features = features.detach().to(self.mean.device)
        mean = mean_of(features)
        self._add(len(features), mean, _scatter(features - mean))

    def merge(self, other: Moments) -> None:
        """Add the examples of other moments, for instance those of another process.

        Raises:
            ValueError: if the origins or widths differ.
        """
        check_same(self, other)
        self._add(other.count, other.mean, other.scatter)

    def _add(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        if not total:
            return
        difference = mean - self.mean
        self.scatter += scatter + torch.outer(difference, difference) * (self.count * count / total)
        self.mean += difference * (count / total)
        self.count = total

    def covariance(self) -> Float[Tensor, "d d"]:
        """The covariance of the features.

        Raises:
            ValueError: if there are fewer than two examples.
        """
        check_count(self.count)
        return self.scatter / (self.count - 1)

    def to(self, device: torch.device | str) -> Moments:
        """The same moments on a device."""
        return Moments.from_state({name: tensor.to(device) for name, tensor in self.state().items()}, self.origin)

    def state(self) -> dict[str, Tensor]:
        """Count, mean and scatter as tensors, for a file. The caller saves the origin."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], origin: Origin = Origin()) -> Moments:  # noqa: B008
        """Build moments from the result of ``state``."""
        moments = cls(len(state["mean"]), origin)
        moments.count, moments.mean, moments.scatter = int(state["count"]), state["mean"], state["scatter"]
        return moments


def _scatter(centered: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """XᵀX. Only blocks on and above the diagonal are multiplied, which saves nearly half of the work."""
    d = centered.shape[1]
    product = centered.new_zeros(d, d)
    for start in range(0, d, _BLOCK):
        product[start : start + _BLOCK, start:] = centered[:, start : start + _BLOCK].T @ centered[:, start:]
    return product.triu() + product.triu(1).T


def mean_of(features: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    """The mean in float64. It also shows in one pass whether all features are finite.

    Raises:
        ValueError: if some features are not finite.
    """
    mean = features.mean(0, dtype=torch.float64)
    if not bool(mean.isfinite().all()):
        raise ValueError("some features are infinite or NaN; check the examples and the feature network")
    return mean


def check_shape(features: Float[Tensor, "n d"]) -> None:
    """Check that features are a matrix of floating-point numbers.

    Raises:
        ValueError: if they are not.
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            f"features must be floating-point numbers of shape (n, d), got {features.dtype} {tuple(features.shape)}"
        )


def check_count(count: int) -> None:
    """Check that a covariance can be computed.

    Raises:
        ValueError: if there are fewer than two examples.
    """
    if count < 2:
        raise ValueError(f"a covariance needs at least 2 examples, got {count}")


def check_same(a: Moments, b: Moments) -> None:
    """Check that two moments are of the same features.

    Raises:
        ValueError: if their origins or widths differ.
    """
    if a.origin != b.origin:
        raise ValueError(f"moments of {a.origin} and of {b.origin} cannot be compared")
    if a.width != b.width:
        raise ValueError(f"both moments must have the same number of features, got {a.width} and {b.width}")
