"""Historical averaging of a player's weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class HistoricalAverage(nn.Module):
    r"""The historical average of a player's weights, :math:`\bar\theta_t = \tfrac1t \sum_{i \le t} \theta_i`.

    Salimans et al., "Improved techniques for training GANs", 2016, section 3.3, which adds the term
    :math:`\lVert \theta - \bar\theta_t \rVert^2` to the loss.

    Args:
        player: the player; its initial weights are the first entry of the average.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> past = HistoricalAverage(net)
    >>> with torch.no_grad():
    ...     _ = net.weight.add_(2.0)
    >>> past.distance(net).item()
    4.0
    >>> past.remember(net); round(past.distance(net).item(), 5)
    1.0
    """

    mean: Tensor
    count: Tensor

    def __init__(self, player: nn.Module):
        super().__init__()
        self.register_buffer("mean", _flat(player).detach().clone())
        self.register_buffer("count", torch.ones((), dtype=torch.long))

    @torch.no_grad()
    def remember(self, player: nn.Module) -> None:
        """Add the current weights to the average."""
        self.count += 1
        self.mean += (_flat(player) - self.mean) / self.count

    def distance(self, player: nn.Module) -> Float[Tensor, ""]:
        """Squared distance of the current weights from the average."""
        return (_flat(player) - self.mean).square().sum()


def _flat(player: nn.Module) -> Float[Tensor, "p"]:
    return torch.cat([parameter.flatten() for parameter in player.parameters()])
