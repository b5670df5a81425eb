"""The checker of signatures that .ci/run passes to jaxtyping."""

from collections.abc import Callable
from typing import Any

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep673Exception


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype, which refuses to check ``Self`` outside of a class that it decorates: that is left unchecked."""
    try:
        return beartype(function)
    except BeartypeDecorHintPep673Exception:
        return function
