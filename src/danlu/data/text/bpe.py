"""Byte pair encoding (BPE) over bytes, by the package tokenizers, which is imported when needed."""

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
MAX_VOCABULARY = 4_096
"""maximum size of the vocabulary by default"""
SEAM = re.compile(r"(?<=\S)(?=[ \r\n])")
"""positions where a text can be cut without changing its tokens: after a word, before white space"""
_SEGMENT = 4_096  # minimum number of characters of a segment


class BytePairs:
    """Byte pair encoding over the bytes of UTF-8: every text can be encoded, and is decoded exactly.

    As in GPT-2, a text is split into words, each with the space before it. The most frequent pairs of tokens in the
    training text are merged repeatedly. Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with
    Subword Units", 2016; over bytes: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019,
    section 2.2.

    Args:
        tokenizer: tokenizer of the package tokenizers, with a byte-level BPE model.

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
            UsageError: if the text has an unpaired surrogate, which UTF-8 cannot represent.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            position = f"{error.reason} at character {error.start}"
            raise UsageError(f"the text cannot be encoded in UTF-8: {position}") from None
        encodings = self._tokenizer.encode_batch_fast(list(segments(text)), add_special_tokens=False)
        return torch.tensor([number for encoding in encodings for number in encoding.ids], dtype=torch.long)

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The text of tokens; bytes that are not valid UTF-8 become U+FFFD."""
        numbers = tokens.tolist() if isinstance(tokens, Tensor) else list(tokens)
        return self._tokenizer.decode(numbers, skip_special_tokens=False)

    def token(self, number: int) -> str:
        """The text of one token; U+FFFD for an incomplete character."""
        return self.decode([number])

    def to_json(self) -> str:
        """The tokenizer as JSON."""
        return self._tokenizer.to_str(pretty=True)


def learn_byte_pairs(pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> BytePairs:
    """Learn a byte-level BPE tokenizer: all bytes, and the most frequent pairs.

    Args:
        pieces: the training text, cut at seams.
        vocabulary: maximum size of the vocabulary including the 256 bytes; 4,096 by default.
        min_count: minimum number of occurrences of a pair to be merged.

    Raises:
        UsageError: if the vocabulary is smaller than 256.
    """
    vocabulary = vocabulary or MAX_VOCABULARY
    if vocabulary < BYTES:
        raise UsageError(
            f"text.vocabulary must be at least {BYTES} with text.tokens bpe (one token per byte), got {vocabulary}",
            settings=("text.vocabulary",),
        )
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
    """Segments of a text whose concatenated tokens are the tokens of the text.

    >>> "".join(segments("a b")) == "a b"
    True
    """
    start = 0
    while start < len(text):
        seam = SEAM.search(text, start + _SEGMENT)
        end = seam.start() if seam else len(text)
        yield text[start:end]
        start = end
