"""The rule that makes a verdict of comparisons, on made-up values, and its rate of errors."""

import math
from functools import reduce
from itertools import product

import numpy as np
import pytest
from scipy import stats

from danlu.experiments.harness.criteria import Comparison, Criteria, favorable
from danlu.experiments.harness.intervals import MAX_SEEDS, confidence_interval, sign_flips
from danlu.experiments.harness.seeds import seed_of, seeds
from danlu.experiments.harness.wording import findings_table, mean_and_range, number, undecided_reason

LARGER = Comparison("a is larger", "a", "b", "size", 1.0)
SMALLER = Comparison("a is faster", "a", "b", "steps", 2.0, lower=True, ratio=True)
WORKS = Comparison("b is trained", "b", 0.5, "accuracy", 0.1)


def arms(a, b, measure="size"):
    return {"a": {measure: a}, "b": {measure: b}}


@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_interval_is_that_of_scipy(n):
    values = np.random.default_rng(n).normal(2, 3, n).tolist()
    found = confidence_interval(values, 0.9)
    low, high = stats.t.interval(0.9, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found == pytest.approx((np.mean(values), low, high), rel=1e-12)


def test_one_value_is_exact_and_failed_runs_give_the_range():
    assert confidence_interval([2.5]) == (2.5, 2.5, 2.5)
    assert confidence_interval([1.0, math.inf, -2.0]) == (1.0, -2.0, math.inf)


def test_all_changes_of_sign_are_enumerated():
    assert sorted(sign_flips(3)) == sorted(product((-1, 1), repeat=3))
    with pytest.raises(ValueError, match="at most 12 seeds"):
        sign_flips(MAX_SEEDS + 1)


@pytest.mark.parametrize(
    ("a", "b", "state"),
    [
        ([3.0, 3.1, 2.9, 3.0, 3.1], [1.0] * 5, "supported"),
        ([1.2, 1.1, 1.3, 1.2, 1.2], [1.0] * 5, "refuted"),  # larger for sure, but by less than the claim needs
        ([2.0, 3.0, 2.5, 3.5, 1.5], [1.0] * 5, "supported"),
        ([0.5, 3.0, -2.0, 3.5, 1.5], [0.0] * 5, "undecided"),
        ([-1.0, -1.2, -1.1, -1.0, -1.0], [0.0] * 5, "refuted"),
        ([2.0], [1.0], "supported"),
        ([1.9], [1.0], "refuted"),
        ([2.0, 2.0], [None, None], "supported"),
        ([2.0, None], [1.0, 1.0], "undecided"),
        ([None, None], [1.0, 1.0], "refuted"),
        ([None, None], [None, None], "refuted"),
    ],
)
def test_the_state_of_a_comparison(a, b, state):
    assert Criteria((LARGER,)).judge(arms(a, b)).findings[0].state == state


@pytest.mark.parametrize(
    ("a", "refuted", "opposite"),
    [([3.0, 3.1, 2.9], False, False), ([1.2, 1.1, 1.3], True, False), ([0.2, 0.1, 0.3], True, True)],
)
def test_the_opposite_is_more_than_a_refuted_comparison(a, refuted, opposite):
    judgment = Criteria((LARGER,)).judge(arms(a, [1.0, 1.0, 1.0]))
    assert (judgment.refuted("a is larger"), judgment.reversed("a is larger")) == (refuted, opposite)


def test_a_ratio_is_compared_in_logarithms_and_lower_is_better():
    finding = Criteria((SMALLER,)).judge(arms([10.0, 20.0], [40.0, 80.0], "steps")).findings[0]
    assert math.exp(finding.interval.mean) == pytest.approx(4)
    assert finding.state == "supported"
    assert Criteria((SMALLER,)).judge(arms([10.0, 20.0], [15.0, 30.0], "steps")).findings[0].state == "refuted"


@pytest.mark.parametrize(
    ("gate", "clauses", "limit", "word"),
    [
        ("supported", ("supported", "supported"), "supported", "holds"),
        ("supported", ("supported", "supported"), "refuted", "holds with limits"),
        ("supported", ("supported", "supported"), "undecided", "holds with limits"),
        ("supported", ("supported", "refuted"), "supported", "holds with limits"),
        ("supported", ("undecided", "supported"), "supported", "holds with limits"),
        ("supported", ("refuted", "refuted"), "supported", "does not hold"),
        ("supported", ("refuted", "undecided"), "supported", "not decided"),
        ("refuted", ("supported", "supported"), "supported", "not decided"),
        ("undecided", ("refuted", "refuted"), "supported", "not decided"),
    ],
)
def test_the_word(gate, clauses, limit, word):
    values = {
        "supported": [3.0, 3.1, 2.9, 3.0, 3.1],
        "refuted": [-1.0, -1.2, -1.1, -1.0, -1.0],
        "undecided": [0.5, 3.0, -2.0, 3.5, 1.5],
    }
    measured = {"g": gate, "x": clauses[0], "y": clauses[1], "l": limit}
    over_0 = {name: Comparison(name, "a", 0.0, name, 1.0) for name in measured}
    criteria = Criteria((over_0["x"], over_0["y"]), (over_0["g"],), (over_0["l"],))
    judgment = criteria.judge({"a": {name: values[state] for name, state in measured.items()}})
    assert judgment.word == word
    assert [found.role for found in judgment.findings] == ["gate", "clause", "clause", "limit"]
    if gate != "supported":
        assert undecided_reason(judgment) == "The claim cannot be tested here, because it is not shown that g."
    elif word == "not decided":
        assert undecided_reason(judgment) == "The seeds do not decide whether y."


def test_the_null_rate_is_the_fraction_of_signs_that_support():
    a = [3.0, 3.1, 2.9, 3.0, 3.1]
    judgment = Criteria((LARGER,)).judge(arms(a, [0.0] * 5))
    rates = []
    for signs in product((-1, 1), repeat=5):
        values = [s * v for s, v in zip(signs, a, strict=True)]
        low = np.mean(values) - stats.t.ppf(0.975, 4) * stats.sem(values)
        rates.append(low > 0 and np.mean(values) >= 1)
    assert judgment.findings[0].null_rate == np.mean(rates) == 1 / 32
    assert judgment.null_rate == 1 / 32
    assert Criteria((LARGER,)).judge(arms([2.0], [1.0])).null_rate is None


def test_without_an_effect_few_verdicts_are_holds():
    """20,000 experiments with five seeds and no effect: at most 2.5 % support a clause, up to four standard errors."""
    source = np.random.default_rng(0)
    tiny = Comparison("a is larger", "a", "b", "size", 1e-9)
    draws = source.normal(size=(2, 20_000, 5))
    low = (draws[0] - draws[1]).mean(1) - stats.t.ppf(0.975, 4) * stats.sem(draws[0] - draws[1], axis=1)
    some = [Criteria((tiny,)).judge(arms(*draws[:, k].tolist())).word == "holds" for k in range(200)]
    assert some == (low[:200] > 0).tolist()
    assert abs((low > 0).mean() - 0.025) < 4 * math.sqrt(0.025 * 0.975 / 20_000)


def test_swapped_arms_refute_and_favorable_values_hold():
    criteria = Criteria((LARGER, SMALLER), gates=(WORKS,))
    best = favorable(criteria)
    assert criteria.judge(best).word == "holds"
    swapped = Criteria(tuple(one.swapped("a", "b") for one in criteria.clauses))
    assert (swapped.clauses[0].arm, swapped.clauses[0].than) == ("b", "a")
    assert swapped.judge(best).word == "does not hold"
    assert WORKS.swapped("a", "c") == WORKS


def test_favorable_values_follow_chains_and_refuse_contradictions():
    chain = Criteria((LARGER, Comparison("b is larger than c", "b", "c", "size", 1.0)))
    assert chain.judge(favorable(chain)).word == "holds"
    circle = Criteria((LARGER, LARGER.swapped("a", "b")))
    with pytest.raises(ValueError, match="contradict"):
        favorable(circle)


@pytest.mark.parametrize("options", [{"margin": 0.0}, {"margin": -1.0}, {"margin": 1.0, "ratio": True}])
def test_a_margin_is_needed_because_without_it_nothing_can_be_refuted(options):
    with pytest.raises(ValueError, match="the margin of 'a' is"):
        Comparison("a", "a", "b", "size", **options)


def test_seeds_of_different_experiments_are_different():
    assert len({seed for start in range(50) for seed in seeds(start, 12)}) == 600
    assert all(0 <= seed < 2**31 for seed in seeds(3, 12))


def test_seeds_have_31_bits_and_each_bit_is_used():
    """With 200 seeds, a bit that is drawn at random is 1 in at least one of them, and 0 in another."""
    found = [seed_of("critic", number) for number in range(200)]
    assert len(set(found)) == len(found)
    all_ones, any_ones = reduce(int.__and__, found), reduce(int.__or__, found)
    assert (all_ones, any_ones) == (0, 2**31 - 1)


def test_findings_as_a_table():
    criteria = Criteria((SMALLER,), gates=(WORKS,))
    values = {"a": {"steps": [10.0, 20.0]}, "b": {"steps": [40.0, 80.0], "accuracy": [0.9, 0.9]}}
    head, gate, clause = findings_table(criteria.judge(values))
    assert len(head) == len(gate) == len(clause) == 6
    assert gate == ("gate: b is trained", "0.4", "0.4 to 0.4", "at least 0.1", "supported", "25.0 %")
    assert clause == ("a is faster", "× 4", "× 4 to × 4", "at least × 2", "supported", "25.0 %")
    exact = findings_table(Criteria((LARGER,)).judge(arms([3.0], [None])))[1]
    assert exact == ("a is larger", "∞", "exact", "at least 1", "supported", "–")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99999.6, "10⁵"),
        (123456.0, "1.23·10⁵"),
        (9.9996e-4, "0.001"),
        (9.9996e6, "10⁷"),
        (-0.5, "−0.5"),
        (1e-300, "10⁻³⁰⁰"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_the_range_over_seeds_counts_failures():
    assert mean_and_range([2.0, 2.0004, None, None]) == "2, 2 failed"
    assert mean_and_range([1.0, 3.0, None]) == "2 (1 to 3), 1 failed"
