"""The check of the context of a conditional network."""

from __future__ import annotations

from torch import Tensor


def check_context(takes: bool, context: Tensor | None) -> None:
    """Check that a network gets a context if and only if it takes one.

    Args:
        takes: whether the network takes a context.
        context: the context, (n, c), or None.

    Raises:
        ValueError: if it is missing, or the network has no input for it.

    >>> check_context(True, None)
    Traceback (most recent call last):
    ValueError: this network needs context; context=None
    """
    if takes != (context is not None):
        missing = "needs" if context is None else "has no"
        raise ValueError(f"this network {missing} context; context={'None' if context is None else 'a tensor'}")
