"""Learn a tokenizer from a training text; save and load the file ``tokenizer.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu.data.base.tokenizer import Tokenizer, TokenKind
from danlu.data.text.bpe import BytePairs, learn_byte_pairs
from danlu.data.text.bpe_check import check_byte_pairs, check_token_numbers
from danlu.data.text.tokenizers import Characters, Words, learn_characters, learn_words
from danlu.errors import RunError, short
from danlu.limits import TOKENIZER_BYTES
from danlu.storage.atomic import write_text
from danlu.storage.disk import looks_like
from danlu.storage.json_page import parse_json
from danlu.storage.regular_file import read_regular

FILE = "tokenizer.json"
"""name of the tokenizer's file in a model folder"""


def learn(kind: TokenKind, pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> Tokenizer:
    """Learn a tokenizer from a training text.

    Args:
        kind: type of the tokens.
        pieces: the text, cut at white space.
        vocabulary: maximum size of the vocabulary; by default 10,000 words, 4,096 subwords (bpe), or all characters.
        min_count: minimum number of occurrences of a token.

    >>> learn("characters", ["abba"]).vocabulary
    2
    """
    learn_tokens = {"characters": learn_characters, "words": learn_words, "bpe": learn_byte_pairs}[kind]
    return learn_tokens(pieces, vocabulary, min_count)


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer to a file."""
    write_text(path, tokenizer.to_json())


def load(path: Path) -> Tokenizer:
    """Load a tokenizer from a file ``tokenizer.json``, which the package tokenizers may have written.

    Raises:
        RunError: if the file cannot be read, or is not a tokenizer that danlu supports.
    """
    try:
        content = read_regular(path, TOKENIZER_BYTES)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return from_json(content.decode())
    except ValueError as error:  # invalid UTF-8, JSON or content
        raise RunError(f"{path} is not a supported tokenizer: {_problem(content, error)}") from None


def _problem(content: bytes, error: ValueError) -> str:
    """Why the content of a file is not a tokenizer."""
    file_type = looks_like(content)
    if not content or (file_type and file_type != "text"):
        return f"it looks like {file_type}" if content else "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    text = short(str(error), 300)
    return f"invalid JSON: {text}" if isinstance(error, json.JSONDecodeError) else text


def from_json(text: str) -> Tokenizer:
    """Create a tokenizer from the content of a file ``tokenizer.json``, as returned by ``to_json``.

    Tokenizers of characters and words are recognized by their pre-tokenizer; bpe needs the package tokenizers.

    Raises:
        ValueError: if the content is not one of these tokenizers.

    >>> from_json(Characters("ab").to_json()).decode([1, 0])
    'ba'
    """
    page = parse_json(text)
    kind = _kind(page)
    if kind == "bpe":
        check_byte_pairs(page)
        return _byte_pairs(text)
    vocabulary = page["model"].get("vocab")
    check_token_numbers(vocabulary)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    return Characters(tokens) if kind == "characters" else Words(tokens)


def _kind(page: Any) -> TokenKind:
    model, pre_tokenizer = (_mapping(page, name) for name in ("model", "pre_tokenizer"))
    kinds: dict[tuple[Any, Any], TokenKind] = {
        ("WordLevel", "Split"): "characters",
        ("WordLevel", "WhitespaceSplit"): "words",
        ("BPE", "ByteLevel"): "bpe",
    }
    types = model.get("type"), pre_tokenizer.get("type")
    if types not in list(kinds):  # a list, because a type may be unhashable
        has = (
            "has no model"
            if types == (None, None)
            else f"has the model {short(str(types[0]))} and the pre-tokenizer {short(str(types[1]))}"
        )
        raise ValueError(f"it {has}; supported: characters, words, byte-level bpe")
    return kinds[types]


def _mapping(page: Any, name: str) -> dict[str, Any]:
    """The mapping with this name in a JSON object; empty if there is none."""
    value = page.get(name) if isinstance(page, dict) else None
    return value if isinstance(value, dict) else {}


def _byte_pairs(text: str) -> BytePairs:
    from tokenizers import Tokenizer as LibraryTokenizer

    try:
        return BytePairs(LibraryTokenizer.from_str(text))
    except BaseException as error:  # the package raises plain Exception, and BaseException if it panics
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ValueError(str(error)) from error
