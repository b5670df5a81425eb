"""Pieces of words as tokens: byte pair encoding over bytes, by the package tokenizers, imported when needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.tokenizer import TokenKind
from danlu.errors import UsageError

if TYPE_CHECKING:
    import tokenizers

BYTES = 256
MOST_PIECES = 4_096
SEAM = re.compile(r"(?<=\S)(?=[ \r\n])")
"""where a text can be cut so that each half has the tokens that it has in the whole: after a word, before the space"""
_AT_ONCE = 4_096  # characters of a segment that is encoded at once


class BytePairs:
    """Byte pair encoding over the bytes of UTF-8: no text is unknown, and every text comes back byte for byte.

    A text is cut into words as GPT-2 does, each with the space before it, and of the training text the commonest pairs
    are joined again and again. Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword
    Units", 2016; over bytes: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2.

    Args:
        tokenizer: of the package tokenizers, with the model BPE over bytes.

    >>> tokenizer = learn_byte_pairs(["low lower lowest " * 9], vocabulary=260)
    >>> tokenizer.vocabulary, tokenizer.decode(tokenizer.encode("slowly, 慢"))
    (260, 'slowly, 慢')
    """

    kind: TokenKind = "bpe"
    unknown: int | None = None

    def __init__(self, tokenizer: tokenizers.Tokenizer):
        self._tokenizer = tokenizer
        self.vocabulary = tokenizer.get_vocab_size()

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The tokens of a text.

        Raises:
            UsageError: if it has half a surrogate pair, which no UTF-8 has.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            where = f"{error.reason} at character {error.start}"
            raise UsageError(f"the text cannot be written in UTF-8: {where}") from None
        found = self._tokenizer.encode_batch_fast(list(segments(text)), add_special_tokens=False)
        return torch.tensor([number for segment in found for number in segment.ids], dtype=torch.long)

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 become U+FFFD."""
        numbers = tokens.tolist() if isinstance(tokens, Tensor) else list(tokens)
        return self._tokenizer.decode(numbers, skip_special_tokens=False)

    def token(self, number: int) -> str:
        """The text of one token; U+FFFD where it ends within a character."""
        return self.decode([number])

    def to_json(self) -> str:
        """The tokenizer as a text of JSON."""
        return self._tokenizer.to_str(pretty=True)


def learn_byte_pairs(pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> BytePairs:
    """All bytes, and the pairs that are joined first.

    Args:
        pieces: the training text, cut at seams.
        vocabulary: number of tokens, bytes included; 4 096 if not given; fewer if the text has no more pairs.
        min_count: how often a pair must occur to be joined.

    Raises:
        UsageError: if that is less than the 256 bytes.
    """
    vocabulary = vocabulary or MOST_PIECES
    if vocabulary < BYTES:
        raise UsageError(f"a vocabulary of {vocabulary} cannot hold the {BYTES} bytes that every bpe begins with")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=min_count,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator((segment for piece in pieces for segment in segments(piece)), trainer)
    return BytePairs(tokenizer)


def segments(text: str) -> Iterator[str]:
    """The text in segments that have, one after the other, the tokens of the whole.

    >>> "".join(segments("a b")) == "a b"
    True
    """
    start = 0
    while start < len(text):
        seam = SEAM.search(text, start + _AT_ONCE)
        end = seam.start() if seam else len(text)
        yield text[start:end]
        start = end
