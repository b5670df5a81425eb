"""How well a model predicts running text: cross-entropy, perplexity, bits."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from danlu.data.base.dataset import Part
from danlu.data.text.token_streams import lanes_in_order

AT_ONCE = 1 << 13
"""tokens that are read at a time, over all lanes"""


class Reading(NamedTuple):
    """What came of reading a text.

    Attributes:
        nats: minus the log-likelihood of all tokens but the first.
        tokens: how many these are.
    """

    nats: float
    tokens: int

    @property
    def cross_entropy(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        r"""Of how many equally probable tokens the next one seems to be drawn, :math:`\exp(\text{cross-entropy})`.

        >>> round(Reading(nats=10 * math.log(8), tokens=10).perplexity, 6)
        8.0
        """
        return math.exp(self.cross_entropy) if self.cross_entropy < 700 else math.inf

    def bits_per(self, units: int) -> float:
        """Bits for each of so many characters or bytes.

        >>> Reading(nats=10 * math.log(8), tokens=10).bits_per(10)
        3.0
        """
        return self.nats / math.log(2) / units


@torch.no_grad()
def read_through(model: Any, part: Part, lanes: int = 1) -> Reading:
    """Read a text from its beginning to its end, the state carried; a carried state makes it independent of cuts.

    Args:
        model: has ``log_probs(tokens, targets, state)``.
        part: on the device of the model; of two tokens or more.
        lanes: stretches of the text that are read side by side, for speed; each begins without a state. One predicts
            every token from all before it.

    >>> class Coin:
    ...     def log_probs(self, tokens, targets, state):
    ...         return torch.full(tokens.shape, 0.5).log().double(), state
    >>> round(read_through(Coin(), Part({"token": torch.tensor([0, 1, 1, 0])})).perplexity, 4)
    2.0
    """
    nats, count, state = 0.0, 0, None
    for batch in lanes_in_order(part, lanes, max(1, AT_ONCE // lanes), _device(model)):
        known = None if state is None else state[batch.rows]  # the last batch may have the first lanes alone
        found, state = model.log_probs(batch["token"], batch["target"], known)
        nats -= float(found.double().sum())
        count += found.numel()
    return Reading(nats, count)


def _device(model: object) -> torch.device | None:
    """Where a model is, if it is anywhere."""
    return next(model.parameters()).device if isinstance(model, nn.Module) else None
