"""What every tokenizer can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

TokenKind = Literal["characters", "words", "bpe"]


@runtime_checkable
class Tokenizer(Protocol):
    """Text to numbers and back."""

    kind: TokenKind
    """what a token is"""
    vocabulary: int
    """number of different tokens"""
    unknown: int | None
    """the token that stands for what is not known, if there is one"""

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The tokens of a text."""
        ...

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The text of tokens."""
        ...

    def token(self, number: int) -> str:
        """One token as a reader may see it."""
        ...

    def to_json(self) -> str:
        """The tokenizer as the text of a file ``tokenizer.json``, which the package tokenizers can open too."""
        ...
