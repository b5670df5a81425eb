"""Tokenizers of characters and of words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.tokenizer import TokenKind
from danlu.errors import UsageError

UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
REPLACEMENT = "\ufffd"
"""the character that decodes the token for unknown characters"""
MAX_WORDS = 10_000
"""maximum size of the vocabulary of words by default"""


class UnknownCharacter(UsageError):
    """A character is not in the vocabulary of a tokenizer of characters.

    Attributes:
        character: the character.
        line: its line, counted from 1.
        column: its column, counted from 1.
        advice: the end of the message.
    """

    def __init__(self, character: str, line: int, column: int, advice: str):
        self.character, self.line, self.column, self.advice = character, line, column, advice
        super().__init__(f"line {line}, column {column} of the text: {self.problem}; {advice}")

    @property
    def problem(self) -> str:
        """The problem, without the position and the advice."""
        name = repr(self.character) if self.character.isprintable() else "the character"
        return f"{name} (U+{ord(self.character):04X}) is not in the vocabulary"


class Characters:
    """A tokenizer in which every character (Unicode code point) is a token.

    ``decode(encode(text)) == text``, except that unknown characters are decoded as U+FFFD if they have a token.

    Args:
        characters: distinct characters in the order of their numbers, with ``<unk>`` if unknown ones have a token.

    Raises:
        ValueError: if a character occurs twice, or an item is not a single character.

    >>> tokenizer = Characters("\\n abc")
    >>> tokenizer.encode("a cab"), tokenizer.decode([2, 1, 4, 2, 3])
    (tensor([2, 1, 4, 2, 3]), 'a cab')
    >>> tokenizer.encode("a\\nxa")
    Traceback (most recent call last):
    danlu.data.text.tokenizers.UnknownCharacter: line 2, column 1 of the text: 'x' (U+0078) is not in the vocabulary;
    remove it, or use a model with bpe tokens
    """

    kind: TokenKind = "characters"

    def __init__(self, characters: Sequence[str]):
        self.characters = list(characters)
        self.vocabulary = len(self.characters)
        self.unknown = self.characters.index(UNKNOWN) if UNKNOWN in self.characters else None
        if len(set(self.characters)) != self.vocabulary or any(len(c) != 1 for c in self.characters if c != UNKNOWN):
            raise ValueError("characters must be distinct single characters")
        codes = [-1 if c == UNKNOWN else ord(c) for c in self.characters]
        self._number_of = np.full(max([*codes, 0]) + 2, -1 if self.unknown is None else self.unknown, np.int64)
        for number, code in enumerate(codes):
            if code >= 0:
                self._number_of[code] = number
        self._code_of = np.array([ord(REPLACEMENT) if code < 0 else code for code in codes], np.uint32)

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The number of each character.

        Raises:
            UnknownCharacter: if a character is not in the vocabulary, and there is no token for unknown characters.
        """
        codes = code_points(text)
        last = len(self._number_of) - 1  # this entry is for unknown characters
        numbers = self._number_of[np.minimum(codes, last)]
        if self.unknown is None and len(numbers) and numbers.min() < 0:
            index = int(np.argmax(numbers < 0))
            line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
            raise UnknownCharacter(text[index], line, column, "remove it, or use a model with bpe tokens")
        return torch.from_numpy(numbers)

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The characters of these numbers."""
        numbers = np.asarray(tokens.cpu() if isinstance(tokens, Tensor) else tokens, dtype=np.int64)
        return self._code_of[numbers].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def token(self, number: int) -> str:
        """The character of a number."""
        return self.characters[number]

    def to_json(self) -> str:
        """The tokenizer as JSON."""
        pattern = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
        return _word_level(self.characters, None, pattern, {"type": "Fuse"})


class Words:
    r"""A tokenizer of words separated by white space, with ``<eos>`` for ends of lines and ``<unk>`` for other words.

    Language models on the Penn Treebank use these tokens (Mikolov et al., "Recurrent neural network based language
    model", 2010). White space is not preserved: ``encode(decode(tokens))`` returns the tokens, but a decoded text has
    one space between words.

    Args:
        words: distinct words in the order of their numbers, including ``<unk>`` and ``<eos>``.

    Raises:
        ValueError: if a word occurs twice, or ``<unk>`` or ``<eos>`` is missing.

    >>> tokenizer = Words(["the", "<eos>", "cat", "<unk>"])
    >>> tokenizer.encode("the cat\nthe  dog\n"), tokenizer.decode([0, 2, 1, 0, 3, 1])
    (tensor([0, 2, 1, 0, 3, 1]), 'the cat\nthe <unk>\n')
    """

    kind: TokenKind = "words"

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self._number_of = {word: number for number, word in enumerate(self.words)}
        self.vocabulary = len(self.words)
        if len(self._number_of) != self.vocabulary or not {UNKNOWN, END_OF_LINE} <= self._number_of.keys():
            raise ValueError(f"words must be distinct and include {UNKNOWN} and {END_OF_LINE}")
        self.unknown: int | None = self._number_of[UNKNOWN]
        self.end_of_line = self._number_of[END_OF_LINE]

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The numbers of words and ends of lines."""
        words, number_of, unknown = words_of(text), self._number_of, self.unknown
        return torch.tensor([number_of.get(word, unknown) for word in words], dtype=torch.long)

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The words with these numbers, separated by spaces."""
        numbers = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        text, gap = [], ""
        for number in numbers:
            is_end = number == self.end_of_line
            text += ["\n"] if is_end else [gap, self.words[number]]
            gap = "" if is_end else " "
        return "".join(text)

    def token(self, number: int) -> str:
        """The word of a number."""
        return self.words[number]

    def to_json(self) -> str:
        """The tokenizer as JSON."""
        ends = {"type": "Replace", "pattern": {"String": "\n"}, "content": f" {END_OF_LINE} "}
        return _word_level(self.words, ends, {"type": "WhitespaceSplit"}, None)


def words_of(text: str) -> list[str]:
    r"""The words of a text, with ``<eos>`` for each end of a line.

    >>> words_of("one  two\nthree")
    ['one', 'two', '<eos>', 'three']
    """
    return text.replace("\n", f" {END_OF_LINE} ").split()


def code_points(text: str) -> np.ndarray:
    """The code points of a text as an array of uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def learn_characters(pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> Characters:
    """Learn a tokenizer of characters, which are ordered by code point.

    Args:
        pieces: the training text.
        vocabulary: maximum size of the vocabulary; the rarest characters are replaced by ``<unk>``.
        min_count: minimum number of occurrences of a character; others are replaced by ``<unk>``.

    >>> learn_characters(["banana", " b"]).characters, learn_characters(["banana"], min_count=2).characters
    ([' ', 'a', 'b', 'n'], ['<unk>', 'a', 'n'])
    """
    counts: Counter[str] = Counter()
    for piece in pieces:
        codes, code_counts = np.unique(code_points(piece), return_counts=True)
        for code, count in zip(codes.tolist(), code_counts.tolist(), strict=True):
            counts[chr(code)] += count
    limited = min_count > 1 or (vocabulary is not None and vocabulary < len(counts))
    if not limited:
        return Characters(sorted(counts))
    frequent = _most_frequent(counts, None if vocabulary is None else vocabulary - 1, min_count)
    return Characters([UNKNOWN, *sorted(frequent)])


def learn_words(pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> Words:
    r"""Learn a tokenizer of words, which are ordered by decreasing frequency, then alphabetically.

    Args:
        pieces: the training text, cut at white space.
        vocabulary: maximum size of the vocabulary, including ``<unk>`` and ``<eos>``; 10,000 by default.
        min_count: minimum number of occurrences of a word.

    >>> learn_words(["b a b\n", "a c\n"], vocabulary=4).words
    ['<eos>', 'a', 'b', '<unk>']
    """
    counts: Counter[str] = Counter()
    for piece in pieces:
        counts.update(words_of(piece))
    special = {word: counts.pop(word, 0) for word in (UNKNOWN, END_OF_LINE)}
    known = _most_frequent(counts, max(0, (vocabulary or MAX_WORDS) - len(special)), min_count)
    special[UNKNOWN] += sum(counts.values()) - sum(counts[word] for word in known)
    ranked = {word: counts[word] for word in known} | special
    return Words(sorted(ranked, key=lambda word: (-ranked[word], word)))


def _most_frequent(counts: Counter[str], limit: int | None, min_count: int) -> list[str]:
    items = [item for item, count in counts.items() if count >= min_count]
    return sorted(items, key=lambda item: (-counts[item], item))[:limit]


def _word_level(tokens: list[str], normalizer: Any, pre_tokenizer: Any, decoder: Any) -> str:
    """A word-level tokenizer in the format of the package tokenizers."""
    page = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": {
            "type": "WordLevel",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "unk_token": UNKNOWN,
        },
    }
    return json.dumps(page, ensure_ascii=False, indent=1)
