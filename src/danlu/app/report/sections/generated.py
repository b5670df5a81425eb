"""Sections of a report on generated images: the nearest training images, and interpolations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from danlu.app.report.section import Section, figure
from danlu.app.report.sections.model_views import ACROSS, interleave_rows
from danlu.data.base.dataset import DataSet, spread_over
from danlu.evaluation.generative_scores import NEIGHBORS, training_batches
from danlu.evaluation.subject import Subject
from danlu.metrics.sample_diversity import nearest
from danlu.rng.keys import generator
from danlu.sampling.latent_interpolation import slerp
from danlu.verbs import has, samples_latents

SHOWN, WALKS = 20, 5


def generated_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """Generated images with the nearest training images, and interpolations between latent codes.

    None if no examples were generated, or if they cannot be shown as images.
    """
    if "generated" not in evidence or not subject.info.viewable:
        return []
    sections = [_nearest(evidence["generated"][:SHOWN], subject.data)]
    return [*sections, _interpolations(subject.model, subject.data)] if samples_latents(subject.model) else sections


def _nearest(x: Tensor, data: DataSet) -> Section:
    matches = nearest(x, training_batches(data))
    training_images = spread_over(data.train, NEIGHBORS)
    rows = ("generated", "nearest") * -(-len(x) // ACROSS)
    caption = (
        f"Generated images, and below each the nearest of {len(training_images):,} training images by pixel distance. "
        f"A model that memorizes training images shows identical pairs."
    )
    images = interleave_rows(
        x, training_images.take(matches.indices.to(training_images.device))[data.info.inputs].cpu().float()
    )
    return Section(
        "Nearest training images",
        caption,
        figure("gallery", images=images, columns=ACROSS, value_range=data.info.range, rows=rows),
    )


@torch.no_grad()
def _interpolations(model: Any, data: DataSet) -> Section:
    device = next(model.parameters()).device
    ends = model.prior(2 * WALKS, generator=generator("walks", device=device)).unflatten(0, (WALKS, 2))
    latents = slerp(ends[:, 0], ends[:, 1], ACROSS).flatten(0, 1)
    labels = torch.arange(WALKS, device=device).repeat_interleave(ACROSS) % max(1, data.info.classes)
    condition = (labels,) if has(model, "class_conditional") else ()
    caption = (
        f"Each row interpolates between two latents of the prior, on the arc between them"
        f"{', in one class' if condition else ''}."
    )
    images = model.decode(latents, *condition).float().cpu()
    return Section(
        "Interpolations", caption, figure("gallery", images=images, columns=ACROSS, value_range=data.info.range)
    )
