"""The state that a model carries from token to token: tensors, nested in tuples, lists and dictionaries."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from jaxtyping import Int
from torch import Tensor

State = Any
"""A tensor, None, or a tuple, list or dictionary of states; every tensor has a batch dimension."""
S = TypeVar("S")


def take_rows(state: S, rows: Int[Tensor, "m"], dim: int = 0) -> S:
    """Select rows of every tensor of a state; a row may be selected several times.

    Args:
        state: a tensor, None, or a nested tuple, list or dictionary of tensors.
        rows: indices of the rows.
        dim: batch dimension of every tensor; 1 for the states of ``torch.nn.LSTM``.

    Raises:
        TypeError: if the state contains anything else.

    >>> state = {"h": torch.tensor([[1.0], [2.0]]), "cache": (torch.tensor([[3], [4]]), None)}
    >>> take_rows(state, torch.tensor([1, 1, 0]))["cache"][0].flatten()
    tensor([4, 4, 3])
    """
    result: Any
    if isinstance(state, Tensor):
        result = state.index_select(dim, rows.to(state.device))
    elif isinstance(state, dict):
        result = {name: take_rows(value, rows, dim) for name, value in state.items()}
    elif isinstance(state, tuple) and hasattr(state, "_fields"):  # a named tuple takes its values as arguments
        result = type(state)(*(take_rows(value, rows, dim) for value in state))
    elif isinstance(state, tuple | list):
        result = type(state)(take_rows(value, rows, dim) for value in state)
    elif state is None:
        result = None
    else:
        raise TypeError(
            f"a state must consist of tensors, tuples, lists, dictionaries and None, got {type(state).__name__}"
        )
    return cast(S, result)


def repeat_rows(state: S, times: int, count: int, dim: int = 0) -> S:
    """Repeat every row of a state; the copies of a row are adjacent.

    Args:
        state: with ``count`` rows.
        times: number of copies of each row.
        count: number of rows.
        dim: dimension of the rows.

    >>> repeat_rows(torch.tensor([5, 6]), times=2, count=2)
    tensor([5, 5, 6, 6])
    """
    return take_rows(state, torch.arange(count).repeat_interleave(times), dim)
