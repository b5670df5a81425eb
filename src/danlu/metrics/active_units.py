"""Which units of a latent code say something of the examples."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

ACTIVE = 0.01
"""variance of a unit's mean over the examples, above which it is active"""


def activity(codes: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    r"""How much the mean of each latent unit varies over the examples.

    .. math:: A_j = \operatorname{Var}_x\left(\mathbb E_{q(z \mid x)}[z_j]\right)

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016, section 5.2: the unit is active if this
    is above 0.01.

    Args:
        codes: the mean of the posterior of each example.

    >>> activity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor([1., 0.])
    """
    return codes.var(0, correction=0)


def active(codes: Float[Tensor, "n d"]) -> Bool[Tensor, "d"]:
    """Whether each latent unit is active.

    >>> active(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor([ True, False])
    """
    return activity(codes) > ACTIVE
