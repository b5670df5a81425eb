"""The values that each site of a discrete state can have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor


def check_values(values: Sequence[int | float]) -> None:
    """Raise a ValueError unless there are at least 2 different values.

    Args:
        values: the values of each site.

    >>> check_values((1, 1))
    Traceback (most recent call last):
    ValueError: values=(1, 1) must be at least 2 different numbers
    """
    if len(values) < 2 or len(set(values)) < len(values):
        raise ValueError(f"values={tuple(values)} must be at least 2 different numbers")


def check_sites(values: Sequence[int | float], x: Shaped[Tensor, "chains *shape"]) -> None:
    """Raise a ValueError if chains have no site, or a site has another value.

    Args:
        values: the values of each site.
        x: values of the chains.

    >>> check_sites((0, 1), torch.tensor([[0.0, 1.0], [1.0, 0.5]]))
    Traceback (most recent call last):
    ValueError: chain 1 has the value 0.5 at the start; the values of a site are (0, 1)
    """
    if not x[0].numel():
        raise ValueError(f"start has shape {tuple(x.shape)}; each chain must have at least 1 site")
    flat = x.reshape(len(x), -1)
    wrong = ~(flat[..., None] == values_of(values, x)).any(2)
    if bool(wrong.any()):
        chain = int(wrong.any(1).int().argmax())
        value = flat[chain][wrong[chain]][0].item()
        raise ValueError(f"chain {chain} has the value {value} at the start; the values of a site are {tuple(values)}")


def values_of(values: Sequence[int | float], x: Shaped[Tensor, "chains *shape"]) -> Shaped[Tensor, "v"]:
    """The values of a site as a tensor of the dtype and on the device of the states.

    Args:
        values: the values of each site.
        x: values of the chains.
    """
    return torch.tensor(values, dtype=x.dtype, device=x.device)
