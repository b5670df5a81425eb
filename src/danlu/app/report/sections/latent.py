"""The parts of a report that show what a model makes: samples, reconstructions, what its codes mean, what it fills in.

Whatever model has the verbs gets them; none is asked for its class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from danlu.app.files.table_files import in_units
from danlu.app.report.section import Section
from danlu.app.report.sections import model_views
from danlu.app.report.sections.model_views import ACROSS, RECONSTRUCTED, SAMPLES, above
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.metrics.active_units import ACTIVE, active
from danlu.rng.keys import generator
from danlu.verbs import can, has

GRID = 13
MOST_POINTS = 1000
HIDDEN = 0.5


def latent_sections(model: Any, part: Part, name: str, info: DataInfo) -> list[Section]:
    """What a model makes, and what it makes of examples.

    Args:
        model: in evaluation mode.
        part: examples.
        name: of the part.
        info: of an example.

    >>> latent_sections(object(), Part({"x": torch.zeros(3, 2)}), "test", DataInfo("table", (2,)))
    []
    """
    if model_views.are_pictures(info):
        made = [
            *_samples(model, info),
            *_reconstructions(model, part, name, info),
            *_filled_in(model, part, name, info),
        ]
    else:
        made = [*_points(model, part, name, info)]
    return [*made, *_codes(model, part, name, info)]


def _samples(model: Any, info: DataInfo) -> Iterator[Section]:
    from danlu.app.report.figures import latent as figures
    from danlu.app.report.figures.style import short

    classes = model_views.by_class(model, info)
    drawn = model_views.samples(model, SAMPLES, turns=classes)
    if drawn is not None:
        caption = f"{len(drawn)} pictures that the model has drawn{', each class in a column' if classes else ''}."
        heads = [short(name, 8) for name in info.label_names] if classes else ()
        yield Section("Samples", caption, figures.gallery(drawn, classes or 16, info.range, heads=heads, height=0.4))


def _reconstructions(model: Any, part: Part, name: str, info: DataInfo) -> Iterator[Section]:
    from danlu.app.report.figures import latent as figures

    x = spread_over(part, RECONSTRUCTED)[info.inputs].cpu()
    again = model_views.reconstructions(model, x)
    if again is not None:
        rows = ("given", "made") * -(-len(x) // ACROSS)
        caption = f"Pictures of the {name} part, and below each what the model makes of its code."
        pictures = figures.gallery(above(x, again), min(ACROSS, len(x)), info.range, rows)
        yield Section("Reconstructions", caption, pictures)


@torch.no_grad()
def _filled_in(model: Any, part: Part, name: str, info: DataInfo) -> Iterator[Section]:
    """Pictures with a hole: once the lower half, once single pixels."""
    from danlu.app.report.figures import latent as figures

    if not has(model, "masks"):
        return
    x = spread_over(part, 2 * ACROSS)[info.inputs].cpu()
    known = torch.ones(len(x), 1, *x.shape[2:])
    known[:ACROSS, :, x.shape[2] // 2 :] = 0
    known[ACROSS:] = (torch.rand(known[ACROSS:].shape, generator=generator("hidden")) >= HIDDEN).float()
    some = next(model.parameters())
    mask = known.expand_as(x).to(some.device, some.dtype)
    filled = model.inpaint(x.to(some.device, some.dtype), mask).to(x.dtype).cpu()
    gray = torch.where(known.bool(), x, torch.full_like(x, sum(info.range) / 2))
    rows = ("given", "filled in", "original") * -(-len(x) // ACROSS)
    caption = (
        f"Pictures of the {name} part from which the lower half, or each pixel with probability {HIDDEN:g}, was hidden "
        f"(gray); the model fills it in."
    )
    pictures = figures.gallery(above(gray, filled, x), min(ACROSS, len(x)), info.range, rows)
    yield Section("Filled in", caption, pictures)


def _codes(model: Any, part: Part, name: str, info: DataInfo) -> Iterator[Section]:
    from danlu.app.report.figures import latent as figures

    found = model_views.codes(model, part, info.inputs)
    if found is None:
        return
    codes, some = found
    width = codes.shape[1]
    units = model_views.most_active(codes)
    if model_views.are_pictures(info):
        caption = (
            f"What becomes of a picture when one unit of its code goes from \N{MINUS SIGN}{model_views.REACH:g} "
            f"to {model_views.REACH:g} and the others stay 0; the units whose codes vary most over the "
            f"examples come first."
        )
        walks = model_views.traversals(model, units, width)
        heads = [f"{value:g}".replace("-", "\N{MINUS SIGN}") for value in model_views.walk().tolist()]
        names = [f"unit {int(unit)}" for unit in units]
        yield Section("Traversals", caption, figures.gallery(walks, model_views.STEPS, info.range, names, heads))
    if width > 1:
        yield _map(model, codes, units, some, name, info)
    yield from _units(model, codes, some, name, info)


def _map(model: Any, codes: Tensor, units: Tensor, some: Part, name: str, info: DataInfo) -> Section:
    from danlu.app.report.figures import latent as figures

    whole = codes.shape[1] == 2
    shown = torch.tensor([0, 1]) if whole else units[:2]
    grid = model_views.grid(model, GRID) if whole and model_views.are_pictures(info) else None
    labels = some["label"].cpu() if "label" in some.fields else None
    names = (f"unit {int(shown[0])}", f"unit {int(shown[1])}")
    which = "the code" if whole else "the two most active units of the code"
    caption = f"Where {len(codes):,} examples of the {name} part lie in {which}" + ", by class" * (labels is not None)
    caption += "; beside it, what is decoded at each place." if grid is not None else "."
    points = codes[:, shown]
    return Section(
        "Latent map",
        caption,
        figures.latent_map(points, names, labels, info.label_names, grid, model_views.REACH, info.range),
    )


def _units(model: Any, codes: Tensor, some: Part, name: str, info: DataInfo) -> Iterator[Section]:
    from danlu.app.report.figures import latent as figures

    divergence = model_views.divergences(model, some[info.inputs])
    if divergence is None:
        return
    on = active(codes)
    caption = (
        f"How many nats each unit of the code says of an example of the {name} part: its mean divergence from the "
        f"prior. {int(on.sum())} of {len(on)} units are active (blue): the mean of the posterior varies over the "
        f"examples with a variance above {ACTIVE:g}."
    )
    yield Section("Units", caption, figures.units(divergence.mean(0), on))


def _points(model: Any, part: Part, name: str, info: DataInfo) -> Iterator[Section]:
    """The first two columns, in their own units."""
    from danlu.app.report.figures import latent as figures

    if info.kind != "table" or len(info.shape) != 1 or info.shape[0] < 2 or not can(model, "sample"):
        return
    some = spread_over(part, MOST_POINTS)[info.inputs].cpu()
    drawn = model_views.samples(model, len(some), values=True)
    if drawn is None:
        return
    first, second = (info.columns or tuple(f"column {number}" for number in range(info.shape[0])))[:2]
    caption = f"{len(some):,} samples over {len(some):,} examples of the {name} part"
    caption += f", in the first two of {info.shape[0]} columns." if info.shape[0] > 2 else "."
    data, made = (torch.as_tensor(in_units(info, x))[:, :2].float() for x in (some, drawn))
    yield Section("Samples", caption, figures.points(data, made, (first, second)))
