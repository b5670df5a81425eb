"""The restricted Boltzmann machine against enumeration, quadrature, autograd and scikit-learn."""

import copy
import math

import pytest
import torch
from sklearn.neural_network import BernoulliRBM

from danlu.models import RBM
from danlu.models.energy.enumeration import all_states
from danlu.models.energy.normalizer import temperatures
from danlu.models.energy.rbm.path import RBMPath
from danlu.rng import generator
from danlu.sampling import annealed_importance_sampling

VISIBLE, HIDDEN = 5, 4


def states(units):
    return torch.cat(list(all_states(units, like=torch.zeros((), dtype=torch.float64))))


def machine(visible="binary", units=VISIBLE, hidden=HIDDEN, scale=0.8, seed=0, shape=None):
    """A small machine in float64 with random parameters."""
    torch.manual_seed(seed)
    model = RBM(shape or (units,), hidden, visible, weight_std=scale).double()
    with torch.no_grad():
        model.bias.normal_()
        model.units.bias.normal_()
        if visible == "gaussian":
            model.units.log_variance.normal_(std=0.5)
    return model


def joint_log_density(model, v, h):
    """The logarithm of exp(-E(v, h)) by a loop over units, for one v and one h."""
    total = 0.0
    for i in range(len(v)):
        b = model.units.bias[i]
        if model.arguments["visible"] == "binary":
            total += b * v[i]
            statistic = v[i]
        else:
            variance = model.units.log_variance[i].exp()
            total -= (v[i] - b) ** 2 / (2 * variance)
            statistic = v[i] / variance
        for j in range(len(h)):
            total += statistic * model.weight[i, j] * h[j]
    return total + sum(model.bias[j] * h[j] for j in range(len(h)))


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@torch.no_grad()
def test_the_free_energy_sums_over_the_hidden_states(visible):
    model = machine(visible)
    x = states(VISIBLE)[3:6] if visible == "binary" else torch.randn(3, VISIBLE, dtype=torch.float64)
    for one, energy in zip(x, model.energy(x), strict=True):
        densities = torch.stack([joint_log_density(model, one, h) for h in states(HIDDEN)])
        assert float(energy) == pytest.approx(-float(densities.logsumexp(0)), abs=1e-12)
        joint = model.joint_energy(one.expand(2**HIDDEN, -1), states(HIDDEN))
        assert torch.allclose(joint, -densities, rtol=0, atol=1e-12)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@torch.no_grad()
def test_conditional_distributions_are_those_of_the_joint_distribution(visible):
    model = machine(visible)
    x = states(VISIBLE)[3:5] if visible == "binary" else torch.randn(2, VISIBLE, dtype=torch.float64)
    hidden = states(HIDDEN)
    for one, probability in zip(x, model.encode(x), strict=True):
        weights = (-model.joint_energy(one.expand(len(hidden), -1), hidden)).softmax(0)
        assert torch.allclose(probability, weights @ hidden, rtol=0, atol=1e-12)
    h = hidden[5:6]
    field = h @ model.weight.T
    if visible == "binary":
        visible_states = states(VISIBLE)
        weights = (-model.joint_energy(visible_states, h.expand(len(visible_states), -1))).softmax(0)
        assert torch.allclose(model.units.mean(field)[0], weights @ visible_states, rtol=0, atol=1e-12)
        return
    v = torch.linspace(-30, 30, 20_001, dtype=torch.float64)  # one unit at a time; the others are fixed
    for unit in range(VISIBLE):
        grid = x[:1].repeat(len(v), 1)
        grid[:, unit] = v
        weights = (-model.joint_energy(grid, h.expand(len(v), -1))).softmax(0)
        mean = weights @ v
        assert float(model.units.mean(field)[0, unit]) == pytest.approx(float(mean), abs=1e-9)
        noise = torch.ones_like(field)
        deviation = model.units.sample(field, noise) - model.units.mean(field)
        assert float(deviation[0, unit]) == pytest.approx(float((weights @ (v - mean).square()).sqrt()), abs=1e-9)


@torch.no_grad()
def test_a_step_of_the_chains_leaves_the_distribution_invariant():
    model = machine()
    v, h = states(VISIBLE), states(HIDDEN)
    to_hidden = (model.encode(v)[:, None] * h + (1 - model.encode(v))[:, None] * (1 - h)).prod(2)
    mean = model.units.mean(h @ model.weight.T)
    to_visible = (mean[:, None] * v + (1 - mean)[:, None] * (1 - v)).prod(2)
    p = model.log_prob(v).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    assert torch.allclose(p @ to_hidden @ to_visible, p, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("units", "hidden"), [(3, 20), (20, 3)])
@torch.no_grad()
def test_log_z_is_exact_by_the_smaller_side(units, hidden):
    """The other side has too many states, so the sum over both sides is taken for the smaller machine only."""
    model = machine(units=units, hidden=hidden)
    few, many = states(3), states(10)
    small = machine(units=3, hidden=10)
    both = torch.stack([-small.joint_energy(v.expand(len(many), -1), many) for v in few]).logsumexp((0, 1))
    assert small.log_normalizer().value == pytest.approx(float(both), abs=1e-10)
    assert small.log_normalizer().kind == model.log_normalizer().kind == "exact"
    transposed = machine(units=hidden, hidden=units)  # the same distribution with the sides exchanged
    transposed.weight.copy_(model.weight.T)
    transposed.bias.copy_(model.units.bias)
    transposed.units.bias.copy_(model.bias)
    assert transposed.log_normalizer().value == pytest.approx(model.log_normalizer().value, abs=1e-9)


@torch.no_grad()
def test_a_gaussian_machine_integrates_to_one():
    model = machine("gaussian", units=2, hidden=3, scale=0.5)
    axis = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    total = model.log_prob(torch.cartesian_prod(axis, axis)).logsumexp(0) + 2 * math.log(float(axis[1] - axis[0]))
    assert model.log_normalizer().kind == "exact"
    assert float(total) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("chains", ["given", "from the data"])
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_the_surrogate_has_the_gradient_of_the_difference_of_free_energies(visible, chains):
    model = machine(visible)
    data = states(VISIBLE)[[1, 7, 30]] if visible == "binary" else torch.randn(3, VISIBLE, dtype=torch.float64)
    drawn = []

    def draw(shape, uniform):
        drawn.append((shape, uniform))
        numbers = torch.rand if uniform else torch.randn
        return numbers(3, *shape, generator=generator("test", len(drawn)), dtype=torch.float64)

    start = states(HIDDEN)[[2, 4, 9]] if chains == "given" else None
    terms, state = model.contrast(data, start, 2, draw)
    surrogate = torch.autograd.grad(terms.sum(), list(model.parameters()))
    with torch.no_grad():  # the same chain, one step after the other
        drawn.clear()
        h = start if start is not None else (draw((HIDDEN,), True) < model.encode(data)).double()
        v = model.units.sample(h @ model.weight.T, draw((VISIBLE,), model.units.uniform))
        h = (draw((HIDDEN,), True) < model.encode(v)).double()
        v = model.units.sample(h @ model.weight.T, draw((VISIBLE,), model.units.uniform))
        assert torch.equal(state, (draw((HIDDEN,), True) < model.encode(v)).double())
    expected = torch.autograd.grad((model.energy(data) - model.energy(v)).sum(), list(model.parameters()))
    for one, other in zip(surrogate, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_with_exact_samples_the_gradient_is_that_of_the_likelihood():
    """All visible states, weighted by their probability, in place of the chains; ten units."""
    model = machine(units=6, hidden=4)
    data, everything = states(6)[[3, 9, 50, 50]], states(6)
    likelihood = -model.energy(data).mean() - (-model.energy(everything)).logsumexp(0)
    expected = torch.autograd.grad(likelihood, list(model.parameters()))
    p = model.log_prob(everything).exp().detach()
    surrogate = model._mean_energy(data)[0].mean() - (p * model._mean_energy(everything)[0]).sum()
    found = torch.autograd.grad(-surrogate, list(model.parameters()))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


@torch.no_grad()
def test_energies_and_features_are_those_of_scikit_learn():
    model = machine(units=12, hidden=7)
    peer = BernoulliRBM(7)
    peer.components_, peer.intercept_hidden_ = model.weight.T.numpy(), model.bias.numpy()
    peer.intercept_visible_ = model.units.bias.numpy()
    x = (torch.rand(20, 12, generator=generator("peer")) < 0.4).double()
    assert torch.allclose(model.energy(x), torch.from_numpy(peer._free_energy(x.numpy())), rtol=0, atol=1e-10)
    assert torch.allclose(model.encode(x), torch.from_numpy(peer.transform(x.numpy())), rtol=0, atol=1e-10)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@torch.no_grad()
def test_the_path_goes_from_the_moments_of_the_data_to_the_model(visible):
    model = machine(visible)
    x = (torch.rand(50, VISIBLE) < 0.3).double() if visible == "binary" else 2 * torch.randn(50, VISIBLE).double() + 1
    model.units.moments.add(x)
    path = RBMPath(model)
    assert torch.allclose(path.log_density(x, 1.0), -model.energy(x), rtol=0, atol=1e-10)
    assert torch.allclose(path.log_density(x.clone(), 0.0), path.base.log_density(x), rtol=0, atol=1e-10)
    if visible == "binary":
        everything = states(VISIBLE)
        total = path.base.log_density(everything).logsumexp(0)
        mean = path.base.log_density(everything).exp() @ everything
        assert torch.allclose(mean, (x.sum(0) + 1) / (len(x) + 2), rtol=0, atol=1e-6)
    else:
        normal = torch.distributions.Normal(x.mean(0), x.std(0, correction=0))
        assert torch.allclose(path.base.log_density(x), normal.log_prob(x).sum(1), rtol=0, atol=1e-6)
        total = torch.zeros(())
    assert float(total) == pytest.approx(0, abs=1e-10)
    for beta in (0.0, 0.3, 1.0):  # one step of the kernel leaves the density of the path invariant
        if visible == "binary":
            _check_invariance(path, everything, beta)


def _check_invariance(path, everything, beta):
    p = path.log_density(everything.clone(), beta).softmax(0)
    chains = everything[torch.multinomial(p, 200_000, replacement=True, generator=generator("invariance"))]
    new = path.kernel(beta).step(path.kernel(beta).start(chains), generator("step")).x
    places = 2 ** torch.arange(VISIBLE - 1, -1, -1)
    found = torch.bincount((new @ places.double()).long(), minlength=len(everything)) / len(new)
    assert float((found - p).abs().max()) < 5 * math.sqrt(0.25 / len(new))


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 2.0])
@torch.no_grad()
def test_annealed_importance_sampling_agrees_with_the_exact_normalizer(visible, scale):
    """One seed; the long test has 40."""
    assert _within_three_errors(visible, scale, range(1), 200) == 1


@pytest.mark.long
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 2.0])
@torch.no_grad()
def test_the_error_of_annealed_importance_sampling_is_right_for_38_of_40_seeds(visible, scale):
    assert _within_three_errors(visible, scale, range(40)) >= 38


def _within_three_errors(visible, scale, seeds, steps=1000):
    model = machine(visible, units=8, hidden=6, scale=scale)
    model.observe(model.sample(1000, sweeps=100, generator=generator("observed")))
    model.units.bias.normal_()  # observe has set the biases from the data
    path, exact, good = RBMPath(model), model.log_normalizer().value, 0
    for seed in seeds:
        found = annealed_importance_sampling(path.base, path.log_density, path.kernel, temperatures(steps), 200, seed)
        assert not found.unreliable
        good += abs(found.log_z - exact) < 3 * found.standard_error
    return good


@torch.no_grad()
def test_samples_have_the_distribution_of_the_model():
    model = machine()
    model.observe(states(VISIBLE))
    model.units.bias.normal_()
    n = 20_000
    x = model.sample(n, sweeps=40, generator=generator("samples"))
    places = 2 ** torch.arange(VISIBLE - 1, -1, -1)
    found = torch.bincount((x @ places.double()).long(), minlength=2**VISIBLE) / n
    p = model.log_prob(states(VISIBLE)).exp()
    bound = 1.5 * float((p * (1 - p) / (2 * math.pi * n)).sqrt().sum())
    assert float((found - p).abs().sum() / 2) < bound


@torch.no_grad()
def test_noise_and_missing_values_give_the_exact_posterior_of_a_small_machine():
    model = machine(seed=3, scale=1.5)
    everything, prior = states(VISIBLE), model.log_prob(states(VISIBLE))
    noisy = everything[[0, 9, 22, 31]]
    for noise in (0.05, 0.3):
        flips = (noisy[:, None] != everything).sum(2)
        posterior = (prior + flips * math.log(noise / (1 - noise))).softmax(1)
        means = posterior @ everything
        clear = (means - 0.5).abs() > 0.1  # closer ones are decided by chance
        found = model.denoise(noisy, noise, sweeps=1000, generator=generator("denoise"))
        assert torch.equal(found[clear], (means > 0.5).double()[clear])
    mask = torch.tensor([1, 0, 1, 0, 0])
    matches = ((noisy[:, None] == everything) | (mask == 0)).all(2)
    means = prior.where(matches, -torch.inf).softmax(1) @ everything
    clear = (means - 0.5).abs() > 0.1
    found = model.inpaint(torch.where(mask.bool(), noisy, torch.nan), mask, sweeps=1000, generator=generator("inpaint"))
    assert torch.equal(found[clear], (means > 0.5).double()[clear])
    assert torch.equal(found[:, mask.bool()], noisy[:, mask.bool()])


@torch.no_grad()
def test_gaussian_noise_is_removed_as_by_the_exact_posterior():
    """Without couplings a unit is normal, and the posterior mean is known."""
    model = machine("gaussian", scale=0.0)
    x, noise = torch.randn(3, VISIBLE, dtype=torch.float64), 0.7
    variance = model.units.log_variance.exp()
    expected = (x * variance + model.units.bias * noise**2) / (variance + noise**2)
    assert torch.allclose(model.denoise(x, noise, sweeps=4, generator=generator()), expected, rtol=0, atol=1e-12)
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    found = model.inpaint(x, mask, sweeps=4, generator=generator())
    assert torch.allclose(found, torch.where(mask > 0, x, model.units.bias), rtol=0, atol=1e-12)


def test_the_first_examples_set_the_biases():
    model = RBM((2, 2), 3)
    x = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    model.observe(x)
    expected = torch.tensor([3 / 4, 1 / 4, 2 / 4, 3 / 4]).logit()  # one example of each value is added
    assert torch.allclose(model.units.bias, expected)
    model.observe(1 - x)
    assert torch.allclose(model.units.bias, expected)
    assert model.units.moments.mean.tolist() == [0.5] * 4


def test_the_normalizer_is_computed_again_after_a_change():
    model = machine(units=20, hidden=20)
    model.observe((torch.rand(10, 20) < 0.5).double())
    first = model.log_normalizer(chains=10, betas=20)
    assert model.log_normalizer(chains=10, betas=20) is first
    assert first.kind != "exact"
    with torch.no_grad():
        model.bias.data += 1  # does not count as a change for autograd
    assert model.log_normalizer(chains=10, betas=20).value > first.value


def test_probabilities_under_autocast_are_not_rounded():
    """In bfloat16 the probability of log-odds 7 is 1, and a unit could never be 0."""
    model = RBM((2,), 3)
    with torch.no_grad():
        model.bias.fill_(7.0)
    x = torch.zeros(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        probability, log_z = model.encode(x), model.log_normalizer().value
    assert torch.allclose(probability, torch.tensor(7.0).sigmoid())
    assert log_z == RBM.log_normalizer(copy.deepcopy(model)).value


def test_gaussian_noise_that_is_too_small_for_a_number_changes_nothing():
    model = RBM((2,), 3, visible="gaussian")
    x = torch.tensor([[0.5, -2.0]])
    assert torch.equal(model.denoise(x, noise=1e-25, sweeps=2), x)


def test_data_without_variance_and_no_data_have_a_base():
    model = RBM((2,), 3, visible="gaussian")
    model.observe(torch.empty(0, 2))
    assert float(model.units.moments.count) == 0
    model.observe(torch.full((3, 2), 5.0))
    assert model.units.log_variance.tolist() == [0.0, 0.0]
    small = RBM((2,), 3, visible="gaussian")
    small.observe(torch.tensor([[0.0, 0.0], [2e-5, 2e-5]]))
    assert torch.allclose(small.units.log_variance.exp(), torch.full((2,), 1e-10))


@pytest.mark.unchecked
def test_what_cannot_be_is_refused():
    model = RBM((2, 2), 3)
    with pytest.raises(ValueError, match=r"example 0 of 1, counted from 0, has the value 0.5 at 3; .* must be 0 or 1"):
        model.energy(torch.tensor([[[0.0, 1.0], [1.0, 0.5]]]))
    assert model.encode(torch.full((1, 2, 2), 0.5)).shape == (1, 3)  # probabilities
    with pytest.raises(ValueError, match=r"has the value 1.5 at 0; all values must be from 0 to 1"):
        model.encode(torch.full((1, 2, 2), 1.5))
    with pytest.raises(ValueError, match=r"must have the shape \(n, 2, 2\), got \(1, 4\)"):
        model.energy(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="has the value nan at 0; all values must be finite"):
        RBM((2,), 3, visible="gaussian").energy(torch.tensor([[torch.nan, 0.0]]))
    with pytest.raises(ValueError, match=r"state of the hidden units 0 of 1, .* has the value 0.5 at 2"):
        model.joint_energy(torch.zeros(1, 2, 2), torch.tensor([[0.0, 1.0, 0.5]]))
    assert torch.equal(model.energy(torch.ones(1, 2, 2, dtype=torch.long)), model.energy(torch.ones(1, 2, 2)))
    for noise in (0.0, 0.5, -1.0):
        with pytest.raises(ValueError, match=f"noise={noise} is the probability of a wrong value"):
            model.denoise(torch.zeros(1, 2, 2), noise)
    with pytest.raises(ValueError, match=r"noise=0\.0 is a standard deviation"):
        RBM((2,), 3, visible="gaussian").denoise(torch.zeros(1, 2), 0.0)
    with pytest.raises(ValueError, match="sweeps"):
        model.sample(1, sweeps=0)
    with pytest.raises(ValueError, match="visible='ternary' must be 'binary' or 'gaussian'"):
        RBM((2,), 3, visible="ternary")
    with pytest.raises(ValueError, match="weight_std=-1"):
        RBM((2,), 3, weight_std=-1.0)
    with pytest.raises(ValueError, match="hidden"):
        RBM((2,), 0)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@torch.no_grad()
def test_an_estimate_depends_on_its_seed_only(visible):
    """Not on torch's default generator, which a training or a user changes."""
    model = machine(visible, units=20, hidden=20)
    values = []
    for default, seed in ((0, 0), (1, 0), (0, 1)):
        torch.manual_seed(default)
        values.append(model.compute_log_normalizer(10, 5, seed).value)
    assert values[0] == values[1] != values[2]


@torch.no_grad()
def test_a_reconstruction_is_the_mean_given_the_probabilities_of_the_hidden_units():
    model = machine(shape=(1, VISIBLE))
    x = states(VISIBLE)[3:6].view(3, 1, VISIBLE)
    expected = (model.encode(x) @ model.weight.T + model.units.bias).sigmoid()
    assert torch.allclose(model.reconstruct(x), expected.view(3, 1, VISIBLE), rtol=0, atol=1e-12)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the mask must have the shape .*: mask \(3,\), examples \(1, 2, 2\)"):
        RBM((2, 2), 3).inpaint(torch.zeros(1, 2, 2), torch.ones(3))
