"""The masked linear layer. Large products on a CPU skip the masked half of the weights.

With units in the order of their degrees, the mask is nested: each unit uses the first inputs, and later units use
at least as many. The rows are multiplied in blocks. Inputs that all rows of a block use are multiplied with the weights
themselves; only for the few inputs that some of the rows use, the weights are masked.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.derivatives import without_autocast
from danlu.nn.linear import MIN_PRODUCTS, add_product_, write_product

MIN_WIDTH = 256
"""Smallest number of inputs and outputs for which products are computed in blocks."""
BLOCKS = 8
"""Number of blocks."""


class Block(NamedTuple):
    """Rows of the weights, the number of leading inputs that all of them use, and that at least one of them uses."""

    rows: slice
    common: int
    end: int


class MaskedLinear(nn.Linear):
    r"""A linear layer in which a unit depends only on inputs of lower or equal degree.

    .. math:: y = x (W \odot M)^T + b, \qquad M_{ji} = [m_i \le m_j]

    Germain et al., "MADE: masked autoencoder for distribution estimation", 2015, equations 12 and 13. Masked weights
    have no effect, whatever their values are, and their gradients are 0.

    Args:
        inputs: degree of each input, in ascending order.
        outputs: degree of each unit, in ascending order.
        strict: whether a unit does not depend on inputs of equal degree, as in the output layer.

    Attributes:
        mask: M, (m, k).
        degrees: degree of each unit, (m,).

    Raises:
        ValueError: if degrees are not in ascending order.

    >>> layer = MaskedLinear(torch.tensor([1, 2, 3]), torch.tensor([1, 2]))
    >>> layer.mask
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """

    mask: Tensor
    degrees: Tensor

    def __init__(self, inputs: Int[Tensor, "k"], outputs: Int[Tensor, "m"], strict: bool = False):
        super().__init__(len(inputs), len(outputs))
        for name, degrees in (("inputs", inputs), ("outputs", outputs)):
            if not degrees.is_meta and (degrees.diff() < 0).any():
                raise ValueError(f"the degrees of {name} must be in ascending order, got {degrees.tolist()}")
        mask = inputs < outputs[:, None] if strict else inputs <= outputs[:, None]
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        self.register_buffer("degrees", outputs.clone(), persistent=False)
        self._blocks: list[Block] | None = None

    def forward(self, input: Float[Tensor, "n k"]) -> Float[Tensor, "n m"]:
        """The product with the masked weights, plus the bias."""
        if _use_blocks(input, self.weight):
            return _MaskedProduct.apply(input, self.weight, self.bias, self.mask, self.blocks)
        return F.linear(input, self.weight * self.mask, self.bias)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in which large products are computed."""
        if self._blocks is None:
            self._blocks = row_blocks(self.mask.sum(1).long().tolist())
        return self._blocks


def row_blocks(used: list[int], blocks: int = BLOCKS) -> list[Block]:
    """Divide the rows of a mask into blocks of almost equal height.

    Args:
        used: number of leading inputs that each row uses, in ascending order.
        blocks: number of blocks.

    >>> [(block.rows.start, block.rows.stop, block.common, block.end) for block in row_blocks([1, 1, 2, 4], 2)]
    [(0, 2, 1, 1), (2, 4, 2, 4)]
    """
    edges = [len(used) * k // blocks for k in range(blocks + 1)]
    return [Block(slice(start, stop), used[start], used[stop - 1]) for start, stop in pairwise(edges) if start < stop]


class _MaskedProduct(torch.autograd.Function):
    """x (W ∘ M)ᵀ + b in blocks. Second derivatives use dense products."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, blocks: list[Block]) -> Tensor:
        y = x.new_empty(len(x), len(weight))
        for rows, common, end in blocks:
            part, some = y[:, rows], (rows, slice(common, end))
            write_product(part, x[:, :common], weight[rows, :common].t())
            add_product_(part, x[:, common:end], (weight[some] * mask[some]).t())
        return y.add_(bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, mask, ctx.blocks = inputs
        ctx.save_for_backward(x, weight, mask)
        ctx.save_for_forward(x, weight, mask)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        g, (needs_x, needs_weight, needs_bias, *_) = gradients[0], ctx.needs_input_grad
        if torch.is_grad_enabled():  # for second derivatives
            of_x, of_weight = g @ (weight * mask), (g.t() @ x) * mask
        else:
            of_x = _gradient_of_input(g, weight, mask, ctx.blocks) if needs_x else None
            of_weight = _gradient_of_weight(g, x, mask, ctx.blocks) if needs_weight else None
        return of_x, of_weight, g.sum(0) if needs_bias else None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, weight, mask = ctx.saved_tensors
        of_x, of_weight, of_bias = tangents[:3]
        parts = [] if of_x is None else [of_x @ (weight * mask).t()]
        parts += [] if of_weight is None else [x @ (of_weight * mask).t()]
        parts += [] if of_bias is None else [of_bias.expand(len(x), -1)]
        return torch.stack(parts).sum(0)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        x, weight, bias = (
            value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            for value, dim in zip(args[:3], in_dims[:3], strict=True)
        )
        return x @ (weight * args[3]).mT + bias[:, None], 0


def _gradient_of_input(g: Tensor, weight: Tensor, mask: Tensor, blocks: list[Block]) -> Tensor:
    gradient = g.new_zeros(len(g), weight.shape[1])
    done = 0
    for rows, _, end in blocks:  # the columns that this block is the first to use; all later rows use them, too
        if end > done:
            columns = slice(done, end)
            part, some, later = gradient[:, columns], (rows, columns), slice(rows.stop, None)
            write_product(part, g[:, later], weight[later, columns])
            add_product_(part, g[:, rows], weight[some] * mask[some])
            done = end
    return gradient


def _gradient_of_weight(g: Tensor, x: Tensor, mask: Tensor, blocks: list[Block]) -> Tensor:
    gradient = torch.empty_like(mask, dtype=g.dtype)
    for rows, common, end in blocks:
        write_product(gradient[rows, :end], g[:, rows].t(), x[:, :end])
        gradient[rows, common:end] *= mask[rows, common:end]
        gradient[rows, end:] = 0
    return gradient


def _use_blocks(x: Tensor, weight: Tensor) -> bool:
    """Whether x and the weights are large matrices on a CPU; compiled and exported code uses torch's own product."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and min(weight.shape) >= MIN_WIDTH
        and len(x) * weight.numel() >= MIN_PRODUCTS
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
