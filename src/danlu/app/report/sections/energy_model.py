"""Sections of a report on an energy-based model: filters, chains over time, normalizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from danlu.app.report.section import Section, Table, figure
from danlu.app.report.sections.denoising import denoising
from danlu.data.base.dataset import DataInfo
from danlu.evaluation.subject import Subject
from danlu.rng.keys import generator
from danlu.verbs import has

FILTERS, ACROSS = 100, 10
"""largest number of filters that are shown, and how many in a row"""
CHAINS, STEPS = 8, (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
"""number of chains that are shown, and after how many steps"""


def energy_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """Filters, chains over time, denoised examples and the normalizer, if the model has the capabilities."""
    model, info = subject.model, subject.info
    return [*_filters(model, info), *_chains(model, info), *denoising(subject), *_normalizer(model)]


@torch.no_grad()
def _filters(model: Any, info: DataInfo) -> list[Section]:
    if not has(model, "filters") or not info.viewable:
        return []
    filters = model.filters().float().cpu()
    shown = filters.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:FILTERS]
    count = f"{len(shown)} of {len(filters):,}" if len(filters) > len(shown) else len(filters)
    caption = (
        f"The weights of {count} hidden units, in descending order of their norm. A unit that is on makes red pixels "
        f"brighter and blue ones darker; white is a weight of 0."
    )
    grid = figure("filters", weights=filters[shown], columns=min(ACROSS, len(shown)))
    return [Section("Filters", caption, grid)]


def _chains(model: Any, info: DataInfo) -> list[Section]:
    if not has(model, "chain_trace") or not info.viewable:
        return []
    device = next(model.parameters()).device
    trace = model.chain_trace(CHAINS, STEPS, generator("report", "chains", device=device)).float().cpu()
    caption = (
        f"{CHAINS} Markov chains, one in each row, after the number of steps above the column. They start without "
        f"dependence between pixels. If the model has hidden units, the later columns have the means of the pixels "
        f"given these units."
    )
    heads = [str(step) for step in STEPS]
    images = trace.flatten(0, 1)
    grid = figure("gallery", images=images, columns=len(STEPS), value_range=info.range, heads=heads)
    return [Section("Chains over time", caption, grid)]


def _normalizer(model: Any) -> list[Section]:
    if not has(model, "normalizer"):
        return []
    log_z = model.log_normalizer()
    value = f"{log_z.value:.6g} nats".replace("-", "\N{MINUS SIGN}")
    rows: Table = [("normalizer", "value"), ("log Z", value)]
    if log_z.kind == "exact":
        caption = "The log-likelihood of an example is minus its energy minus log Z, which is exact for this model."
        return [Section("Normalizer", caption, table=[*rows, ("kind", "exact")])]
    if log_z.standard_error is None:
        kind, error = "unreliable estimate", "unknown"
        meaning = (
            "The estimate is unreliable: few chains determine it, so its error is unknown, and the log-likelihoods in "
            "this report are no basis for comparisons. More temperatures help: "
            "danlu.load(RUN).log_normalizer(betas=100000)."
        )
    else:
        kind, error = f"estimate: {log_z.method}", f"{log_z.standard_error:.2g} nats"
        meaning = "All log-likelihoods in this report share the error of this estimate."
    rows += [("kind", kind), ("standard error", error)]
    if log_z.effective_sample_size is not None:
        size = f"{log_z.effective_sample_size:.1f} of {log_z.chains} chains"
        rows += [("effective sample size", size), ("temperatures", f"{log_z.betas:,}")]
    caption = f"The log-likelihood of an example is minus its energy minus log Z. {meaning}"
    return [Section("Normalizer", caption, table=rows)]
