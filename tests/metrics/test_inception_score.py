"""The Inception Score against a direct loop and cases with known scores."""

import math

import pytest
import torch

from danlu.metrics import inception_score


def draw(n, classes, seed=0):
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(1)


def by_loop(p):
    rows = p.double().tolist()
    q = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    divergences = [sum(a * math.log(a / b) for a, b in zip(row, q, strict=True) if a) for row in rows]
    return math.exp(sum(divergences) / len(rows))


def test_equal_to_a_direct_loop():
    p = draw(40, 7)
    assert inception_score(p).mean == pytest.approx(by_loop(p), rel=1e-9)
    assert inception_score(p).deviation == 0


def test_splits_are_consecutive_and_scored_by_themselves():
    p = draw(40, 7)
    scores = [by_loop(part) for part in p.split(10)]
    found = inception_score(p, splits=4)
    mean = sum(scores) / 4
    assert found.mean == pytest.approx(mean, rel=1e-9)
    assert found.deviation == pytest.approx(math.sqrt(sum((s - mean) ** 2 for s in scores) / 4), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 10])
def test_sure_and_evenly_spread_is_the_number_of_classes(classes):
    assert inception_score(torch.eye(classes).repeat(3, 1)).mean == pytest.approx(classes)


def test_unsure_or_always_the_same_is_one():
    assert inception_score(torch.full((9, 4), 0.25)).mean == pytest.approx(1)
    assert inception_score(torch.eye(4)[:1].expand(9, 4)).mean == pytest.approx(1)


def test_three_of_four_classes_evenly_is_three():
    assert inception_score(torch.eye(4)[:3]).mean == pytest.approx(3)


@pytest.mark.unchecked
def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="softmax"):
        inception_score(torch.tensor([[3.0, -2.0]]))
    for sum_is_not_one in ([0.5, 0.2], [0.9, 0.8]):
        with pytest.raises(ValueError, match="sum to 1"):
            inception_score(torch.tensor([sum_is_not_one]))
    with pytest.raises(ValueError, match="splits=4"):
        inception_score(draw(3, 2), splits=4)


def test_the_score_of_nan_is_nan():
    p = draw(6, 3)
    p[2] = math.nan
    assert all(math.isnan(value) for value in inception_score(p))
