"""The interface of tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

TokenKind = Literal["characters", "words", "bpe"]


@runtime_checkable
class Tokenizer(Protocol):
    """Converts text to tokens and back."""

    kind: TokenKind
    """type of the tokens"""
    vocabulary: int
    """number of different tokens"""
    unknown: int | None
    """number of the token for unknown text, or None"""

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The tokens of a text."""
        ...

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The text of tokens."""
        ...

    def token(self, number: int) -> str:
        """The text of one token, for display."""
        ...

    def to_json(self) -> str:
        """The content of a file ``tokenizer.json``, which the package tokenizers can also open."""
        ...
