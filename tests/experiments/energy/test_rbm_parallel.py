"""The experiment on block updates: its samplers against enumeration, and verdicts with times that are made up."""

import pytest
import torch

from danlu.experiments.energy import rbm_parallel, unit_updates
from danlu.experiments.energy.rbm_parallel import BLOCKS, CHAINS, HALVES, MANY, ONE, RBM, SAME, SINGLE
from danlu.experiments.sampling.exact_chains import sign_states

EXACT = {
    SINGLE: {"mismatch": 1.0, "updates": 50.0, "updates per unit": 1.0},
    BLOCKS: {"different": 0.0},
    RBM: {"mismatch": 1.0, "updates": 2.0, "updates per unit": 0.04, "different": 0.0},
    HALVES: {"mismatch": 8.0},
}
"""the checks of correct samplers"""


def times_as_claimed(arm, chains, n, k):
    """One unit of time for each update, and a hundredth for each unit of a layer."""
    return 1e-6 * (2 if arm == RBM else 0.01 * n if arm == BLOCKS else n)


def verdict(monkeypatch, seconds, **checked):
    """The verdict if a sweep takes as many seconds as a function of arm, chains, n and the number of the round says."""
    found = {arm: {**values, **checked.get(arm, {})} for arm, values in EXACT.items()}
    monkeypatch.setattr(
        rbm_parallel, "alternating_times",
        lambda operations, rounds: {name: [seconds(*name, k) for k in range(rounds)] for name in operations},
    )  # fmt: skip
    monkeypatch.setattr(rbm_parallel, "SIZES", (50, 200, 800))
    monkeypatch.setattr(rbm_parallel, "checks", lambda chains, seed: {arm: {**one} for arm, one in found.items()})
    monkeypatch.setattr(rbm_parallel, "efficiency", lambda sampler, draws, seed: 0.5)
    return rbm_parallel.EXPERIMENT.run(quick=True).verdict


def states(found, comparisons):
    return [found.judgment.finding(one.clause).state for one in comparisons]


def test_the_claimed_times_hold_and_exchanged_ones_do_not(monkeypatch):
    assert verdict(monkeypatch, lambda arm, *rest: times_as_claimed(SINGLE if arm == BLOCKS else arm, *rest)).word == (
        "holds"
    )
    timed = (rbm_parallel.FASTER, rbm_parallel.SAME_MODEL, rbm_parallel.GROWS)
    other = {SINGLE: RBM, SAME: RBM, RBM: SINGLE, BLOCKS: RBM}
    wrong = verdict(monkeypatch, lambda arm, *rest: times_as_claimed(other[arm], *rest))
    assert states(wrong, timed) == ["refuted"] * 3


def test_fast_sweeps_in_blocks_are_a_limit(monkeypatch):
    found = verdict(monkeypatch, times_as_claimed)
    assert (found.word, states(found, [rbm_parallel.BESIDE_BLOCKS])) == ("holds with limits", ["refuted"])


def test_a_constant_factor_of_many_chains_is_a_limit(monkeypatch):
    def seconds(arm, chains, n, k):
        return times_as_claimed(arm, chains, n, k) if chains == ONE else 1e-6 * n * (1 if arm == RBM else 20)

    found = verdict(monkeypatch, seconds)
    assert found.word == "holds with limits"
    assert states(found, [rbm_parallel.FASTER_MANY, rbm_parallel.GROWS_MANY]) == ["supported", "refuted"]


def test_a_factor_of_two_from_fewer_couplings_is_no_effect(monkeypatch):
    found = verdict(monkeypatch, lambda arm, chains, n, k: 1e-9 * n * n * (1 if arm == RBM else 2))
    assert states(found, [rbm_parallel.FASTER, rbm_parallel.GROWS, *rbm_parallel.CRITERIA.limits]) == ["refuted"] * 6


@pytest.mark.parametrize(
    ("checked", "words"),
    [
        ({RBM: {"mismatch": 2.0}}, "exact distribution of 8 visible units, RBM"),
        ({SINGLE: {"mismatch": 2.0}}, "exact distribution of 8 visible units, all"),
        ({BLOCKS: {"different": 0.1}}, "have the states of single updates"),
    ],
)
def test_a_wrong_sampler_decides_nothing(monkeypatch, checked, words):
    found = verdict(monkeypatch, times_as_claimed, **checked)
    assert (found.word, words in found.reason) == ("not decided", True)


def test_rounds_with_other_times_decide_nothing(monkeypatch):
    found = verdict(
        monkeypatch, lambda arm, *rest: times_as_claimed(arm, *rest) * (3 if arm == RBM and rest[-1] % 2 else 1)
    )
    assert (found.word, "odd and even rounds" in found.reason) == ("not decided", True)


def test_the_rbm_has_the_enumerated_distribution_of_the_restricted_machine():
    """The sum over hidden states of exp(s'Ws / 2 + b's), beside the RBM's log-likelihood."""
    model = unit_updates.machine("restricted", 8, seed=3).double()
    s, couplings = sign_states(8), model.couplings.detach()
    weights = ((s @ couplings * s).sum(1) / 2 + s @ model.bias.detach()).view(16, 16).logsumexp(1)
    found = unit_updates.as_rbm(model).log_prob((sign_states(4) + 1) / 2)
    torch.testing.assert_close(found.detach(), weights.log_softmax(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("couplings", ["all", "restricted"])
def test_fields_have_the_same_variance(couplings):
    model = unit_updates.machine(couplings, 400, seed=0)
    assert float(model.couplings.detach().square().sum(1).mean().sqrt()) == pytest.approx(unit_updates.SPREAD, rel=0.02)


def test_equal_states_are_those_of_correct_updates():
    complete, restricted = (unit_updates.machine(name, 20, 0).double() for name in ("all", "restricted"))
    single = unit_updates.single_units(restricted, hidden_first=True)
    assert unit_updates.different(single, unit_updates.block_gibbs(restricted), 10, 10, 0) == 0
    assert unit_updates.different(single, unit_updates.two_halves(restricted), 10, 10, 0) == 0
    single = unit_updates.single_units(complete, hidden_first=True)
    assert unit_updates.different(single, unit_updates.two_halves(complete), 10, 10, 0) > 0.05


def test_only_wrong_samplers_have_another_distribution():
    found = {arm: unit_updates.mismatch(rbm_parallel.SAMPLERS[arm], 1000, 0) for arm in (SINGLE, RBM, HALVES)}
    assert max(found[SINGLE], found[RBM]) < 1.5 < 2 * 1.5 < found[HALVES]


def test_a_sweep_has_an_update_for_each_unit_or_two():
    assert {arm: build(10, 0).updates for arm, build in rbm_parallel.SAMPLERS.items()} == {
        SINGLE: 10, BLOCKS: 10, SAME: 10, RBM: 2, HALVES: 2,
    }  # fmt: skip
    assert (CHAINS[ONE], CHAINS[MANY]) == (1, 100)
