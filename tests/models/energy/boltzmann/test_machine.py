"""The Boltzmann machine against enumeration: energies, gradients, normalizers, samples; what it refuses."""

import math

import pytest
import torch

from danlu.data.tables.info import TableInfo
from danlu.models import RBM, BoltzmannMachine, load_model, save_model
from danlu.models.energy.boltzmann import learning
from danlu.models.energy.boltzmann.path import BoltzmannPath
from danlu.models.energy.energy_model import draw_from
from danlu.models.energy.enumeration import all_states, log_sum_over_states
from danlu.verbs import can, has, verbs_of

NAMES = ["all", "semi-restricted", "restricted", "neighbors"]


def machine(shape, hidden, couplings="all", std=0.5, seed=0, **options):
    """A machine in float64 with random couplings and biases."""
    torch.manual_seed(seed)
    model = BoltzmannMachine(shape, hidden, couplings, weight_std=std, **options).double()
    torch.nn.init.normal_(model.bias, std=0.5)
    return model


def states_of(units):
    return torch.cat([*all_states(units, (-1.0, 1.0), like=torch.zeros(1, dtype=torch.float64))])


@pytest.mark.parametrize("couplings", NAMES)
def test_the_energy_is_its_double_sum(couplings):
    model = machine((1, 2, 3), 4, couplings)
    states = states_of(10)[::37]
    w, b = model.couplings.tolist(), model.bias.tolist()
    for state, energy in zip(states.tolist(), model.joint_energy(states).tolist(), strict=True):
        pairs = sum(w[i][j] * state[i] * state[j] for i in range(10) for j in range(i + 1, 10))
        assert energy == pytest.approx(-pairs - sum(map(float.__mul__, b, state)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("visible", "hidden"), [(6, 0), (5, 1), (4, 4)])
@pytest.mark.parametrize("couplings", NAMES)
def test_free_energy_and_normalizer_equal_enumeration(couplings, visible, hidden):
    model = machine((visible,), hidden, couplings)
    joint = -model.joint_energy(states_of(visible + hidden))
    joint, x = joint.detach(), states_of(visible)
    torch.testing.assert_close(-model.energy(x), joint.view(len(x), -1).logsumexp(1), rtol=1e-12, atol=1e-12)
    normalizer = model.log_normalizer()
    assert (normalizer.kind, normalizer.standard_error) == ("exact", 0.0)
    assert normalizer.value == pytest.approx(float(joint.detach().logsumexp(0)), rel=1e-12)
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_a_large_sum_over_hidden_units_is_split(monkeypatch):
    model = machine((5,), 7)
    whole = model.energy(states_of(5))
    monkeypatch.setattr("danlu.models.energy.boltzmann.sums.ENTRIES", 300)
    torch.testing.assert_close(model.energy(states_of(5)), whole, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("visible", "hidden", "couplings"), [(40, 10, "restricted"), (10, 40, "restricted"), (16, 30, "semi-restricted")]
)
def test_the_normalizer_is_exact_if_the_rest_is_independent(visible, hidden, couplings):
    """It is the sum over either side. An RBM with values 0 and 1 has the same normalizer up to a factor."""
    model = machine((visible,), hidden, couplings, std=0.3)
    assert model.log_normalizer().kind == "exact"
    if couplings == "semi-restricted":
        by_hand = log_sum_over_states(lambda v: -model.energy(v), visible, (-1.0, 1.0), like=model.bias)
        assert model.log_normalizer().value == pytest.approx(float(by_hand), rel=1e-12)
        return
    rbm, w, (b, c) = (
        RBM((visible,), hidden).double(),
        model.couplings[:visible, visible:],
        model.bias.split([visible, hidden]),
    )
    with torch.no_grad():  # s = 2 x - 1
        rbm.weight.copy_(4 * w)
        rbm.units.bias.copy_(2 * (b - w.sum(1)))
        rbm.bias.copy_(2 * (c - w.sum(0)))
    constant = float((w.sum() - b.sum() - c.sum()).detach())
    assert model.log_normalizer().value == pytest.approx(rbm.log_normalizer().value + constant, rel=1e-12)


@pytest.mark.parametrize("coupling", [-0.7, 0.5])
def test_the_normalizer_of_a_ring_is_that_of_ising(coupling):
    """The eigenvalues of the transfer matrix are 2 cosh J and 2 sinh J."""
    units = torch.arange(24)
    ring = ((units[:, None] - units) % 24 == 1) | ((units - units[:, None]) % 24 == 1)
    model = BoltzmannMachine((24,), 0).double()
    model.set_mask(ring)
    model.set_couplings(coupling * ring.double())
    expected = math.log((2 * math.cosh(coupling)) ** 24 + (2 * math.sinh(coupling)) ** 24)
    assert model.log_normalizer().kind == "exact"
    assert model.log_normalizer().value == pytest.approx(expected, rel=1e-12)


def contrast_given(model, x, hidden, state):
    """The surrogate when the clamped units and the chains end at given states, which the noise forces."""

    def draw(shape, uniform):
        target = state if shape == model.state_shape else hidden
        return torch.where(target > 0, 0.0, 1.0).to(model.bias.dtype)

    return model.contrast(x, torch.ones_like(state), 1, draw)[0]


@pytest.mark.parametrize(
    ("shape", "hidden", "couplings"),
    [((7,), 0, "all"), ((1, 3, 3), 0, "neighbors"), ((5,), 4, "all"), ((6,), 5, "semi-restricted"),
     ((5,), 6, "restricted"), ((1, 2, 3), 3, "neighbors"), ((9,), 7, "all"), ((12,), 4, "restricted")],
)  # fmt: skip
def test_the_mean_gradient_of_the_contrast_is_that_of_the_log_likelihood(shape, hidden, couplings):
    """Clamped units and chains have their exact distributions, as weights of all states."""
    model = machine(shape, hidden, couplings)
    visible = model.visible
    joint = states_of(visible + hidden)
    data = torch.randn(2**visible, generator=torch.Generator().manual_seed(2)).double().softmax(0)
    log_weight = -model.joint_energy(joint)
    likelihood = (data * log_weight.view(len(data), -1).logsumexp(1)).sum() - log_weight.logsumexp(0)
    expected = torch.autograd.grad(-likelihood, [*model.parameters()])

    v, h = joint[:, :visible].view(-1, *shape), joint[:, visible:]
    clamped = data.repeat_interleave(2**hidden) * log_weight.detach().view(len(data), -1).softmax(1).flatten()
    chains = log_weight.detach().softmax(0)
    fixed = joint[:1].expand_as(joint)
    some = v[:1].expand_as(v)
    positive = (clamped * contrast_given(model, v, h, fixed)).sum()  # the rest cancels with that of `neither`
    negative = (chains * contrast_given(model, some, h[:1].expand_as(h), joint)).sum()
    neither = contrast_given(model, some[:1], h[:1], fixed[:1]).sum()
    gradients = torch.autograd.grad(positive + negative - neither, [*model.parameters()])
    for gradient, exact in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, exact, rtol=0, atol=1e-10)
    assert expected[0].abs().max() > 1e-2


@pytest.mark.parametrize("couplings", NAMES)
def test_chains_start_at_examples_without_a_state(couplings):
    model = machine((1, 2, 3), 2, couplings)
    x = states_of(6).view(-1, 1, 2, 3)
    terms, state = model.contrast(x, None, 1, draw_from(torch.Generator().manual_seed(0), model.bias, len(x)))
    assert (terms.shape, state.shape) == ((64,), (64, 8))
    assert bool((state.abs() == 1).all())
    assert not terms.isnan().any()


def test_couplings_that_the_mask_excludes_stay_zero():
    torch.manual_seed(0)
    model = BoltzmannMachine((6,), 3, "all", weight_std=0.1)
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[0, 1] = mask[2, 7] = mask[7, 8] = mask[3, 6] = True
    mask = mask | mask.T
    model.set_mask(mask)
    assert torch.equal(model.mask, mask)
    x = torch.randn(40, 6).sign()
    optimizer = torch.optim.Adam(model.parameters(), 0.05, weight_decay=0.1)
    draw = draw_from(torch.Generator().manual_seed(0), model.bias, 40)
    state, before = model.initial_state(draw), model.couplings.detach()
    for _ in range(20):
        terms, state = model.contrast(x, state, 2, draw)
        optimizer.zero_grad()
        terms.mean().backward()
        optimizer.step()
    after = model.couplings.detach()
    assert not after[~mask].any()
    assert not torch.equal(after, before)
    model.set_mask(~torch.eye(9, dtype=torch.bool))
    assert torch.equal(model.couplings[mask], after[mask])
    assert (model.couplings[~mask].view(-1) != 0).sum() == 72 - 8  # new ones start at random


def test_a_machine_with_another_mask_is_saved_with_it(tmp_path):
    model = BoltzmannMachine((4,), 2, "all", weight_std=0.5)
    mask = model.mask
    mask[0, 1] = mask[1, 0] = mask[4, 5] = mask[5, 4] = False
    model.set_mask(mask)
    save_model(model, tmp_path, TableInfo((4,)))
    back = load_model(tmp_path)
    assert torch.equal(back.mask, mask)
    x = states_of(4).float()
    assert torch.equal(back.energy(x), model.energy(x))
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    first, second = (one.sample(50, 10, generator) for one, generator in zip((model, back), generators, strict=True))
    assert torch.equal(first, second)


def test_the_first_examples_give_the_biases_of_their_means():
    model = BoltzmannMachine((3,), 2)
    x = torch.tensor([[1.0, 1, -1], [1, -1, -1], [1, 1, -1], [1, -1, -1]])
    model.observe(x)
    assert model.bias[:3].tanh().tolist() == pytest.approx([4 / 6, 0, -4 / 6], abs=1e-6)  # one of each value added
    assert not model.bias[3:].any()
    model.observe(-x)
    assert model.bias[:3].tanh().tolist() == pytest.approx([4 / 6, 0, -4 / 6], abs=1e-6)
    assert model.moments.mean.tolist() == [0.5, 0.5, 0.5]


def test_posteriors_are_those_of_enumeration():
    """The most probable values given noise or given known values, where their probabilities are not close to a half."""
    model = machine((6,), 3, "semi-restricted", std=0.6, seed=3)
    x, states = states_of(6), states_of(6)
    prior = -model.energy(states).detach()
    wrong = (x[:, None] != states).sum(2)
    posterior = (prior + wrong * torch.tensor(0.1).log() + (6 - wrong) * torch.tensor(0.9).log()).softmax(1)
    mean = posterior @ states
    sure = mean.abs() > 0.2
    denoised = model.denoise(x, 0.1, sweeps=2000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(denoised[sure], mean.sign()[sure])
    assert sure.double().mean() > 0.7
    assert (denoised != x).any()

    mask = torch.tensor([1.0, 1, 0, 1, 0, 0])
    agree = ((x[:, None] == states) | (mask == 0)).all(2)
    mean = prior.expand(64, 64).masked_fill(~agree, -torch.inf).softmax(1) @ states
    filled = model.inpaint(torch.where(mask.bool(), x, torch.nan), mask, 2000, torch.Generator().manual_seed(0))
    assert torch.equal(filled[:, mask.bool()], x[:, mask.bool()])
    sure = mean.abs() > 0.2
    assert torch.equal(filled[sure], mean.sign()[sure])


@pytest.mark.parametrize("couplings", NAMES)
def test_hidden_means_are_exact_or_the_fixed_point_of_the_mean_field(couplings):
    model = machine((1, 2, 2), 3, couplings)
    x = states_of(4).view(-1, 1, 2, 2)
    exact = (-model.joint_energy(states_of(7))).view(16, 8).softmax(1) @ states_of(3)
    if couplings == "all":
        means = model.encode(x)
        exact = torch.addmm(model.bias[4:], torch.cat([x.flatten(1), means], 1), model.couplings[:, 4:]).tanh()
    torch.testing.assert_close(model.encode(x), exact, rtol=0, atol=1e-10)
    assert model.reconstruct(x).shape == x.shape
    assert bool((model.reconstruct(x).abs() < 1).all())


@pytest.mark.parametrize("couplings", NAMES)
def test_filters_are_the_couplings_of_each_hidden_unit(couplings):
    model = machine((1, 2, 3), 2, couplings)
    assert torch.equal(model.filters().flatten(1), model.couplings[6:, :6])
    assert has(model, "filters")
    assert not has(machine((3,), 0), "filters")


def test_traces_start_with_independent_units_and_end_with_means_of_the_machine():
    model = machine((4,), 2, std=0.3)
    model.observe(torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1]]).double().repeat(50, 1))
    trace = model.chain_trace(5000, (0, 20, 1), torch.Generator().manual_seed(0))
    assert trace.shape == (5000, 3, 4)
    assert bool((trace[:, 0].abs() == 1).all())
    assert bool((trace[:, 1:].abs() < 1).all())
    assert trace[:, 0].mean(0).tolist() == pytest.approx((2 * model.moments.probability() - 1).tolist(), abs=0.06)
    exact = model.log_prob(states_of(4)).exp() @ states_of(4)
    assert (trace[:, 1].mean(0) - exact).abs().max() < 4.5 / 5000**0.5
    with pytest.raises(ValueError, match="at least one number, none of them negative"):
        model.chain_trace(5, (-1,))


def test_a_machine_without_a_tractable_energy_says_what_is_possible():
    model = BoltzmannMachine((4,), 18)
    assert not can(model, "energy")
    assert not can(model, "log_prob")
    assert {"sample", "inpaint", "denoise"} <= {*verbs_of(model)}
    with pytest.raises(ValueError, match=r"18 of them have couplings .* at most 16 .* joint_energy\(s\), sample"):
        model.energy(torch.ones(2, 4))
    assert model.joint_energy(torch.ones(2, 22)).shape == (2,)
    assert {"energy", "log_prob"} <= {*verbs_of(BoltzmannMachine((4,), 17))}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.energy(torch.ones(2, 3)), r"examples must have the shape \(n, 4\), got \(2, 3\)"),
        (lambda m: m.energy(torch.zeros(2, 4)), r"example 0 of 2, .* has the value 0 at 0; all values must be -1 or 1"),
        (lambda m: m.joint_energy(torch.ones(2, 4)), r"states must have the shape \(n, 6\), got \(2, 4\)"),
        (lambda m: m.joint_energy(torch.full((1, 6), 0.5)), "state 0 of 1, .* the value 0.5"),
        (lambda m: m.observe(torch.full((1, 4), 0.5)), "the value 0.5"),
        (
            lambda m: m.denoise(torch.ones(2, 4), 0.5),
            "noise=0.5 is the probability of a wrong value and must be between",
        ),
        (lambda m: m.sample(2, 0), "sweeps"),
        (lambda m: m.set_mask(torch.ones(6, 6, dtype=torch.bool)), "couples unit 0 with itself"),
        (lambda m: m.set_couplings(torch.ones(5, 5)), r"symmetric with the shape \(6, 6\), got \(5, 5\)$"),
        (lambda m: m.set_couplings(torch.arange(36.0).view(6, 6)), "got .6, 6., which is not symmetric"),
        (lambda m: m.set_couplings(torch.ones(6, 6)), "units 0 and 0 are not coupled"),
        (lambda m: m.set_couplings(torch.full((6, 6), torch.nan)), "couplings must be finite"),
        (lambda m: m.set_couplings(torch.full((6, 6), torch.inf).fill_diagonal_(0)), "couplings must be finite"),
        (lambda m: BoltzmannMachine((4,), -1), "hidden=-1 must be an integer that is at least 0"),
        pytest.param(
            lambda m: BoltzmannMachine((4,), 1.5),
            "hidden=1.5 must be an integer that is at least 0",
            marks=pytest.mark.unchecked,
        ),
        (lambda m: BoltzmannMachine((), 1), r"shape=\(\) must be one or more integers >= 1"),
        (lambda m: BoltzmannMachine((2, 0), 1), r"shape=\(2, 0\) must be one or more integers >= 1"),
        (lambda m: m(torch.ones(1, 3)), r"examples must have the shape \(n, 4\), got \(1, 3\)"),
        (
            lambda m: m.contrast(torch.ones(1, 3), None, 1, draw_from(None, m.bias, 1)),
            r"the shape \(n, 4\), got \(1, 3\)",
        ),
        (lambda m: BoltzmannMachine((4,), 1, clamped_sweeps=0), "clamped_sweeps"),
        (lambda m: BoltzmannMachine((4,), 1, radius=-1.0), "radius=-1.0 must be a finite number that is at least 0"),
    ],
)
def test_what_is_not_possible_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(BoltzmannMachine((4,), 2))


def test_a_few_samples_have_the_means_of_the_machine():
    model = machine((5,), 3, std=0.4)
    samples = model.sample(20_000, 30, torch.Generator().manual_seed(0))
    exact = model.log_prob(states_of(5)).exp() @ states_of(5)
    errors = (samples.mean(0) - exact) * 20_000**0.5  # in at most standard deviations of one value
    assert errors.abs().max() < 4.5


@pytest.mark.parametrize("couplings", ["all", "restricted"])
def test_means_and_probabilities_under_autocast_are_not_rounded(couplings):
    """In bfloat16 the probability of a field of 3.5 is 1, and a unit could never be -1."""
    model = BoltzmannMachine((2,), 3, couplings, weight_std=0.0)
    with torch.no_grad():
        model.bias.fill_(3.5)
    x, count = torch.ones(1, 2).expand(20_000, 2), 20_000
    with torch.autocast("cpu", torch.bfloat16):
        mean = model.encode(x[:1])
        states = model.contrast(x, None, 1, draw_from(torch.Generator().manual_seed(0), x, count))[1]
        back = model.reconstruct(x[:1])
    assert torch.allclose(mean, torch.tensor(3.5).tanh())
    assert torch.allclose(back, torch.tensor(3.5).tanh())
    probability = float(torch.tensor(-7.0).sigmoid())
    expected, error = 5 * count * probability, (5 * count * probability) ** 0.5
    assert abs(int((states < 0).sum()) - expected) < 4.5 * error


def test_clamped_hidden_units_that_are_coupled_have_their_conditional_distribution():
    """Of 20,000 chains with the same example; each of the 8 states of the hidden units within 4.5 errors."""
    model, count = machine((2,), 3, std=0.7, clamped_sweeps=40), 20_000
    v = torch.tensor([[1.0, -1.0]], dtype=torch.double)
    hidden = states_of(3)
    exact = (-model.joint_energy(torch.cat([v.expand(8, 2), hidden], 1))).softmax(0).detach()
    draw, structure = draw_from(torch.Generator().manual_seed(0), v, count), model.pairs.structure
    assert not structure.hidden_independent
    clamped = learning.clamped(
        model.pairs, model.couplings.detach(), model.bias.detach(), v.expand(count, 2), True, 40, draw
    )[1]
    assert torch.equal(clamped[:, :2], v.expand(count, 2))
    numbers = ((clamped[:, 2:] > 0).long() * torch.tensor([4, 2, 1])).sum(1)
    measured = torch.bincount(numbers, minlength=8) / count
    assert ((measured - exact).abs() / (exact * (1 - exact) / count).sqrt()).max() < 4.5


def test_couplings_that_a_mask_adds_have_the_initial_standard_deviation():
    model = BoltzmannMachine((40,), 0, "neighbors", weight_std=0.2)
    before = model.couplings.detach()
    torch.manual_seed(0)
    model.set_mask(~torch.eye(40, dtype=torch.bool))
    old, new = before != 0, model.couplings[before == 0]
    assert torch.equal(model.couplings[old], before[old])
    assert float(new[new != 0].detach().std()) == pytest.approx(0.2, rel=0.15)  # 741 numbers


@pytest.mark.long
@pytest.mark.parametrize("couplings", ["all", "restricted"])
def test_samples_have_the_distribution_of_the_machine(couplings):
    """Total variation of a million independent chains; 1.5 times its expected value.

    The chains need about 60 sweeps: after 30 the restricted machine is still 0.0035 away, whatever their number.
    """
    count = 1_000_000
    model = machine((8,), 0, std=0.4) if couplings == "all" else machine((5,), 3, couplings, std=0.6)
    exact = model.log_prob(states_of(model.visible)).exp()
    samples = model.sample(count, 120, torch.Generator().manual_seed(0))
    numbers = ((samples > 0).long() << torch.arange(model.visible - 1, -1, -1)).sum(1)
    measured = torch.bincount(numbers, minlength=len(exact)) / count
    bound = 1.5 * (exact * (1 - exact) / (2 * torch.pi * count)).sqrt().sum()
    assert (measured - exact).abs().sum() / 2 < bound


def estimate_is_right(std, seed, betas):
    """Whether the estimate of 18 coupled units is within three standard errors, or claims none."""
    model = machine((12,), 6, std=std, seed=seed)
    exact = float(log_sum_over_states(lambda s: -model.joint_energy(s), 18, (-1.0, 1.0), like=model.bias))
    estimate = model.log_normalizer(betas=betas, seed=seed)
    assert estimate.kind != "exact"
    if estimate.kind == "unreliable":
        assert estimate.standard_error is None
        return True
    return abs(estimate.value - exact) <= 3 * estimate.standard_error


def test_two_estimates_of_the_normalizer_are_right():
    assert estimate_is_right(0.3, 0, 300)
    assert estimate_is_right(0.1, 1, 100)


@pytest.mark.long
@pytest.mark.parametrize("std", [0.1, 0.5, 1.0, 2.0])
def test_38_of_40_estimates_of_the_normalizer_are_right(std):
    with torch.no_grad():
        assert sum(estimate_is_right(std, seed, 1000) for seed in range(40)) >= 38


@torch.no_grad()
def test_the_base_of_the_path_has_its_density_and_its_draws_have_its_means():
    bias = torch.tensor([-1.0, 0.0, 0.3, 1.5], dtype=torch.float64)
    couplings = torch.zeros(4, 4, dtype=torch.float64)
    blocks = machine((3,), 1, "restricted").pairs.structure.blocks
    path = BoltzmannPath(couplings, torch.zeros_like(bias), bias, blocks)
    states = states_of(4)
    others = [k for k in range(4) if k not in path.summed.tolist()]
    expected = (states[:, others] * bias[others] - (2 * bias[others].cosh()).log()).sum(1)
    assert torch.allclose(path.base.log_density(states), expected, rtol=0, atol=1e-12)
    draws = path.base.sample(40_000, torch.Generator().manual_seed(0))
    assert torch.allclose(draws.mean(0), bias.tanh(), rtol=0, atol=5 / math.sqrt(len(draws)))
    assert set(draws.unique().tolist()) == {-1.0, 1.0}
