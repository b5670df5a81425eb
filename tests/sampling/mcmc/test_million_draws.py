"""A million effective draws of every sampler have the distribution of enumeration, or of quadrature in bins.

Systematic Gibbs sampling is in ``test_gibbs``. Parallel tempering has a distribution with two modes that Gibbs sampling
alone does not connect in the same number of steps.
"""

import pytest
import torch

from danlu.sampling import (
    MALA,
    BlockGibbs,
    Gibbs,
    MetropolisHastings,
    NormalWalk,
    ParallelTempering,
    SiteFlip,
    run_chains,
)
from mcmc_laws import Enumerated, Line, assert_distributed, double_well

pytestmark = pytest.mark.long
SITES, MILLION = 8, 1_000_000
WEAK = Enumerated(SITES, scale=0.3)


class Layers(Enumerated):
    """Two layers of four units without couplings inside of a layer."""

    def __init__(self):
        super().__init__(SITES, scale=0.5)
        for layer in (slice(0, 4), slice(4, 8)):
            self.weight[layer, layer] = 0
        self.p = self.log_density(self.states).softmax(0)

    def sampler(self, layer):
        """Draws one layer given the other."""

        def draw(x, g):
            up = (2 * (x @ self.weight + self.bias)[:, layer]).sigmoid()
            x = x.clone()
            x[:, layer] = 2 * torch.bernoulli(up, generator=g) - 1
            return x

        return draw


class Ferromagnet(Enumerated):
    """Two modes, all units up or all down."""

    def __init__(self):
        super().__init__(SITES)
        self.weight = 0.8 * (1 - torch.eye(SITES, dtype=torch.double))
        self.bias[:] = 0.03
        self.p = self.log_density(self.states).softmax(0)

    def gibbs(self, beta):
        return Gibbs(lambda x: beta * self.log_density(x), conditional=lambda x, site: beta * self.field(x, site))


class Bent:
    """A density in two dimensions: x has two modes, and y given x is N(x² / 2, 1 / 4)."""

    deviation = 0.5

    def __init__(self):
        self.x = double_well(2.0, tilt=0.5)

    def log_density(self, z):
        x, y = z.unbind(1)
        return self.x.log_density(x) - ((y - x.square() / 2) / self.deviation).square() / 2

    def bins(self):
        """Edges of 6 bins of x and of 5 bins of y, without the outermost ones."""
        return self.x.bins(6), torch.tensor([0.0, 0.4, 0.8, 1.2], dtype=torch.double)

    def bin_probabilities(self):
        """The sum over the grid of x of the probability of its cell, times that of the bin of y given x."""
        of_x, of_y = self.bins()
        middle, cell = (self.x.x[1:] + self.x.x[:-1]) / 2, self.x.cumulative.diff()
        below = torch.distributions.Normal(middle.square() / 2, self.deviation).cdf(of_y[:, None])
        ends = torch.zeros_like(middle)[None]
        inside = torch.cat([below, ends + 1]) - torch.cat([ends, below])  # (bins of y, cells)
        place = torch.bucketize(middle, of_x).expand(len(inside), -1)
        return torch.zeros(len(inside), 6, dtype=torch.double).scatter_add_(1, place, inside * cell).T.flatten()

    def index(self, z):
        of_x, of_y = self.bins()
        return torch.bucketize(z[..., 0].contiguous(), of_x) * 5 + torch.bucketize(z[..., 1].contiguous(), of_y)


def check(kernel, start, log_density, index, p, draws, burn_in, thin):
    """Run the chains and compare them with the exact probabilities p of the states or bins."""
    result = run_chains(kernel, start, draws, burn_in, thin)
    values = result.values
    energy = torch.stack([log_density(values[:, number]) for number in range(draws)], 1)
    sizes = [result.effective_sample_size("mean").flatten(), _size(energy)]
    effective = min(float(torch.cat(sizes).min()), energy.numel())
    assert effective >= MILLION, f"{effective:.3g} effective draws"
    assert_distributed(index(values), p, effective)


def _size(energy):
    from danlu.sampling import effective_sample_size

    return effective_sample_size(energy, "mean").flatten()


def signs(chains):
    """Chains in the same state."""
    return torch.ones(chains, SITES, dtype=torch.double)


def test_gibbs_with_a_random_scan():
    kernel = Gibbs(WEAK.log_density, scan="random", conditional=WEAK.field)
    check(kernel, signs(25_000), WEAK.log_density, WEAK.index, WEAK.p, draws=60, burn_in=60, thin=6)


def test_block_gibbs():
    layers = Layers()
    kernel = BlockGibbs([layers.sampler(slice(0, 4)), layers.sampler(slice(4, 8))])
    check(kernel, signs(25_000), layers.log_density, layers.index, layers.p, draws=60, burn_in=60, thin=8)


def test_site_flips():
    kernel = MetropolisHastings(WEAK.log_density, SiteFlip())
    check(kernel, signs(25_000), WEAK.log_density, WEAK.index, WEAK.p, draws=60, burn_in=400, thin=50)


def test_parallel_tempering():
    magnet = Ferromagnet()
    kernel = ParallelTempering(magnet.log_density, magnet.gibbs, (1, 2, 4, 8))
    start = kernel.replicas(signs(25_000))
    check(kernel, start, magnet.log_density, magnet.index, magnet.p, draws=60, burn_in=400, thin=15)


def test_a_chain_alone_does_not_connect_the_modes_of_the_tempered_distribution():
    magnet = Ferromagnet()
    alone = run_chains(magnet.gibbs(1.0), signs(2000), draws=1, burn_in=60)
    down = float(magnet.p[magnet.states.sum(1) < 0].sum())
    assert float((alone.values.sum(-1) < 0).double().mean()) < down / 4


def walk(log_density, dimensions):
    return MetropolisHastings(log_density, NormalWalk(1.0 if dimensions == 1 else 0.7))


def mala(log_density, dimensions):
    return MALA(log_density, 0.7 if dimensions == 1 else 0.5)


@pytest.mark.parametrize("make", [walk, mala], ids=["walk", "MALA"])
def test_a_density_on_the_line(make):
    well: Line = double_well(2.0, tilt=0.5)
    start = torch.tensor([-1.0, 1.0], dtype=torch.double).repeat(12_500)
    edges = well.bins()
    check(
        make(well.log_density, 1), start, well.log_density,
        lambda x: torch.bucketize(x, edges), well.bin_probabilities(edges), draws=60, burn_in=300, thin=40,
    )  # fmt: skip


@pytest.mark.parametrize("make", [walk, mala], ids=["walk", "MALA"])
def test_a_density_in_the_plane(make):
    bent = Bent()
    start = torch.tensor([[-1.0, 0.5], [1.0, 0.5]], dtype=torch.double).repeat(12_500, 1)
    p = bent.bin_probabilities()
    assert float(p.sum()) == pytest.approx(1)
    check(make(bent.log_density, 2), start, bent.log_density, bent.index, p, draws=60, burn_in=400, thin=80)
