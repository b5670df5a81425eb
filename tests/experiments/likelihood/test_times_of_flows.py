"""Costs of log-determinants and of both directions of autoregressive flows: verdicts with times that are made up."""

import pytest
import torch

from danlu.experiments.likelihood import af_vs_iaf, log_det_cost
from danlu.experiments.likelihood.af_vs_iaf import CASES, PASSES, UNITS_MANY


def made_up(seconds):
    """A measurement that runs nothing: the seconds of an operation by its name, in every round or by its number."""
    return lambda operations, rounds: {name: [seconds(name, k) for k in range(rounds)] for name in operations}


# log-determinants


def verdict_of_costs(monkeypatch, planar, general, noise=lambda k: 1.0):
    """The verdict if a log-determinant takes as many seconds as a function of d says."""
    cost = {log_det_cost.PLANAR: planar, log_det_cost.GENERAL: general}
    monkeypatch.setattr(log_det_cost, "alternating_times", made_up(lambda name, k: cost[name[0]](name[1]) * noise(k)))
    return log_det_cost.EXPERIMENT.run(quick=True).verdict


def states(verdict, clauses):
    return [verdict.judgment.finding(one.clause).state for one in clauses]


def test_the_claimed_costs_hold_and_exchanged_ones_do_not(monkeypatch):
    linear, cubic = (lambda d: 1e-9 * d), (lambda d: 1e-9 * d**3)
    assert verdict_of_costs(monkeypatch, linear, cubic).word == "holds"
    wrong = verdict_of_costs(monkeypatch, cubic, linear)
    assert (wrong.word, states(wrong, log_det_cost.CRITERIA.clauses)) == ("does not hold", ["refuted"] * 3)


@pytest.mark.parametrize(("planar", "general"), [(1.5, 3), (0.5, 3), (1, 2), (1, 4)])
def test_one_other_exponent_is_refuted(monkeypatch, planar, general):
    found = verdict_of_costs(monkeypatch, lambda d: 1e-9 * d**planar, lambda d: 1e-3 * d**general)
    assert sorted(states(found, (log_det_cost.LINEAR, log_det_cost.CUBIC))) == ["refuted", "supported"]
    assert found.word == "holds with limits"
    assert "It is not shown that the time of the" in found.reason


def test_times_that_are_not_repeated_decide_nothing(monkeypatch):
    """In every second round the larger sizes take twice as long."""

    def seconds(name, k):
        kind, size = name
        slow = 2.0 if k % 2 and size in (30_000, 512) else 1.0
        return slow * (1e-9 * size if kind == log_det_cost.PLANAR else 1e-9 * size**3)

    monkeypatch.setattr(log_det_cost, "alternating_times", made_up(seconds))
    found = log_det_cost.EXPERIMENT.run(quick=True).verdict
    assert found.word == "not decided"
    assert "odd and even rounds agree" in found.reason


@pytest.mark.parametrize(
    ("wrong", "words"), [(lambda x: x.diagonal().log().sum(), "equal up to"), (torch.linalg.slogdet, "")]
)
def test_a_wrong_log_determinant_decides_nothing(monkeypatch, wrong, words):
    right = log_det_cost.general_log_det
    monkeypatch.setattr(log_det_cost, "general_log_det", wrong if words else right)
    found = verdict_of_costs(monkeypatch, lambda d: 1e-9 * d, lambda d: 1e-9 * d**3)
    assert found.word == ("not decided" if words else "holds")
    assert words in found.reason


def test_an_identity_as_layer_decides_nothing(monkeypatch):
    monkeypatch.setattr(log_det_cost, "STRETCH", 0.0)
    assert "not close to 0" in verdict_of_costs(monkeypatch, lambda d: 1e-9 * d, lambda d: 1e-9 * d**3).reason


def test_the_jacobian_is_that_of_torch():
    planar, z = log_det_cost.layer(5, 0).double(), log_det_cost.latents(1, 5, 0, torch.float64)[0]
    expected = torch.autograd.functional.jacobian(lambda z: planar.inverse(z[None])[0][0], z)
    torch.testing.assert_close(log_det_cost.jacobian(planar, z), expected)


# both directions


def verdict_of_directions(monkeypatch, seconds):
    """The verdict if an operation takes as many seconds per call as a function of its case, method and d says."""
    cases = {case.arm: case for case in CASES.values()}
    monkeypatch.setattr(
        af_vs_iaf, "alternating_times", made_up(lambda name, k: seconds(cases[name[0]], name[1], name[2], k))
    )
    return af_vs_iaf.EXPERIMENT.run(quick=True).verdict


def as_claimed(case, method, d, k):
    """One pass takes d, and the sequential direction d² or, with each unit once, three times as long."""
    calls = 32 if method == UNITS_MANY else 16
    return 1e-6 * calls * d * (1 if not case.sequential else d if method == PASSES else 3)


def exchanged(case, method, d, k):
    """MAF has the times of IAF."""
    return as_claimed(CASES["IAF" if case.model == "MAF" else "MAF", case.operation], method, d, k)


def test_the_claimed_times_hold_and_exchanged_ones_do_not(monkeypatch):
    assert verdict_of_directions(monkeypatch, as_claimed).word == "holds"
    wrong = verdict_of_directions(monkeypatch, exchanged)
    assert wrong.word == "does not hold"
    assert set(states(wrong, af_vs_iaf.CRITERIA.clauses)) == {"refuted"}


def test_equal_times_with_each_unit_once_are_a_limit(monkeypatch):
    found = verdict_of_directions(
        monkeypatch, lambda case, method, d, k: 1e-6 * (d * d if case.sequential and method == PASSES else d)
    )
    assert found.word == "holds with limits"
    assert set(states(found, af_vs_iaf.CRITERIA.limits)) == {"refuted"}


def test_a_factor_that_does_not_grow_is_noticed(monkeypatch):
    found = verdict_of_directions(monkeypatch, lambda case, method, d, k: 1e-6 * (9 * d if case.sequential else d))
    assert states(found, af_vs_iaf.GROWS) == ["refuted"] * 2
    assert set(states(found, af_vs_iaf.FASTER)) == {"supported"}


def test_rounds_with_other_times_decide_nothing(monkeypatch):
    found = verdict_of_directions(
        monkeypatch, lambda *name: as_claimed(*name) * (2.5 if name[0].sequential and name[-1] % 2 else 1.0)
    )
    assert (found.word, "odd and even rounds" in found.reason) == ("not decided", True)


def test_other_weights_decide_nothing(monkeypatch):
    right = af_vs_iaf.flows
    monkeypatch.setattr(
        af_vs_iaf, "flows", lambda size, seed: {"MAF": right(size, seed)["MAF"], "IAF": right(size, seed + 1)["IAF"]}
    )
    found = verdict_of_directions(monkeypatch, as_claimed)
    assert (found.word, "with which MAF encodes" in found.reason) == ("not decided", True)


def test_a_direction_that_is_no_inverse_decides_nothing(monkeypatch):
    right = af_vs_iaf.MAF.decode
    monkeypatch.setattr(af_vs_iaf.MAF, "decode", lambda self, z: right(self, z) + 1e-6)
    found = verdict_of_directions(monkeypatch, as_claimed)
    assert (found.word, "inverse to each other" in found.reason) == ("not decided", True)


@pytest.mark.parametrize("model", ["MAF", "IAF"])
def test_a_pass_for_each_value_gives_the_same_values_and_gradients(model):
    d = 5
    default = af_vs_iaf.flows(d, 0)[model].double()
    each = af_vs_iaf.with_passes(default)
    x = af_vs_iaf.examples(3, d, 0).double()
    for name in af_vs_iaf.OPERATIONS:
        found, expected = (af_vs_iaf.operation(flow, name, x)() for flow in (each, default))
        torch.testing.assert_close(found, expected)
    networks = [layer.network for layer in each.modules() if isinstance(layer, af_vs_iaf.EachValue)]
    assert len(networks) == 1
    calls = []
    networks[0].register_forward_hook(lambda *_: calls.append(1))
    af_vs_iaf.operation(each, "sampling", x)()
    assert len(calls) == (d if model == "MAF" else 1)


def test_the_sequential_directions_are_sampling_of_maf_and_the_density_of_iaf():
    assert {case.arm for case in CASES.values() if case.sequential} == {
        "MAF, sampling", "IAF, density", "IAF, training",
    }  # fmt: skip
