"""Check the description of a byte-level BPE tokenizer before the package tokenizers reads it.

The package allocates what a description asks for, for example padding to any length, and ends the process if it cannot.
Only the parts that danlu writes, or ignores, are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.limits import NAME_CHARACTERS

_ABSENT = ("truncation", "padding", "normalizer")
"""parts that a supported tokenizer does not have"""
_MODEL_OFF = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
"""options of the model that must be off"""
_MODEL_SWITCHES = ("fuse_unk", "byte_fallback", "ignore_merges")
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": bool, "trim_offsets": bool, "use_regex": bool}
_ADDED_SWITCHES = ("single_word", "lstrip", "rstrip", "normalized", "special")


def check_byte_pairs(page: Mapping[str, Any]) -> None:
    """Check the content of a file ``tokenizer.json`` with a BPE model.

    Args:
        page: the content, as JSON values.

    Raises:
        ValueError: if it has a part that danlu does not support, or an invalid vocabulary.
    """
    for name in _ABSENT:
        if page.get(name) is not None:
            raise ValueError(f"it has {name}, which is not supported")
    unknown = page.keys() - {*_ABSENT, "version", "added_tokens", "pre_tokenizer", "post_processor", "decoder", "model"}
    _refuse(unknown, "it")
    for name in ("pre_tokenizer", "post_processor", "decoder"):
        if page.get(name) is not None or name != "post_processor":
            _check_byte_level(name, page.get(name))
    model = page["model"]
    for name in _MODEL_OFF:
        if model.get(name):
            raise ValueError(f"its model has {name}, which is not supported")
    switches = {name: model[name] for name in _MODEL_SWITCHES if name in model}
    if not all(isinstance(value, bool) for value in switches.values()):
        raise ValueError(f"its model has a value other than true and false for {' or '.join(switches)}")
    _refuse(model.keys() - {"type", "vocab", "merges", *_MODEL_OFF, *_MODEL_SWITCHES}, "its model")
    _check_numbers(model.get("vocab"), page.get("added_tokens") or [])
    _check_merges(model.get("merges"))


def _refuse(unknown: set[str], what: str) -> None:
    if unknown:
        raise ValueError(f"{what} has the unknown part {min(unknown)[:60]!r}")


def _check_byte_level(name: str, part: Any) -> None:
    """Check that a part is byte-level, with known options."""
    if not isinstance(part, dict) or part.get("type") != "ByteLevel":
        raise ValueError(f"its {name} is not ByteLevel")
    for option, value in part.items():
        allowed = _BYTE_LEVEL.get(option)
        if allowed is None or (allowed is bool and not isinstance(value, bool)):
            raise ValueError(f"its {name} has an unknown or invalid option {option[:60]!r}")


def _check_numbers(vocabulary: Any, added: Any) -> None:
    """Check that the tokens are numbered from 0 without gaps, as rows of an embedding are."""
    if not isinstance(vocabulary, dict) or not isinstance(added, list):
        raise ValueError("it has no vocabulary")
    numbers: dict[str, Any] = dict(vocabulary)
    for token in added:
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or not content or len(content) > NAME_CHARACTERS:
            raise ValueError("an added token has no text")
        if not all(isinstance(token.get(name, False), bool) for name in _ADDED_SWITCHES):
            raise ValueError(f"the added token {content[:60]!r} has a value other than true and false")
        if numbers.setdefault(content, token.get("id")) != token.get("id"):
            raise ValueError(f"the added token {content[:60]!r} has another number in the vocabulary")
    check_token_numbers(numbers)


def check_token_numbers(vocabulary: Any) -> None:
    """Check that the tokens of a vocabulary are numbered from 0 without gaps.

    Raises:
        ValueError: if they are not.

    >>> check_token_numbers({"a": 0, "b": 2})
    Traceback (most recent call last):
    ValueError: the tokens of its vocabulary must be numbered from 0 without gaps
    """
    is_numbered = isinstance(vocabulary, dict) and all(type(number) is int for number in vocabulary.values())
    if not is_numbered or sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("the tokens of its vocabulary must be numbered from 0 without gaps")


def _check_merges(merges: Any) -> None:
    if not isinstance(merges, list) or not all(
        isinstance(pair, str)
        or (isinstance(pair, list) and len(pair) == 2 and all(isinstance(token, str) for token in pair))
        for pair in merges
    ):
        raise ValueError("its merges must be pairs of tokens")
