"""The parts of a report that show whether generated pictures are new, and how one turns into another."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.report.section import Section
from danlu.app.report.sections import model_views
from danlu.app.report.sections.model_views import ACROSS, above
from danlu.data.base.dataset import DataSet, spread_over
from danlu.evaluation.generative_scores import NEIGHBORS, training_batches
from danlu.metrics.sample_diversity import nearest
from danlu.rng.keys import generator
from danlu.sampling.latent_interpolation import between
from danlu.verbs import has, picks_latents

SHOWN, WALKS = 20, 5


def generated_sections(model: Any, x: Float[Tensor, "n *shape"], data: DataSet) -> list[Section]:
    """Generated pictures beside the training pictures nearest to them, and walks through codes.

    Args:
        model: in evaluation mode.
        x: generated examples in the data's range, on the CPU.
        data: what it learned from.
    """
    if not model_views.are_pictures(data.info):
        return []
    return [_nearest(x[:SHOWN], data), *([_walks(model, data)] if picks_latents(model) else [])]


def _nearest(x: Tensor, data: DataSet) -> Section:
    from danlu.app.report.figures import latent as figures

    found = nearest(x, training_batches(data))
    known = spread_over(data.train, NEIGHBORS)
    rows = ("generated", "nearest") * -(-len(x) // ACROSS)
    caption = (
        f"Generated pictures, and below each the nearest of {len(known):,} training pictures by the distance of their "
        f"pixels: a model that repeats its training pictures would show equal pairs."
    )
    pictures = above(x, known.take(found.number.to(known.device))[data.info.inputs].cpu().float())
    return Section("Nearest training pictures", caption, figures.gallery(pictures, ACROSS, data.info.range, rows))


@torch.no_grad()
def _walks(model: Any, data: DataSet) -> Section:
    from danlu.app.report.figures import latent as figures

    device = next(model.parameters()).device
    ends = model.prior(2 * WALKS, generator=generator("walks", device=device)).unflatten(0, (WALKS, 2))
    walk = between(ends[:, 0], ends[:, 1], ACROSS).flatten(0, 1)
    labels = torch.arange(WALKS, device=device).repeat_interleave(ACROSS) % max(1, data.info.classes)
    told = (labels,) if has(model, "class_conditional") else ()
    caption = f"Walks from one code to another, on the arc between them; a row each{', of one class' if told else ''}."
    pictures = model.decode(walk, *told).float().cpu()
    return Section("Walks", caption, figures.gallery(pictures, ACROSS, data.info.range))
