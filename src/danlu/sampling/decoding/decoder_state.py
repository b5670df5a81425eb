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
    found: Any
    if isinstance(state, Tensor):
        found = state.index_select(dim, rows.to(state.device))
    elif isinstance(state, dict):
        found = {name: take_rows(value, rows, dim) for name, value in state.items()}
    elif isinstance(state, tuple) and hasattr(state, "_fields"):  # a named one takes its values one by one
        found = type(state)(*(take_rows(value, rows, dim) for value in state))
    elif isinstance(state, tuple | list):
        found = type(state)(take_rows(value, rows, dim) for value in state)
    elif state is None:
        found = None
    else:
        raise TypeError(
            f"a state is made of tensors in tuples, lists and dictionaries, and has a {type(state).__name__}"
        )
    return cast(S, found)


def repeat_rows(state: S, times: int, count: int, dim: int = 0) -> S:
    """Every row of a state so many times, one after the other.

    Args:
        state: with ``count`` rows.
        times: how often each row is wanted.
        count: number of rows.
        dim: dimension of the rows.

    >>> repeat_rows(torch.tensor([5, 6]), times=2, count=2)
    tensor([5, 5, 6, 6])
    """
    return take_rows(state, torch.arange(count).repeat_interleave(times), dim)
