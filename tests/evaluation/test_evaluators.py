"""The lists of evaluators, sections, figures and exporters: what applies to which model, and that entries exist."""

import dataclasses

import pytest
import torch

from danlu.app.export.exporters import EXPORTERS
from danlu.app.report.figures.all_figures import FIGURES
from danlu.app.report.sections.all_sections import SECTIONS, sections_of
from danlu.catalogue.lookup import resolve
from danlu.data import digits
from danlu.evaluation import EVALUATORS, Evaluation, GenerativeScorer, Subject, evaluate_subject
from danlu.models import MLP, VAE, ConditionalVAE, LanguageModel
from danlu.training import Runtime

SHAPE = (1, 8, 8)


def made(kind):
    torch.manual_seed(0)
    return {
        "classifier": lambda: MLP(SHAPE, 10, hidden=(8,)),
        "vae": lambda: VAE(SHAPE, latent=2, hidden=(8,)),
        "conditional": lambda: ConditionalVAE(SHAPE, 10, latent=2, hidden=(8,)),
    }[kind]().eval()


@pytest.mark.parametrize(
    ("kind", "part", "names"),
    [
        ("classifier", "validation", {"classification", "calibration"}),
        ("classifier", "test", {"classification"}),
        ("vae", "test", {"bounds of the log-likelihood", "reconstruction error"}),
        ("conditional", "test", {"classification", "bounds of the log-likelihood", "reconstruction error"}),
        ("vae", "generated", {"generated examples"}),
        ("classifier", "generated", set()),
    ],
)
def test_evaluators_apply_by_verb_and_part(kind, part, names):
    data = digits()
    scorer = GenerativeScorer(data, 100, Runtime()) if part == "generated" else None
    subject, evaluation = Subject(made(kind), data, part, scorer=scorer), Evaluation()
    applied = set()
    for evaluator in EVALUATORS:
        if evaluator.applies(subject, evaluation):
            applied.add(evaluator.name)
            if evaluator.name == "classification":
                evaluator.compute(subject, evaluation)
    assert applied == names


def test_the_temperature_of_the_validation_part_calibrates_the_test_part():
    subject = Subject(made("classifier"), digits(), "validation")
    first = evaluate_subject(subject)
    assert "calibrated_error" not in first.scores
    temperature = first.evidence["temperature"]
    test = evaluate_subject(dataclasses.replace(subject, part="test", temperature=temperature))
    assert test.scores["calibrated_error"] < test.scores["calibration_error"]
    flipped = evaluate_subject(dataclasses.replace(subject, part="test", temperature=temperature, flip=True))
    assert "calibrated_error" not in flipped.scores
    assert flipped.scores["cross_entropy"] != test.scores["cross_entropy"]


def test_robustness_is_computed_only_in_detail():
    subject = Subject(made("classifier"), digits(), "test")
    assert "robustness" not in evaluate_subject(subject).evidence
    found = evaluate_subject(dataclasses.replace(subject, detailed=True)).evidence
    assert found["robustness"][2] == len(digits().test)


def test_sections_are_data_and_in_the_order_of_the_list():
    subject = Subject(made("conditional"), digits(), "test", detailed=True)
    evaluation = evaluate_subject(subject)
    titles = [section.title for section in sections_of(subject, [evaluation])]
    assert titles[:4] == ["Confusion matrix", "Scores per class", "Calibration", "Robustness"]
    assert titles[-2:] == ["Samples", "Reconstructions"]
    by_hand = [section.title for make in SECTIONS for section in make(subject, evaluation.evidence)]
    assert by_hand == titles
    figures = [section.figure for section in sections_of(subject, [evaluation]) if section.figure]
    assert {one.name for one in figures} <= FIGURES.keys()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_loaded(name):
    assert callable(resolve(FIGURES[name]))


def test_the_exporter_that_applies_first_writes_the_file():
    names = {
        model: [one.write.__module__.rpartition(".")[2] for one in EXPORTERS if one.applies(model)]
        for model in (made("classifier"), LanguageModel(5, width=4))
    }
    assert list(names.values()) == [["traced_onnx", "weights"], ["own_onnx", "traced_onnx", "weights"]]
