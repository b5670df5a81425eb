"""Accuracy, confusion matrix and calibration against scikit-learn and direct loops."""

import math
from fractions import Fraction

import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearns_matrix
from sklearn.metrics import top_k_accuracy_score

from danlu.metrics import accuracies, calibration, confusion_matrix, correct, predicts


def guesses(n=400, classes=5, seed=0, sharp=1.5):
    torch.manual_seed(seed)
    return (torch.randn(n, classes, dtype=torch.float64) * sharp).softmax(1), torch.randint(classes, (n,))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k_accuracy_is_sklearns(k):
    probabilities, labels = guesses()
    expected = top_k_accuracy_score(labels.numpy(), probabilities.numpy(), k=k, labels=range(5))
    assert correct(probabilities, labels, k).double().mean().item() == pytest.approx(expected)


def test_with_as_many_guesses_as_classes_or_more_everything_is_right():
    probabilities, labels = guesses()
    assert correct(probabilities, labels, k=5).all()
    assert correct(probabilities, labels, k=50).all()


@pytest.mark.parametrize("k", [1, 2])
def test_scores_in_the_same_order_count_the_same(k):
    probabilities, labels = guesses()
    assert torch.equal(correct(probabilities.log(), labels, k), correct(probabilities, labels, k))


def test_confusion_matrix_is_sklearns_also_for_classes_that_never_occur():
    probabilities, labels = guesses(classes=4)
    guessed = probabilities.argmax(1)
    ours = confusion_matrix(guessed, labels, classes=6)
    assert ours.tolist() == sklearns_matrix(labels.numpy(), guessed.numpy(), labels=range(6)).tolist()
    assert int(ours.sum()) == len(labels)
    assert int(ours.diagonal().sum()) == int(correct(probabilities, labels).sum())


def by_loop(probabilities, labels, bins):
    """Guo et al., equation 3, example by example; which bin an example falls in is decided in exact fractions."""
    members = [[] for _ in range(bins)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        place = max(0, math.ceil(Fraction(confidence) * bins) - 1)
        members[place].append((confidence, row.index(confidence) == label))
    error = 0.0
    for bin in members:
        if bin:
            mean, right = sum(c for c, _ in bin) / len(bin), sum(r for _, r in bin) / len(bin)
            error += len(bin) / len(labels) * abs(right - mean)
    return members, error


@pytest.mark.parametrize("bins", [1, 4, 10, 15])
@pytest.mark.parametrize("sharp", [0.5, 4.0])
def test_calibration_equals_a_direct_loop(bins, sharp):
    probabilities, labels = guesses(sharp=sharp)
    ours = calibration(probabilities, labels, bins)
    members, error = by_loop(probabilities, labels, bins)
    assert ours.error == pytest.approx(error, abs=1e-12)
    assert ours.counts.tolist() == [len(bin) for bin in members]
    for bin, confidence, accuracy in zip(members, ours.confidence.tolist(), ours.accuracy.tolist(), strict=True):
        if bin:
            assert confidence == pytest.approx(sum(c for c, _ in bin) / len(bin))
            assert accuracy == pytest.approx(sum(r for _, r in bin) / len(bin))
        else:
            assert math.isnan(confidence)
            assert math.isnan(accuracy)


@pytest.mark.parametrize(
    ("confidence", "bins", "place"),
    [(0.5, 2, 0), (0.5, 4, 1), (0.75, 4, 2), (1.0, 4, 3), (0.875, 8, 6), (0.5, 10, 4), (1.0, 1, 0), (1.0, 15, 14)],
)
def test_a_probability_on_a_border_belongs_to_the_bin_below(confidence, bins, place):
    probabilities = torch.tensor([[confidence, 1 - confidence]])
    assert calibration(probabilities, torch.tensor([0]), bins).counts.nonzero().flatten().tolist() == [place]


def test_probability_zero_belongs_to_the_first_bin():
    """No probabilities are all 0, but a row of underflown ones is."""
    assert calibration(torch.zeros(1, 2), torch.tensor([0]), bins=10).counts.tolist() == [1] + [0] * 9


def test_calibration_of_certain_guesses():
    sure, labels = torch.eye(2)[[0, 0, 0, 1]], torch.tensor([0, 0, 1, 1])
    assert calibration(sure, labels).error == pytest.approx(1 / 4)  # always sure and right three times in four
    assert calibration(sure, sure.argmax(1)).error == 0.0
    assert calibration(sure, 1 - sure.argmax(1)).error == 1.0


NOT_FINITE = torch.tensor([[torch.nan, torch.nan, torch.nan], [0.5, torch.nan, 0.2], [torch.inf, 0.0, 0.0]])


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("k", [1, 2])
def test_scores_that_are_not_finite_are_no_prediction(row, k):
    rows = torch.stack([torch.tensor([0.7, 0.2, 0.1]), NOT_FINITE[row]])
    labels = torch.tensor([0, 0])
    assert predicts(rows).tolist() == [True, False]
    assert correct(rows, labels, k).tolist() == [True, False]
    assert str(accuracies(rows, labels, k).tolist()) == "[1.0, nan]"
    found = calibration(rows, labels, bins=10)
    assert math.isnan(found.error)
    assert found.counts.tolist() == [0] * 6 + [1] + [0] * 3


def test_a_logarithm_of_zero_is_a_prediction():
    log_probs = torch.tensor([[0.0, -torch.inf]])
    assert accuracies(log_probs, torch.tensor([0])).tolist() == [1.0]
    assert accuracies(log_probs, torch.tensor([1])).tolist() == [0.0]
