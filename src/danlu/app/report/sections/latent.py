"""Sections of a report on generated examples and latent codes.

Each depends on verbs and capabilities of the model. ``data.kinds`` names the function that shows generated examples of
a kind of data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from danlu.app.report.section import Section, figure
from danlu.app.report.sections import model_views
from danlu.app.report.sections.image_grids import traversals
from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataInfo, Part
from danlu.data.kinds import find_kind
from danlu.evaluation.subject import Subject
from danlu.metrics.active_units import ACTIVE, active

GRID = 13


def latent_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """Samples, reconstructions, filled-in values and latent codes, if the model has the verbs."""
    return model_sections(subject.model, subject.examples, subject.part, subject.info)


def model_sections(model: Any, part: Part, name: str, info: DataInfo) -> list[Section]:
    """The same for given examples.

    Args:
        model: in evaluation mode.
        part: the examples.
        name: of the part.
        info: of an example.

    >>> from danlu.data.tables.info import TableInfo
    >>> model_sections(object(), Part({"x": torch.zeros(3, 2)}), "test", TableInfo((2,)))
    []
    """
    target = find_kind(info.kind).sections
    generated = resolve(target)(model, part, name, info) if target else []
    return [*generated, *_codes(model, part, name, info)]


def _codes(model: Any, part: Part, name: str, info: DataInfo) -> Iterator[Section]:
    encoded = model_views.codes(model, part, info.inputs)
    if encoded is None:
        return
    codes, examples = encoded
    yield from traversals(model, codes, info)
    if codes.shape[1] > 1:
        yield _map(model, codes, examples, name, info)
    yield from _units(model, codes, examples, name, info)


def _map(model: Any, codes: Tensor, examples: Part, name: str, info: DataInfo) -> Section:
    whole = codes.shape[1] == 2
    shown = torch.tensor([0, 1]) if whole else model_views.most_active(codes)[:2]
    grid = model_views.grid(model, GRID) if whole and info.viewable else None
    labels = examples["label"].cpu() if "label" in examples.fields else None
    names = (f"unit {int(shown[0])}", f"unit {int(shown[1])}")
    axes = "the two latent units" if whole else "the two most active latent units"
    caption = f"{len(codes):,} examples of the {name} part, by {axes}" + "; colors are classes" * (labels is not None)
    caption += ". Right: the decoded image at each point." if grid is not None else "."
    points = codes[:, shown]
    return Section(
        "Latent map",
        caption,
        figure(
            "latent_map",
            codes=points,
            names=names,
            labels=labels,
            class_names=info.label_names,
            grid=grid,
            reach=model_views.REACH,
            value_range=info.range,
        ),
    )


def _units(model: Any, codes: Tensor, examples: Part, name: str, info: DataInfo) -> Iterator[Section]:
    divergence = model_views.divergences(model, examples[info.inputs])
    if divergence is None:
        return
    on = active(codes)
    caption = (
        f"Mean KL divergence from the prior of each latent unit, in nats, on the {name} part. {int(on.sum())} of "
        f"{len(on)} units are active (blue): the posterior mean has a variance above {ACTIVE:g} over the examples."
    )
    yield Section("Units", caption, figure("units", divergence=divergence.mean(0), active=on))
