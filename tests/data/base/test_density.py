"""Dequantization, and the units of log-likelihoods."""

import math

import pytest
import torch

from danlu.data import bits_per_dimension, dequantize, fixed_noise, log_volume
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.waveforms.info import WaveformInfo, range_of_levels


def test_dequantized_levels_fill_the_range_without_gap_or_overlap():
    info = ImageInfo((1, 1, 1), levels=5, range=(-1.0, 1.0))
    levels = torch.linspace(-1, 1, 5, dtype=torch.float64)
    low, high = (dequantize(levels, torch.full((5,), u, dtype=torch.float64), info) for u in (0.0, 1.0))
    torch.testing.assert_close(low, levels)
    torch.testing.assert_close(high[:-1], low[1:])
    assert high[-1] == 1 + info.spacing == 1.5


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_dequantized_integers_of_waveforms_fill_the_interval_from_minus_one_to_one(bits):
    info = WaveformInfo((5,), range=range_of_levels(bits), levels=2**bits)
    levels = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), dtype=torch.float64) / 2 ** (bits - 1)
    low, high = (dequantize(levels, torch.full_like(levels, u), info) for u in (0.0, 1.0))
    assert torch.equal(high[:-1], low[1:])
    assert (low[0], high[-1]) == (-1, 1)
    uniform = torch.tensor([-5 * math.log(2.0)], dtype=torch.float64)  # the density of 5 values on this interval
    assert bits_per_dimension(uniform + log_volume(info), 5).item() == pytest.approx(bits)


def test_waveforms_of_floating_point_numbers_are_continuous():
    info, x = WaveformInfo((3,)), torch.rand(4, 3)
    assert dequantize(x, torch.rand(4, 3), info) is x
    assert log_volume(info) == 0


def test_rows_are_continuous():
    x = torch.randn(4, 3)
    assert dequantize(x, torch.rand(4, 3), TableInfo((3,))) is x


def test_fixed_noise_belongs_to_the_example_and_the_position():
    x = torch.zeros(3, 2, 4, 5)
    noise = fixed_noise(x, torch.tensor([7, 0, 3]))
    assert noise.shape == x.shape
    assert ((noise >= 0) & (noise < 1)).all()
    assert len(noise.unique()) == noise.numel()
    assert torch.equal(fixed_noise(x[:1], torch.tensor([3]))[0], noise[2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_fixed_noise_is_almost_the_same_in_each_precision(dtype):
    x, numbers = torch.zeros(50, 8), torch.arange(50)
    exact = fixed_noise(x.double(), numbers)
    assert (fixed_noise(x.to(dtype), numbers).double() - exact).abs().max() <= 2.0**-8


def test_fixed_noise_is_uniform():
    noise = fixed_noise(torch.zeros(400, 100), torch.arange(400)).double()
    deviation = (1 / 12) ** 0.5
    assert abs(noise.mean() - 0.5) < 4 * deviation / noise.numel() ** 0.5
    assert noise.mean(0).std() < 2 * deviation / 20  # no position, and
    assert noise.mean(1).std() < 2 * deviation / 10  # no example has numbers of its own


def test_the_volume_of_a_table_converts_standardized_rows():
    """The density of y = shift + scale z is that of z, divided by |scale|."""
    info = TableInfo((2,), columns=("a", "b"), shift=(3.0, 0.0), scale=(4.0, -0.5))
    z = torch.randn(5, 2, dtype=torch.float64)
    normal = torch.distributions.Normal(torch.zeros(2).double(), torch.ones(2).double())
    mine = normal.log_prob(z).sum(1) + log_volume(info)
    y = torch.tensor(info.shift) + torch.tensor(info.scale) * z
    files = torch.distributions.Normal(torch.tensor(info.shift).double(), torch.tensor(info.scale).abs().double())
    torch.testing.assert_close(mine, files.log_prob(y).sum(1))


def test_a_uniform_density_of_images_has_log2_of_the_levels_in_bits():
    info = ImageInfo((1, 2, 3), levels=8)
    interval = 1 + info.spacing  # of dequantized values
    density = torch.tensor([-6 * math.log(interval)], dtype=torch.float64)
    torch.testing.assert_close(bits_per_dimension(density + log_volume(info), 6), torch.tensor([3.0]).double())
