"""What a language model writes and how well it reads: samples while it trains, scores, a section of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.app.report.section import Section
from danlu.data.base.dataset import Part
from danlu.sampling.decoding.generate import SamplingOptions
from danlu.verbs import can

PROMPT, WRITTEN = 64, 400
"""tokens of held-out text that a sample begins with, and tokens that the model writes after them"""
TEMPERATURES = (1.0, 0.5)


def written(model: Any, part: Part, tokens: int = WRITTEN, temperature: float = 1.0) -> tuple[str, str]:
    """The beginning of a text, and how a model would go on: the same each time for the same weights."""
    device = next(model.parameters()).device
    prompt = part.fields["token"][:PROMPT].long().to(device)[None]
    whole = model.complete(prompt, tokens, SamplingOptions(temperature))[0].tolist()
    begin = model.tokenizer.decode(whole[: prompt.shape[1]])
    return begin, model.tokenizer.decode(whole)[len(begin) :]


def write_sample(model: Any, part: Part, folder: Path, round: int) -> None:
    """A text file with what a model writes now."""
    if not (can(model, "complete") and model.tokenizer is not None and len(part)):
        return
    folder.mkdir(exist_ok=True)
    begin, rest = written(model, part)
    (folder / f"round-{round:06d}.txt").write_text(f"{begin}│{rest}\n", encoding="utf-8")


@torch.no_grad()
def text_sections(model: Any, part: Part, name: str) -> list[Section]:
    """What a model writes after the beginning of a part, as sections of the report."""
    if not (can(model, "complete") and model.tokenizer is not None and len(part)):
        return []
    sections = []
    for temperature in TEMPERATURES:
        begin, rest = written(model, part, temperature=temperature)
        caption = f"How the model goes on after the beginning of the {name} part, which ends at the bar"
        caption += "." if temperature == 1 else f"; at temperature {temperature:g}, where likely words are likelier."
        sections.append(Section("Sample" if temperature == 1 else "A safer sample", caption, text=f"{begin}│{rest}"))
    return sections
