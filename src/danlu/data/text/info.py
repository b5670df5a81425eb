"""Properties of running text that a model depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

from danlu.data.base.dataset import DataInfo
from danlu.data.base.tokenizer import TokenKind


@dataclass(frozen=True)
class TextInfo(DataInfo):
    """Running text as a sequence of tokens.

    Attributes:
        vocabulary: size of the vocabulary.
        tokens: type of the tokens: characters, words or bpe.
    """

    kind: ClassVar[str] = "text"
    inputs: ClassVar[str] = "token"

    shape: tuple[int, ...] = ()
    vocabulary: int = 0
    tokens: str = ""

    def check(self) -> None:
        """Check values that come from a file.

        Raises:
            ValueError: if a value is not possible.
        """
        super().check()
        if self.vocabulary < 0 or self.tokens not in ("", *get_args(TokenKind)):
            raise ValueError(f"text needs a vocabulary and known tokens, got {self.vocabulary} and {self.tokens!r:.50}")

    @property
    def format(self) -> str:
        """The tokens and the size of their vocabulary, for messages.

        >>> TextInfo(vocabulary=10_000, tokens="words").format
        'tokens: words, vocabulary of 10,000'
        """
        return f"tokens: {self.tokens}, vocabulary of {self.vocabulary:,}"

    @property
    def description(self) -> str:
        """A description of the examples for messages.

        >>> TextInfo(vocabulary=10_000, tokens="words").description
        'tokens (words)'
        """
        return f"tokens ({self.tokens})"

    @property
    def input_description(self) -> str:
        """The input of a model in a sentence, for the model card."""
        return (
            f"Text as token numbers (tokens: {self.tokens}): a tensor of integers of shape (n, length), values from 0 "
            f"to {self.vocabulary - 1}. `model.tokenizer` encodes and decodes text."
        )
