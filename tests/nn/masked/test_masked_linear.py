"""Degrees, and the masked linear layer beside a dense product with its mask."""

import pytest
import torch
from torch.nn import functional as F

from danlu.nn import MaskedLinear, hidden_degrees
from danlu.nn.masked import linear
from danlu.nn.masked.linear import row_blocks


@pytest.mark.parametrize("kind", ["sequential", "random"])
@pytest.mark.parametrize(("width", "lowest", "highest"), [(1, 1, 1), (1, 0, 9), (3, 1, 9), (9, 1, 9), (40, 0, 9)])
def test_degrees_are_sorted_and_in_range_and_every_degree_occurs_if_there_is_room(kind, width, lowest, highest):
    degrees = hidden_degrees(width, lowest, highest, kind, seed=3)
    assert len(degrees) == width
    assert degrees.tolist() == sorted(degrees.tolist())
    assert degrees.unique().numel() == min(width, highest - lowest + 1)
    assert lowest <= degrees.min() <= degrees.max() <= highest


def test_sequential_degrees_are_those_of_the_published_code():
    """Papamakarios et al. number the units 0, 1, …: unit k has degree k mod (d − 1) + 1."""
    d, width = 7, 50
    assert hidden_degrees(width, 1, d - 1).tolist() == sorted(k % (d - 1) + 1 for k in range(width))


def test_random_degrees_are_a_function_of_the_seed():
    draw = lambda seed: hidden_degrees(500, 1, 20, "random", seed)  # noqa: E731
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_narrow_layers_have_degrees_from_one_end_to_the_other():
    assert hidden_degrees(4, 1, 10).tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("blocks", [1, 3, 8, 100])
def test_the_row_blocks_of_a_nested_mask_cover_the_mask_and_nothing_that_all_rows_leave_out(blocks):
    used = torch.randint(0, 12, (30,), generator=torch.Generator().manual_seed(0)).sort().values
    covered = torch.zeros(30, 12)
    for block in row_blocks(used.tolist(), blocks):
        covered[block.rows, : block.end] += 1
        assert block.common == used[block.rows].min()
        assert block.end == used[block.rows].max()
    mask = torch.arange(12) < used[:, None]
    assert (covered[mask] == 1).all(), "each used weight is in one block"


def layer_of(inputs=30, outputs=40, strict=False, dtype=torch.float64):
    torch.manual_seed(0)
    low = torch.arange(1, inputs + 1)
    return MaskedLinear(low, hidden_degrees(outputs, 0, inputs, "random"), strict).to(dtype)


@pytest.fixture
def in_blocks(monkeypatch):
    monkeypatch.setattr(linear, "MIN_WIDTH", 1)
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)


@pytest.mark.parametrize("strict", [False, True])
def test_products_in_blocks_equal_dense_products_and_so_do_their_gradients(in_blocks, strict):
    layer = layer_of(strict=strict)
    x = torch.randn(5, 30, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, 40, dtype=torch.float64)
    inputs = (x, layer.weight, layer.bias)
    dense = F.linear(x, layer.weight * layer.mask, layer.bias)
    assert linear._use_blocks(x, layer.weight)
    torch.testing.assert_close(layer(x), dense, rtol=1e-13, atol=1e-13)
    ours, plain = (torch.autograd.grad(y, inputs, weights, retain_graph=True) for y in (layer(x), dense))
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("blocks", [False, True])
def test_masked_weights_have_no_effect_and_no_gradient(blocks, monkeypatch):
    monkeypatch.setattr(linear, "MIN_WIDTH", 1 if blocks else 10**9)
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)
    layer, x = layer_of(), torch.randn(5, 30, dtype=torch.float64)
    before = layer(x)
    before.square().sum().backward()
    assert (layer.weight.grad[layer.mask == 0] == 0).all()
    assert (layer.weight.grad[layer.mask == 1] != 0).any()
    with torch.no_grad():
        layer.weight.masked_fill_(layer.mask == 0, 1e6)
    torch.testing.assert_close(layer(x), before)


def test_large_layers_use_blocks_by_themselves():
    layer = MaskedLinear(torch.arange(1, 301), torch.arange(300))
    x = torch.randn(64, 300)
    assert linear._use_blocks(x, layer.weight)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight * layer.mask, layer.bias), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@pytest.mark.unchecked
def test_degrees_that_are_not_sorted_are_an_error():
    with pytest.raises(ValueError, match=r"degrees of outputs must be in ascending order, got \[2, 1\]"):
        MaskedLinear(torch.tensor([1, 2]), torch.tensor([2, 1]))
