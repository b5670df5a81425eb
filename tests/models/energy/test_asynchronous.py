"""Asynchronous updates with kept fields against a loop over units that computes each field anew."""

import math

import numpy as np
import pytest
import torch

from danlu.models import Hopfield
from danlu.models.energy import asynchronous
from danlu.rng import generator

PROCEDURES = {"each state alone": math.inf, "all states in blocks": 0}


@pytest.fixture(params=PROCEDURES)
def procedure(request, monkeypatch):
    """Both procedures, whatever the number of changes."""
    monkeypatch.setattr(asynchronous, "FEW", PROCEDURES[request.param])


def signs(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1


def memory(kind, units, count):
    """A network whose patterns are random, or that has random couplings."""
    model = Hopfield((units,), count, storage="hebbian" if kind == "couplings" else kind)
    if kind == "couplings":
        source = torch.Generator().manual_seed(3)
        couplings = torch.randn(units, units, dtype=torch.float64, generator=source).triu(1)
        model.set_couplings(couplings + couplings.T)
    else:
        model.store(signs(count, units, seed=1))
    return model


def naive_recall(weights, state, steps, seed):
    """One state, unit by unit, with the full field for each unit; the states, and each change as (update, unit)."""
    state, changes, units = state.copy(), [], len(state)
    for sweep in range(steps):
        before = len(changes)
        for place, unit in enumerate(torch.randperm(units, generator=generator("recall", seed, sweep)).tolist()):
            field = weights[unit] @ state
            if field * state[unit] < 0:
                state[unit] = np.sign(field)
                changes.append((sweep * units + place, unit))
        if len(changes) == before:
            break
    return state, changes


@pytest.mark.usefixtures("procedure")
@pytest.mark.parametrize("kind", ["hebbian", "pseudo-inverse", "couplings"])
@pytest.mark.parametrize("steps", [1, 30])
def test_states_and_changes_are_those_of_the_naive_loop_bit_for_bit(kind, steps):
    """An even number of units and few patterns, so that fields are 0; from near a pattern, and from anywhere."""
    model, x = memory(kind, 70, 6), signs(9, 70, seed=2)
    if kind != "couplings":
        x[:6] = model.patterns
        x[:6, :20] *= -1
    weights = model.memory.weights.numpy()
    trace = model.recall_trace(x, steps, seed=5)
    for number, state in enumerate(x.double().numpy()):
        expected, changes = naive_recall(weights, state, steps, 5)
        own = trace.flips.state == number
        assert torch.equal(trace.states[-1, number].double(), torch.from_numpy(expected))
        found = zip(trace.flips.update[own].tolist(), trace.flips.unit[own].tolist(), strict=True)
        assert sorted(found) == changes
    assert torch.equal(model.recall(x, steps, seed=5), trace.states[-1])
    assert len(trace.flips.state) > 9


def test_fields_that_are_zero_occur_and_keep_the_unit():
    """Otherwise the test above says nothing about them."""
    model, x = memory("hebbian", 70, 6), signs(9, 70, seed=2)
    assert int((model.memory(x) == 0).sum()) > 10
    two = Hopfield((2,), 2)
    two.store(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))  # the couplings cancel
    assert torch.equal(two.recall(signs(4, 2)), signs(4, 2))


@pytest.mark.usefixtures("procedure")
@pytest.mark.parametrize("kind", ["hebbian", "pseudo-inverse", "couplings"])
def test_the_energy_falls_at_every_change(kind):
    """Every single update, with the energy as a sum over all pairs of units."""
    model, x = memory(kind, 60, 20), signs(5, 60, seed=4)
    couplings = model.couplings.numpy()
    trace = model.recall_trace(x, seed=1)
    for number in range(len(x)):
        state = x[number].double().numpy().copy()
        energies = [-0.5 * state @ couplings @ state]
        own = trace.flips.state == number
        for unit in trace.flips.unit[own].tolist():
            state[unit] *= -1
            energies.append(-0.5 * state @ couplings @ state)
            assert energies[-1] < energies[-2]
        assert len(energies) > 5
        updates, curve = trace.energy_curve(number)
        assert updates.diff().gt(0).all()
        np.testing.assert_allclose(curve.numpy(), energies, rtol=1e-10, atol=1e-10)
    assert (trace.energies.diff(dim=0) <= 0).all()
    assert trace.period.tolist() == [1] * 5
    assert (model.memory(trace.states[-1]) * trace.states[-1] >= 0).all()


@pytest.mark.usefixtures("procedure")
def test_kept_fields_are_the_full_ones_bit_for_bit():
    model, states = memory("pseudo-inverse", 50, 20), signs(8, 50).double()
    fields = model.memory(states)
    for number in range(3):
        order = torch.randperm(50, generator=torch.Generator().manual_seed(number))
        asynchronous.sweep(states, fields, model.memory.weights.detach(), order)
        assert torch.equal(fields, model.memory(states))


def test_a_state_ends_the_same_alone_and_among_others():
    model, x = memory("hebbian", 100, 15), signs(40, 100, seed=7)
    together = model.recall(x)
    assert torch.equal(torch.cat([model.recall(one) for one in x.split(1)]), together)
    assert torch.equal(model.recall(x), together)
    assert not torch.equal(model.recall(x, seed=1), together)


def test_half_of_the_memory_gives_the_same_states():
    """Sums of few patterns are exact in float32."""
    model, x = memory("hebbian", 100, 15), signs(40, 100, seed=7)
    expected, energy = model.recall(x), model.energy(x)
    model.float()
    assert torch.equal(model.recall(x), expected)
    torch.testing.assert_close(model.energy(x), energy, rtol=1e-7, atol=0)
