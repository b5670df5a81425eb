"""What the game of generator and critic finds where the answer is known: divergences and distances in one dimension."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm as normal
from torch import nn

from danlu.data import Part, Shuffled, in_order
from danlu.models import Generator, MLPCritic
from danlu.tasks import Adversarial, Place, Techniques
from danlu.training import OptimizerSettings, Runtime, Trainer

DOUBLE = Runtime(precision="float64")


class Fixed(Generator):
    """Makes the same examples whatever the codes, as many as there are; its one weight has no effect."""

    def __init__(self, points):
        super().__init__((1,), 0, None, latent=1)
        self.register_buffer("points", points)
        self.nothing = nn.Parameter(torch.zeros(1))

    def generate(self, z, fractions):
        return self.points + 0 * self.nothing


def critic_alone(real, fake, loss="wasserstein", rounds=600, lr=0.02, optimizer="adam", hidden=(16,), **settings):
    """The game, after a critic has learned on whole batches against a generator that stands still."""
    torch.manual_seed(0)
    critic = settings.pop("critic", {"activation": "leaky_relu"})
    players = Fixed(fake[:, None]), MLPCritic((1,), 0, hidden=hidden, **critic)
    players[1].body[0].linear.bias.data.zero_()  # else clipping leaves some units on the flat side of all examples
    task = Adversarial(*players, loss, Techniques(critic_turns=5, **settings), inputs="x").double()
    descent = OptimizerSettings(optimizer=optimizer, lr=lr, schedule="cosine")
    stream = Shuffled(Part({"x": real[:, None]}), len(real))
    for _ in Trainer(task, descent, stream, rounds // 5, runtime=DOUBLE):
        pass
    return task


def quantiles(mixture, n):
    """The midpoints of n equally likely slices of a mixture of normal densities (share, mean, deviation)."""
    grid = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
    below = sum(torch.as_tensor(fraction * normal.cdf(grid, mean, deviation)) for fraction, mean, deviation in mixture)
    wanted = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return grid[torch.searchsorted(below, wanted)]


def density(mixture, x):
    return sum(fraction * normal.pdf(x, mean, deviation) for fraction, mean, deviation in mixture)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([(1.0, 0.0, 1.0)], [(1.0, 1.0, 0.7)]),
        ([(0.5, -1.5, 0.5), (0.5, 1.5, 0.5)], [(1.0, 0.0, 1.2)]),
    ],
    ids=["two normal densities", "a mixture"],
)
def test_the_best_discriminator_finds_the_jensen_shannon_divergence(p, q):
    """What it pays is log 4 - 2 JSD (Goodfellow et al., 2014, theorem 1), against quadrature.

    The batch is quadrature as well: the midpoints of equally likely slices.
    """

    def halves(x):
        a, b = density(p, x), density(q, x)
        return sum(0.5 * c * math.log(2 * c / (a + b)) for c in (a, b) if c > 0)

    jsd = quad(halves, -8, 8, limit=200, points=[-2, 0, 2])[0]
    real, fake = quantiles(p, 2000), quantiles(q, 2000)
    torch.manual_seed(0)
    task = Adversarial(Fixed(fake[:, None]), MLPCritic((1,), 0, hidden=(12,), activation="tanh"), inputs="x").double()
    task.enter(Place(0, 0, 0, slice(0, 2000), 2000, torch.device("cpu"), torch.float64))
    batch = next(in_order(Part({"x": real[:, None]}), 2000))
    newton = torch.optim.LBFGS(task.critic.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def pay():
        newton.zero_grad()
        loss = torch.stack([term.mean() for term in task.critic_terms(batch, 0).values()]).sum()
        loss.backward()
        return loss

    newton.step(pay)
    paid = float(pay().detach())
    assert 0.05 < jsd < 0.6
    assert paid == pytest.approx(math.log(4) - 2 * jsd, abs=1e-3)


def estimate(task, real, fake):
    with torch.no_grad():
        return float(task.critic(real[:, None]).mean() - task.critic(fake[:, None]).mean())


@pytest.mark.parametrize(
    ("d", "ratio"),
    [
        (0.5, 100.0),
        (3.0, 1.0),
        pytest.param(0.5, 1.0, marks=pytest.mark.long),
        pytest.param(3.0, 100.0, marks=pytest.mark.long),
    ],
)
def test_between_two_points_the_slope_is_known(d, ratio):
    """At distance d the penalized critic's slope is 1 + d/(2λ), so λ = 100 d gives the distance within 5 %."""
    real, fake = torch.full((8,), 0.4 + d, dtype=torch.float64), torch.full((8,), 0.4, dtype=torch.float64)
    task = critic_alone(real, fake, penalty=ratio * d, rounds=300)
    found = estimate(task, real, fake)
    assert found == pytest.approx(d * (1 + 1 / (2 * ratio)), rel=2e-3)
    assert ratio < 100 or found == pytest.approx(d, rel=0.05)


def samples(n=32):
    random = torch.Generator().manual_seed(2)
    return torch.randn(n, generator=random, dtype=torch.float64), torch.randn(n, generator=random, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "one_sided"),
    [
        pytest.param(lambda x: 0.5 * x - 2, False, id="moved", marks=pytest.mark.long),
        pytest.param(lambda x: 2.5 * x, True, id="spread"),
    ],
)
def test_the_penalized_critic_finds_the_wasserstein_distance_of_samples(change, one_sided):
    """Against sorting, which is exact in one dimension.

    Of what is spread, the best critic is a wedge; slopes of 1 to either side are a barrier on the way there, so the
    penalty is one-sided.
    """
    real, fake = samples()
    fake = change(fake)
    exact = float((real.sort().values - fake.sort().values).abs().mean())
    how = {"penalty": 100 * exact, "one_sided": one_sided}
    task = critic_alone(real, fake, rounds=600, lr=0.02, hidden=(16,), **how)
    assert estimate(task, real, fake) == pytest.approx(exact, rel=0.05)


def test_the_clipped_critic_finds_it_up_to_a_factor():
    """A layer of m units within [-c, c] can rise by m c² for each unit of x in [-1, 1], and no more."""
    ratios = []
    for low, high in (((-0.5, 0.1), (0.2, 0.8)), ((-1.0, -0.4), (-0.1, 1.0))):
        fake, real = (torch.linspace(*ends, 16, dtype=torch.float64) for ends in (low, high))
        exact = float((real - fake).mean())
        task = critic_alone(real, fake, weight_clip=0.1, rounds=250, lr=0.005, optimizer="rmsprop", hidden=(8,))
        ratios.append(estimate(task, real, fake) / exact)
    assert ratios == pytest.approx([8 * 0.1**2] * 2, rel=1e-9)
