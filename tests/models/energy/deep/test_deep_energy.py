"""The deep energy model against closed forms, integrals on a grid and autograd."""

import math

import pytest
import torch
from torch import nn

from danlu.data.tables.info import TableInfo
from danlu.errors import RunError, UsageError
from danlu.models import DeepEnergy, MLPCritic, load_model, save_model
from danlu.models.energy.deep.annealing import Path, annealed_log_z
from danlu.models.energy.deep.quadrature import grid_log_z
from danlu.models.energy.energy_model import draw_from
from danlu.rng import generator
from mcmc_laws import assert_frequencies


class Function(nn.Module):
    """A function of coordinates as a network, with one parameter."""

    def __init__(self, function, value=0.0):
        super().__init__()
        self.function, self.value = function, nn.Parameter(torch.tensor(value))

    def forward(self, u):
        return self.function(u, self.value)


def of(function, value=0.0, shape=(2,), **settings):
    return DeepEnergy(shape, settings.pop("range", None), network=Function(function, value), **settings).double()


def small(shape=(1,), **settings):
    torch.manual_seed(0)
    model = DeepEnergy(shape, None, hidden=(8, 8), **settings).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2  # energies of several nats
    return model


def on_grid(model, points=4001, reach=8.0):
    """Points of the line, and their probabilities."""
    x = torch.linspace(-reach, reach, points, dtype=torch.double)[:, None]
    return x, (-model.energy(x)).softmax(0)


def exact_draws(model, n, seed=0):
    x, p = on_grid(model)
    spacing = float(x[1] - x[0])
    draw = generator("exact", seed)
    chosen = torch.multinomial(p.detach(), n, replacement=True, generator=draw)
    return x[chosen] + spacing * (torch.rand(n, 1, generator=draw, dtype=torch.double) - 0.5)


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_the_surrogate_has_the_gradient_of_the_difference_of_energies(penalty):
    model, x = small((2,), regularization=penalty), torch.randn(6, 2, generator=generator(1), dtype=torch.double)
    before = torch.randn(6, 2, generator=generator(2), dtype=torch.double)
    surrogate, after = model.contrast(x, before, 3, draw_from(generator(3), x, 6))
    assert not after.requires_grad
    assert not after.equal(before)
    expected = model.energy(x) - model.energy(after)
    expected = expected + penalty * (model(x).square() + model(after).square())  # coordinates are those of x here
    torch.testing.assert_close(surrogate, expected)
    for one, other in zip(
        torch.autograd.grad(surrogate.sum(), list(model.parameters())),
        torch.autograd.grad(expected.sum(), list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_with_exact_samples_the_gradient_is_that_of_the_likelihood():
    """MALA leaves the density invariant, so the mean of the surrogate over chains is that over the density."""
    model, batches = small(gradient_clip=2.0), 20
    x = torch.randn(2000, 1, generator=generator(1), dtype=torch.double)
    grid, _ = on_grid(model)
    log_z = (-model.energy(grid)).logsumexp(0) + math.log(float(grid[1] - grid[0]))
    parameters = list(model.parameters())
    exact = torch.cat([g.flatten() for g in torch.autograd.grad((model.energy(x)).mean() + log_z, parameters)])
    estimates = []
    for number in range(batches):
        surrogate, _ = model.contrast(x, exact_draws(model, 2000, number), 4, draw_from(generator(number), x, 2000))
        estimates.append(torch.cat([g.flatten() for g in torch.autograd.grad(surrogate.mean(), parameters)]))
    estimates = torch.stack(estimates)
    error = estimates.std(0) / math.sqrt(batches)
    assert float(error.max()) < 0.1 * float(exact.abs().max())
    z = (estimates.mean(0) - exact) / error.clamp(min=1e-9)
    assert float(z.abs().max()) < 6  # of a t distribution with 19 degrees of freedom, 105 parameters


@pytest.mark.parametrize("values", [1, 2])
def test_the_normalizer_is_the_integral_over_x(values):
    """E = ‖u‖² / 2 + a ‖u‖² has a normal density in u; x has a mean and a scale of its own."""
    model = of(lambda u, a: a * u.square().flatten(1).sum(1), 0.7, (values,))
    data = torch.randn(500, values, generator=generator(0), dtype=torch.double) * 3 + 5
    model.observe(data)
    precision = (1 + 2 * 0.7) / data.var(0, correction=0)
    normal = torch.distributions.Normal(data.mean(0), precision.rsqrt())
    result = model.log_normalizer()
    assert (result.kind, result.chains) == ("estimate", 0)
    torch.testing.assert_close(model.log_prob(data), normal.log_prob(data).sum(1), rtol=1e-6, atol=1e-6)
    assert "grid" in str(result)


@pytest.mark.parametrize("range", [None, (0.0, 1.0)])
def test_annealed_importance_sampling_agrees_with_the_exact_normalizer(range):
    """Rows of three columns, and images, whose energies are linear: within three errors, for 9 of 10 seeds."""
    slopes = torch.tensor([0.8, -0.4, 1.2], dtype=torch.double)
    shape = (3,) if range is None else (1, 1, 3)
    model = of(lambda u, a: (1 + a) * u.flatten(1) @ slopes, 0.0, shape, range=range, levels=5)
    if range is None:
        exact = float(slopes.square().sum()) / 2 + 1.5 * math.log(2 * math.pi)
    else:
        exact = float((2 * slopes.sinh() / slopes * 1.25 / 2).log().sum())  # x is from 0 to 1.25
    results = [model.log_normalizer(chains=50, betas=100, seed=seed) for seed in torch.arange(10).tolist()]
    assert all(result.kind == "estimate" and result.chains == 50 for result in results)
    assert sum(abs(result.value - exact) < 3 * result.standard_error for result in results) >= 9


def test_annealed_importance_sampling_agrees_with_the_grid():
    model = small((2,))
    grid = model.log_normalizer()
    path = Path(model, model.space, (2,), torch.zeros((), dtype=torch.double))
    results = [annealed_log_z(path, chains=50, betas=100, seed=seed) for seed in range(10)]
    assert grid.standard_error < 1e-6
    assert sum(abs(result.value - grid.value) < 3 * result.standard_error for result in results) >= 9


def test_a_density_that_a_grid_does_not_resolve_is_not_integrated_on_it():
    """A wall far out, and a spike between the points."""
    like = torch.zeros((), dtype=torch.double)
    assert grid_log_z(lambda u: u.square().sum(1) / 2 - 6 * u.square().sum(1).clamp(max=98), 1, like) is None
    assert grid_log_z(lambda u: ((u - 0.003) / 1e-3).square().sum(1) / 2, 1, like) is None


@pytest.mark.parametrize("sampler", ["mala", "langevin"])
def test_chains_in_a_box_are_reflected_at_its_faces(sampler):
    """For a linear energy in a box MALA keeps the exact density; small steps without rejection nearly do."""
    step = {"mala": 0.5, "langevin": 0.02}[sampler]
    model = of(lambda u, a: (2 + a) * u.flatten(1).sum(1), 0.0, (1, 1, 1), range=(0.0, 3.0), levels=4,
               sampler=sampler, step_size=step)  # fmt: skip
    n, draw = 20_000, generator("box")
    uniform = torch.rand(n, generator=draw, dtype=torch.double)
    u = -torch.log(math.exp(2) - uniform * (math.exp(2) - math.exp(-2))) / 2  # its inverse distribution function
    x = model.space.decode(u).view(n, 1, 1, 1)
    _, moved = model.contrast(x, x, 5, draw_from(draw, x, n))
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 4
    assert float((moved - x).abs().max()) > 4 * step / 2
    edges = torch.arange(0, 4.01, 0.5, dtype=torch.double) / 2 - 1
    cumulative = (math.exp(2) - (-2 * edges).exp()) / (math.exp(2) - math.exp(-2))
    index = torch.bucketize(model.space.encode(moved).flatten(), edges[1:-1])
    assert_frequencies(index, cumulative.diff())


def test_noise_sets_the_temperature_of_langevin_chains():
    """u' = (1 − ε²/2) u + σ ξ has the variance σ² / (1 − (1 − ε²/2)²)."""
    model = of(lambda u, a: a * u[:, 0], 0.0, (1,), sampler="langevin", step_size=0.5, noise=0.8)
    n, variance = 40_000, 0.8**2 / (1 - (1 - 0.125) ** 2)
    x = math.sqrt(variance) * torch.randn(n, 1, generator=generator(0), dtype=torch.double)
    _, moved = model.contrast(x, x, 6, draw_from(generator(1), x, n))
    assert abs(float(moved.var()) - variance) < 4 * variance * math.sqrt(2 / n)


def test_samples_have_the_density_of_the_model():
    model, n = small(), 4000
    x = model.sample(n, sweeps=200, generator=generator(0))
    grid, p = on_grid(model)
    cumulative = p.detach().cumsum(0)
    edges = grid[torch.searchsorted(cumulative, torch.linspace(0.1, 0.9, 9, dtype=torch.double))].flatten()
    index = torch.bucketize(x.flatten(), edges)
    assert_frequencies(index, torch.full((10,), 0.1, dtype=torch.double))


def test_a_trace_shows_the_same_chains_after_several_numbers_of_steps():
    model = small((2,))
    trace = model.chain_trace(3, [0, 4, 2], generator(0))
    assert trace.shape == (3, 3, 2)
    alone = model.chain_trace(3, [4], generator(0))[:, 0]
    assert torch.equal(trace[:, 1], alone)
    assert not torch.equal(trace[:, 2], alone)
    assert torch.equal(trace[:, 0], model.initial_state(draw_from(generator(0), trace, 3)))
    with pytest.raises(ValueError, match=r"steps=\[-1\] must be at least one number"):
        model.chain_trace(1, [-1])


def test_noise_is_removed_and_missing_values_are_filled_in_as_by_the_exact_posterior():
    """E = ‖u‖² / 2 + c u₁ u₂ is normal with the precisions ((1, c), (c, 1)), here with a scale of 2."""
    model = of(lambda u, c: c * u[:, 0] * u[:, 1], 0.6, step_size=0.8)
    model.space.moments.count += 1
    model.space.moments.squares += 4
    x = torch.tensor([[2.0, -1.0]], dtype=torch.double).repeat(2000, 1)
    precision = torch.tensor([[1, 0.6], [0.6, 1]], dtype=torch.double) / 4
    noisy = torch.eye(2, dtype=torch.double) / 0.5**2
    exact = torch.linalg.solve(precision + noisy, noisy @ x[0])
    found = model.denoise(x, noise=0.5, sweeps=300, generator=generator(0))
    assert float((found.mean(0) - exact).abs().max()) < 4 * float(found.std(0).max()) / math.sqrt(2000)
    mask = torch.tensor([1.0, 0.0], dtype=torch.double)
    filled = model.inpaint(x.where(mask.bool(), torch.nan), mask, sweeps=200, generator=generator(0))
    assert filled[:, 0].equal(x[:, 0])
    assert abs(float(filled[:, 1].mean()) + 0.6 * 2) < 4 * float(filled[:, 1].std()) / math.sqrt(2000)


def test_samples_of_images_are_levels():
    model = DeepEnergy((1, 4, 4), (0.0, 1.0), 3, hidden=(8,), channels=(4,))
    x = model.sample(20, sweeps=5, generator=generator(0))
    assert set(x.unique().tolist()) == {0.0, 0.5, 1.0}
    mask = torch.ones(1, 4, 4)
    mask[:, 2:] = 0
    filled = model.inpaint(x, mask, sweeps=5, generator=generator(0))
    assert filled[:, :, :2].equal(x[:, :, :2])
    assert 0 <= float(filled.min()) <= float(filled.max()) <= 1


def test_a_network_of_the_catalogue_is_saved_with_the_model(tmp_path):
    model = DeepEnergy((2,), None, network=MLPCritic((2,), 0, hidden=(8,), activation="silu"), step_size=0.3).eval()
    model.observe(torch.randn(50, 2) * 3 + 1)
    save_model(model, tmp_path, TableInfo((2,)))
    back = load_model(tmp_path)
    x = torch.randn(5, 2)
    assert torch.equal(back.energy(x), model.energy(x))
    assert back.steps == model.steps
    samples = [one.sample(3, sweeps=4, generator=generator(0)) for one in (model, back)]
    assert torch.equal(*samples)
    with pytest.raises(UsageError, match="Sequential cannot be saved"):
        save_model(DeepEnergy((2,), None, network=nn.Sequential(nn.Linear(2, 1))), tmp_path / "other", TableInfo((2,)))


def test_steps_that_are_too_large_are_named():
    model = DeepEnergy((2,), None, hidden=(4,), sampler="langevin", step_size=10.0, gradient_clip=None)
    with pytest.raises(RunError, match=r"not finite after 100 steps with step_size=10, .* Use a smaller step_size"):
        model.sample(3, sweeps=100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_size": 0.0}, r"step_size=0\.0 must be a finite number greater than 0"),
        ({"noise": 0.1}, r"noise has no effect with sampler='mala'"),
        ({"sampler": "langevin", "noise": -0.1}, r"noise=-0\.1 must be None or a finite number that is at least 0"),
        ({"gradient_clip": 0.0}, r"gradient_clip=0\.0 must be None or a finite number greater than 0"),
        ({"regularization": -1.0}, r"regularization=-1\.0 must be a finite number that is at least 0"),
        ({"channels": (4,)}, r"channels=\(4,\) needs images \(channels, height, width\), got \(2,\)"),
        ({"hidden": (0,)}, r"hidden=\(0,\) must be integers >= 1"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DeepEnergy((2,), None, **settings)


def test_wrong_examples_and_networks_are_refused():
    model = DeepEnergy((2,), None, hidden=(4,))
    with pytest.raises(ValueError, match=r"example 1 of 2, counted from 0, has the value nan at 0"):
        model.energy(torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]))
    with pytest.raises(ValueError, match=r"noise=0\.0 is a standard deviation"):
        model.denoise(torch.zeros(1, 2), noise=0.0)
    with pytest.raises(ValueError, match=r"the network has the output shape \(3, 2\); it must be \(n,\) or \(n, 1\)"):
        DeepEnergy((2,), None, network=nn.Linear(2, 2)).energy(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"levels=1 must be at least 2"):
        DeepEnergy((1, 4, 4), (0.0, 1.0), 1)
    with pytest.raises(ValueError, match=r"range=\(1\.0, 0\.0\) must be two finite numbers, the smaller one first"):
        DeepEnergy((1, 4, 4), (1.0, 0.0))


@pytest.mark.unchecked
def test_images_out_of_range_are_refused_not_reflected():
    model = of(lambda u, value: (u * value).flatten(1).sum(1), shape=(1, 1, 2), range=(0.0, 1.0), levels=11)
    x = torch.tensor([[[[0.0, 1.1]]]], dtype=torch.double)  # the largest level and all of its noise
    assert model.energy(x).shape == (1,)
    mask = torch.tensor([0.0, 1.0])
    for call in (model.energy, model.log_prob, lambda x: model.inpaint(x, mask, 3)):
        with pytest.raises(ValueError, match=r"has the value 255 at \(0, 0, 1\); all values must be from 0 to 1\.1$"):
            call(255 * x.round())
    assert model.inpaint(torch.tensor([[[[255.0, 1.0]]]], dtype=torch.double), mask, 3)[0, 0, 0, 1] == 1


def test_the_scale_of_a_column_does_not_depend_on_the_others():
    model = of(lambda u, value: u.sum(1) * value, shape=(3,))
    model.observe(torch.tensor([[0.001, 2000.0, 7.7], [0.003, 6000.0, 7.7]], dtype=torch.double))
    assert model.space.encode(torch.tensor([[0.004, 8000.0, 7.7]], dtype=torch.double)).tolist()[0] == pytest.approx(
        [2.0, 2.0, 0.0], abs=1e-9
    )
    assert model.space.scale()[2] > 0


def test_an_example_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"examples must have the shape \(n, 2\), got \(1, 3\)"):
        DeepEnergy((2,), None, hidden=(4,)).energy(torch.zeros(1, 3))


@pytest.mark.parametrize("settings", [{}, {"sampler": "langevin"}, {"range": (0.0, 1.0), "levels": 2}])
def test_a_batch_without_examples_has_results_without_examples(settings):
    model = of(lambda u, value: u.flatten(1).sum(1) * value, shape=(1, 2, 2), **settings)
    none, draw = torch.zeros(0, 1, 2, 2, dtype=torch.double), draw_from(None, torch.zeros(1, dtype=torch.double), 0)
    assert model.contrast(none, None, 2, draw)[0].shape == (0,)
    for result in (model.sample(0, 3), model.denoise(none, sweeps=3), model.inpaint(none, torch.ones(2, 2), 3)):
        assert result.shape == none.shape
    assert model.chain_trace(0, [0, 2]).shape == (0, 2, 1, 2, 2)


@pytest.mark.unchecked
@pytest.mark.parametrize("shape", [(), (0,), (2.0,)])
def test_a_shape_without_values_is_refused(shape):
    with pytest.raises(ValueError, match="must be one or more integers >= 1"):
        DeepEnergy(shape, None)


@pytest.mark.parametrize(("noise", "temperature"), [(None, 1.0), (0.05, 0.25), (0.2, 4.0)])
def test_denoising_at_another_temperature_has_the_mean_of_the_distribution_of_the_chains(noise, temperature):
    """The chains have the distribution N(0, T), so the mean given y is y T / (T + s²) for noise N(0, s²)."""
    model = of(lambda u, value: 0 * value * u.sum(1), shape=(1,), sampler="langevin", step_size=0.1, noise=noise)
    model.observe(torch.tensor([[-1.0], [1.0]], dtype=torch.double))  # so that u is x
    y, s = torch.full((500, 1), 2.0, dtype=torch.double), 0.5
    found = model.denoise(y, noise=s, sweeps=3000, generator=generator("denoise", 0))
    assert float(found.mean()) == pytest.approx(2 * temperature / (temperature + s**2), abs=0.02)
