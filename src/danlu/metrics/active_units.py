"""Active units of a latent code."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

ACTIVE = 0.01
"""A unit is active if the variance of its posterior mean over the examples is above this."""


def activity(codes: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    r"""The variance over the examples of the posterior mean of each latent unit.

    .. math:: A_j = \operatorname{Var}_x\left(\mathbb E_{q(z \mid x)}[z_j]\right)

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016, section 5.2: a unit is active if this
    is above 0.01.

    Args:
        codes: posterior means of the examples, (n, d).

    Returns:
        one variance per unit, (d,).

    >>> activity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor([1., 0.])
    """
    return codes.var(0, correction=0)


def active(codes: Float[Tensor, "n d"]) -> Bool[Tensor, "d"]:
    """Whether each latent unit is active.

    Args:
        codes: posterior means of the examples, (n, d).

    >>> active(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor([ True, False])
    """
    return activity(codes) > ACTIVE


def active_count(codes: Float[Tensor, "n d"]) -> float:
    """The number of active units; NaN if the variance of a unit is not finite.

    Args:
        codes: posterior means of the examples, (n, d).

    >>> active_count(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), active_count(torch.tensor([[1.0, torch.nan]]))
    (1.0, nan)
    """
    return float(active(codes).sum()) if bool(activity(codes).isfinite().all()) else float("nan")
