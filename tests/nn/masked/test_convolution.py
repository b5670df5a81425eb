"""Masked convolutions: their masks written out by hand, and one pixel at a time."""

import pytest
import torch

from danlu.nn.masked.cached import ROW, CachedConvolution, CachedVertical
from danlu.nn.masked.convolution import MaskedConv2d, VerticalConv2d, color_groups

DOUBLE = torch.float64


@pytest.mark.parametrize(
    ("mask", "center"), [("A", [[0, 0, 0], [1, 0, 0], [1, 1, 0]]), ("B", [[1, 0, 0], [1, 1, 0], [1, 1, 1]])]
)
def test_the_mask_of_three_colors(mask, center):
    """Type A: green sees red, blue sees red and green. Type B: each also sees itself."""
    layer = MaskedConv2d(3, 3, kernel=3, mask=mask, groups=3)
    assert layer.mask[:, :, 1, 1].tolist() == center
    assert layer.mask[:, :, 0].eq(1).all()
    assert layer.mask[:, :, 1, 0].eq(1).all()
    assert layer.mask[:, :, 1, 2].eq(0).all()


def test_a_masked_convolution_is_a_convolution_with_zeros_in_its_kernel():
    layer, x = MaskedConv2d(2, 4, kernel=5, mask="A").double(), torch.randn(3, 2, 7, 6, dtype=DOUBLE)
    kernel = torch.zeros(4, 2, 5, 5, dtype=DOUBLE)
    kernel[:, :, :2] = layer.weight[:, :, :2]
    kernel[:, :, 2, :2] = layer.weight[:, :, 2, :2]
    expected = torch.nn.functional.conv2d(x, kernel, layer.bias, padding=2)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("height", [1, 5])
def test_a_vertical_convolution_is_one_with_zeros_in_its_kernel(first, height):
    layer, x = VerticalConv2d(2, 4, 3, first).double(), torch.randn(3, 2, height, 6, dtype=DOUBLE)
    kernel = torch.zeros(4, 2, 3, 3, dtype=DOUBLE)
    kernel[:, :, : 1 if first else 2] = layer.weight
    torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(x, kernel, layer.bias, padding=1))


def test_uneven_groups_differ_by_one_channel_and_none_is_empty():
    for channels in range(3, 20):
        sizes = torch.bincount(color_groups(channels, 3))
        assert len(sizes) == 3
        assert sizes.max() - sizes.min() <= 1
    with pytest.raises(ValueError, match="2 channels cannot be divided"):
        color_groups(2, 3)


def test_initial_outputs_have_the_same_scale_with_any_mask():
    """Each output of the middle of an image has variance 1/3 for inputs of variance 1."""
    torch.manual_seed(0)
    for mask, groups in (("A", 1), ("B", 1), ("B", 3)):
        layer = MaskedConv2d(30, 600, kernel=3, mask=mask, groups=groups)
        with torch.no_grad():
            y = layer(torch.randn(200, 30, 3, 3))[:, :, 1, 1]
        assert float(y.var()) == pytest.approx(1 / 3, rel=0.05)


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize(
    ("kernel", "mask", "groups", "parts"), [(1, "B", 1, 1), (3, "A", 1, 1), (5, "B", 3, 2), (3, "A", 3, 1)]
)
@torch.no_grad()
def test_one_pixel_at_a_time_gives_the_same(above, kernel, mask, groups, parts):
    torch.manual_seed(0)
    layer = MaskedConv2d(7, 14, kernel, mask, groups, above=above, parts=parts).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 7, 4, 5, dtype=DOUBLE)
    addend = torch.randn(2, 1, 14, dtype=DOUBLE)
    expected = layer(x) + addend[:, 0, :, None, None]
    cached, of_input = CachedConvolution(layer, 2, 5), color_groups(7, groups)
    of_output = color_groups(14, groups, parts)
    for row in range(4):
        cached.start_row(addend)
        for column in (ROW,) if row == 1 else range(5):  # one row as a whole
            if column == ROW:
                cached.write_channels(x[:, :, row])
            for group in range(groups):
                if column != ROW and mask == "B":
                    cached.write(column, group).copy_(x[:, of_input == group, row, column])
                got = cached(column, group)
                wanted = expected[:, of_output == group, row]
                wanted = wanted.transpose(1, 2) if column == ROW else wanted[:, :, column]
                torch.testing.assert_close(got, wanted, rtol=0, atol=1e-13)
                if column != ROW and mask == "A":  # an output of type A does not need its own input
                    cached.write(column, group).copy_(x[:, of_input == group, row, column])


@pytest.mark.parametrize("first", [False, True])
@torch.no_grad()
def test_one_row_at_a_time_gives_the_same(first):
    layer, x = VerticalConv2d(3, 4, 5, first).double(), torch.randn(2, 3, 6, 5, dtype=DOUBLE)
    cached, expected = CachedVertical(layer, 2, 5), layer(x)
    for row in range(6):
        above = torch.zeros_like(x[:, :, 0]) if row == 0 else x[:, :, row - 1]
        got = cached(above if first else x[:, :, row])
        torch.testing.assert_close(got[:, :, 0], expected[:, :, row], rtol=0, atol=1e-13)


@pytest.mark.unchecked
def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="kernel=4 must be an odd number of at least 1"):
        MaskedConv2d(1, 1, 4, "A")
    with pytest.raises(ValueError, match="kernel=1 must be an odd number of at least 3"):
        VerticalConv2d(1, 1, 1)
    with pytest.raises(ValueError, match="mask='C' is unknown"):
        MaskedConv2d(1, 1, 3, "C")
