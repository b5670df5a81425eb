"""Checks of the logits that decoders receive from a model, and of the end token."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from danlu.errors import RunError


def check_logits(logits: Float[Tensor, "n v"], position: int, ended: Bool[Tensor, "n"] | None = None) -> None:
    """Check that every row has a next token, that is, a finite largest logit.

    Args:
        logits: logits of the model.
        position: number of tokens generated so far, for the message.
        ended: rows that need no next token.

    Raises:
        RunError: if the largest logit of a row is NaN or infinite.

    >>> check_logits(torch.tensor([[0.0, 1.0], [-torch.inf, -torch.inf]]), position=3)
    Traceback (most recent call last):
    danlu.errors.RunError: token 4 of row 1 cannot be sampled: all logits are -inf, so no token is possible
    """
    finite = logits.amax(1).isfinite()  # the largest value of a row with NaN is NaN
    if bool(finite.all()):
        return
    wrong = ~finite if ended is None else ~(finite | ended)
    if not bool(wrong.any()):
        return
    row = int(wrong.nonzero()[0, 0])
    if bool(logits[row].isneginf().all()):
        problem = "all logits are -inf, so no token is possible"
    else:
        problem = not_a_distribution(logits[row])
    raise RunError(f"token {position + 1} of row {row} cannot be sampled: {problem}")


def not_a_distribution(logits: Float[Tensor, "v"]) -> str:
    """The message for logits of which some are NaN or +∞."""
    name = "NaN" if bool(logits.isnan().any()) else "+inf"
    return f"the logits contain {name}; check that the weights of the model are finite"


def check_end(end: int | None, vocabulary: int) -> None:
    """Check that the end token is in the vocabulary.

    Raises:
        ValueError: if it is not.

    >>> check_end(7, vocabulary=5)
    Traceback (most recent call last):
    ValueError: end=7 is not a token of the vocabulary; give a number from 0 to 4, or None
    """
    if end is not None and not 0 <= end < vocabulary:
        raise ValueError(
            f"end={end} is not a token of the vocabulary; give a number from 0 to {vocabulary - 1}, or None"
        )
