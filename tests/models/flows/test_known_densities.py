"""Flows that are trained on data of a known density: samples are finite, and no likelihood is above the true one."""

import math
from functools import cache

import pytest
import torch
from torch import distributions

import danlu
from danlu.data.base.density import fixed_noise
from danlu.data.datasets.energies_2d import ENERGIES
from danlu.data.images.info import ImageInfo
from danlu.models import IAF, MAF, PlanarFlow, RealNVP
from danlu.tasks.likelihood import log_likelihood

FLOWS = {
    "planar": lambda shape, **more: PlanarFlow(shape, layers=8, **more),
    "realnvp": lambda shape, **more: RealNVP(
        shape, 4 if len(shape) == 1 else 1, hidden=(32,), width=8, blocks=1, **more
    ),
    "maf": lambda shape, **more: MAF(shape, blocks=2, hidden=(32,), **more),
    "maf with a mixture": lambda shape, **more: MAF(shape, blocks=1, hidden=(32,), mixture=3, **more),
    "iaf": lambda shape, **more: IAF(shape, blocks=2, hidden=(32,), batch_norm=False, **more),
}
every_flow = pytest.mark.parametrize("kind", FLOWS)
NORMAL = distributions.MultivariateNormal(
    torch.tensor([3.0, -1.0, 0.0]), torch.tensor([[4.0, 1.8, 0.0], [1.8, 1.0, -0.05], [0.0, -0.05, 0.04]])
)
FREQUENCIES = torch.tensor([0.6, 0.2, 0.1, 0.05, 0.05])
IMAGES = ImageInfo((1, 4, 4), levels=5)
HELD_OUT = 10_000


SLOW = ("iaf", "maf with a mixture")
every_flow_and_density = pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(kind, data, marks=[pytest.mark.long] * (kind in SLOW and data == "u1"))
        for kind in FLOWS
        for data in ("normal", "u1")
    ],
)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, seed):
    noise = torch.randn(n, 3, generator=source(seed))
    return NORMAL.mean + noise @ NORMAL.scale_tril.T


POINTS = {
    "normal": (normal, NORMAL.log_prob, 3),
    "u1": (lambda n, seed: ENERGIES["u1"].sample(n, source(seed)).float(), ENERGIES["u1"].log_prob, 2),
}


def images(n, seed):
    """Independent pixels whose levels have known probabilities."""
    levels = torch.multinomial(FREQUENCIES, 16 * n, replacement=True, generator=source(seed))
    return levels.view(n, 1, 4, 4) / 4


@torch.enable_grad()
def fit(flow, x, loss, rounds):
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for step in range(rounds):
        rows = torch.randint(len(x), (128,), generator=source(step))
        optimizer.zero_grad()
        loss(x[rows], step).mean().backward()
        optimizer.step()
    return flow.eval()


@cache
def fitted_to_points(kind, data):
    torch.manual_seed(0)
    draw, _, size = POINTS[data]
    flow, x = FLOWS[kind]((size,)), draw(2000, 1)
    flow.initialize(x)
    return fit(flow, x, lambda rows, step: -flow.log_prob(rows), 100)


@cache
def fitted_to_images(kind):
    torch.manual_seed(0)
    flow, x = FLOWS[kind]((1, 4, 4), levels=5), images(2000, 1)
    flow.initialize(x + torch.rand(x.shape, generator=source()) / 4)

    def loss(rows, step):
        noise = torch.rand(rows.shape, generator=source(1000 + step))
        return -log_likelihood(flow, rows, noise, IMAGES)

    return fit(flow, x, loss, 60)


@every_flow_and_density
def test_many_samples_of_a_trained_flow_are_finite(kind, data):
    with torch.no_grad():
        x = fitted_to_points(kind, data).sample(100_000, generator=source(2))
    assert x.isfinite().all()


@every_flow_and_density
def test_held_out_points_are_not_more_likely_than_under_the_true_density(kind, data):
    """By more than three standard errors of the difference, whose mean is a KL divergence; and they are well fitted."""
    draw, true_log_prob, _ = POINTS[data]
    x = draw(HELD_OUT, 3)
    with torch.no_grad():
        difference = (true_log_prob(x) - fitted_to_points(kind, data).log_prob(x)).double()
    error = difference.std() / math.sqrt(HELD_OUT)
    assert difference.mean() > -3 * error
    assert difference.mean() < (0.2 if data == "normal" else 1)


@every_flow
def test_held_out_images_have_no_more_bits_than_their_entropy_allows(kind):
    """The dequantized log-likelihood is a lower bound of that of the levels, and their true one is the largest."""
    x = images(2000, 3)
    levels = (4 * x).long().flatten(1)
    with torch.no_grad():
        noise = fixed_noise(x, torch.arange(len(x)))
        nats = log_likelihood(fitted_to_images(kind), x, noise, IMAGES).double()
    difference = FREQUENCIES.log()[levels].sum(1) - nats
    error = difference.std() / math.sqrt(len(x))
    assert difference.mean() > -3 * error
    assert difference.mean() < 16 * 0.3  # nats, of 16 pixels


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["planar", "realnvp", "maf", "iaf"])
def test_many_samples_of_a_flow_of_digits_are_finite(recipe, tmp_path):
    result = danlu.train(recipe, data="digits", epochs=5, sample_grids=0, quiet=True, out=tmp_path / "run")
    model, generator = danlu.load(result.path), source()
    with torch.no_grad():
        for _ in range(20):
            x, _ = model.inverse(model.prior(5000, generator=generator))
            assert x.isfinite().all()
