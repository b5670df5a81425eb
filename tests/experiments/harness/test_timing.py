"""Alternating measurements, with a clock that the test turns, and exponents against an independent fit."""

import numpy as np
import pytest

from danlu.experiments.harness import timing


class Clock:
    """A processor clock that stands still except during operations; it records the order of the calls."""

    def __init__(self, costs):
        self.now, self.costs, self.calls = 0.0, costs, []

    def operation(self, name):
        def run():
            self.calls.append(name)
            self.now += self.costs[name]

        return run

    def measure(self, monkeypatch, rounds):
        monkeypatch.setattr(timing.time, "process_time", lambda: self.now)
        return timing.alternating_times({name: self.operation(name) for name in self.costs}, rounds)


def test_times_are_those_of_one_call_also_if_it_is_repeated(monkeypatch):
    clock = Clock({"long": 3.0, "short": timing.LEAST / 10})
    found = clock.measure(monkeypatch, 4)
    assert found["long"] == pytest.approx([3.0] * 4)
    assert found["short"] == pytest.approx([timing.LEAST / 10] * 4)
    assert clock.calls.count("long") == 1 + 4  # once without measurement, and once a round
    assert clock.calls.count("short") == pytest.approx(2 + 4 * 10, abs=4)  # ten calls a round, up to rounding


def test_every_second_round_has_the_reverse_order(monkeypatch):
    clock = Clock(dict.fromkeys("abc", 1.0))
    clock.measure(monkeypatch, 3)
    assert "".join(clock.calls[3:]) == "abccbaabc"


def test_an_operation_that_becomes_slower_has_other_halves(monkeypatch):
    clock = Clock({"a": 1.0})
    slow = clock.operation("a")
    clock.operation = lambda name: lambda: (clock.costs.update(a=2.0 if len(clock.calls) % 2 else 1.0), slow())
    found = clock.measure(monkeypatch, 6)["a"]
    assert timing.halves(found) == (2.0, 1.0)  # after one call without measurement


def test_growth_is_the_slope_of_a_least_squares_fit():
    random = np.random.default_rng(0)
    sizes, times = np.sort(random.uniform(10, 1e4, 7)), random.lognormal(size=7)
    slope, _ = np.polyfit(np.log(sizes), np.log(times), 1)
    assert timing.growth(sizes.tolist(), times.tolist()) == pytest.approx(slope)
