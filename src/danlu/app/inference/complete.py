"""Continue a prompt with a language model; the text is returned in pieces as it is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.app.inference.apply import check_at_least
from danlu.app.inference.beam_search import Continuation, Search, search_continuations, search_options
from danlu.app.inference.load import load_with_verb
from danlu.data.base.tokenizer import Tokenizer
from danlu.data.text.tokenizers import REPLACEMENT, UNKNOWN, UnknownCharacter
from danlu.errors import RunError, UsageError
from danlu.sampling.decoding.beam_search import Lengths
from danlu.sampling.decoding.generate import SamplingOptions, generate
from danlu.training.runtime import DeviceName
from danlu.verbs import has


def complete(
    run: str | Path,
    prompt: str,
    tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    beam: int | None = None,
    best: int | None = None,
    groups: int | None = None,
    diversity: float | None = None,
    length_penalty: float | None = None,
    length_form: Lengths | None = None,
    end: str | None = None,
    seed: int = 0,
    device: DeviceName = "auto",
) -> str | list[Continuation]:
    """Continue a prompt with a language model.

    Args:
        run: a run folder, or a model folder.
        prompt: the text to continue.
        tokens: number of tokens to generate: characters, words or subwords, depending on the model.
        temperature: below 1, probable tokens become more probable; 0 selects the most probable token.
        top_k: sample only from the k most probable tokens.
        top_p: sample only from the most probable tokens whose total probability is p.
        min_p: sample only from tokens with at least this fraction of the largest probability.
        repetition_penalty: above 1, tokens that occurred before become less probable.
        beam: use beam search with this number of beams instead of sampling.
        best: for beam search, the number of texts to return, each with its log-probability.
        groups: for beam search, the number of groups of beams that differ from each other.
        diversity: penalty of a token that a previous group has just selected; 0.5 by default.
        length_penalty: α of Wu et al. 2016, which favors longer texts.
        length_form: wu, or power for a power of the length.
        end: stop after this text; it must be one word for models of words, and one token for beam search.
        seed: random seed.
        device: the device.

    Returns:
        The new text without the prompt; if ``best`` is given, texts with their log-probabilities, the best first.

    Raises:
        UsageError: if the model is not a language model, the prompt is empty or has unknown characters, or settings are
            not compatible.
    """
    options = sampling_options(temperature, top_k, top_p, min_p, repetition_penalty, beam)
    search = search_options(beam, best, groups, diversity, length_penalty, length_form, end is not None)
    start = prepare_prompt(run, prompt, tokens, end, search, device)
    if search is None:
        return "".join(start.sample(options, seed))
    continuations = start.search(search)
    return continuations[0].text if best is None else continuations


def sampling_options(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    beam: int | None = None,
) -> SamplingOptions:
    """The options for sampling tokens.

    Raises:
        UsageError: if a number is out of range, or an option has no effect with beam search or temperature 0.
    """
    try:
        options = SamplingOptions(temperature, top_k, top_p, min_p, repetition_penalty)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if beam is not None and options != SamplingOptions():
        raise UsageError(
            "beam search does not sample; remove beam, or remove temperature, top_k, top_p, min_p and "
            "repetition_penalty",
            settings=("beam",),
        )
    if not options.stochastic and (top_k, top_p, min_p) != (None, None, None):
        raise UsageError(
            "temperature 0 always takes the most probable token; remove top_k, top_p and min_p, or give a temperature "
            "above 0",
            settings=("temperature",),
        )
    return options


class Prompt(NamedTuple):
    """A model with a prompt to continue.

    Attributes:
        model: the model, on its device.
        tokenizer: the tokenizer of the model.
        prompt: the tokens of the prompt.
        spaced: whether the prompt ends with white space, so that the next word needs none.
        tokens: maximal number of tokens to generate.
        end: the text after which to stop.
        end_token: the token of this text; None if it is not a single token.
    """

    model: Any
    tokenizer: Tokenizer
    prompt: Int[Tensor, "p"]
    spaced: bool
    tokens: int
    end: str | None
    end_token: int | None

    def search(self, search: Search) -> list[Continuation]:
        """The best texts of a beam search, in descending order."""
        texts = search_continuations(self.model, self.tokenizer, self.prompt, self.tokens, self.end_token, search)
        return [continuation._replace(text=self._joined(continuation.text)) for continuation in texts]

    def sample(self, options: SamplingOptions, seed: int) -> Iterator[str]:
        """Sample a text; yield each piece as soon as it is known."""
        pieces = self._pieces(options, seed)
        if (first := next(pieces, None)) is not None:
            yield self._joined(first)
        yield from pieces

    def _joined(self, text: str) -> str:
        """A text without the leading space that the prompt already has."""
        return text.removeprefix(" ") if self.spaced and self.tokenizer.kind == "words" else text

    @torch.no_grad()
    def _pieces(self, options: SamplingOptions, seed: int) -> Iterator[str]:
        by_token = self.end_token if self.tokenizer.kind == "words" else None
        stop = StopText(self.end if by_token is None else None)
        rows = self.prompt[None]
        last, state = self.model.read(rows)
        steps = generate(self.model.step, last, state, options, self.tokens, by_token, seed, rows)
        recent = rows[0].tolist()[-8:]  # the space before a word depends on the previous tokens
        shown = self.tokenizer.decode(recent)
        for number, token in enumerate(steps, start=1):
            recent.append(int(token))
            text = self.tokenizer.decode(recent)
            if text.endswith(REPLACEMENT) and self.tokenizer.kind == "bpe" and number < self.tokens:
                continue  # the character is not complete
            piece, ended = stop.cut(text[len(shown) :])
            yield piece
            if ended:
                return
            recent = recent[-8:] if not text.endswith(REPLACEMENT) else recent
            shown = self.tokenizer.decode(recent)


class StopText:
    """The text after which generation stops, searched for in a text that arrives in pieces.

    >>> stop = StopText("end")
    >>> stop.cut("an e"), stop.cut("nd."), StopText(None).cut("end")
    (('an e', False), ('nd', True), ('end', False))
    """

    def __init__(self, end: str | None):
        self.end, self._tail = end, ""

    def cut(self, piece: str) -> tuple[str, bool]:
        """The piece, cut after the end if the end occurs, and whether it occurs."""
        if self.end is None:
            return piece, False
        both, before = self._tail + piece, len(self._tail)
        position = both.find(self.end)
        self._tail = both[max(len(both) - len(self.end) + 1, 0) :]
        return (piece, False) if position < 0 else (both[before : position + len(self.end)], True)


def prepare_prompt(
    run: str | Path,
    prompt: str,
    tokens: int = 200,
    end: str | None = None,
    search: Search | None = None,
    device: DeviceName = "auto",
    note: Callable[[str], Any] = lambda line: None,
) -> Prompt:
    """Load a model and encode a prompt; ``note`` receives notes on the prompt.

    Raises:
        UsageError: for the same reasons as ``complete``.
    """
    check_at_least(1, tokens=tokens)
    model = load_with_verb(run, "complete", device)
    if not has(model, "token_stream"):
        raise UsageError(f"{type(model).__name__} cannot be used token by token; call its method complete in Python")
    tokenizer = tokenizer_of(model, run)
    if not prompt:
        raise UsageError("the prompt is empty; give at least one character")
    if not prompt.isascii() and any(
        "\ud800" <= sign <= "\udfff" for sign in prompt
    ):  # how Python represents bytes that are not UTF-8
        raise UsageError("the prompt is not valid UTF-8; set the encoding of the terminal to UTF-8")
    encoded = tokenizer.encode(prompt)
    if not len(encoded):
        raise UsageError("the prompt has only white space, and this model generates words; give at least one word")
    end_token = None if end is None else _end_token(tokenizer, end, search is not None)
    if tokenizer.unknown is not None and (lost := int((encoded == tokenizer.unknown).sum())):
        note(f"{lost} of the {len(encoded)} tokens of the prompt are not in the vocabulary of this model")
    if model.window is not None and len(encoded) > model.window:
        note(f"the prompt has {len(encoded)} tokens; this model uses only the last {model.window}")
    encoded = encoded.to(next(model.parameters()).device)
    return Prompt(model, tokenizer, encoded, prompt[-1].isspace(), tokens, end, end_token)


def _end_token(tokenizer: Tokenizer, end: str, by_beam_search: bool) -> int | None:
    """The token of an end; None if it is not a single token.

    Raises:
        UsageError: if the model cannot generate it, or it must be a single token and is not.
    """
    try:
        tokens = tokenizer.encode(end).tolist()
    except UnknownCharacter as error:
        raise UsageError(f"end: {error.problem}; this model cannot generate it", settings=("end",)) from error
    if tokenizer.unknown in tokens and end != UNKNOWN:
        raise UsageError(
            f"end: {end!r} is not in the vocabulary of this model, which cannot generate it", settings=("end",)
        )
    if not tokens:
        raise UsageError("end has no tokens: it is empty, or has only white space; remove end", settings=("end",))
    if len(tokens) > 1 and (by_beam_search or tokenizer.kind == "words"):
        condition = "with beam search" if by_beam_search else "for a model of words"
        raise UsageError(
            f"end must be a single token {condition}, and {end!r} is {len(tokens)} tokens of this model",
            settings=("end",),
        )
    return tokens[0] if len(tokens) == 1 else None


def tokenizer_of(model: Any, run: str | Path) -> Tokenizer:
    """The tokenizer of a language model.

    Raises:
        RunError: if it is missing.
    """
    if model.tokenizer is None:
        raise RunError(f"{run}: the model's file tokenizer.json is missing; it is needed to encode and decode text")
    return model.tokenizer
