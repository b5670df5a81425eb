"""Statistics of running text: its length, its tokens, the fraction of unknown tokens, and its first lines."""

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
"""number of most frequent tokens in the statistics"""
LINES, WIDTH = 3, 100
"""number of first lines in the statistics, and maximum length of each in characters"""
_BLOCK = 1 << 20  # tokens
_MANY_UNKNOWN = 0.1  # fraction of unknown tokens above which a problem is reported


def token_counts(part: Part, vocabulary: int) -> Int[Tensor, "vocabulary"]:
    """Number of occurrences of each token in a part.

    >>> token_counts(Part({"token": torch.tensor([0, 2, 2])}), 4)
    tensor([1, 0, 2, 0])
    """
    counts = torch.zeros(vocabulary, dtype=torch.long)
    for block in part.fields["token"].split(_BLOCK):
        counts += block.cpu().long().bincount(minlength=vocabulary)
    return counts


def survey_text(data: DataSet) -> Survey:
    """Statistics of running text; an example is a token."""
    statistics = text_statistics(data)
    examples = {name: len(data.part(name)) for name in PARTS}
    return Survey(examples, {}, data.info.inputs, [], {}, [], list(text_problems(data, statistics)), statistics)


def text_statistics(data: DataSet) -> dict[str, Any]:
    """Statistics of a text.

    Returns:
        The number of characters and bytes of each part, the fraction of its tokens that are unknown, the most frequent
        tokens of the training part with their counts, the number of tokens of the vocabulary that do not occur in it,
        and its first lines.
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
            name: 0.0 if unknown is None else float(count[unknown]) / max(1, int(count.sum()))
            for name, count in counts.items()
        },
        "commonest": [[tokenizer.token(number), int(train[number])] for number in commonest if train[number]],
        "unseen": int((train == 0).sum()),
        "begin": [line[:WIDTH] for line in begin[:LINES]],
    }


def text_problems(data: DataSet, statistics: dict[str, Any]) -> Iterator[str]:
    """Possible problems of a text, as messages."""
    for part in PARTS[1:]:
        if not len(data.part(part)):
            yield f"the {part} part is empty"
    unknown, tokenizer = statistics["unknown"], data.tokenizer
    if tokenizer is None or tokenizer.unknown is None:
        return
    if unknown["train"] == 0 and any(unknown.values()):
        yield "the training part has no token <unk>, so a model cannot learn its probability; set text.min_count to 2"
    elif (most := max(unknown, key=unknown.__getitem__)) and unknown[most] > _MANY_UNKNOWN:
        yield f"{unknown[most]:.1%} of the {most} tokens are <unk>; use a larger text.vocabulary or more training text"


def _sizes(part: Part, tokenizer: Tokenizer) -> tuple[int, int]:
    """Number of characters and of UTF-8 bytes of a part; a character that a block border cuts is counted twice."""
    characters = size = 0
    for block in part.fields["token"].split(_BLOCK):
        text = tokenizer.decode(block.cpu().long())
        characters += len(text)
        size += len(text.encode())
    return characters, size
