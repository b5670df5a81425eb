"""Going on with a text: what a language model writes after a prompt, piece by piece as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.app.making import at_least, ready
from danlu.data.text_tokens import REPLACEMENT, Tokenizer
from danlu.errors import RunError, UsageError
from danlu.sampling.decode import Choice, generate
from danlu.training.runtime import DeviceName


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
    seed: int = 0,
    device: DeviceName = "auto",
) -> str:
    """What a language model writes after a text.

    Args:
        run: a run folder, or a model folder.
        prompt: the text to go on with.
        tokens: how many to write: characters, words or pieces, as the model was trained.
        temperature: below 1 likely tokens are likelier; 0 takes the likeliest each time.
        top_k: draw from so many of the likeliest tokens alone.
        top_p: draw from the likeliest tokens that have this probability together.
        min_p: draw from the tokens that are at least this share as likely as the likeliest.
        repetition_penalty: above 1, tokens that have come before are less likely.
        beam: in place of drawing, take the likeliest text that a search with so many beams finds.
        seed: of the random numbers.
        device: where to compute.

    Returns:
        The new text alone.

    Raises:
        UsageError: if the model does not write, or the prompt is empty or has characters that it does not know.
    """
    choice = chosen(temperature, top_k, top_p, min_p, repetition_penalty, beam)
    return "".join(streamed(run, prompt, tokens, choice, beam, seed, device))


def chosen(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    beam: int | None = None,
) -> Choice:
    """How tokens are drawn.

    Raises:
        UsageError: if a number is not from its range, or does nothing beside a beam.
    """
    try:
        choice = Choice(temperature, top_k, top_p, min_p, repetition_penalty)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if beam is not None and choice != Choice():
        raise UsageError("beam takes the likeliest text and draws nothing; leave temperature, top-k and the like out")
    return choice


def streamed(
    run: str | Path,
    prompt: str,
    tokens: int,
    choice: Choice,
    beam: int | None = None,
    seed: int = 0,
    device: DeviceName = "auto",
    tell: Callable[[str], Any] = lambda note: None,
) -> Iterator[str]:
    """Pieces of new text, each as soon as it is known; what must be known of the prompt is told first.

    Raises:
        UsageError: as ``complete`` does.
    """
    at_least(1, tokens=tokens, beam=beam)
    model = ready(run, "complete", device)
    tokenizer = tokenizer_of(model, run)
    if not prompt:
        raise UsageError("the prompt is empty, and there is nothing to go on with; give at least one character")
    given = tokenizer.encode(prompt)
    if not len(given):
        raise UsageError("the prompt has nothing but white space, of which this model of words knows nothing")
    if tokenizer.unknown is not None and (lost := int((given == tokenizer.unknown).sum())):
        tell(f"{lost} of the {len(given)} tokens of the prompt are not known to this model")
    if model.window is not None and len(given) > model.window:
        tell(f"the prompt has {len(given)} tokens, and this model sees no more than the last {model.window}")
    rows = given[None].to(next(model.parameters()).device)
    if beam is not None:
        new = model.complete(rows, tokens, beams=beam)[0, len(given) :]
        return iter([tokenizer.decode([*given.tolist(), *new.tolist()])[len(tokenizer.decode(given)) :]])
    return _pieces(model, tokenizer, rows, tokens, choice, seed)


def _pieces(model: Any, tokenizer: Tokenizer, rows: Tensor, tokens: int, choice: Choice, seed: int) -> Iterator[str]:
    last, state = model.read(rows)
    with torch.no_grad():
        steps = generate(model.step, last, state, choice, tokens, seed=seed, seen=rows)
        recent, shown = rows[0].tolist()[-8:], ""  # a word needs to know what is before it, to have its space
        shown = tokenizer.decode(recent)
        for number, token in enumerate(steps, start=1):
            recent.append(int(token))
            text = tokenizer.decode(recent)
            if text.endswith(REPLACEMENT) and tokenizer.kind == "bpe" and number < tokens:
                continue  # within a character
            yield text[len(shown) :]
            recent = recent[-8:] if not text.endswith(REPLACEMENT) else recent
            shown = tokenizer.decode(recent)


def tokenizer_of(model: Any, run: str | Path) -> Tokenizer:
    """What made the tokens of a model of text.

    Raises:
        RunError: if it is gone.
    """
    if model.tokenizer is None:
        raise RunError(f"{run}: the model's tokenizer.json is gone, without which its tokens are no text")
    return model.tokenizer
