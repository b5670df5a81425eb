"""Self-attention over the positions of a feature map."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention2d(nn.Module):
    r"""Self-attention over the positions of a feature map, added to its input.

    .. math:: y_j = x_j + \gamma \, W_v \sum_i \beta_{ji} \, W_h x_i, \qquad
        \beta_{ji} = \frac{\exp((W_f x_i)^\top W_g x_j)}{\sum_k \exp((W_f x_k)^\top W_g x_j)}

    Zhang, Goodfellow, Metaxas and Odena, "Self-attention generative adversarial networks", 2019, equations 1 to 3.
    γ is initially 0, which makes the block the identity. As in the published code, but not in the paper, queries and
    keys have an eighth of the channels and values half of them, and keys and values are max-pooled over 2×2 positions,
    which makes the attention matrix β four times smaller.

    Args:
        channels: number of channels of the feature map.

    Raises:
        ValueError: if there are fewer than 8 channels.

    >>> SelfAttention2d(16)(torch.ones(2, 16, 6, 5)).unique()
    tensor([1.], grad_fn=<...>)
    """

    def __init__(self, channels: int):
        super().__init__()
        if channels < 8:
            raise ValueError(f"channels={channels} must be at least 8: queries and keys have an eighth of the channels")
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.last = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels h w"]:
        """The feature map plus the attention output."""
        queries = self.query(x).flatten(2)
        keys, values = (F.max_pool2d(part(x), 2).flatten(2) for part in (self.key, self.value))
        # torch's fused attention has no second derivative, which gradient penalties need
        weights = (queries.transpose(1, 2) @ keys).softmax(-1)  # (n, positions, positions / 4)
        output = (values @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return torch.addcmul(x, self.gain, self.last(output))
