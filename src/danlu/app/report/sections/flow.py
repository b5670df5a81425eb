"""The section of a report on the density of points in the plane, and on the map from latents to points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.files.table_files import in_units
from danlu.app.report.section import Section, figure
from danlu.app.report.sections.model_views import REACH, decode_latents
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.data.base.density import log_volume
from danlu.evaluation.subject import Subject
from danlu.verbs import can, has, samples_latents

SIDE, LINES, STEPS, EXAMPLES = 161, 13, 121, 1000
"""points of the density map along each side; lines of the grid in each direction and points of a line; data points"""
MARGIN = 0.15
"""space around the data, as a fraction of its extent"""


def flow_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """The density in the plane beside the data, if the model has one and the rows have two columns."""
    model, info = subject.model, subject.info
    in_plane = info.shape == (2,) and has(model, "density") and can(model, "log_prob")
    if not in_plane or not len(subject.examples):
        return []
    return [density_section(model, subject.examples, subject.part, info)]


@torch.no_grad()
def density_section(model: Any, part: Part, name: str, info: DataInfo) -> Section:
    """The density on a grid of points around the data, and a grid of latents as the model decodes it.

    Args:
        model: in evaluation mode, with a density of rows with two columns.
        part: the examples.
        name: of the part.
        info: of an example.
    """
    examples = spread_over(part, EXAMPLES)[info.inputs].cpu().float()
    low, high = examples.amin(0), examples.amax(0)
    space = MARGIN * (high - low).clamp_min(1e-6)
    corners = torch.stack([low - space, high + space])
    density = (_density(model, corners) + log_volume(info)).exp()
    one_map = samples_latents(model) and not has(model, "class_conditional")  # else there is a grid for each class
    grid = _in_units(info, _warped_grid(model)) if one_map else None
    first, second = info.channel_names or ("column 0", "column 1")
    caption = f"The density of the model, and {len(examples):,} examples of the {name} part."
    if grid is not None:
        reach = f"\N{MINUS SIGN}{REACH:g} to {REACH:g}"
        caption += f" Right: the lines of a square grid of latents from {reach}, as the model decodes them."
    return Section(
        "Density",
        caption,
        figure(
            "density_map",
            density=density,
            corners=_in_units(info, corners),
            data=_in_units(info, examples),
            grid=grid,
            names=(first, second),
        ),
    )


def _density(model: Any, corners: Float[Tensor, "2 2"]) -> Float[Tensor, "side side"]:
    """The log-density on a grid between two corners; the first row has the lowest second coordinate."""
    axes = [torch.linspace(float(corners[0, k]), float(corners[1, k]), SIDE) for k in range(2)]
    x = torch.cartesian_prod(axes[1], axes[0]).flip(1)
    weight = next(model.parameters())
    return model.log_prob(x.to(weight.device, weight.dtype)).double().cpu().view(SIDE, SIDE)


def _warped_grid(model: Any) -> Float[Tensor, "lines steps 2"]:
    """Decoded points of the lines of a square grid of latents."""
    across, along = torch.linspace(-REACH, REACH, LINES), torch.linspace(-REACH, REACH, STEPS)
    lines = torch.cartesian_prod(across, along).view(LINES, STEPS, 2)
    latents = torch.cat([lines, lines.flip(2)])
    return decode_latents(model, latents.flatten(0, 1)).view(2 * LINES, STEPS, 2)


def _in_units(info: DataInfo, x: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
    return torch.as_tensor(in_units(info, x.flatten(0, -2))).view(x.shape).float()
