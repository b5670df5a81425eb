"""Nearest neighbors against differences of all pairs in float64, also where many distances are equal."""

from importlib import import_module

import pytest
import torch

from danlu.data import digits
from danlu.metrics.distances import PairDistances
from danlu.metrics.neighbors import nearest_neighbors


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(import_module("danlu.metrics.distances"), "_ENTRIES", 1000)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def squared_distances(a, b):
    return (a.double()[:, None] - b.double()).square().sum(2)


SETS = {
    "normal": (draw(40, 6), draw(70, 6, seed=1)),
    "far from zero": (1000 + draw(40, 30), 1000 + draw(70, 30, seed=1)),
    "integers": (draw(40, 8).round(), draw(70, 8, seed=1).round()),
    "large values": (1e25 * draw(40, 6), 1e25 * draw(70, 6, seed=1)),
    "small values": (1e-25 * draw(40, 6), 1e-25 * draw(70, 6, seed=1)),
    "with an outlier": (draw(40, 6), torch.cat([draw(69, 6, seed=1), torch.full((1, 6), 1e6)])),
    "near copies": (draw(40, 6), torch.cat([draw(40, 6) + 1e-4, draw(40, 6)])),
    "float64": (draw(40, 6).double(), draw(70, 6, seed=1).double()),
}


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
@pytest.mark.parametrize("k", [1, 4])
def test_neighbors_and_ties_equal_a_stable_sort_of_all_distances(sets, k):
    a, b = sets
    squared, order = squared_distances(a, b).sort(dim=1, stable=True)
    found = nearest_neighbors(a, b, k)
    assert torch.equal(found.indices, order[:, :k])
    torch.testing.assert_close(found.squared, squared[:, :k], rtol=1e-14, atol=0)


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
def test_no_lower_bound_is_above_and_no_upper_bound_below_the_distance(sets):
    pairs = PairDistances(*sets)
    exact = squared_distances(*sets)
    for rows, bounds in pairs.blocks():
        i, j = torch.ones_like(bounds).nonzero(as_tuple=True)
        assert (bounds.double() <= exact[rows]).all()
        assert (pairs.upper(rows, bounds, i, j).view_as(bounds).double() >= exact[rows]).all()


def test_an_example_is_not_its_own_neighbor_but_its_copy_is():
    x = digits().train["image"][:60].flatten(1).repeat(2, 1)
    found = nearest_neighbors(x, x, exclude_self=True)
    assert torch.equal(found.indices[:, 0], torch.arange(120).roll(60))
    assert not found.squared.any()


def test_products_of_reduced_precision_do_not_change_the_neighbors():
    a, b = SETS["far from zero"]
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        found = nearest_neighbors(a, b)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(found.indices[:, 0], squared_distances(a, b).argmin(1))


def test_an_example_with_nan_has_no_distance():
    a = draw(5, 3)
    a[2, 1] = torch.nan
    assert (
        nearest_neighbors(a, draw(9, 3, seed=1), 2).squared.isnan().any(1).tolist()
        == [False] * 2 + [True] + [False] * 2
    )


@pytest.mark.unchecked
def test_more_neighbors_than_candidates_are_refused():
    x = draw(3, 2)
    for k in (0, 3):
        with pytest.raises(ValueError, match=f"k={k} must be at least 1 and at most 2"):
            nearest_neighbors(x, x, k, exclude_self=True)
