"""Residual blocks' parts: option A's shortcut entry by entry, the weights' first variance, and memory formats."""

import pytest
import torch
from torch import nn

from danlu.nn import PaddedShortcut, ResidualBlock, he_normal
from danlu.nn.conv.residual import convolutions, shortcut


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_padded_shortcut_takes_every_position_and_appends_zeros(stride):
    x = torch.randn(2, 3, 7, 5)
    out = PaddedShortcut(stride, channels=4)(x)
    assert out.shape == (2, 7, -(-7 // stride), -(-5 // stride))
    for n, c, i, j in torch.cartesian_prod(*(torch.arange(size) for size in out.shape)).tolist():
        assert out[n, c, i, j] == (x[n, c, i * stride, j * stride] if c < 3 else 0)


def test_a_padded_shortcut_keeps_the_channels_last():
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    assert PaddedShortcut(2, 3)(x).is_contiguous(memory_format=torch.channels_last)


def test_only_a_projection_has_weights():
    kinds = [("padding", 4, 8, 2), ("projection", 4, 4, 1), ("projection", 4, 8, 1), ("projection", 4, 4, 2)]
    counts = [sum(p.numel() for p in shortcut(*kind).parameters()) for kind in kinds]
    assert counts == [0, 0, 4 * 8 + 2 * 8, 4 * 4 + 2 * 4]
    assert shortcut("none", 4, 8, 2) is None


@pytest.mark.parametrize("stride_first", [False, True])
def test_which_convolution_of_a_bottleneck_makes_the_step(stride_first):
    strides = [c.stride[0] for c in convolutions("bottleneck", 8, 4, 2, stride_first)]
    assert strides == ([2, 1, 1] if stride_first else [1, 2, 1])


def test_first_weights_have_the_variance_of_the_formula_and_biases_are_zero():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Conv2d(64, 256, 1), nn.BatchNorm2d(256), nn.Linear(256, 10))
    before = net[3].weight.clone()
    he_normal(net)
    for layer, outputs in ((net[0], 9 * 64), (net[1], 256)):
        size = layer.weight.numel()  # the mean of n squared normals has a spread of √(2/n)
        assert layer.weight.square().mean().item() == pytest.approx(2 / outputs, rel=5 * (2 / size) ** 0.5)
        assert not layer.bias.any()
    assert torch.equal(net[3].weight, before)
    assert not net[3].bias.any()
    assert net[2].weight.eq(1).all()


def test_a_block_does_not_change_its_input():
    block = ResidualBlock(convolutions("basic", 4, 4), nn.Identity(), "relu")
    x = torch.randn(2, 4, 5, 5)
    kept = x.clone()
    block(x)
    assert torch.equal(x, kept)
