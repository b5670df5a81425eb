"""The parts of a report that show whether generated pictures are new, and how one turns into another."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app import showing
from danlu.app.measure import spread_over
from danlu.app.pictures import ACROSS, above
from danlu.app.report import Section
from danlu.data.dataset import DataSet
from danlu.metrics.samples import nearest
from danlu.sampling.randomness import generator
from danlu.verbs import can

SHOWN, AMONG, WALKS = 20, 20_000, 5


def generated_sections(model: Any, x: Float[Tensor, "n *shape"], data: DataSet) -> list[Section]:
    """Generated pictures beside the training pictures nearest to them, and walks through codes.

    Args:
        model: in evaluation mode.
        x: generated examples in the data's range, on the CPU.
        data: what it learned from.
    """
    if not showing.are_pictures(data.info):
        return []
    return [_nearest(x[:SHOWN], data), *([_walks(model, data)] if can(model, "prior") else [])]


def _nearest(x: Tensor, data: DataSet) -> Section:
    from danlu.app import latent_figures as figures

    known = spread_over(data.train, AMONG)[data.info.inputs].cpu().float()
    found = nearest(x, known)
    rows = ("generated", "nearest") * -(-len(x) // ACROSS)
    caption = (
        f"Generated pictures, and below each the nearest of {len(known):,} training pictures by the distance of their "
        f"pixels: a model that repeats its training pictures would show equal pairs."
    )
    pictures = above(x, known[found.number])
    return Section("Nearest training pictures", caption, figures.gallery(pictures, ACROSS, data.info.range, rows))


@torch.no_grad()
def _walks(model: Any, data: DataSet) -> Section:
    from danlu.app import latent_figures as figures

    device = next(model.parameters()).device
    ends = model.prior(2 * WALKS, generator=generator("walks", device=device)).unflatten(0, (WALKS, 2))
    walk = between(ends[:, 0], ends[:, 1], ACROSS).flatten(0, 1)
    labels = torch.arange(WALKS, device=device).repeat_interleave(ACROSS) % max(1, data.info.classes)
    told = (labels,) if getattr(model, "classes", 0) else ()
    caption = "Walks from one code to another, on the arc between them; a row each."
    pictures = model.decode(walk, *told).float().cpu()
    return Section("Walks", caption, figures.gallery(pictures, ACROSS, data.info.range))


def between(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], steps: int) -> Float[Tensor, "n steps d"]:
    r"""The walk from each code to another along the arc, which keeps to the lengths that a normal prior's codes have.

    .. math:: \frac{\sin((1 - t) \Omega)}{\sin \Omega} a + \frac{\sin(t \Omega)}{\sin \Omega} b

    with Ω the angle between a and b. White, "Sampling generative networks", 2016, section 2.1.

    >>> between(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3)[0, 1]
    tensor([0.7071, 0.7071])
    """
    t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype)[:, None]
    cosine = torch.cosine_similarity(a, b, dim=1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.arccos()[:, None, None]
    return (((1 - t) * angle).sin() * a[:, None] + (t * angle).sin() * b[:, None]) / angle.sin()
