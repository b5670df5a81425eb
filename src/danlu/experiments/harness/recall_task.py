"""The recall task: a sequence of symbols ends with a query token, and the target is the first symbol."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import Part
from danlu.rng.keys import generator, key

SYMBOLS = 8
TOKENS = 2 * SYMBOLS + 1
"""symbols, marked symbols, and the query token"""


def sequences(n: int, lag: int, seed: int) -> Part:
    """Token sequences with a fixed lag: symbols, of which the first is marked, and the query token at the end.

    Args:
        n: number of sequences.
        lag: steps from the first symbol to the query token.
        seed: random seed of the symbols.

    >>> part = sequences(2, 3, seed=0)
    >>> part["token"].shape, bool((part["token"][:, 0] - 8 == part["target"][:, -1]).all())
    (torch.Size([2, 4]), True)
    """
    symbols = torch.randint(SYMBOLS, (n, lag + 1), generator=generator("symbols", lag, seed))
    tokens = symbols.clone()
    tokens[:, 0] += SYMBOLS
    tokens[:, -1] = TOKENS - 1
    return Part({"token": tokens, **_targets(symbols)})


def _targets(symbols: Int[Tensor, "n t"]) -> dict[str, Tensor]:
    """Targets: the first symbol. Only the last step is scored."""
    last = torch.zeros_like(symbols, dtype=torch.bool)
    last[:, -1] = True
    first_symbols = symbols[:, :1].expand_as(symbols)
    return {"target": first_symbols, "valid": last, "fresh": torch.ones(len(symbols), dtype=torch.bool)}


class AnyLag:
    """Batches of sequences with random lags: one lag per batch, log-uniformly distributed.

    Args:
        most: the largest lag.
        size: sequences per batch.
        seed: random seed of lags and symbols.

    >>> AnyLag(8, 16, seed=0).batch(0, slice(0, 4))["token"].shape[0]
    4
    """

    epoch_rounds = math.inf

    def __init__(self, most: int, size: int, seed: int):
        self.most, self.size, self.seed = most, size, seed

    def batch(self, position: int, rows: slice) -> Batch:
        """The given rows of the batch at a position."""
        uniform = torch.rand((), generator=generator("lag", self.seed, position))
        part = sequences(self.size, round(math.exp(float(uniform) * math.log(self.most))), key(self.seed, position))
        fields = {name: field[rows] for name, field in part.fields.items()}
        return Batch(fields, rows, self.size, torch.arange(self.size)[rows])
