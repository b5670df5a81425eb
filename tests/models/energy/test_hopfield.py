"""The Hopfield network against closed forms: fixed points, error probabilities, energies; values that it refuses."""

import math

import pytest
import torch
from scipy import stats

from danlu.data.base.sign_flips import flip_signs
from danlu.models import Hopfield


def signs(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1


def stored(patterns, **options):
    model = Hopfield(patterns.shape[1:], len(patterns), **options)
    model.store(patterns)
    return model


def test_hebbian_couplings_are_sums_of_outer_products():
    x = signs(7, 30)
    expected = sum(torch.outer(one, one) for one in x.double()) / 30
    torch.testing.assert_close(stored(x).couplings, expected.fill_diagonal_(0), rtol=1e-14, atol=0)


def test_pseudo_inverse_couplings_are_a_projection_without_diagonal():
    x = signs(12, 30).double()
    projection = torch.linalg.pinv(x) @ x
    expected = projection.fill_diagonal_(0)
    torch.testing.assert_close(stored(x, storage="pseudo-inverse").couplings, expected, rtol=0, atol=2**-30)


@pytest.mark.parametrize("form", ["classic", "modern"])
def test_the_energy_is_its_formula(form):
    x, states = signs(4, 3, 5), signs(6, 3, 5, seed=1)
    model = stored(x, form=form)
    for state, energy in zip(states, model.energy(states), strict=True):
        s, patterns = state.flatten().double(), x.flatten(1).double()
        if form == "classic":
            pairs = [(i, j) for i in range(15) for j in range(15) if i != j]
            expected = -0.5 * sum(s[i] * s[j] * (patterns[:, i] * patterns[:, j]).sum() / 15 for i, j in pairs)
        else:
            beta = 15**-0.5
            attraction = sum(math.exp(beta * float(one @ s)) for one in patterns)
            expected = -math.log(attraction) / beta + 0.5 * float(s @ s) + math.log(4) / beta + 0.5 * 15
        assert float(energy) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("synchronous", [False, True])
def test_pseudo_inverse_patterns_are_fixed_points(synchronous):
    """Random ones near the largest number, and similar ones, of which Hebb's rule loses most."""
    similar = flip_signs(signs(1, 100).repeat(20, 1), 0.1, "similar")
    for x in (signs(90, 100), similar):
        model = stored(x, storage="pseudo-inverse")
        trace = model.recall_trace(x, synchronous=synchronous)
        assert torch.equal(trace.states[-1], x)
        assert (len(trace.states), trace.period.tolist()) == (2, [1] * len(x))
    assert not torch.equal(stored(similar).recall(similar), similar)


def test_few_hebbian_patterns_are_recalled_from_noise():
    """12 patterns of 1000 units, a third of N / (4 ln N)."""
    x = signs(12, 10, 100)
    assert len(x) < 1000 / (4 * math.log(1000)) / 2
    model = stored(x)
    assert torch.equal(model.recall(x), x)
    assert torch.equal(model.recall(flip_signs(x, 0.15, 0)), x)
    assert torch.equal(model.denoise(flip_signs(x, 0.15, 0)), x)
    assert torch.equal(model.recall(-x), -x)


@pytest.mark.parametrize(("units", "count", "networks"), [(21, 6, 600), (60, 13, 300)])
def test_bits_that_are_wrong_after_one_step_are_a_binomial_tail(units, count, networks):
    """P(sum of (N−1)(p−1) signs < −(N−1)). With 21 units and 6 patterns, a sum of exactly −(N−1) is frequent: the unit
    keeps its value, so it is not in the tail."""
    terms = (units - 1) * (count - 1)
    exact = stats.binom.sf((terms + units - 1) // 2, terms, 0.5)
    x = signs(networks, count, units, seed=units)
    rates = []
    for patterns in x:
        first = stored(patterns).recall(patterns, steps=1, synchronous=True)
        rates.append(float((first != patterns).double().mean()))
    rates = torch.tensor(rates, dtype=torch.float64)
    error = float(rates.std() / math.sqrt(networks))
    assert abs(float(rates.mean()) - exact) < 4 * error < 0.25 * exact
    if units == 21:
        assert stats.binom.pmf((terms + units - 1) // 2, terms, 0.5) > 10 * error


def test_updates_at_once_end_in_a_fixed_point_or_a_cycle_of_length_2():
    two = Hopfield((2,), 1)
    two.set_couplings(torch.tensor([[0.0, -1.0], [-1.0, 0.0]]))
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    trace = two.recall_trace(x, synchronous=True)
    assert trace.states[:, 0].tolist() == [[1, 1], [-1, -1], [1, 1]]
    assert trace.period.tolist() == [2, 1]
    assert trace.flips is None
    assert two.recall_trace(x, steps=1, synchronous=True).period.tolist() == [0, 1]
    many = stored(signs(40, 60))
    ends = many.recall_trace(signs(200, 60, seed=1), synchronous=True)
    assert set(ends.period.tolist()) == {1, 2}
    once = many.recall(ends.states[-1], steps=1, synchronous=True)
    assert torch.equal((once == ends.states[-1]).all(1), ends.period == 1)
    assert torch.equal(many.recall(once, steps=1, synchronous=True), ends.states[-1])


def test_the_energy_of_two_successive_states_never_rises_with_updates_at_once():
    many = stored(signs(40, 60))
    states = many.recall_trace(signs(50, 60, seed=1), synchronous=True).states.double()
    pairs = -torch.einsum("tni,ij,tnj->tn", states[1:], many.couplings, states[:-1])
    assert (pairs.diff(dim=0) <= 1e-12).all()
    assert len(pairs) > 3


def test_patterns_that_are_stored_one_after_the_other():
    x = signs(5, 40)
    for form in ("classic", "modern"):
        model = Hopfield((40,), 5, form=form)
        for places in (torch.tensor([3, 0]), torch.tensor([1, 4, 2])):
            model.store(x[places], places)
        whole = stored(x, form=form)
        assert torch.equal(model.patterns, x.double())
        assert all(map(torch.equal, model.state_dict().values(), whole.state_dict().values()))
        model.store(x[:2])
        assert torch.equal(model.patterns, x[:2].double())
        assert torch.equal(model.recall(x), stored(x[:2], form=form).recall(x))


def test_given_couplings_are_those_of_the_network():
    source = torch.Generator().manual_seed(0)
    couplings = torch.randn(20, 20, dtype=torch.float64, generator=source).triu(1)
    couplings = couplings + couplings.T
    model = Hopfield((20,), 1)
    model.set_couplings(couplings)
    torch.testing.assert_close(model.couplings, couplings, rtol=0, atol=1e-12)
    hebbian = stored(signs(6, 20))
    model.set_couplings(hebbian.couplings)
    assert torch.equal(model.memory.weights, hebbian.memory.weights)
    assert len(model.patterns) == 0


WRONG = torch.ones(3, 2, 2)
WRONG[1, 0, 1] = 0.5
NAN = torch.ones(3, 2, 2)
NAN[2, 1, 1] = torch.nan


@pytest.mark.unchecked
@pytest.mark.parametrize("verb", ["energy", "recall", "recall_trace", "denoise", "store"])
def test_values_other_than_signs_are_named_with_their_place(verb):
    what = "pattern" if verb == "store" else "example"
    model = Hopfield((2, 2), 3)
    with pytest.raises(ValueError, match=rf"^{what} 1 of 3, .* has the value 0.5 at \(0, 1\); all .* be -1 or 1"):
        getattr(model, verb)(WRONG)
    with pytest.raises(ValueError, match=rf"^{what} 2 of 3, .* has the value nan at \(1, 1\)"):
        getattr(model, verb)(NAN)
    with pytest.raises(ValueError, match=rf"^{what}s must have the shape \(n, 2, 2\), got \(3, 2\)"):
        getattr(model, verb)(torch.ones(3, 2))


COUPLINGS = {
    "not symmetric": ([[0.0, 1.0], [2.0, 0.0]], r"must be symmetric, got 1 at \(0, 1\) and 2 at \(1, 0\)"),
    "with a diagonal": ([[0.0, 1.0], [1.0, 3.0]], r"must have a zero diagonal, got 3 at \(1, 1\)"),
    "infinite": ([[0.0, math.inf], [math.inf, 0.0]], r"must be finite, got inf at \(0, 1\)"),
    "of another size": ([[0.0]], r"must have the shape \(2, 2\), got \(1, 1\)"),
}


@pytest.mark.unchecked
@pytest.mark.parametrize(("couplings", "message"), COUPLINGS.values(), ids=COUPLINGS)
def test_couplings_that_are_no_couplings_are_refused(couplings, message):
    with pytest.raises(ValueError, match=message):
        Hopfield((2,), 1).set_couplings(torch.tensor(couplings))


@pytest.mark.unchecked
def test_patterns_that_cannot_be_stored_are_refused_and_the_old_ones_kept():
    model = Hopfield((4,), 6, storage="pseudo-inverse")
    x = torch.tensor([[1.0, 1.0, 1.0, -1.0], [1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, 1.0]])
    model.store(x)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with pytest.raises(ValueError, match="at most as many patterns as there are units, got 5 patterns of 4 units"):
        model.store(signs(5, 4))
    copies = torch.stack([x[0], x[1], -x[0]])
    with pytest.raises(ValueError, match="pattern 2 of 3, counted from 0, is a linear combination"):
        model.store(copies)
    with pytest.raises(ValueError, match="places for 6 patterns, got 7"):
        model.store(signs(7, 4))
    assert all(map(torch.equal, model.state_dict().values(), before.values()))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patterns": 0}, "patterns=0"),
        ({"form": "old"}, "form='old' must be 'classic' or 'modern'"),
        ({"storage": "hebb"}, "storage='hebb' must be 'hebbian' or 'pseudo-inverse'"),
        ({"beta": 0.0}, "beta=0.0 must be a finite number greater than 0"),
        ({"beta": math.nan}, "beta=nan must be"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Hopfield(**{"shape": (4,), "patterns": 2, **options})


@pytest.mark.unchecked
def test_a_recall_without_steps_and_one_of_no_states():
    model = stored(signs(2, 8))
    with pytest.raises(ValueError, match="steps=0"):
        model.recall(signs(2, 8), steps=0)
    assert model.recall(torch.zeros(0, 8)).shape == (0, 8)
    assert model.energy(torch.zeros(0, 8)).shape == (0,)
