"""Hashed numbers: the published generator, whose numbers are what they should be and do not mind their arrangement.

A test of a distribution fails by chance with probability 1e-6.
"""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from scipy import stats

from danlu.rng import betas, bits, key, normals, uniforms

N = 1 << 17
CHANCE = 1e-6


def splitmix64(state):
    """The generator as published: a state that grows, and its mixed form (numbers of any length, cut to 64 bits)."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        yield z ^ (z >> 31)


def outputs(seed, n):
    return list(islice(splitmix64(seed), n))


def even(values, bins):
    """Whether whole numbers below ``bins`` come equally often: the chi-square test's p is above CHANCE."""
    counts = torch.bincount(values.flatten().long(), minlength=bins)
    assert len(counts) == bins
    return stats.chisquare(counts.numpy()).pvalue > CHANCE


def test_the_published_outputs():
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert outputs(1234567, 5) == known
    assert [number % 2**64 for number in bits(1234567, torch.arange(5)).tolist()] == known


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, 2**63, 2**64 - 1, -1, key("a", 3)])
def test_bits_are_the_outputs_of_the_generator(seed):
    assert [number % 2**64 for number in bits(seed, torch.arange(500)).tolist()] == outputs(seed % 2**64, 500)


def test_uniforms_are_the_highest_bits():
    expected = outputs(99, 300)
    assert uniforms(99, torch.arange(300)).tolist() == [z // 2**40 / 2**24 for z in expected]
    assert uniforms(99, torch.arange(300), torch.float64).tolist() == [z // 2**11 / 2**53 for z in expected]


def test_normals_are_box_and_mullers():
    pairs = [((z // 2**32 + 1) / 2**32, z % 2**32 / 2**32) for z in outputs(5, 300)]
    expected = [
        [math.sqrt(-2 * math.log(u)) * turn(2 * math.pi * v) for turn in (math.cos, math.sin)] for u, v in pairs
    ]
    torch.testing.assert_close(normals(5, torch.arange(300), torch.float64), torch.tensor(expected).double())
    torch.testing.assert_close(normals(5, torch.arange(300)), torch.tensor(expected), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("draw", [bits, uniforms, normals, lambda seed, counters: betas(0.3, seed, counters.flatten())])
def test_a_number_does_not_mind_its_arrangement(draw):
    """Up to the last digits, which vectors of other lengths may round otherwise."""
    counters = torch.arange(60)
    whole = draw(3, counters)
    for part in (slice(7, 8), slice(0, 31), slice(None, None, 7), [5, 5, 0]):
        torch.testing.assert_close(draw(3, counters[part]), whole[part], rtol=1e-6, atol=1e-6)
    block = draw(3, counters.view(5, 12).T)
    torch.testing.assert_close(block.view(12, 5, *whole.shape[1:]), whole.view(5, 12, *whole.shape[1:]).transpose(0, 1))
    torch.testing.assert_close(draw(3, counters.int()), whole)


@pytest.mark.parametrize("draw", [bits, uniforms, normals])
def test_a_tensor_of_seeds_is_each_seed(draw):
    seeds, counters = torch.tensor([4, -9, key("b")]), torch.arange(20)
    for row, seed in zip(draw(seeds[:, None], counters), seeds.tolist(), strict=True):
        torch.testing.assert_close(row, draw(seed, counters))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniforms_are_even_and_below_one(dtype):
    values = uniforms(key("even"), torch.arange(N), dtype)
    assert values.dtype == dtype
    assert values.min() >= 0
    assert values.max() < 1
    assert even(values * 256, 256)
    assert even(values * 2**20 % 256, 256)  # further digits


@pytest.mark.parametrize("step", [1, 2, 1 << 32])
def test_neighboring_counters_know_nothing_of_each_other(step):
    values = (uniforms(key("neighbors"), torch.arange(N + 1) * step) * 16).floor()
    assert even(values[:-1] * 16 + values[1:], 256)


@pytest.mark.parametrize("seeds", [(0, 1), (key("s", 0), key("s", 1)), (8, 9)])
def test_neighboring_seeds_know_nothing_of_each_other(seeds):
    a, b = ((uniforms(seed, torch.arange(N)) * 16).floor() for seed in seeds)
    assert even(a * 16 + b, 256)


def test_one_counter_of_many_seeds_is_even():
    assert even(uniforms(torch.tensor([key("many", n) for n in range(1 << 14)]), torch.tensor(0)) * 64, 64)


def test_each_bit_is_set_half_the_time():
    """A bit's mean has standard error 1/(2√n); with probability 1 - 4e-5 none of 64 leaves five of them."""
    each = (bits(key("bits"), torch.arange(N))[:, None] >> torch.arange(64)) & 1
    assert ((each.double().mean(0) - 0.5).abs() < 5 * 0.5 / N**0.5).all()


def test_normals_are_normal_and_uncorrelated():
    pairs = normals(key("normal"), torch.arange(N))
    assert pairs.isfinite().all()
    for values in pairs.T:
        assert stats.kstest(values.double().numpy(), "norm").pvalue > CHANCE
    correlations = np.corrcoef(np.stack([*pairs.T.numpy(), pairs[:, 0].square().numpy(), pairs[:, 1].square().numpy()]))
    assert (np.abs(correlations - np.eye(4)) < 5 / N**0.5).all()


@pytest.mark.parametrize(
    ("alpha", "n", "dtype"),
    [
        (0.5, 4 * N, torch.float32),
        (1.0, N, torch.float64),
        (2.0, 4 * N, torch.float32),
        (8.0, N, torch.float64),
        (1000.0, N, torch.float32),
    ],
)
def test_betas_are_from_the_beta_distribution(alpha, n, dtype):
    values = betas(alpha, key("beta"), torch.arange(n), dtype)
    assert values.dtype == dtype
    assert stats.kstest(values.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > CHANCE


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4])
def test_betas_of_a_small_alpha(alpha):
    """Much of it is nearer to 1 than a float can say, so that only the lower half has its precise form."""
    values = betas(alpha, key("beta"), torch.arange(N)).double().numpy()
    lower = values[values < 0.5]
    assert stats.binomtest(len(lower), N).pvalue > CHANCE
    assert stats.kstest(lower, lambda x: 2 * stats.beta(alpha, alpha).cdf(x)).pvalue > CHANCE
    upper = values[values > 0.5]
    edges = 1 - np.array([0.3, 0.1, 1e-2, 1e-3, 1e-4])
    expected = 2 * stats.beta(alpha, alpha).sf(edges)
    assert all(
        stats.binomtest(int((upper > edge).sum()), len(upper), fraction).pvalue > CHANCE
        for edge, fraction in zip(edges, expected, strict=True)
    )


@pytest.mark.parametrize("alpha", [1e-30, 1e-3, 1e6])
def test_betas_of_an_extreme_alpha_are_numbers(alpha):
    values = betas(alpha, 0, torch.arange(1000))
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_betas_need_a_positive_alpha(alpha):
    with pytest.raises(ValueError, match="must be greater than 0"):
        betas(alpha, 0, torch.arange(3))


def inverse(output):
    """The seed whose first output this is: the steps of the generator undone."""

    def unshifted(z, shift):
        x = z
        for _ in range(64 // shift):
            x = z ^ (x >> shift)
        return x

    z = unshifted(output, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = unshifted(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    return (unshifted(z, 30) - 0x9E3779B97F4A7C15) % 2**64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_uniform_number_has_a_logarithm(dtype):
    """Seeds whose first 64 bits are a small number. By chance 32 zeros are one draw of 2³², and 24 one of 2²⁴."""
    low = 1021
    seed = inverse(low)
    assert outputs(seed, 1) == [low]
    first, zero = normals(seed, torch.zeros(1, dtype=torch.long), dtype), torch.zeros(1, dtype=torch.long)
    radius, angle = math.sqrt(-2 * math.log(2.0**-32)), 2 * math.pi * low / 2**32
    expected = torch.tensor([[radius * math.cos(angle), radius * math.sin(angle)]], dtype=dtype)
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-5)
    assert uniforms(seed, zero, dtype).item() == 0
    for attempt in (16, 17):  # the numbers u of u^(1/α) of both Gamma variables
        start = (seed - attempt * 0x9E3779B97F4A7C15) % 2**64
        assert outputs(start, attempt + 1)[attempt] == low
        number = betas(1.0, inverse(start), zero, dtype).item()
        assert 0 < number < 1
