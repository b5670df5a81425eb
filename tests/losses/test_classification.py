"""Cross-entropy against its formula and against torch's reduced form."""

import math

import pytest
import torch
from torch.nn import functional as F

from danlu.losses import cross_entropy

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)


def by_formula(logits, labels, smoothing, weights):
    """A loop over examples and classes in plain numbers."""
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_total = math.log(sum(math.exp(value) for value in row))
        loss = 0.0
        for k, value in enumerate(row):
            target = (1 - smoothing) * (k == label) + smoothing / len(row)
            loss -= weights[k] * target * (value - log_total)
        losses.append(loss)
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_equals_the_formula(smoothing, weights):
    logits, labels = torch.randn(9, 4, dtype=torch.float64) * 3, torch.arange(9) % 4
    ours = cross_entropy(logits, labels, smoothing, weights)
    expected = by_formula(logits, labels, smoothing, [1.0] * 4 if weights is None else weights.tolist())
    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_sum_over_examples_is_torchs(weights):
    logits, labels = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % 4
    expected = F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(cross_entropy(logits, labels, 0.2, weights).sum(), expected)


def test_the_gradient_is_the_softmax_less_the_target():
    logits, labels = torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.arange(6) % 5
    cross_entropy(logits, labels).sum().backward()
    expected = logits.detach().softmax(1) - F.one_hot(labels, 5)
    torch.testing.assert_close(logits.grad, expected)


def test_huge_logits_neither_overflow_nor_vanish():
    logits = torch.tensor([[1e4, 0.0], [1e4, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(logits, torch.tensor([0, 1])), torch.tensor([0.0, 1e4]).double())
