"""Attention among the positions of a picture."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class PictureAttention(nn.Module):
    r"""Add to each position what it finds at all others, so that parts of a picture that lie far apart can agree.

    .. math:: y_j = x_j + \gamma \, W_v \sum_i \beta_{ji} \, W_h x_i, \qquad
        \beta_{ji} = \frac{\exp((W_f x_i)^\top W_g x_j)}{\sum_k \exp((W_f x_k)^\top W_g x_j)}

    Zhang, Goodfellow, Metaxas and Odena, "Self-attention generative adversarial networks", 2019, equations 1 to 3.
    γ is 0 at first, and the block does nothing. As in the code that they published, and not in the paper, queries
    and keys have an eighth of the channels and values half of them, and keys and values are the largest of each 2×2
    positions, which makes the table of β a quarter as large.

    Args:
        channels: of the map.

    Raises:
        ValueError: if there are fewer than 8 channels.

    >>> PictureAttention(16)(torch.ones(2, 16, 6, 5)).unique()
    tensor([1.], grad_fn=<...>)
    """

    def __init__(self, channels: int):
        super().__init__()
        if channels < 8:
            raise ValueError(f"attention has an eighth of the channels, and there are {channels}; give at least 8")
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.last = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels h w"]:
        """The map, and what each position finds."""
        queries = self.query(x).flatten(2)
        keys, values = (F.max_pool2d(part(x), 2).flatten(2) for part in (self.key, self.value))
        # written out: the fused kernels of torch have no second derivative, which penalties on slopes need
        shares = (queries.transpose(1, 2) @ keys).softmax(-1)  # (n, positions, a quarter of them)
        found = (values @ shares.transpose(1, 2)).unflatten(2, x.shape[2:])
        return torch.addcmul(x, self.gain, self.last(found))
