"""Beam search for continuations of a prompt: its options and its results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Int
from torch import Tensor

from danlu.app.inference.apply import check_at_least
from danlu.data.base.tokenizer import Tokenizer
from danlu.errors import RunError, UsageError
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
    """One result of a beam search.

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


def search_options(
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

    >>> search_options(best=3)
    Traceback (most recent call last):
    danlu.errors.UsageError: best has an effect only with beam search; give beam, or remove it
    """
    options = {"best": best, "groups": groups, "diversity": diversity}
    options |= {"length_penalty": length_penalty, "length_form": length_form}
    if beam is None:
        if unused := [name for name, value in options.items() if value is not None]:
            have, them = ("has", "it") if len(unused) == 1 else ("have", "them")
            raise UsageError(
                f"{', '.join(unused)} {have} an effect only with beam search; give beam, or remove {them}",
                settings=("beam", *unused),
            )
        return None
    check_at_least(1, beam=beam, best=best, groups=groups)
    for settings, message, is_wrong in (
        (("best", "beam"), f"best={best} must be at most beam={beam}, the number of beams", (best or 1) > beam),
        (("groups", "beam"), f"beam={beam} must be a multiple of groups={groups}", bool(beam % (groups or 1))),
        (
            ("groups", "diversity"),
            "diversity has an effect only with at least 2 groups; give groups, or remove diversity",
            diversity is not None and (groups or 1) < 2,
        ),
        (
            ("diversity",),
            f"diversity must be a finite number of at least 0, got {diversity}",
            not _is_nonnegative(diversity),
        ),
        (
            ("length_penalty",),
            f"length_penalty must be a finite number of at least 0, got {length_penalty}",
            not _is_nonnegative(length_penalty),
        ),
        (
            ("end", "length_penalty"),
            "length_penalty has an effect only with end: without it all texts have the same length; give end, or "
            "remove length_penalty",
            length_penalty is not None and not ends,
        ),
        (
            ("length_penalty", "length_form"),
            "length_form has an effect only with length_penalty; give length_penalty, or remove length_form",
            length_form is not None and length_penalty is None,
        ),
    ):
        if is_wrong:
            raise UsageError(message, settings=settings)
    penalty = Penalty(length_penalty or 0.0, length_form or "wu")
    return Search(beam, best or 1, groups or 1, 0.5 if diversity is None else diversity, penalty)


def _is_nonnegative(value: float | None) -> bool:
    return value is None or 0 <= value < math.inf


def search_continuations(
    model: Any, tokenizer: Tokenizer, prompt: Int[Tensor, "p"], tokens: int, end: int | None, search: Search
) -> list[Continuation]:
    """The best continuations of a prompt, in descending order; fewer than requested if there are no more.

    Args:
        model: the model, on its device.
        tokenizer: the tokenizer of the model.
        prompt: the tokens of the prompt.
        tokens: maximal number of tokens of a text.
        end: the token that ends a text.
        search: the options.

    Raises:
        RunError: if the model has no continuation of the prompt with a probability above 0.
    """
    last, state = model.read(prompt[None])
    texts = beam_search(
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
    columns = (texts.tokens[0], texts.lengths[0], texts.log_prob[0], texts.score[0])
    continuations = [
        Continuation(continuation_text(tokenizer, prompt.tolist(), row[:length]), log_prob, score, length)
        for row, length, log_prob, score in zip(*(column.tolist() for column in columns), strict=True)
        if length
    ]
    if not continuations:
        raise RunError(
            f"beam search found no continuation with a probability above 0 among the {search.beams} most probable; "
            f"give another prompt or more beams",
            settings=("beam",),
        )
    return continuations


def continuation_text(tokenizer: Tokenizer, prompt: Sequence[int], new: Sequence[int]) -> str:
    """The text of new tokens after those of a prompt, with a space before it if the tokenizer adds one."""
    return tokenizer.decode([*prompt, *new])[len(tokenizer.decode(prompt)) :]
