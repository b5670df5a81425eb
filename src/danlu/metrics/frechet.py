"""The Fréchet distance of two sets of features, each taken for a Gaussian: FID, where the features are Inception's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 512  # columns of a scatter matrix that are multiplied at once


class Origin(NamedTuple):
    """What made features. Statistics of two origins are never compared.

    Attributes:
        name: of the feature network, as scores are named by it.
        resize: to what pictures were brought before it, "" if they stayed as they were.
        weights: the beginning of the SHA-256 of its weights, "" if it has none.
    """

    name: str = "features"
    resize: str = ""
    weights: str = ""

    def __str__(self) -> str:
        resized = f" at {self.resize}" if self.resize else ""
        return f"{self.name}{resized}" + (f" with weights {self.weights}…" if self.weights else "")


class Moments:
    r"""Mean and covariance of features that come batch by batch, in float64.

    .. math:: \mu = \frac1n \sum_i f_i, \qquad \Sigma = \frac{1}{n-1} \sum_i (f_i - \mu)(f_i - \mu)^\top

    Each batch is centred by itself before it is added (Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979), so that a large mean takes no digits from a small variance.

    Args:
        width: number d of features.
        origin: what makes them.
        device: where they are.

    Attributes:
        count: number n of examples so far.
        mean: of the features, (d,).
        scatter: the sum above, without the division, (d, d).

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
        """The moments of features that are all there."""
        _check(features)
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
            ValueError: if it has another number of features, or some are not finite.
        """
        _check(features)
        if features.shape[1] != self.width:
            raise ValueError(f"these moments are of {self.width} features, and the batch has {features.shape[1]}")
        if not len(features):
            return
        features = features.detach().to(self.mean)
        mean = features.mean(0)
        self._add(len(features), mean, _scatter(features - mean))

    def merge(self, other: Moments) -> None:
        """Add the examples of other moments, of another process for instance.

        Raises:
            ValueError: if they are of other features.
        """
        _check_same(self, other)
        self._add(other.count, other.mean, other.scatter)

    def _add(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        if not total:
            return
        apart = mean - self.mean
        self.scatter += scatter + torch.outer(apart, apart) * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total

    def covariance(self) -> Float[Tensor, "d d"]:
        """The covariance of the features.

        Raises:
            ValueError: if there are fewer than two examples.
        """
        _check_count(self.count)
        return self.scatter / (self.count - 1)

    def to(self, device: torch.device | str) -> Moments:
        """The same moments on a device."""
        return Moments.from_state({name: tensor.to(device) for name, tensor in self.state().items()}, self.origin)

    def state(self) -> dict[str, Tensor]:
        """Count, mean and scatter as tensors, for a file; the origin is for whoever writes it to keep."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], origin: Origin = Origin()) -> Moments:  # noqa: B008
        """The opposite of ``state``."""
        moments = cls(len(state["mean"]), origin)
        moments.count, moments.mean, moments.scatter = int(state["count"]), state["mean"], state["scatter"]
        return moments


def frechet_distance(a: Moments, b: Moments) -> float:
    r"""How far apart two Gaussians lie: the square of their 2-Wasserstein distance.

    .. math:: \lVert \mu_1 - \mu_2 \rVert^2 +
        \operatorname{tr}\bigl(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\bigr)

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, equation
    6. With a factor :math:`\Sigma_1 = L L^\top` the product has the eigenvalues of the symmetric
    :math:`L^\top \Sigma_2 L`, so that one symmetric eigenproblem gives the trace and no matrix root is needed. n
    examples span n - 1 dimensions: what the eigenvalues beyond that number are is rounding, and is left out.

    Args:
        a: moments of one set of features.
        b: of the other.

    Raises:
        ValueError: if they are of other features, or of fewer than two examples.

    >>> a, b = Moments.of(torch.tensor([[-1.0], [1.0]])), Moments.of(torch.tensor([[1.0], [5.0]]))
    >>> round(frechet_distance(a, b), 6)  # means 0 and 3, deviations √2 and 2√2: 9 + 2
    11.0
    """
    _check_same(a, b)
    if a.count < b.count:
        a, b = b, a  # of more examples a factor is likelier to be found without eigenvectors
    b = b.to(a.mean.device)
    one, other = a.covariance(), b.covariance()
    factor = _factor(one, a.count - 1)
    eigenvalues = torch.linalg.eigvalsh(factor.T @ other @ factor)  # ascending
    cross = eigenvalues[-min(b.count - 1, len(eigenvalues)) :].clamp_min(0).sqrt().sum()
    return _distance(a.mean - b.mean, one.trace() + other.trace(), cross)


def fid_from_features(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> float:
    r"""The Fréchet distance of two sets of features, by the fastest exact way.

    With A and B the centred features, divided by √(n - 1) and √(m - 1), the covariances are :math:`A^\top A` and
    :math:`B^\top B`, and

    .. math:: \operatorname{tr} (\Sigma_1 \Sigma_2)^{1/2} = \lVert A B^\top \rVert_*

    is the sum of the singular values of an n × m matrix: where examples are fewer than features this is much less work
    than ``frechet_distance``, and it has no small eigenvalues that drown in rounding.

    Args:
        real: features of examples of the data.
        fake: features of generated ones.

    Raises:
        ValueError: if they differ in width, have fewer than two rows, or are not finite.

    >>> round(fid_from_features(torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])), 6)
    11.0
    """
    for features in (real, fake):
        _check(features)
        _check_count(len(features))
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"both sets must have the same features, and they have {real.shape[1]} and {fake.shape[1]}")
    if not _examples_are_few(len(real), len(fake), real.shape[1]):
        return frechet_distance(Moments.of(real), Moments.of(fake))
    means = [features.double().mean(0) for features in (real, fake)]
    a, b = ((f.double() - mean) / (len(f) - 1) ** 0.5 for f, mean in zip((real, fake), means, strict=True))
    cross = torch.linalg.svdvals(a @ b.T).sum()
    return _distance(means[0] - means[1], a.square().sum() + b.square().sum(), cross)


def _distance(apart: Float[Tensor, "d"], traces: Tensor, cross: Tensor) -> float:
    """The three terms together; below 0 is rounding."""
    return float((apart.square().sum() + traces - 2 * cross).clamp_min(0))


def _factor(covariance: Float[Tensor, "d d"], rank: int) -> Float[Tensor, "d r"]:
    """F with covariance = F Fᵀ: Cholesky's, or one of eigenvectors where it is singular."""
    if rank >= len(covariance):
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if not failed:
            return factor
    values, vectors = torch.linalg.eigh(covariance)
    kept = slice(-min(rank, len(values)), None)
    return vectors[:, kept] * values[kept].clamp_min(0).sqrt()


def _examples_are_few(n: int, m: int, d: int) -> bool:
    """Whether the singular values of an n × m matrix are less work than two covariances and what follows from them."""
    few, many = min(n, m), max(n, m)
    return 2 * n * m * d + 4 * few**2 * many + 3 * few**3 < (n + m) * d**2 + 6 * d**3  # multiplications, roughly


def _scatter(centred: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """XᵀX; only blocks on and above the diagonal are multiplied, which saves nearly half."""
    d = centred.shape[1]
    product = centred.new_zeros(d, d)
    for start in range(0, d, _BLOCK):
        product[start : start + _BLOCK, start:] = centred[:, start : start + _BLOCK].T @ centred[:, start:]
    return product.triu() + product.triu(1).T


def _check(features: Float[Tensor, "n d"]) -> None:
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            f"features must be (n, d) numbers with fractions, not {features.dtype} {tuple(features.shape)}"
        )
    if not bool(features.isfinite().all()):
        raise ValueError("some features are infinite or NaN; look at the examples and the network that made them")


def _check_count(count: int) -> None:
    if count < 2:
        raise ValueError(f"a covariance needs at least 2 examples, and there is {count or 'none'}")


def _check_same(a: Moments, b: Moments) -> None:
    if a.origin != b.origin:
        raise ValueError(f"these are moments of {a.origin} and of {b.origin}, whose numbers have nothing in common")
    if a.width != b.width:
        raise ValueError(f"both moments must be of the same features, and they have {a.width} and {b.width}")
