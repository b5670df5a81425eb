"""Cross-entropy, perplexity and bits per character of a model on running text."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from danlu.data.base.dataset import Part
from danlu.data.text.token_streams import lanes_in_order

AT_ONCE = 1 << 13
"""Number of tokens per call of the model, over all lanes."""
LANE = 10_000
"""Minimum number of tokens per lane of a long text; the missing context of the first tokens of a lane is negligible."""


MAX_LANES = 64
"""More are not faster."""


class Reading(NamedTuple):
    """Likelihood of a text.

    Attributes:
        nats: negative log-likelihood of all tokens except the first, in nats.
        tokens: number of these tokens.
    """

    nats: float
    tokens: int

    @property
    def cross_entropy(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        r"""The exponential of the cross-entropy: the number of equally probable tokens with the same cross-entropy.

        >>> round(Reading(nats=10 * math.log(8), tokens=10).perplexity, 6)
        8.0
        """
        return math.inf if self.cross_entropy >= 700 else math.exp(self.cross_entropy)

    def bits_per(self, units: int) -> float:
        """Bits per character or byte.

        Args:
            units: number of characters or bytes of the text.

        >>> Reading(nats=10 * math.log(8), tokens=10).bits_per(10)
        3.0
        """
        return self.nats / math.log(2) / units


def lanes_of(tokens: int) -> int:
    """The number of lanes in which a text is evaluated, during training and after it.

    Below 20,000 tokens it is 1, so every token is predicted from all tokens before it.

    Args:
        tokens: number of tokens of the text.

    >>> lanes_of(1000), lanes_of(100_000), lanes_of(10_000_000)
    (1, 10, 64)
    """
    return min(MAX_LANES, max(1, tokens // LANE))


@torch.no_grad()
def read_through(model: Any, part: Part, lanes: int = 1) -> Reading:
    """Compute the likelihood of a text. The state is carried from chunk to chunk.

    Args:
        model: has ``log_probs(tokens, targets, state)``.
        part: running text of at least two tokens, on the device of the model.
        lanes: number of segments of the text that are read in parallel, for speed. Each starts without a state; with
            one lane every token is predicted from all tokens before it.

    >>> class Coin:
    ...     def log_probs(self, tokens, targets, state):
    ...         return torch.full(tokens.shape, 0.5).log().double(), state
    >>> round(read_through(Coin(), Part({"token": torch.tensor([0, 1, 1, 0])})).perplexity, 4)
    2.0
    """
    nats, count, state = 0.0, 0, None
    for batch in lanes_in_order(part, lanes, max(1, AT_ONCE // lanes), _device(model)):
        lane_state = None if state is None else state[batch.rows]  # the last batch may contain only the first lanes
        log_probs, state = model.log_probs(batch["token"], batch["target"], lane_state)
        nats -= float(log_probs.double().sum())
        count += log_probs.numel()
    return Reading(nats, count)


def _device(model: object) -> torch.device | None:
    """The device of a model, or None if it has no parameters on a device."""
    return next(model.parameters()).device if isinstance(model, nn.Module) else None
