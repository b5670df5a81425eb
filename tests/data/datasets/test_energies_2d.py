"""Energies in the plane: the formulas, their normalization, and exact samples."""

import math

import pytest
import torch
from scipy import stats

from danlu.data.datasets import energies_2d
from danlu.data.datasets.energies_2d import ENERGIES, WALL, WINDOW
from danlu.errors import UsageError

every_energy = pytest.mark.parametrize("name", ENERGIES)


def grid(reach=7.0, side=1401):
    """Points of a square grid, and the area of a cell."""
    axis = torch.linspace(-reach, reach, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]).item() ** 2


def table_1(name, x, y):
    """The energies of table 1 of the paper at one point, in plain numbers."""
    exp, sin = math.exp, math.sin
    w1 = sin(2 * math.pi * x / 4)
    w2 = 3 * exp(-0.5 * ((x - 1) / 0.6) ** 2)
    w3 = 3 / (1 + exp(-(x - 1) / 0.3))
    match name:
        case "u1":
            lobes = exp(-0.5 * ((x - 2) / 0.6) ** 2) + exp(-0.5 * ((x + 2) / 0.6) ** 2)
            return 0.5 * ((math.hypot(x, y) - 2) / 0.4) ** 2 - math.log(lobes)
        case "u2":
            return 0.5 * ((y - w1) / 0.4) ** 2
        case "u3":
            return -math.log(exp(-0.5 * ((y - w1) / 0.35) ** 2) + exp(-0.5 * ((y - w1 + w2) / 0.35) ** 2))
    return -math.log(exp(-0.5 * ((y - w1) / 0.4) ** 2) + exp(-0.5 * ((y - w1 + w3) / 0.35) ** 2))


@every_energy
def test_inside_the_window_the_energy_is_that_of_the_paper(name):
    points = [(0.3, 0.5), (2.0, -0.4), (-1.7, 1.1), (1.1, -2.0), (-3.9, 0.2)]
    energy = ENERGIES[name].energy(torch.tensor(points, dtype=torch.float64))
    expected = torch.tensor([table_1(name, *point) for point in points], dtype=torch.float64)
    torch.testing.assert_close(energy, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["u2", "u3", "u4"])
def test_outside_the_window_the_energy_rises(name):
    at, behind = (torch.tensor([[z, 0.2]], dtype=torch.float64) for z in (4.0, 4.8))
    inner = table_1(name, 4.8, 0.2)
    assert ENERGIES[name].energy(at).item() == pytest.approx(table_1(name, 4.0, 0.2))
    assert ENERGIES[name].energy(behind).item() == pytest.approx(inner + 0.5 * (0.8 / 0.4) ** 2)


@every_energy
def test_the_density_integrates_to_one(name):
    x, cell = grid()
    assert (ENERGIES[name].log_prob(x).exp().sum() * cell).item() == pytest.approx(1, abs=1e-5)


@every_energy
def test_energies_far_away_are_finite(name):
    far = torch.tensor([[100.0, -100.0], [1000.0, 1000.0], [0.0, 300.0]])
    assert ENERGIES[name].energy(far).isfinite().all()
    assert (ENERGIES[name].energy(far) > 100).all()


@every_energy
def test_samples_have_the_density(name):
    """The counts in cells of side 0.5 against the integral of the density over each cell."""
    n = 100_000
    samples = ENERGIES[name].sample(n, torch.Generator().manual_seed(0))
    assert samples.shape == (n, 2)
    x, area = grid(6.0, 1200)  # centers of small cells would be exact to second order only: 50 × 50 to a cell
    x = x * (1 - 1 / 1200)  # the centers of 1200 small cells on each side
    mass = (ENERGIES[name].log_prob(x).exp() * area).view(24, 50, 24, 50).sum((1, 3))
    mass = mass / mass.sum()
    index = ((samples + 6) / 0.5).floor().long().clamp(0, 23)
    counts = torch.zeros(24, 24).index_put_((index[:, 0], index[:, 1]), torch.ones(n), accumulate=True)
    likely = mass * n > 20
    observed = [*counts[likely].tolist(), counts[~likely].sum().item()]
    expected = [*(mass[likely] * n).tolist(), (mass[~likely].sum() * n).item()]
    assert stats.chisquare(observed, expected, sum_check=False).pvalue > 1e-4


def test_the_walls_are_part_of_the_samples():
    samples = ENERGIES["u2"].sample(50_000, torch.Generator().manual_seed(0))
    walls = WALL * math.sqrt(2 * math.pi)
    share, n = walls / (2 * WINDOW + walls), len(samples)
    assert (samples[:, 0].abs() > WINDOW).double().mean().item() == pytest.approx(share, abs=5 * (share / n) ** 0.5)


@every_energy
def test_data_sets_are_samples_in_three_parts(name):
    data = getattr(energies_2d, name)("1000")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [700, 100, 200]
    assert data.info.shape == (2,)
    assert data.info.classes == 0
    again = getattr(energies_2d, name)("1000")
    assert data.train["x"].equal(again.train["x"])


def test_a_wrong_argument_is_refused():
    with pytest.raises(UsageError, match="u1:many: the argument must be a number of points"):
        energies_2d.u1("many")
