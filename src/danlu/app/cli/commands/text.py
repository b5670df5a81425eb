"""The command complete, and the output of scores of texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from danlu.app.cli.argument_types import Device, Json, Seed
from danlu.app.cli.command_output import as_json
from danlu.app.console.output import print_error, print_line, print_lines, print_text

if TYPE_CHECKING:
    from danlu.app.inference.beam_search import Continuation
    from danlu.app.scoring.text_perplexity import TextScores


def complete(
    run: Path,
    text: str,
    /,
    *,
    tokens: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200,
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
    length_form: Literal["wu", "power"] | None = None,
    end: str | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Continue a prompt with a language model.

    Args:
        run: run folder or model folder
        text: the prompt
        tokens: number of tokens to generate; a token is a character, a word or a subword, depending on the model
        temperature: divides the logits; below 1, probable tokens become more probable; 0 is greedy decoding
        top_k: sample only from the k most probable tokens
        top_p: sample only from the most probable tokens with this total probability
        min_p: sample only from tokens with at least this fraction of the largest probability
        repetition_penalty: above 1, tokens that already occurred become less probable
        beam: beam search with this number of beams instead of sampling
        best: beam search: number of continuations to print, each with its log-probability
        groups: beam search: number of diverse groups of beams
        diversity: beam search: penalty of a token that an earlier group has chosen; default: 0.5
        length_penalty: beam search: exponent α of the length penalty of Wu et al. 2016
        length_form: beam search: formula of the length penalty; wu (Wu et al. 2016), or power (a power of the length)
        end: stop after this text; \\n is a line break
    """
    from danlu.app.inference.beam_search import search_options
    from danlu.app.inference.complete import prepare_prompt, sampling_options

    def note(line: str) -> None:
        print_line(f"  note: {line}", sys.stderr)

    options = sampling_options(temperature, top_k, top_p, min_p, repetition_penalty, beam)
    search = search_options(beam, best, groups, diversity, length_penalty, length_form, end is not None)
    stop = end if end is None else end.replace("\\n", "\n")
    start = prepare_prompt(run, text, tokens, stop, search, device, note)
    if search is None:
        return _print_sampled(start.sample(options, seed), text, {"tokens": tokens, "seed": seed}, json)
    continuations = start.search(search)
    if json:
        options_json = {"tokens": tokens, "seed": seed, "continuations": [one._asdict() for one in continuations]}
        return as_json({"prompt": text, "text": continuations[0].text, **options_json})
    if best:
        return _print_continuations(continuations, text, search.by_probability)
    print_text(text + continuations[0].text + "\n")
    return 0


def _print_sampled(pieces: Iterator[str], prompt: str, options: dict[str, int], json: bool) -> int:
    """Print the prompt and each piece as soon as it is sampled, or one JSON object; return the exit code."""
    if json:
        return as_json({"prompt": prompt, "text": "".join(pieces), **options})
    print_text(prompt)
    for piece in pieces:
        print_text(piece)
    print_line("")
    return 0


def _print_continuations(continuations: list[Continuation], prompt: str, by_probability: bool) -> int:
    """Print each continuation with its rank, log-probability and score; return the exit code."""
    for number, one in enumerate(continuations, start=1):
        ranked = "" if by_probability else f", score {one.score:.4f}"
        tokens = f"{one.tokens} token{'s' * (one.tokens > 1)}"
        print_text(f"{number}  log-probability {one.log_prob:.4f} of {tokens}{ranked}\n{prompt}{one.text}\n")
    return 0


def print_scores(scores: TextScores, json: bool) -> int:
    """Print a line for each text, or one JSON object; return the exit code."""
    failed = int(any(one.error for one in scores.files))
    if json:
        as_json({"scores": [one._asdict() for one in scores.files], "notes": scores.notes})
        return failed
    for one in scores.files:
        if one.error or one.perplexity is None:
            print_error(str(one.error))
            continue
        of_bytes = "" if one.bits_per_byte is None else f"  {one.bits_per_byte:.4f} bits per byte"
        print_line(
            f"{one.file}  perplexity {one.perplexity:.4f} over {one.tokens:,} token{'s' * (one.tokens > 1)}{of_bytes}"
        )
    if any(one.perplexity is not None for one in scores.files):
        print_lines("\n".join(f"  {note}" for note in scores.notes))
    return failed
