"""Scores of numbers against scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from danlu.metrics import regression_scores


def test_the_scores_are_those_of_scikit_learn():
    source = torch.Generator().manual_seed(0)
    target = 1e4 + 50 * torch.randn(200, generator=source, dtype=torch.float64)
    predicted = target + 20 * torch.randn(200, generator=source, dtype=torch.float64)
    scores = regression_scores(predicted, target)
    assert scores["r2"] == pytest.approx(r2_score(target, predicted), abs=1e-12)
    assert scores["mae"] == pytest.approx(mean_absolute_error(target, predicted), rel=1e-12)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(target, predicted), rel=1e-12)


def test_the_mean_has_r2_0_and_equal_targets_have_none():
    target = torch.tensor([1.0, 2.0, 6.0])
    assert regression_scores(target.mean().expand(3), target)["r2"] == 0
    assert math.isnan(regression_scores(target, torch.ones(3))["r2"])
