"""The Fréchet distance of two sets of features, each modeled as a Gaussian. With Inception features it is the FID."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.metrics.moments import Moments, Origin, check_count, check_same, check_shape, mean_of

__all__ = ["Moments", "Origin", "fid_from_features", "frechet_distance"]

_BLOCK = 256  # columns of a symmetric product per multiplication


def frechet_distance(a: Moments, b: Moments) -> float:
    r"""The squared 2-Wasserstein distance of two Gaussians.

    .. math:: \lVert \mu_1 - \mu_2 \rVert^2 +
        \operatorname{tr}\bigl(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\bigr)

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, equation
    6. With a factor :math:`\Sigma_1 = L L^\top` the product has the eigenvalues of the symmetric
    :math:`L^\top \Sigma_2 L`, so one symmetric eigenproblem gives the trace and no matrix root is needed. n examples
    span n - 1 dimensions; the eigenvalues beyond this number are rounding errors and are left out.

    Args:
        a: moments of one set of features.
        b: moments of the other set.

    Raises:
        ValueError: if the origins or widths differ, or a set has fewer than two examples.

    >>> a, b = Moments.of(torch.tensor([[-1.0], [1.0]])), Moments.of(torch.tensor([[1.0], [5.0]]))
    >>> round(frechet_distance(a, b), 6)  # means 0 and 3, deviations √2 and 2√2: 9 + 2
    11.0
    """
    check_same(a, b)
    if a.count < b.count:
        a, b = b, a  # with more examples the Cholesky factorization succeeds more often
    b = b.to(a.mean.device)
    covariance_a, covariance_b = a.covariance(), b.covariance()
    factor, triangular = _factor(covariance_a, a.count - 1)
    eigenvalues = torch.linalg.eigvalsh(_sandwich(factor, covariance_b, triangular))  # ascending
    cross = eigenvalues[-min(b.count - 1, len(eigenvalues)) :].clamp_min(0).sqrt().sum()
    return _distance(a.mean - b.mean, covariance_a.trace() + covariance_b.trace(), cross)


def fid_from_features(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> float:
    r"""The Fréchet distance of two sets of features, by the faster of two exact methods.

    With A and B the centered features, divided by √(n - 1) and √(m - 1), the covariances are :math:`A^\top A` and
    :math:`B^\top B`, and

    .. math:: \operatorname{tr} (\Sigma_1 \Sigma_2)^{1/2} = \lVert A B^\top \rVert_*

    is the sum of the singular values of an n × m matrix. With fewer examples than features this is much less work than
    ``frechet_distance``, and it avoids small eigenvalues with large rounding errors.

    Args:
        real: features of examples of the data, (n, d).
        fake: features of generated examples, (m, d).

    Raises:
        ValueError: if the widths differ, a set has fewer than two rows, or features are not finite.

    >>> round(fid_from_features(torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])), 6)
    11.0
    """
    for features in (real, fake):
        check_shape(features)
        check_count(len(features))
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"both sets must have the same number of features, got {real.shape[1]} and {fake.shape[1]}")
    if not _singular_values_are_cheaper(len(real), len(fake), real.shape[1]):
        return frechet_distance(Moments.of(real), Moments.of(fake))
    means = [mean_of(features) for features in (real, fake)]
    a, b = ((f - mean) / (len(f) - 1) ** 0.5 for f, mean in zip((real, fake), means, strict=True))
    cross = torch.linalg.svdvals(a @ b.T).sum()
    return _distance(means[0] - means[1], a.square().sum() + b.square().sum(), cross)


def _distance(mean_difference: Float[Tensor, "d"], traces: Tensor, cross: Tensor) -> float:
    """The sum of the three terms; a negative sum is a rounding error and becomes 0."""
    return float((mean_difference.square().sum() + traces - 2 * cross).clamp_min(0))


def _factor(covariance: Float[Tensor, "d d"], rank: int) -> tuple[Float[Tensor, "d r"], bool]:
    """F with covariance = F Fᵀ, and whether it is triangular: the Cholesky factor, or one from eigenvectors."""
    if rank >= len(covariance):
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if not failed:
            return factor, True
    values, vectors = torch.linalg.eigh(covariance)
    kept = slice(-min(rank, len(values)), None)
    return vectors[:, kept] * values[kept].clamp_min(0).sqrt(), False


def _sandwich(factor: Float[Tensor, "d r"], middle: Float[Tensor, "d d"], triangular: bool) -> Float[Tensor, "r r"]:
    """FᵀMF on and below the diagonal, the part that ``eigvalsh`` reads. Zeros of a triangular F are skipped."""
    d, r = factor.shape
    half_product, product = middle.new_empty(d, r), middle.new_zeros(r, r)
    blocks = [(slice(start, start + _BLOCK), slice(start if triangular else 0, d)) for start in range(0, r, _BLOCK)]
    for columns, rows in blocks:
        half_product[:, columns] = middle[:, rows] @ factor[rows, columns]
    for columns, rows in blocks:
        product[columns, : columns.stop] = factor[rows, columns].T @ half_product[rows, : columns.stop]
    return product


def _singular_values_are_cheaper(n: int, m: int, d: int) -> bool:
    """Whether the singular values of an n × m matrix cost less than two covariances and their eigenproblem."""
    smaller, larger = min(n, m), max(n, m)
    return (
        2 * n * m * d + 4 * smaller**2 * larger + 3 * smaller**3 < (n + m) * d**2 + 6 * d**3
    )  # multiplications, roughly
