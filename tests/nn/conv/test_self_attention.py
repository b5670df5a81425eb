"""Self-attention of pictures against the equations, position by position, and against torch's attention."""

import pytest
import torch
from torch.nn import functional as F

from danlu.nn import SelfAttention2d


def block_and_map(height=4, width=6, channels=16):
    torch.manual_seed(0)
    block = SelfAttention2d(channels).double()
    torch.nn.init.constant_(block.gain, 0.7)
    return block, torch.randn(2, channels, height, width, dtype=torch.float64)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (2, 2)])
def test_it_equals_the_equations(height, width):
    block, x = block_and_map(height, width)
    f, g, h, v = (part.weight[:, :, 0, 0] for part in (block.key, block.query, block.value, block.last))

    def pooled(w, picture, i, j):
        """The largest of the four positions, by channel."""
        return torch.stack([w @ picture[:, 2 * i + a, 2 * j + b] for a in (0, 1) for b in (0, 1)]).amax(0)

    for picture, ours in zip(x, block(x), strict=True):
        seen = [(i, j) for i in range(height // 2) for j in range(width // 2)]
        keys = [pooled(f, picture, i, j) for i, j in seen]
        values = [pooled(h, picture, i, j) for i, j in seen]
        for i in range(height):
            for j in range(width):
                query = g @ picture[:, i, j]
                weights = [(key @ query).exp() for key in keys]
                found = sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)
                torch.testing.assert_close(ours[:, i, j], picture[:, i, j] + 0.7 * (v @ found))


def test_it_equals_torchs_attention():
    block, x = block_and_map()
    query = block.query(x).flatten(2).mT
    key, value = (F.max_pool2d(part(x), 2).flatten(2).mT for part in (block.key, block.value))
    found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    expected = x + 0.7 * block.last(found.mT.unflatten(2, (4, 6)))
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(block(x.contiguous(memory_format=torch.channels_last)), expected)


def test_it_does_nothing_at_first_and_can_learn():
    block = SelfAttention2d(8)
    x = torch.randn(2, 8, 4, 4)
    y = block(x)
    assert torch.equal(y, x)
    (y * torch.randn_like(y)).sum().backward()
    assert block.gain.grad.abs() > 0


def test_it_has_derivatives_of_both_orders():
    block, x = block_and_map(2, 4, 8)
    assert torch.autograd.gradcheck(block, x.requires_grad_())
    assert torch.autograd.gradgradcheck(block, x)


@pytest.mark.unchecked
def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="channels=4 must be at least 8"):
        SelfAttention2d(4)
