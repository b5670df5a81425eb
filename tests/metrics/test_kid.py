"""The kernel distance against a direct double loop, torchmetrics' estimate, and what equal distributions give."""

import statistics

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from danlu.metrics import kernel_distance, squared_discrepancy
from danlu.rng.keys import generator


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(x, y):
    def k(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(z):
        n = len(z)
        return sum(k(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize(("n", "m"), [(12, 12), (9, 14), (2, 2)])
def test_the_estimate_equals_a_double_loop(n, m):
    x, y = draw(n, 5), 1.5 * draw(m, 5, seed=1) + 0.3
    assert float(squared_discrepancy(x, y)) == pytest.approx(by_loops(x, y), rel=1e-10)


def test_the_estimate_equals_torchmetrics():
    x, y = draw(50, 8), draw(50, 8, seed=1) + 0.2
    assert float(squared_discrepancy(x, y)) == pytest.approx(float(poly_mmd(x, y)), rel=1e-9)


def test_subsets_of_everything_are_the_estimate():
    x, y = draw(20, 4), draw(20, 4, seed=1) + 1
    found = kernel_distance(x, y, subsets=3)
    assert found.mean == pytest.approx(float(squared_discrepancy(x, y)), rel=1e-9)
    assert found.deviation == 0


@pytest.mark.parametrize(("n", "m"), [(30, 8), (8, 30)])
def test_a_set_as_large_as_a_subset_is_always_used_whole(n, m):
    """The subsets of the other set are drawn as if both were drawn; three of them are averaged here by loops."""
    x, y = draw(n, 4), draw(m, 4, seed=1) + 0.5
    source, values = generator("kernel distance", 0), []
    for _ in range(3):
        rows = [torch.randperm(len(z), generator=source)[:8] for z in (x, y)]
        values.append(by_loops(x[rows[0]], y[rows[1]]))
    assert kernel_distance(x, y, subsets=3) == pytest.approx((statistics.mean(values), statistics.pstdev(values)))


def test_subsets_are_drawn_without_replacement_from_both_sets():
    """With subsets of 2 of 3 points there are nine equally likely pairs of subsets, whose values can be listed."""
    x, y = draw(3, 2), draw(3, 2, seed=1)
    twos = [[0, 1], [0, 2], [1, 2]]
    values = torch.tensor([by_loops(x[a], y[b]) for a in twos for b in twos])
    found = kernel_distance(x, y, subsets=4000, size=2)
    assert found.mean == pytest.approx(float(values.mean()), abs=4 * float(values.std()) / 4000**0.5)
    assert found.deviation == pytest.approx(float(values.std(correction=0)), rel=0.1)


def test_the_estimate_is_unbiased():
    """Over many subsets of one distribution the mean is 0 within four standard errors, and some values lie below."""
    values = torch.stack(
        [squared_discrepancy(draw(20, 3, seed=2 * i), draw(20, 3, seed=2 * i + 1)) for i in range(400)]
    )
    assert abs(float(values.mean())) < 4 * float(values.std()) / 20
    assert float(values.min()) < 0


def test_the_same_subsets_each_time():
    x, y = draw(60, 4), draw(50, 4, seed=1)
    one, again, other = (kernel_distance(x, y, subsets=5, size=10, seed=seed) for seed in (0, 0, 1))
    assert one == again != other


@pytest.mark.unchecked
def test_what_cannot_be_compared_is_refused():
    x = draw(6, 4)
    with pytest.raises(ValueError, match="same d"):
        kernel_distance(x, x[:, :3])
    with pytest.raises(ValueError, match="at least 2 examples of each set, got 1"):
        kernel_distance(x, x[:1])
    with pytest.raises(ValueError, match="infinite or NaN"):
        kernel_distance(x, x / 0)
    with pytest.raises(ValueError, match="subsets=0"):
        kernel_distance(x, x, subsets=0)
