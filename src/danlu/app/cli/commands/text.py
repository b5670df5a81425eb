"""The verbs of the command line that are about text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from danlu.app.cli.command_output import as_json, parsed, say

if TYPE_CHECKING:
    from danlu.app.inference.beam_search import Continuation
    from danlu.app.scoring.text_perplexity import TextScores


def complete(words: list[str]) -> int:
    """``danlu.complete(run, prompt)``"""

    def command(
        run: Path,
        text: str,
        /,
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
        seed: int = 0,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        json: bool = False,
    ) -> int:
        """Go on with a text, token by token as each is known.

        Args:
            run: a run folder, or a model folder
            text: what to go on with
            tokens: how many to write: characters, words or pieces, as the model was trained
            temperature: below 1 likely tokens are likelier; 0 takes the likeliest each time
            top_k: draw from so many of the likeliest tokens alone
            top_p: draw from the likeliest tokens that have this probability together
            min_p: draw from the tokens that are at least this share as likely as the likeliest
            repetition_penalty: above 1, tokens that have come before are less likely
            beam: in place of drawing, take the likeliest text that a search with so many beams finds
            best: of a search, how many texts to print, each with its log-probability
            groups: of a search, in how many groups its beams differ from each other
            diversity: what a token costs that a group before has just taken; 0.5 if not given
            length_penalty: α of Wu et al. 2016, by which longer texts stand a chance
            length_form: wu, or power for a power of the length
            end: stop after this text; \\n is the end of a line
            seed: of the random numbers; the same seed gives the same text
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.inference.beam_search import search_of
        from danlu.app.inference.complete import begun, chosen

        def note(line: str) -> None:
            print(f"  note: {line}", file=sys.stderr)

        choice = chosen(temperature, top_k, top_p, min_p, repetition_penalty, beam)
        search = search_of(beam, best, groups, diversity, length_penalty, length_form, end is not None)
        stop = end if end is None else end.replace("\\n", "\n")
        asked = begun(run, text, tokens, stop, search, device, note)
        if search is None:
            return _tell_written(asked.written(choice, seed), text, {"tokens": tokens, "seed": seed}, json)
        found = asked.searched(search)
        if json:
            every = {"tokens": tokens, "seed": seed, "found": [one._asdict() for one in found]}
            return as_json({"prompt": text, "text": found[0].text, **every})
        return _tell_found(found, text, search.by_probability) if best else say(text + found[0].text)

    return parsed("complete", command, words)


def _tell_written(pieces: Iterator[str], prompt: str, asked: dict[str, int], json: bool) -> int:
    """The prompt and what comes after it, as it comes, or one object; the exit code."""
    if json:
        return as_json({"prompt": prompt, "text": "".join(pieces), **asked})
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    return 0


def _tell_found(found: list[Continuation], prompt: str, by_probability: bool) -> int:
    """Each text that was found with its number, and what it is ranked by; the exit code."""
    for number, one in enumerate(found, start=1):
        ranked = "" if by_probability else f", score {one.score:.4f}"
        tokens = f"{one.tokens} token{'s' * (one.tokens > 1)}"
        print(f"{number}  log-probability {one.log_prob:.4f} of {tokens}{ranked}\n{prompt}{one.text}")
    return 0


def tell_scores(scores: TextScores, json: bool) -> int:
    """A line for each text, or one object; the exit code."""
    failed = int(any(one.error for one in scores.files))
    if json:
        as_json({"scores": [one._asdict() for one in scores.files], "notes": scores.notes})
        return failed
    for one in scores.files:
        if one.error or one.perplexity is None:
            print(f"danlu: {one.error}", file=sys.stderr)
            continue
        of_bytes = "" if one.bits_per_byte is None else f"  {one.bits_per_byte:.4f} bits per byte"
        print(
            f"{one.file}  perplexity {one.perplexity:.4f} over {one.tokens:,} token{'s' * (one.tokens > 1)}{of_bytes}"
        )
    if any(one.perplexity is not None for one in scores.files):
        print("\n".join(f"  {note}" for note in scores.notes))
    return failed
