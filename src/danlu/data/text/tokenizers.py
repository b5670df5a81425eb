"""Text as numbers: tokenizers of characters and of words, and what every tokenizer can do."""

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
"""the sign that stands in a text for a character that is not known"""
MOST_WORDS = 10_000


class UnknownCharacter(UsageError):
    """A text has a character that a tokenizer of characters has never seen.

    Attributes:
        character: which one.
        line: counted from 1.
        column: counted from 1.
        advice: what to do.
    """

    def __init__(self, character: str, line: int, column: int, advice: str):
        self.character, self.line, self.column, self.advice = character, line, column, advice
        super().__init__(f"line {line}, column {column} of the text: {self.what}; {advice}")

    @property
    def what(self) -> str:
        """What is wrong, in words."""
        shown = repr(self.character) if self.character.isprintable() else "a character"
        return f"{shown} (U+{ord(self.character):04X}) is none of the characters of the training text"


class Characters:
    """Every character is a token; all of Unicode's code points may be ones.

    ``decode(encode(text)) == text``, unless there is a token for the unknown, which comes back as U+FFFD.

    Args:
        characters: each once, in the order of their numbers; among them ``<unk>`` if unknown ones have a token.

    Raises:
        ValueError: if one occurs twice, or is no single character.

    >>> tokenizer = Characters("\\n abc")
    >>> tokenizer.encode("a cab"), tokenizer.decode([2, 1, 4, 2, 3])
    (tensor([2, 1, 4, 2, 3]), 'a cab')
    >>> tokenizer.encode("a\\nxa")
    Traceback (most recent call last):
    danlu.data.text.tokenizers.UnknownCharacter: line 2, column 1 of the text: 'x' (U+0078) is none of the characters of
    the training text; leave it out, or use a model of bytes (bpe)
    """

    kind: TokenKind = "characters"

    def __init__(self, characters: Sequence[str]):
        self.characters = list(characters)
        self.vocabulary = len(self.characters)
        self.unknown = self.characters.index(UNKNOWN) if UNKNOWN in self.characters else None
        if len(set(self.characters)) != self.vocabulary or any(len(c) != 1 for c in self.characters if c != UNKNOWN):
            raise ValueError("a tokenizer of characters needs single characters, each once")
        codes = [-1 if c == UNKNOWN else ord(c) for c in self.characters]
        self._number_of = np.full(max([*codes, 0]) + 2, -1 if self.unknown is None else self.unknown, np.int64)
        for number, code in enumerate(codes):
            if code >= 0:
                self._number_of[code] = number
        self._code_of = np.array([ord(REPLACEMENT) if code < 0 else code for code in codes], np.uint32)

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The number of each character.

        Raises:
            UnknownCharacter: if one is not known, and there is no token for that.
        """
        codes = code_points(text)
        numbers = self._number_of[np.minimum(codes, len(self._number_of) - 1)]  # the last entry is nobody's
        if self.unknown is None and len(numbers) and numbers.min() < 0:
            place = int(np.argmax(numbers < 0))
            line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
            raise UnknownCharacter(text[place], line, column, "leave it out, or use a model of bytes (bpe)")
        return torch.from_numpy(numbers)

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The characters of these numbers."""
        numbers = np.asarray(tokens.cpu() if isinstance(tokens, Tensor) else tokens, dtype=np.int64)
        return self._code_of[numbers].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def token(self, number: int) -> str:
        """The character of a number."""
        return self.characters[number]

    def to_json(self) -> str:
        """The tokenizer as a text of JSON."""
        pattern = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
        return _word_level(self.characters, None, pattern, {"type": "Fuse"})


class Words:
    r"""Words between white space, ``<eos>`` for the end of a line, ``<unk>`` for every other word.

    This is how the Penn Treebank is read for language models (Mikolov et al., "Recurrent neural network based language
    model", 2010). White space itself is not kept: ``encode(decode(tokens))`` are the tokens, but a decoded text has one
    space between two words.

    Args:
        words: each word once, in the order of their numbers, with ``<unk>`` and ``<eos>``.

    Raises:
        ValueError: if one occurs twice, or these two are not among them.

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
            raise ValueError(f"a tokenizer of words needs each word once, and among them {UNKNOWN} and {END_OF_LINE}")
        self.unknown: int | None = self._number_of[UNKNOWN]
        self.end_of_line = self._number_of[END_OF_LINE]

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """The number of each word and of each end of a line."""
        words, number_of, unknown = words_of(text), self._number_of, self.unknown
        return torch.tensor([number_of.get(word, unknown) for word in words], dtype=torch.long)

    def decode(self, tokens: Int[Tensor, "n"] | Sequence[int]) -> str:
        """The words of these numbers, a space between two of a line."""
        numbers = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        text, gap = [], ""
        for number in numbers:
            ends = number == self.end_of_line
            text += ["\n"] if ends else [gap, self.words[number]]
            gap = "" if ends else " "
        return "".join(text)

    def token(self, number: int) -> str:
        """The word of a number."""
        return self.words[number]

    def to_json(self) -> str:
        """The tokenizer as a text of JSON."""
        ends = {"type": "Replace", "pattern": {"String": "\n"}, "content": f" {END_OF_LINE} "}
        return _word_level(self.words, ends, {"type": "WhitespaceSplit"}, None)


def words_of(text: str) -> list[str]:
    r"""The words of a text, and a word for each end of a line.

    >>> words_of("one  two\nthree")
    ['one', 'two', '<eos>', 'three']
    """
    return text.replace("\n", f" {END_OF_LINE} ").split()


def code_points(text: str) -> np.ndarray:
    """The code point of each character, as a numpy array of uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def learn_characters(pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> Characters:
    """The characters of a text in the order of their code points.

    Args:
        pieces: the training text.
        vocabulary: most tokens; the rarest characters share ``<unk>``.
        min_count: how often a character must occur to be a token; ``<unk>`` stands for the others.

    >>> learn_characters(["banana", " b"]).characters, learn_characters(["banana"], min_count=2).characters
    ([' ', 'a', 'b', 'n'], ['<unk>', 'a', 'n'])
    """
    counts: Counter[str] = Counter()
    for piece in pieces:
        codes, many = np.unique(code_points(piece), return_counts=True)
        for code, count in zip(codes.tolist(), many.tolist(), strict=True):
            counts[chr(code)] += count
    limited = min_count > 1 or (vocabulary is not None and vocabulary < len(counts))
    if not limited:
        return Characters(sorted(counts))
    common = _commonest(counts, None if vocabulary is None else vocabulary - 1, min_count)
    return Characters([UNKNOWN, *sorted(common)])


def learn_words(pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> Words:
    r"""The words of a text, the commonest first and equally common ones by the alphabet.

    Args:
        pieces: the training text, cut at white space.
        vocabulary: most tokens, ``<unk>`` and ``<eos>`` among them; 10 000 if not given.
        min_count: how often a word must occur to be a token.

    >>> learn_words(["b a b\n", "a c\n"], vocabulary=4).words
    ['<eos>', 'a', 'b', '<unk>']
    """
    counts: Counter[str] = Counter()
    for piece in pieces:
        counts.update(words_of(piece))
    special = {word: counts.pop(word, 0) for word in (UNKNOWN, END_OF_LINE)}
    known = _commonest(counts, max(0, (vocabulary or MOST_WORDS) - len(special)), min_count)
    special[UNKNOWN] += sum(counts.values()) - sum(counts[word] for word in known)
    ranked = {word: counts[word] for word in known} | special
    return Words(sorted(ranked, key=lambda word: (-ranked[word], word)))


def _commonest(counts: Counter[str], most: int | None, min_count: int) -> list[str]:
    enough = [item for item, count in counts.items() if count >= min_count]
    return sorted(enough, key=lambda item: (-counts[item], item))[:most]


def _word_level(tokens: list[str], normalizer: Any, pre_tokenizer: Any, decoder: Any) -> str:
    """A tokenizer of whole tokens, in the format of the package tokenizers."""
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
