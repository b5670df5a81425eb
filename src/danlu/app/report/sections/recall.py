"""Sections of a report on an associative memory: stored patterns, recall from noise, energies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from danlu.app.report.section import Section, Table, figure
from danlu.app.report.sections.model_views import ACROSS, interleave_rows
from danlu.data.base.dataset import DataInfo, Part
from danlu.data.base.sign_flips import flip_signs
from danlu.evaluation.subject import Subject
from danlu.metrics.recall import overlaps, recalled
from danlu.verbs import has

NOISE = (0.1, 0.2, 0.3, 0.4)
"""probabilities of another sign"""
STATES = 200
"""number of damaged patterns of each probability"""
MOST_STORED = 60
"""largest number of stored patterns that are shown"""


def recall_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """Stored patterns, damaged and recalled ones, rates of recall, and energies during a recall.

    None if the model stores no patterns.
    """
    model, info = subject.model, subject.info
    if not has(model, "recall_trace") or not len(model.patterns):
        return []
    pictures = [_stored(model, subject.data.train, info), _before_and_after(model, info)] if info.viewable else []
    return [*pictures, _rates(model), _descent(model)]


def _stored(model: Any, train: Part, info: DataInfo) -> Section:
    patterns = model.patterns[:MOST_STORED].float().cpu()
    named = "label" in train.fields and len(train) == len(model.patterns) and len(patterns) <= ACROSS
    heads = tuple(info.label_names[int(label)] for label in train["label"]) if named else ()
    of_all = f"{len(patterns)} of {len(model.patterns):,}" if len(model.patterns) > len(patterns) else len(patterns)
    grid = figure("gallery", images=patterns, columns=min(ACROSS, len(patterns)), value_range=info.range, heads=heads)
    return Section("Stored patterns", f"{of_all} stored patterns, numbered from 0 in reading order.", grid)


def _before_and_after(model: Any, info: DataInfo) -> Section:
    patterns = model.patterns[:ACROSS]
    lines: list[Tensor] = []
    for noise in NOISE:
        damaged = flip_signs(patterns, noise, "report", "shown")
        lines += [damaged, model.recall(damaged)]
    names = [name for noise in NOISE for name in (f"{100 * noise:.0f} % noise", "recalled")]
    caption = (
        "Stored patterns with noise, and below each the pattern that is recalled from it. Each pixel has the other "
        "color with the given probability."
    )
    images = interleave_rows(*(line.float().cpu() for line in lines), across=len(patterns))
    grid = figure("gallery", images=images, columns=len(patterns), value_range=info.range, rows=names)
    return Section("Recall", caption, grid)


def _rates(model: Any) -> Section:
    patterns = model.patterns
    repeats = max(1, -(-STATES // len(patterns)))
    original = patterns.repeat(repeats, *[1] * (patterns.dim() - 1))[: max(STATES, len(patterns))]
    rows: Table = [("noise", "overlap before", "overlap after", "recalled without an error")]
    for noise in (0.0, *NOISE):
        x = flip_signs(original, noise, "report", "rates")
        y = model.recall(x)
        before, after = (float(overlaps(one, original).mean()) for one in (x, y))
        exact = float(recalled(y, original).double().mean())
        rows.append((f"{100 * noise:.0f} %", f"{before:.3f}", f"{after:.3f}", f"{100 * exact:.1f} %"))
    caption = (
        f"Mean overlap with the original before and after the recall of {len(original):,} damaged patterns, and the "
        f"fraction of them that are recalled without an error. The overlap is 1 for equal patterns, and 0 if half of "
        f"the values differ."
    )
    return Section("Rates of recall", caption, table=rows)


def _descent(model: Any) -> Section:
    pattern = model.patterns[:1]
    curves, by_unit = [], False
    for noise in NOISE:
        trace = model.recall_trace(flip_signs(pattern, noise, "report", "descent"))
        by_unit = trace.flips is not None
        updates, energies = trace.energy_curve(0)
        curves.append((f"{100 * noise:.0f} %", updates.cpu(), energies.cpu()))
    caption = (
        "Energy during the recall of the first pattern, by the amount of noise at the beginning. The dashed line is "
        "the energy of the stored pattern."
    )
    caption += " A point is a unit that changes its value." if by_unit else ""
    label = "updates of single units" if by_unit else "updates"
    level = float(model.energy(pattern)[0])
    return Section("Energy", caption, figure("energy_descent", curves=curves, level=level, label=label))
