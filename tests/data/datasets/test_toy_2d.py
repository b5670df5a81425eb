"""Points in the plane come from the distributions that they are said to come from.

Bounds are five standard errors, or tails of 1e-6; the seeds are fixed, so a check that passes once passes always.
"""

import math

import pytest
import torch
from scipy.stats import chi2
from sklearn.datasets import make_circles, make_moons

from danlu.data import Split
from danlu.data.datasets import toy_2d
from danlu.errors import UsageError

NAMES = {"moons": 2, "circles": 2, "ring": 8, "grid": 25, "spirals": 2, "checkerboard": 8, "pinwheel": 5}
MIXTURES = {
    "ring": (toy_2d.sample_ring, toy_2d.ring_log_prob, toy_2d.ring_centers, 0.02),
    "grid": (toy_2d.sample_grid, toy_2d.grid_log_prob, toy_2d.grid_centers, 0.05),
}
SAMPLERS = {name: getattr(toy_2d, f"sample_{name}") for name in NAMES}


def drawn(name, n=50_000):
    """Points and labels of a sampler, as float64."""
    x, label = SAMPLERS[name](n, torch.Generator().manual_seed(7))
    return x.double(), label


def distances(x, curve):
    """How far each point is from the nearest of many points of a curve."""
    return torch.cat([torch.cdist(some, curve).amin(1) for some in x.split(2000)])


def has_mean_and_deviation(values, mean, deviation):
    """Whether normal numbers have these, within five standard errors."""
    n = len(values)
    close = abs(values.mean() - mean) < 5 * deviation / n**0.5
    return bool(close & (abs(values.var() - deviation**2) < 5 * deviation**2 * (2 / n) ** 0.5))


@pytest.mark.parametrize("name", NAMES)
def test_a_set_has_points_labels_and_says_what_it_is(name):
    data = getattr(toy_2d, name)("2000")
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == pytest.approx([1400, 200, 400], abs=NAMES[name])
    assert sum(map(len, parts)) == 2000
    for part in parts:
        assert (part["x"].dtype, part["x"].shape[1:], part["label"].dtype) == (torch.float32, (2,), torch.int64)
        assert part["label"].unique().tolist() == list(range(NAMES[name]))
    x = torch.cat([part["x"] for part in parts])
    assert (data.name, data.info.kind, data.info.shape) == (name, "table", (2,))
    assert (data.info.classes, len(data.info.class_names), data.info.columns) == (NAMES[name], NAMES[name], ("x", "y"))
    assert data.info.range == (x.min().item(), x.max().item())


@pytest.mark.parametrize("name", NAMES)
def test_points_are_a_function_of_the_splits_seed(name):
    torch.manual_seed(3)
    first = getattr(toy_2d, name)("500", Split(seed=4))
    torch.manual_seed(5)
    again = getattr(toy_2d, name)("500", Split(seed=4))
    other = getattr(toy_2d, name)("500", Split(seed=5))
    assert first.fingerprint() == again.fingerprint()
    everything = [
        {tuple(row) for part in ("train", "test") for row in d.part(part)["x"].tolist()} for d in (first, other)
    ]
    assert not everything[0] & everything[1]


def test_sets_do_not_share_their_random_numbers():
    labels = [load("500").train["label"].tolist() for load in (toy_2d.moons, toy_2d.circles, toy_2d.spirals)]
    assert labels[0] != labels[1] != labels[2] != labels[0]


@pytest.mark.parametrize("name", NAMES)
def test_parts_share_no_point_and_hold_every_class_alike(name):
    data = getattr(toy_2d, name)("3000")
    rows = [tuple(row) for part in ("train", "validation", "test") for row in data.part(part)["x"].tolist()]
    assert len(set(rows)) == 3000
    counts = [data.part(part)["label"].bincount(minlength=NAMES[name]) for part in ("train", "validation", "test")]
    for fraction, count in zip((0.7, 0.1, 0.2), counts, strict=True):
        assert ((count - fraction * sum(counts)).abs() <= 1).all()


@pytest.mark.unchecked
@pytest.mark.parametrize("argument", ["0", "-5", "x", "1e3", "5.0", "2_000", " 9", "٣", "10000001", "9" * 5000])
def test_what_is_no_number_of_points_is_refused(argument):
    with pytest.raises(UsageError, match=r"the argument must be a number of points from 1 to 10,000,000"):
        toy_2d.moons(argument)


@pytest.mark.unchecked
def test_too_few_points_for_three_parts_are_refused():
    with pytest.raises(
        UsageError, match=r"grid:1: the validation part would be empty \(a fraction of 0.1 of 1 examples"
    ):
        toy_2d.grid("1")


def test_a_part_that_nobody_wants_may_be_empty():
    data = toy_2d.moons("20", Split(validation=0, test=0))
    assert [len(data.part(name)) for name in ("train", "validation", "test")] == [20, 0, 0]


def test_the_argument_is_the_number_of_all_points():
    assert sum(len(toy_2d.ring().part(name)) for name in ("train", "validation", "test")) == 10_000


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_equally_likely(name):
    _, label = drawn(name)
    expected = len(label) / NAMES[name]
    statistic = ((label.bincount(minlength=NAMES[name]) - expected) ** 2 / expected).sum()
    assert statistic < chi2.isf(1e-6, NAMES[name] - 1)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_density_sums_to_one(name):
    """A sum over a lattice with half a deviation between its points is the integral, up to far less than 1e-9."""
    _, log_prob, centers, deviation = MIXTURES[name]
    end = centers().abs().max().item() + 8 * deviation
    axis = torch.arange(-end, end, deviation / 2, dtype=torch.float64)
    total = sum(log_prob(torch.cartesian_prod(some, axis)).exp().sum() for some in axis.split(20))
    assert abs(total * (deviation / 2) ** 2 - 1) < 1e-9


@pytest.mark.parametrize("name", MIXTURES)
def test_a_density_is_that_of_torchs_mixture(name):
    sample, log_prob, centers, deviation = MIXTURES[name]
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(len(centers()), dtype=torch.float64)),
        torch.distributions.Independent(torch.distributions.Normal(centers(torch.float64), deviation), 1),
    )
    far = torch.tensor([[9.0, -3.0], [0.3, 0.1]], dtype=torch.float64)
    x = torch.cat([sample(500, torch.Generator().manual_seed(0))[0].double(), far])
    torch.testing.assert_close(log_prob(x), mixture.log_prob(x))
    assert log_prob(x.float()).dtype == torch.float32
    torch.testing.assert_close(log_prob(x[:500].float()).double(), log_prob(x[:500]), atol=1e-3, rtol=0)
    assert log_prob(x[:12].view(3, 4, 2)).shape == (3, 4)


@pytest.mark.parametrize("name", MIXTURES)
def test_every_gaussian_has_its_mean_and_covariance(name):
    _, _, centers, deviation = MIXTURES[name]
    x, label = drawn(name)
    for mode, center in enumerate(centers(torch.float64)):
        away = x[label == mode] - center
        assert has_mean_and_deviation(away[:, 0], 0, deviation)
        assert has_mean_and_deviation(away[:, 1], 0, deviation)
        assert abs(away.prod(1).mean()) < 5 * deviation**2 / len(away) ** 0.5


@pytest.mark.parametrize("name", MIXTURES)
def test_the_mean_log_density_is_minus_the_entropy(name):
    """Of k Gaussians that do not touch it is log k + log(2πe σ²); -log p of one has variance 1."""
    _, log_prob, centers, deviation = MIXTURES[name]
    x, _ = drawn(name)
    entropy = math.log(len(centers())) + math.log(2 * math.pi * math.e * deviation**2)
    assert abs(-log_prob(x).mean() - entropy) < 5 / len(x) ** 0.5


def test_the_centers_are_eight_on_a_circle_and_25_on_a_grid():
    ring, grid = toy_2d.ring_centers(torch.float64), toy_2d.grid_centers()
    torch.testing.assert_close(ring.norm(dim=1), torch.full((8,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(
        (ring - ring.roll(1, 0)).norm(dim=1), torch.full((8,), 4 * math.sin(math.pi / 8)).double()
    )
    assert sorted(grid.tolist()) == [[float(a), float(b)] for a in range(-4, 5, 2) for b in range(-4, 5, 2)]


@pytest.mark.parametrize(
    ("name", "clean", "noise"),
    [("moons", make_moons, 0.1), ("circles", lambda n: make_circles(n, factor=0.5), 0.08)],
)
def test_points_lie_within_the_noise_of_scikit_learns_curves(name, clean, noise):
    x, label = drawn(name, 20_000)
    points, classes = (torch.from_numpy(values) for values in clean(4000))
    for side in (0, 1):
        curve, mine = points[classes == side], x[label == side]
        assert distances(mine, curve).max() < 6 * noise
        assert distances(curve, mine).max() < noise / 2, "some of the curve has no points near it"


@pytest.mark.parametrize("name", ["moons", "circles"])
def test_noise_across_the_curves_is_normal(name):
    """A point at radius R of a circle gets the radius R + e + O(e²/R): mean and deviation of e up to noise²/R."""
    x, label = drawn(name)
    noise = {"moons": 0.1, "circles": 0.08}[name]
    for side, center, radius in {
        "moons": [(0, (0, 0), 1), (1, (1, 0.5), 1)],
        "circles": [(0, (0, 0), 1), (1, (0, 0), 0.5)],
    }[name]:
        away = x[label == side] - torch.tensor(center)
        if name == "moons":  # the ends of a half circle have noise along the curve too, so the middle half is looked at
            away = away[away[:, 0].abs() < away[:, 1].abs()]
        e = away.norm(dim=1) - radius
        assert abs(e.mean() - noise**2 / (2 * radius)) < 5 * noise / len(e) ** 0.5 + noise**4 / radius**3
        assert abs(e.std() - noise) < 5 * noise / (2 * len(e)) ** 0.5 + noise**3 / radius**2


def test_spirals_lie_within_noise_of_their_own_arm():
    x, label = drawn("spirals", 20_000)
    t = torch.linspace(0, 3 * math.pi, 4000, dtype=torch.float64)
    arm = torch.stack([-t * t.cos() + 0.25, t * t.sin() + 0.25], dim=1) / 3
    spread = 0.25 * 2**0.5 / 3 + 6 * 0.1
    for side, sign in ((0, 1), (1, -1)):
        mine = x[label == side]
        own, other = distances(mine, sign * arm), distances(mine, -sign * arm)
        assert own.max() < spread
        assert distances(sign * arm, mine).max() < 0.2, "some of the arm has no points near it"
        outside = mine.norm(dim=1) > 1  # where the arms are π/3 apart, and noise of 0.1 seldom carries halfway
        assert (own < other)[outside].double().mean() > 0.99
        squares = own[outside].square()  # across the arm: normal noise, and a uniform offset from 0 to 1/6
        variance = 0.1**2 + (1 / 6) ** 2 / 12
        assert abs(squares.mean() - variance) < 5 * squares.std() / len(squares) ** 0.5


def test_spirals_are_even_over_the_turned_area():
    """t² is uniform from 0 to 9π²; with the jitter 3x has a known mean on an arm, and |3x|² a known one over both.

    E 3x = (1/4 - E t cos t, 1/4 + E t sin t); E|3x|² = E t² + E t (sin t - cos t) / 2 + 2/12 + 9·2·0.1².
    """
    x, label = drawn("spirals", 1_000_000)
    x = 3 * (1 - 2 * label[:, None]) * x
    t = torch.linspace(0, 3 * math.pi, 200_001, dtype=torch.float64)
    expect = lambda values: torch.trapezoid(2 * t / (9 * math.pi**2) * values, t)  # noqa: E731
    squares = x.square().sum(1)
    for found, expected in (
        (x[:, 0], 0.25 - expect(t * t.cos())),
        (x[:, 1], 0.25 + expect(t * t.sin())),
        (squares, expect(t**2) + expect(t * (t.sin() - t.cos())) / 2 + 2 / 12 + 18 * 0.01),
    ):
        assert abs(found.mean() - expected) < 5 * found.std() / len(x) ** 0.5


def test_noise_across_the_spirals_is_that_of_jitter_and_noise():
    """Across the curve, away from its ends, the variance is that of u / 3 and of the noise: 1/432 + 0.01."""
    x, label = drawn("spirals", 20_000)
    x = (1 - 2 * label[:, None]) * x
    t = torch.linspace(0, 3 * math.pi, 4000, dtype=torch.float64)
    arm = torch.stack([-t * t.cos() + 0.25, t * t.sin() + 0.25], dim=1) / 3
    nearest = torch.cat([torch.cdist(some, arm).argmin(1) for some in x.split(2000)])
    middle = (t[nearest] > 1.8 * math.pi) & (t[nearest] < 2.8 * math.pi)
    across = (x - arm[nearest])[middle].norm(dim=1)
    expected = 1 / 432 + 0.01
    curved = expected**2  # the curve's radius is above 1.8
    assert abs(across.square().mean() - expected) < 5 * expected * (2 / len(across)) ** 0.5 + curved


def test_checkerboard_points_are_on_dark_squares_and_even_over_them():
    x, label = drawn("checkerboard")
    assert x.abs().max() <= 4
    column, row = ((x + 4) / 2).floor().long().unbind(1)
    assert ((column + row) % 2 == 0).all()
    assert (label == 2 * column + row // 2).all()
    inside = ((x + 4) % 2 * 2).floor().long()  # a quarter of the side each way
    cells = (label * 16 + inside[:, 0] * 4 + inside[:, 1]).bincount(minlength=128)
    assert len(cells) == 128
    expected = len(x) / 128
    assert ((cells - expected) ** 2 / expected).sum() < chi2.isf(1e-6, 127)


def test_pinwheel_arms_are_bent_gaussians():
    """Unbending solves f = R(α(f)) x / 2 for the first feature from |x| / 2, which it nearly is, by insertion."""
    x, label = drawn("pinwheel")
    complex_x = torch.view_as_complex(x) / 2
    out = complex_x.abs()
    for _ in range(100):
        angle = 2 * math.pi * label / 5 + 0.25 * out.exp()
        feature = complex_x * torch.polar(torch.ones_like(angle), angle)
        out = out + 0.5 * (feature.real - out)
    assert (feature.real - out).abs().max() < 1e-6
    for arm in range(5):
        mine = feature[label == arm]
        assert has_mean_and_deviation(mine.real, 1, 0.3)
        assert has_mean_and_deviation(mine.imag, 0, 0.1)
        covariance = ((mine.real - 1) * mine.imag).mean()
        assert abs(covariance) < 5 * 0.03 / len(mine) ** 0.5
