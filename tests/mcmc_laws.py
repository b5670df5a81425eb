"""Small distributions that can be enumerated or integrated, and how far draws of a sampler may be from them."""

import math
from itertools import product

import torch
from scipy.stats import chi2


class Enumerated:
    """A distribution over all states of a few sites: p(x) ∝ exp(x'Wx / 2 + b'x)."""

    def __init__(self, sites=8, values=(-1, 1), scale=0.5, seed=0):
        draw = torch.Generator().manual_seed(seed)
        weight = scale * torch.randn(sites, sites, generator=draw, dtype=torch.double).triu(1)
        self.weight = weight + weight.T
        self.bias = scale * torch.randn(sites, generator=draw, dtype=torch.double)
        self.values = values
        self.states = torch.tensor(list(product(values, repeat=sites)), dtype=torch.double)
        self.log_z = float(self.log_density(self.states).logsumexp(0))
        self.p = (self.log_density(self.states) - self.log_z).exp()

    def log_density(self, x):
        return (x @ self.weight * x).sum(1) / 2 + x @ self.bias

    def field(self, x, site):
        """The log-odds of +1 against −1; the site is an int or a tensor (chains,)."""
        return 2 * ((x * self.weight[site]).sum(1) + self.bias[site])

    def index(self, x):
        """The number of each state."""
        digits = (x[..., None] == torch.tensor(self.values, dtype=x.dtype)).int().argmax(-1)
        base = len(self.values)
        return (digits * base ** torch.arange(x.shape[-1]).flip(0)).sum(-1)

    def draw(self, count, seed=0):
        """Exact, independent draws."""
        draw = torch.Generator().manual_seed(seed)
        return self.states[torch.multinomial(self.p, count, replacement=True, generator=draw)]

    def at(self, index, count):
        """Many chains in one state."""
        return self.states[index].repeat(count, 1)


class Line:
    """A density on the line, normalized by quadrature: p(x) ∝ exp(f(x)) between two ends."""

    def __init__(self, log_density, low, high, points=200_001):
        self.log_density = log_density
        self.x = torch.linspace(low, high, points, dtype=torch.double)
        density = log_density(self.x).exp()
        width = (high - low) / (points - 1)
        self.cumulative = torch.cat([torch.zeros(1, dtype=torch.double), (density[1:] + density[:-1]).cumsum(0) / 2])
        self.log_z = math.log(float(self.cumulative[-1]) * width)
        self.cumulative /= self.cumulative[-1].clone()

    def draw(self, count, seed=0):
        """Exact, independent draws, by inverting the cumulative distribution."""
        uniform = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        right = torch.searchsorted(self.cumulative, uniform).clamp(1, len(self.x) - 1)
        low, high = self.cumulative[right - 1], self.cumulative[right]
        return torch.lerp(self.x[right - 1], self.x[right], (uniform - low) / (high - low))

    def bins(self, count=30):
        """Edges of bins of equal probability, without the outermost ones."""
        levels = torch.arange(1, count, dtype=torch.double) / count
        return self.x[torch.searchsorted(self.cumulative, levels)]

    def bin_probabilities(self, edges):
        cumulative = self.cumulative[torch.searchsorted(self.x, edges)]
        return torch.cat([cumulative, torch.ones(1)]) - torch.cat([torch.zeros(1), cumulative])


def double_well(height, tilt=0.0):
    """Two modes at ±1 with a barrier of this height in nats; a positive tilt makes the right one more probable."""
    return Line(lambda x: -height * (x.square() - 1).square() + tilt * x, -3, 3)


def total_variation(index, p):
    """The total variation between the frequencies of drawn states and their probabilities."""
    counts = torch.bincount(index.flatten(), minlength=len(p))
    return float((counts / counts.sum() - p).abs().sum() / 2)


def tolerance(p, draws):
    """1.5 times the expected total variation of this many independent draws."""
    return 1.5 * float((p * (1 - p) / (2 * math.pi * draws)).sqrt().sum())


def assert_distributed(index, p, draws=None):
    """The drawn states have these probabilities; the number of effective draws is that of all draws by default."""
    found, allowed = total_variation(index, p), tolerance(p, index.numel() if draws is None else draws)
    assert found <= allowed, f"total variation {found:.5f}, allowed {allowed:.5f}"


def assert_frequencies(index, p):
    """Independent draws of states with these probabilities: a chi-squared test, in which small states are one."""
    counts, expected = torch.bincount(index, minlength=len(p)).double(), len(index) * p
    assert not counts[p == 0].any(), "a state of probability 0 was drawn"
    small = expected < 10
    counts = torch.cat([counts[~small], counts[small].sum()[None]])
    expected = torch.cat([expected[~small], expected[small].sum()[None]])
    statistic = float(((counts - expected).square() / expected.clamp_min(1)).sum())
    p_value = float(chi2.sf(statistic, len(counts) - 1))
    assert p_value > 1e-4, f"chi-squared {statistic:.1f} of {len(counts)} states, p-value {p_value:.1e}"


def is_distributed(index, p):
    return total_variation(index, p) <= tolerance(p, index.numel())


def site_matrix(distribution, kernel, site):
    """The exact transition matrix of one update of a site by a Gibbs kernel."""
    states = distribution.states
    probabilities = kernel.logits(states, site).softmax(1)
    matrix = torch.zeros(len(states), len(states), dtype=torch.double)
    for number, value in enumerate(distribution.values):
        after = states.clone()
        after[:, site] = value
        matrix[torch.arange(len(states)), distribution.index(after)] += probabilities[:, number]
    return matrix


def sweep_matrix(distribution, kernel):
    """The exact transition matrix of a step of a Gibbs kernel."""
    sites = distribution.states.shape[1]
    updates = [site_matrix(distribution, kernel, site) for site in range(sites)]
    if kernel.scan == "random":
        return torch.linalg.matrix_power(torch.stack(updates).mean(0), sites)
    return torch.linalg.multi_dot(updates)


def assert_invariant(p, matrix):
    """The distribution is stationary under the transition matrix, to 1e-10."""
    torch.testing.assert_close(matrix.sum(1), torch.ones_like(p), atol=1e-12, rtol=0)
    torch.testing.assert_close(p @ matrix, p, atol=1e-10, rtol=0)


def detailed_balance_residual(p, matrix):
    flow = p[:, None] * matrix
    return float((flow - flow.T).abs().max())
