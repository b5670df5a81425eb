"""The experiment on hidden units: targets, the divergence by another sum, and optima that are known."""

import math

import pytest
import torch

from danlu.experiments.energy import hidden_units
from danlu.experiments.energy.hidden_units import BARS, GRADIENT, PARITY, RANDOM, Arm, descend, machine, target_states


def entropy(p):
    """Entropies of binary units in nats."""
    return torch.special.entr(p) + torch.special.entr(1 - p)


def test_parity_has_an_even_number_of_negative_units():
    chosen = target_states(PARITY, 0)
    assert {tuple(row) for row in chosen.tolist()} == {
        (a, b, c, a * b * c) for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)
    }
    assert len(chosen) == 8


def test_bars_and_stripes_have_equal_rows_or_equal_columns():
    every = hidden_units.states(9).view(-1, 3, 3)
    same = (every == every[:, :1]).flatten(1).all(1) | (every == every[:, :, :1]).flatten(1).all(1)
    expected = {tuple(row) for row in every[same].flatten(1).tolist()}
    chosen = target_states(BARS, 0).tolist()
    assert len(chosen) == len(expected) == 2 * 2**3 - 2
    assert {tuple(row) for row in chosen} == expected


def test_random_states_are_different_and_others_for_another_seed():
    chosen, other = (target_states(RANDOM, seed) for seed in (0, 1))
    assert len(chosen.unique(dim=0)) == len(chosen) == 16
    assert not torch.equal(chosen.unique(dim=0), other.unique(dim=0))


@pytest.mark.parametrize("couplings", ["all", "restricted"])
def test_the_divergence_is_that_of_all_enumerated_units(couplings):
    """Sum over the joint states of visible and hidden units."""
    model, chosen = machine(6, couplings, 3, seed=0, restart=0), target_states(RANDOM, 0)
    weights = (-model.joint_energy(hidden_units.states(9))).exp().view(64, 8).sum(1)
    probability = weights / weights.sum()
    target = (hidden_units.states(6)[:, None] == chosen).all(2).any(1).double() / len(chosen)
    expected = (torch.special.xlogy(target, target) - torch.special.xlogy(target, probability)).sum()
    torch.testing.assert_close(hidden_units.divergence(model, chosen), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("target", [PARITY, BARS, RANDOM])
def test_independent_units_get_the_frequencies_of_the_target(target):
    """The divergence of independent units with the same means: the sum of their entropies minus that of the target."""
    chosen = target_states(target, 0)
    expected = float(entropy((chosen > 0).double().mean(0)).sum()) - math.log(len(chosen))
    assert hidden_units.trained(Arm(target, "restricted", 0), 0, 1)["KL"] == pytest.approx(expected, abs=1e-6)


def test_without_hidden_units_means_and_correlations_are_those_of_the_target_from_any_start():
    chosen, every = target_states(RANDOM, 0), hidden_units.states(6)
    reached = []
    for restart in range(3):
        model = machine(6, "all", 0, 0, restart)
        reached.append(descend(model, chosen, GRADIENT))
        probability = model.log_prob(every).exp().detach()
        found, wanted = every.T @ (probability[:, None] * every), chosen.T @ chosen / len(chosen)
        torch.testing.assert_close(found, wanted, rtol=0, atol=GRADIENT)
        torch.testing.assert_close(probability @ every, chosen.mean(0), rtol=0, atol=GRADIENT)
    assert max(reached) - min(reached) < hidden_units.RESOLUTION  # the likelihood is concave


def test_parity_is_invisible_to_pairs_and_not_to_a_hidden_unit():
    without, one = (hidden_units.trained(Arm(PARITY, "all", hidden), 0, 1)["KL"] for hidden in (0, 1))
    assert without == pytest.approx(math.log(2), abs=1e-6)
    assert one == hidden_units.RESOLUTION


@pytest.mark.parametrize(
    ("one", "parameters"),
    [(Arm(RANDOM, "all", 0), 21), (Arm(RANDOM, "restricted", 2), 20)],
)
def test_parameters_are_biases_and_couplings(one, parameters):
    assert hidden_units.trained(one, 0, 1)["parameters"] == parameters
