"""The planar flow as a density: it integrates to 1, its samples are finite, and it fits data and energies."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from danlu.data.datasets.energies_2d import ENERGIES
from danlu.data.datasets.toy_2d import sample_moons
from danlu.data.tables.info import TableInfo
from danlu.models import PlanarFlow, load_model, save_model

DOUBLE = torch.float64


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def flow_of(shape=(2,), layers=6, scale=0.7, **more):
    """A flow with random parameters in float64."""
    flow = PlanarFlow(shape, layers, **more).double().eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=source(1), dtype=DOUBLE))
    return flow


@pytest.mark.parametrize("classes", [0, 3])
def test_the_density_integrates_to_one(classes):
    """The rectangle rule on a grid that holds all but a part of the mass that samples measure."""
    flow = flow_of(classes=classes)
    samples = flow.sample(10_000, generator=source()).detach()
    low, high = samples.amin(0) - 2, samples.amax(0) + 2
    axes = [torch.linspace(float(a), float(b), 700, dtype=DOUBLE) for a, b in zip(low, high, strict=True)]
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    with torch.no_grad():
        total = sum(flow.log_prob(x).exp().sum() for x in torch.cartesian_prod(*axes).split(100_000)) * cell
    assert total.item() == pytest.approx(1, abs=2e-4)


def test_derivatives_of_the_density():
    """With respect to examples and all parameters, by finite differences."""
    flow, x = flow_of(layers=3), torch.randn(4, 2, generator=source(), dtype=DOUBLE)

    def log_prob(x, vector):
        parts = dict(flow.named_parameters())
        values = vector.split([p.numel() for p in parts.values()])
        changed = {name: v.view_as(p) for (name, p), v in zip(parts.items(), values, strict=True)}
        return torch.func.functional_call(_LogProb(flow), {f"flow.{n}": v for n, v in changed.items()}, (x,))

    vector = parameters_to_vector(flow.parameters()).detach().requires_grad_()
    assert torch.autograd.gradcheck(log_prob, (x.requires_grad_(), vector))


class _LogProb(torch.nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x):
        return self.flow.log_prob(x)


def test_the_score_of_the_density_can_be_trained():
    """Second derivatives: the gradient of the squared norm of ∇ₓ log p with respect to the parameters."""
    flow, x = flow_of(layers=3), torch.randn(4, 2, generator=source(), dtype=DOUBLE).requires_grad_()

    def objective():
        (score,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
        return score.square().sum()

    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(objective(), list(flow.parameters()))])
    vector = parameters_to_vector(flow.parameters()).detach()
    direction, step = torch.randn(len(vector), generator=source(2), dtype=DOUBLE), 1e-6
    values = []
    for sign in (1, -1):
        vector_to_parameters(vector + sign * step * direction, flow.parameters())
        values.append(objective().item())
    assert (gradient @ direction).item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("layers", [16, 32])
def test_many_samples_of_a_flow_are_finite(layers):
    flow = flow_of(layers=layers).float()
    x = flow.sample(100_000, generator=source())
    assert x.isfinite().all()
    with torch.no_grad():
        assert flow.log_prob(x[:10_000]).isfinite().all()


def test_codes_and_images():
    flow = flow_of((1, 3, 2), levels=5, scale=0.2)
    x = torch.arange(12).view(2, 1, 3, 2) % 5 / torch.tensor(4.0, dtype=DOUBLE)
    assert flow.decode(flow.encode(x)).equal(x)
    assert flow.sample(3, generator=source()).shape == (3, 1, 3, 2)


def test_a_saved_flow_is_the_same(tmp_path):
    flow = flow_of(classes=2).float()
    save_model(flow, tmp_path, TableInfo((2,)))
    x = torch.randn(5, 2, generator=source())
    assert load_model(tmp_path).eval().log_prob(x).equal(flow.log_prob(x))


def fitted_to_u1(rounds, lr):
    """The reverse KL divergence of a flow with 16 layers from U₁, whose log Z is known, and its standard error."""
    torch.manual_seed(0)
    flow, target = PlanarFlow((2,), layers=16), ENERGIES["u1"]
    optimizer = torch.optim.Adam(flow.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    for _ in range(rounds):
        x, log_prob = flow.decode_with_log_prob(flow.prior(256))
        optimizer.zero_grad()
        (log_prob + target.energy(x)).mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        x, log_prob = flow.decode_with_log_prob(flow.prior(20_000))
        divergences = log_prob - target.log_prob(x)
    return divergences.mean().item(), divergences.std().item() / 20_000**0.5


def test_it_fits_an_energy_by_variational_inference():
    divergence, error = fitted_to_u1(400, 1e-2)
    assert -3 * error < divergence < 0.25


@pytest.mark.long
def test_it_fits_an_energy_closely():
    divergence, error = fitted_to_u1(4000, 5e-3)
    assert -3 * error < divergence < 0.05


@pytest.mark.long
def test_it_fits_data_by_maximum_likelihood():
    """Better than the normal distribution of the data, from held-out points."""
    torch.manual_seed(0)
    x, held_out = (sample_moons(n, source(n))[0] for n in (2000, 1000))
    normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    flow = PlanarFlow((2,), layers=8)
    flow.initialize(x)
    assert (flow.log_prob(held_out).mean() - normal.log_prob(held_out).mean()).abs() < 0.5
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        (-flow.log_prob(x).mean()).backward()
        optimizer.step()
    assert flow.log_prob(held_out).mean() > normal.log_prob(held_out).mean() + 0.3


@pytest.mark.parametrize("name", [pytest.param("u1", marks=pytest.mark.long), "u4"])
def test_held_out_points_are_not_more_likely_than_under_the_true_density(name):
    """By more than three standard errors of the difference: the mean difference is a KL divergence, at least 0."""
    torch.manual_seed(0)
    target = ENERGIES[name]
    x, held_out = (target.sample(n, source(n)) for n in (2000, 20_000))
    flow = PlanarFlow((2,), layers=8)
    flow.initialize(x)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-flow.log_prob(x).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        difference = target.log_prob(held_out) - flow.log_prob(held_out)
    error = difference.std() / len(held_out) ** 0.5
    assert difference.mean() > -3 * error
    assert difference.mean() < 1
