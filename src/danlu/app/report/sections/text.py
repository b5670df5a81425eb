"""Texts that a language model generates: files during training, and sections of the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from danlu.app.report.section import Section
from danlu.data.base.dataset import Part
from danlu.evaluation.subject import Subject
from danlu.sampling.decoding.generate import SamplingOptions
from danlu.storage.atomic import write_text
from danlu.storage.plain_files import make_folder
from danlu.verbs import can

PROMPT, WRITTEN = 64, 400
"""number of tokens of the prompt, which is held-out text, and number of generated tokens"""
TEMPERATURES = (1.0, 0.5)


def written(model: Any, part: Part, tokens: int = WRITTEN, temperature: float = 1.0) -> tuple[str, str]:
    """The prompt, the beginning of a part, and the model's continuation; the same weights give the same text."""
    device = next(model.parameters()).device
    prompt = part.fields["token"][:PROMPT].long().to(device)[None]
    whole = model.complete(prompt, tokens, SamplingOptions(temperature))[0].tolist()
    begin = model.tokenizer.decode(whole[: prompt.shape[1]])
    return begin, model.tokenizer.decode(whole)[len(begin) :]


def write_sample(model: Any, part: Part, folder: Path, round: int) -> None:
    """Write a file with a text that the model generates after this round."""
    if not (can(model, "complete") and model.tokenizer is not None and len(part)):
        return
    make_folder(folder)
    begin, rest = written(model, part)
    write_text(folder / f"round-{round:06d}.txt", f"{begin}│{rest}\n")


@torch.no_grad()
def text_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """Continuations of the beginning of the part; none for a model that does not complete texts."""
    model, part = subject.model, subject.examples
    if not (can(model, "complete") and model.tokenizer is not None and len(part)):
        return []
    sections = []
    for temperature in TEMPERATURES:
        begin, rest = written(model, part, temperature=temperature)
        caption = f"The beginning of the {subject.part} part up to the bar (│), then the text that the model generates"
        caption += "." if temperature == 1 else f" at temperature {temperature:g}, which favors probable tokens."
        title = "Sample" if temperature == 1 else f"Sample at temperature {temperature:g}"
        sections.append(Section(title, caption, text=f"{begin}│{rest}"))
    return sections
