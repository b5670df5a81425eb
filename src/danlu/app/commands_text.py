"""The verbs of the command line that are about text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from danlu.app.command import as_json, parsed

if TYPE_CHECKING:
    from danlu.app.score_text import TextScores


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
            seed: of the random numbers; the same seed gives the same text
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.complete import chosen, streamed

        def note(line: str) -> None:
            print(f"  note: {line}", file=sys.stderr)

        choice = chosen(temperature, top_k, top_p, min_p, repetition_penalty, beam)
        pieces = streamed(run, text, tokens, choice, beam, seed, device, note)
        if json:
            return as_json({"prompt": text, "text": "".join(pieces), "tokens": tokens, "seed": seed})
        print(text, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
        return 0

    return parsed("complete", command, words)


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
        print(f"{one.file}  perplexity {one.perplexity:.4f} over {one.tokens:,} tokens{of_bytes}")
    if any(one.perplexity is not None for one in scores.files):
        print("\n".join(f"  {note}" for note in scores.notes))
    return failed
