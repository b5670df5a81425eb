"""Scores of classifiers beside scikit-learn's."""

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from torch.nn import functional

from danlu.data import Part, digits
from danlu.evaluation import Subject, class_log_probs, evaluate_subject
from danlu.evaluation.model_scores import classification_scores
from danlu.models import CNN, MLP, ConditionalVAE


@pytest.mark.parametrize("classes", [5, 7])
def test_scores_of_a_classifier_are_those_of_scikit_learn(classes):
    probabilities = torch.randn(200, classes, dtype=torch.float64).softmax(1)
    labels = torch.randint(classes, (200,))
    scores = classification_scores(probabilities.log(), labels)
    p, y, every = probabilities.numpy(), labels.numpy(), list(range(classes))
    assert scores["accuracy"] == pytest.approx(accuracy_score(y, p.argmax(1)), rel=1e-12)
    assert scores["cross_entropy"] == pytest.approx(log_loss(y, p, labels=every), rel=1e-12)
    assert ("top_5" in scores) == (classes > 5)
    if classes > 5:
        assert scores["top_5"] == pytest.approx(top_k_accuracy_score(y, p, k=5, labels=every), rel=1e-12)


@pytest.mark.parametrize("kind", [MLP, CNN])
def test_the_cross_entropy_of_saturated_probabilities(kind):
    """Probabilities below 1e-45 are 0 in float32, and their logarithms are still the loss, as the task computes it."""
    torch.manual_seed(0)
    model, data = kind((1, 8, 8), 10, hidden=(8,)).eval(), digits()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(30)
        logits = model(data.validation["image"])
        assert (model.classify(data.validation["image"]) == 0).any()
    scores = evaluate_subject(Subject(model, data, "validation")).scores
    expected = functional.cross_entropy(logits.double(), data.validation["label"])
    assert expected > 200
    assert scores["cross_entropy"] == pytest.approx(float(expected), rel=1e-6)


def test_a_loss_of_104_nats_in_closed_form():
    model, data = MLP((1, 8, 8), 10, hidden=()).eval(), digits()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()[0] = 104.0
    wrong = float((data.test["label"] != 0).double().mean())
    scores = evaluate_subject(Subject(model, data, "test")).scores
    assert scores["cross_entropy"] == pytest.approx(104 * wrong, rel=1e-6)
    assert scores["accuracy"] == pytest.approx(1 - wrong)
    flipped = evaluate_subject(Subject(model, data, "test", flip=True)).scores
    assert flipped["cross_entropy"] == pytest.approx(104 * wrong, rel=1e-6)


def test_the_log_probabilities_of_an_image_and_its_mirror_image_are_those_of_the_mean_probability():
    torch.manual_seed(0)
    model, data = MLP((1, 8, 8), 10, hidden=(8,)).eval(), digits()
    x = data.test["image"]
    with torch.no_grad():
        mean = (model.classify(x) + model.classify(x.flip(-1))) / 2
    torch.testing.assert_close(class_log_probs(model, data.test, "image", flip=True), mean.log())


class OnlyClassifies(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def classify(self, x):
        return torch.tensor([0.25, 0.75]).expand(len(x), 2)


def test_a_classifier_without_log_probabilities():
    part = Part({"x": torch.zeros(3, 1)})
    torch.testing.assert_close(class_log_probs(OnlyClassifies(), part, "x").exp(), OnlyClassifies().classify(part["x"]))


class Broken:
    """The outputs for every example with a large value at one pixel are not finite."""

    def class_log_probs(self, x):
        return super().class_log_probs(x).masked_fill(x.flatten(1)[:, 20:21] > 0.5, torch.nan)

    def log_prob_bound(self, x, samples=1, *, generator=None):
        bound = super().log_prob_bound(x, samples, generator=generator)
        return bound.masked_fill(x.flatten(1)[:, 20] > 0.5, -torch.inf)

    def reconstruct(self, x):
        return super().reconstruct(x).masked_fill(x[..., 2:3, 4:5] > 0.5, torch.nan)


class BrokenVAE(Broken, ConditionalVAE): ...


class BrokenMLP(MLP):
    def class_log_probs(self, x):
        return super().class_log_probs(x).masked_fill(x.flatten(1)[:, 20:21] > 0.5, torch.nan)


@pytest.mark.parametrize("model", [BrokenMLP, BrokenVAE])
def test_outputs_that_are_not_finite_are_counted_and_no_score_hides_them(model):
    model, data = model((1, 8, 8), 10, hidden=(8,)).eval(), digits()
    count = int((data.test["image"].flatten(1)[:, 20] > 0.5).sum())
    assert 0 < count < len(data.test)
    scores = evaluate_subject(Subject(model, data, "test", temperature=1.0)).scores
    assert scores.pop("not_finite") == count
    assert len(scores) >= 4
    assert not any(math.isfinite(score) for score in scores.values()), scores
    first = evaluate_subject(Subject(model, data, "validation"))
    assert first.evidence["temperature"] is None
