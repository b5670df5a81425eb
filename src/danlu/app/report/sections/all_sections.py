"""The list of sections of a report, in their order on the page.

Each entry takes the subject and what the evaluators computed, and gives sections as data; it gives none if it does
not apply. A new kind of section is one function and one line in ``SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from danlu.app.report.section import Section
from danlu.app.report.sections.classifier import classifier_sections
from danlu.app.report.sections.energy_model import energy_sections
from danlu.app.report.sections.flow import flow_sections
from danlu.app.report.sections.generated import generated_sections
from danlu.app.report.sections.latent import latent_sections
from danlu.app.report.sections.recall import recall_sections
from danlu.app.report.sections.regression import regression_sections
from danlu.app.report.sections.text import text_sections
from danlu.evaluation.subject import Evaluation, Subject

Evidence = Mapping[str, object]
SectionMaker = Callable[[Subject, Evidence], list[Section]]

SECTIONS: tuple[SectionMaker, ...] = (
    classifier_sections,
    regression_sections,
    latent_sections,
    flow_sections,
    recall_sections,
    energy_sections,
    text_sections,
    generated_sections,
)


def sections_of(subject: Subject, evaluations: list[Evaluation]) -> list[Section]:
    """All sections of a report.

    Args:
        subject: the model and the part of the data that the report shows.
        evaluations: those on this part and of generated examples.
    """
    evidence = {name: value for one in evaluations for name, value in one.evidence.items()}
    return [section for make in SECTIONS for section in make(subject, evidence)]
