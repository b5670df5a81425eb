"""Beam search for continuations of a prompt: its options and its results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Int
from torch import Tensor

from danlu.app.inference.apply import at_least
from danlu.data.base.tokenizer import Tokenizer
from danlu.errors import UsageError
from danlu.sampling.decoding.beam_search import Lengths, Penalty, beam_search


class Search(NamedTuple):
    """Options of a beam search; see ``danlu.sampling.decoding.beam_search.beam_search``."""

    beams: int
    best: int = 1
    groups: int = 1
    diversity: float = 0.5
    penalty: Penalty = Penalty()

    @property
    def by_probability(self) -> bool:
        """Whether texts are ranked by their log-probability alone."""
        return self.groups == 1 and not self.penalty.alpha


class Continuation(NamedTuple):
    """A text that a beam search found.

    Attributes:
        text: the continuation of the prompt.
        log_prob: its log-probability in nats.
        score: the score for the ranking: log_prob divided by the length penalty, minus the diversity penalty.
        tokens: its number of tokens, including the end.
    """

    text: str
    log_prob: float
    score: float
    tokens: int


def search_of(
    beam: int | None = None,
    best: int | None = None,
    groups: int | None = None,
    diversity: float | None = None,
    length_penalty: float | None = None,
    length_form: Lengths | None = None,
    ends: bool = False,
) -> Search | None:
    """The options of a beam search; None if there is no beam search.

    Args:
        beam: number of beams.
        best: number of texts to return.
        groups: number of groups of beams.
        diversity: λ, penalty between groups.
        length_penalty: α.
        length_form: formula of the length penalty.
        ends: whether texts may end before their full length.

    Raises:
        UsageError: if a number is out of range, or an option has no effect with the others.

    >>> search_of(best=3)
    Traceback (most recent call last):
    danlu.errors.UsageError: best is for a search with beams; give beam too, or leave it out
    """
    asked = {"best": best, "groups": groups, "diversity": diversity}
    asked |= {"length-penalty": length_penalty, "length-form": length_form}
    if beam is None:
        if idle := [name for name, value in asked.items() if value is not None]:
            be, it = ("is", "it") if len(idle) == 1 else ("are", "them")
            raise UsageError(f"{', '.join(idle)} {be} for a search with beams; give beam too, or leave {it} out")
        return None
    at_least(1, beam=beam, best=best, groups=groups)
    for line, is_wrong in {
        f"best={best} is more than beam={beam}, and a search finds no more than it has beams": (best or 1) > beam,
        f"groups={groups} must divide beam={beam}": bool(beam % (groups or 1)),
        "diversity is between groups; give groups of 2 or more, or leave it out": diversity is not None
        and (groups or 1) < 2,
        f"diversity={diversity} must be a number of at least 0": not _is_a_number(diversity),
        f"length-penalty={length_penalty} must be a number of at least 0": not _is_a_number(length_penalty),
        "without an end all texts are of one length, and length-penalty does nothing; give end, or leave it out": (
            length_penalty is not None and not ends
        ),
        "length-form says how length-penalty counts; give that too, or leave it out": length_form is not None
        and length_penalty is None,
    }.items():
        if is_wrong:
            raise UsageError(line)
    penalty = Penalty(length_penalty or 0.0, length_form or "wu")
    return Search(beam, best or 1, groups or 1, 0.5 if diversity is None else diversity, penalty)


def _is_a_number(value: float | None) -> bool:
    return value is None or 0 <= value < math.inf


def searched(
    model: Any, tokenizer: Tokenizer, given: Int[Tensor, "p"], tokens: int, end: int | None, search: Search
) -> list[Continuation]:
    """The best continuations of a prompt, in descending order; fewer than requested if there are no more.

    Args:
        model: the model, on its device.
        tokenizer: the tokenizer of the model.
        given: the tokens of the prompt.
        tokens: maximal number of tokens of a text.
        end: the token that ends a text.
        search: the options.
    """
    last, state = model.read(given[None])
    found = beam_search(
        model.step,
        last,
        state,
        search.beams,
        tokens,
        end,
        search.best,
        search.penalty,
        search.groups,
        search.diversity,
    )
    columns = (found.tokens[0], found.lengths[0], found.log_prob[0], found.score[0])
    return [
        Continuation(after(tokenizer, given.tolist(), row[:length]), log_prob, score, length)
        for row, length, log_prob, score in zip(*(column.tolist() for column in columns), strict=True)
        if length
    ]


def after(tokenizer: Tokenizer, given: Sequence[int], new: Sequence[int]) -> str:
    """The text of new tokens after given ones, with a space before it if the tokenizer adds one."""
    return tokenizer.decode([*given, *new])[len(tokenizer.decode(given)) :]
