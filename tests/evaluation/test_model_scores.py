"""Scores of classifiers beside scikit-learn's."""

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

from danlu.evaluation.model_scores import classification_scores


@pytest.mark.parametrize("classes", [5, 7])
def test_scores_of_a_classifier_are_those_of_scikit_learn(classes):
    probabilities = torch.randn(200, classes, dtype=torch.float64).softmax(1)
    labels = torch.randint(classes, (200,))
    scores = classification_scores(probabilities, labels)
    p, y, every = probabilities.numpy(), labels.numpy(), list(range(classes))
    assert scores["accuracy"] == pytest.approx(accuracy_score(y, p.argmax(1)), rel=1e-12)
    assert scores["cross_entropy"] == pytest.approx(log_loss(y, p, labels=every), rel=1e-12)
    assert ("top_5" in scores) == (classes > 5)
    if classes > 5:
        assert scores["top_5"] == pytest.approx(top_k_accuracy_score(y, p, k=5, labels=every), rel=1e-12)
