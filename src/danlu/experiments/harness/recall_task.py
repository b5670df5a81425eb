"""The task of recalling: a symbol is shown, others follow, and in the end the first is asked for."""

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
"""symbols, the same with a mark, and the sign that asks"""


def sequences(n: int, lag: int, seed: int) -> Part:
    """Sequences of a lag for a model of tokens: symbols, of which the first is marked, and the sign in the end.

    Args:
        n: how many.
        lag: steps from the first symbol to the sign.
        seed: of the symbols.

    >>> part = sequences(2, 3, seed=0)
    >>> part["token"].shape, bool((part["token"][:, 0] - 8 == part["target"][:, -1]).all())
    (torch.Size([2, 4]), True)
    """
    symbols = torch.randint(SYMBOLS, (n, lag + 1), generator=generator("symbols", lag, seed))
    tokens = symbols.clone()
    tokens[:, 0] += SYMBOLS
    tokens[:, -1] = TOKENS - 1
    return Part({"token": tokens, **_asked(symbols)})


def _asked(symbols: Int[Tensor, "n t"]) -> dict[str, Tensor]:
    """The answer is the first symbol, and only the last step counts."""
    last = torch.zeros_like(symbols, dtype=torch.bool)
    last[:, -1] = True
    answers = symbols[:, :1].expand_as(symbols)
    return {"target": answers, "valid": last, "fresh": torch.ones(len(symbols), dtype=torch.bool)}


class AnyLag:
    """Batches of sequences of all lags: each batch has one, drawn so that its logarithm is uniform.

    Args:
        most: the largest lag.
        size: sequences of a batch.
        seed: of lags and symbols.

    >>> AnyLag(8, 16, seed=0).batch(0, slice(0, 4))["token"].shape[0]
    4
    """

    epoch_rounds = math.inf

    def __init__(self, most: int, size: int, seed: int):
        self.most, self.size, self.seed = most, size, seed

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        place = torch.rand((), generator=generator("lag", self.seed, position))
        part = sequences(self.size, round(math.exp(float(place) * math.log(self.most))), key(self.seed, position))
        fields = {name: field[rows] for name, field in part.fields.items()}
        return Batch(fields, rows, self.size, torch.arange(self.size)[rows])
