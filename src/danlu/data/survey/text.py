"""What a text looks like in numbers: how long, of which tokens, how much of it is not known, and how it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.base.tokenizer import Tokenizer
from danlu.data.survey.result import Survey

COMMONEST = 12
"""tokens that are named"""
LINES, WIDTH = 3, 100
"""lines of the beginning that are shown, and characters of each"""
_AT_ONCE = 1 << 20  # tokens
_MANY = 0.1  # share of unknown tokens that is said


def token_counts(part: Part, vocabulary: int) -> Int[Tensor, "vocabulary"]:
    """How often each token occurs in a part, as a unigram distribution or the order of a vocabulary wants it.

    >>> token_counts(Part({"token": torch.tensor([0, 2, 2])}), 4)
    tensor([1, 0, 2, 0])
    """
    counts = torch.zeros(vocabulary, dtype=torch.long)
    for some in part.fields["token"].split(_AT_ONCE):
        counts += some.cpu().long().bincount(minlength=vocabulary)
    return counts


def survey_text(data: DataSet) -> Survey:
    """Statistics of running text; an example is a token."""
    seen = text_statistics(data)
    examples = {name: len(data.part(name)) for name in PARTS}
    return Survey(examples, {}, data.info.inputs, [], {}, [], list(text_problems(data, seen)), seen)


def text_statistics(data: DataSet) -> dict[str, Any]:
    """A text in numbers.

    Returns:
        Characters and bytes of each part, the share of its tokens that are unknown, the commonest tokens of the
        training part with their counts, how many tokens do not occur there, and its first lines.
    """
    tokenizer = data.tokenizer
    assert tokenizer is not None, "a text has a tokenizer"
    counts = {name: token_counts(data.part(name), tokenizer.vocabulary) for name in PARTS}
    sizes = {name: _sizes(data.part(name), tokenizer) for name in PARTS}
    train = counts["train"]
    commonest = train.argsort(descending=True, stable=True)[:COMMONEST].tolist()
    unknown = tokenizer.unknown
    begin = tokenizer.decode(data.train.fields["token"][: LINES * WIDTH].long()).split("\n")
    return {
        "characters": {name: characters for name, (characters, _) in sizes.items()},
        "bytes": {name: size for name, (_, size) in sizes.items()},
        "vocabulary": tokenizer.vocabulary,
        "unknown": {
            name: 0.0 if unknown is None else float(many[unknown]) / max(1, int(many.sum()))
            for name, many in counts.items()
        },
        "commonest": [[tokenizer.token(number), int(train[number])] for number in commonest if train[number]],
        "unseen": int((train == 0).sum()),
        "begin": [line[:WIDTH] for line in begin[:LINES]],
    }


def text_problems(data: DataSet, seen: dict[str, Any]) -> Iterator[str]:
    """What the user should know of a text."""
    for part in PARTS[1:]:
        if not len(data.part(part)):
            yield f"the {part} part is empty"
    unknown, tokenizer = seen["unknown"], data.tokenizer
    if tokenizer is None or tokenizer.unknown is None:
        return
    if unknown["train"] == 0 and any(unknown.values()):
        yield "no training token is <unk>, so that a model never learns when to expect it; see --text.min-count 2"
    elif (most := max(unknown, key=unknown.__getitem__)) and unknown[most] > _MANY:
        more = "a larger --text.vocabulary, or more training text, would know more"
        yield f"{unknown[most]:.1%} of the {most} tokens are <unk>; {more}"


def _sizes(part: Part, tokenizer: Tokenizer) -> tuple[int, int]:
    """Characters and bytes of UTF-8 of a part; where it is looked at in blocks, a character cut in two counts twice."""
    characters = size = 0
    for some in part.fields["token"].split(_AT_ONCE):
        text = tokenizer.decode(some.cpu().long())
        characters += len(text)
        size += len(text.encode())
    return characters, size
