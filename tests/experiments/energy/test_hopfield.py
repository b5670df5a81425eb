"""The experiments on Hopfield networks: their theory and measures against other computations, and made-up verdicts."""

import itertools
import math

import pytest
import torch
from scipy import optimize

from danlu.data.base.sign_flips import flip_signs
from danlu.experiments.energy import hopfield_capacity, hopfield_recall, mean_field
from danlu.metrics import overlaps
from danlu.models import Hopfield


@pytest.mark.parametrize("load", [0.01, 0.05, 0.1, 0.12, 0.137])
def test_the_mean_field_overlap_is_the_largest_root_of_its_equation(load):
    def equation(y):
        return y * (math.sqrt(2 * load) + 2 / math.sqrt(math.pi) * math.exp(-y * y)) - math.erf(y)

    grid = [8 - 0.01 * step for step in range(790)]
    high, low = next((a, b) for a, b in itertools.pairwise(grid) if equation(a) > 0 >= equation(b))
    root = optimize.brentq(equation, low, high, xtol=1e-14)
    assert mean_field.overlap(load) == pytest.approx(math.erf(root), abs=1e-9)


def test_above_the_largest_load_the_overlap_is_zero():
    assert mean_field.overlap(0.1375) > 0.96
    assert mean_field.overlap(0.139) == 0
    assert mean_field.overlap(0.3) == 0


def overlap_of_recalled(units, load, networks):
    """The mean overlap of recalled patterns with their own, over networks of random patterns."""
    found = []
    for number in range(networks):
        patterns = hopfield_recall.random_patterns(round(load * units), units, "theory", number)
        model = hopfield_recall.network(patterns)
        found.append(float(overlaps(model.recall(patterns[:40]), patterns[:40]).double().mean()))
    return sum(found) / networks


@pytest.mark.parametrize("load", [0.05, 0.08])
def test_the_overlap_of_a_network_is_that_of_the_theory(load):
    assert overlap_of_recalled(1000, load, 1) == pytest.approx(mean_field.overlap(load), abs=0.005)


@pytest.mark.long
@pytest.mark.parametrize("load", [0.05, 0.08, 0.1, 0.11, 0.12])
def test_the_overlap_of_a_large_network_is_that_of_the_theory(load):
    assert overlap_of_recalled(4000, load, 2) == pytest.approx(mean_field.overlap(load), abs=0.005)


def test_a_minimum_has_no_neighbor_with_a_lower_energy():
    model = Hopfield((3,), 1)
    model.set_couplings(torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    assert hopfield_recall.is_minimum(model, torch.ones(3))
    assert not hopfield_recall.is_minimum(model, torch.tensor([1.0, 1.0, -1.0]))


def test_one_pattern_and_its_negative_have_the_lowest_energy():
    found = hopfield_recall.lowest_states(3)
    assert found == {"lowest": 1.0, "lowest states": 2.0}


def test_letters_are_six_different_pictures():
    letters = hopfield_recall.letter_patterns(0)
    assert letters.unique().tolist() == [-1, 1]
    assert len(letters.unique(dim=0)) == 6
    assert not torch.equal(letters, hopfield_recall.letter_patterns(1))


def test_the_load_at_one_half_by_hand():
    assert hopfield_capacity.half_load((0.1, 0.2, 0.4), (1.0, 0.6, 0.1)) == pytest.approx(0.24)
    assert hopfield_capacity.half_load((0.1, 0.2), (1.0, 0.9)) is None
    assert hopfield_capacity.half_load((0.1, 0.2), (0.4, 0.1)) is None


def test_a_network_that_grows_is_the_one_of_all_patterns():
    loads = (0.1, 0.2)
    found = hopfield_capacity.measure_network(100, loads, seed=1, copy=0)
    assert [len(values) for values in found.values()] == [2, 2, 2]
    assert found["recalled"][0] >= found["recalled"][1]
    assert all(exact <= good for exact, good in zip(found["exact"], found["recalled"], strict=True))


def test_a_capacity_that_grows_as_n_log_n_holds(monkeypatch):
    """Made-up fractions of a network whose loads grow as log N, and of one whose loads are constant."""

    def measured(scale):
        def of(units, seed, networks):
            loads = hopfield_capacity.LOADS[units]
            place = 0.04 * scale(units) + seed % 7 * 1e-6
            fractions = [min(1.0, max(0.0, 0.5 - 40 * (load - place))) for load in loads]
            return {"overlap": [mean_field.overlap(0.1)] * len(loads), "recalled": fractions, "exact": fractions}

        return of

    wide = {units: tuple(0.01 * step for step in range(2, 40)) for units in hopfield_capacity.LOADS}
    monkeypatch.setattr(hopfield_capacity, "LOADS", wide)
    monkeypatch.setattr(hopfield_capacity, "CHECKED_LOAD", 0.01 * 10)
    for scale, word in ((lambda n: math.log(n), "holds"), (lambda n: 4.0, "does not hold")):
        monkeypatch.setattr(hopfield_capacity, "measure_seed", measured(scale))
        numbers = hopfield_capacity.measure(0, lambda *_: None)
        assert hopfield_capacity.EXPERIMENT.verdict(numbers).word == word


def test_damaged_patterns_of_the_control_are_not_found():
    patterns = hopfield_recall.random_patterns(3, 200, "control")
    other = hopfield_recall.network(hopfield_recall.random_patterns(3, 200, "else"))
    found = hopfield_recall.recall(other, patterns, 0)
    assert (found["minimum"], found["found"], found["raised"]) == (0, 0, 0)
    right = hopfield_recall.recall(hopfield_recall.network(patterns), patterns, 0)
    assert (right["minimum"], right["found"], right["raised"]) == (1, 1, 0)
    expected = flip_signs(patterns.repeat(10, 1), 0.2, "experiment", 0) != patterns.repeat(10, 1)
    assert right["damage"] == float(expected.double().mean())
