"""Minibatch discrimination: features that measure how similar the examples of a batch are."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.derivatives import differentiable_gradients, records_backward

CHUNK = 2**18
"""Largest number of differences that are computed at once on a CPU, so that they stay in the cache."""


class MinibatchDiscrimination(nn.Module):
    r"""Append to each example its similarity to the other examples of the batch, so that a critic can detect collapse.

    .. math:: o(x_i)_b = \sum_{j \ne i} \exp(-\lVert M_{ib} - M_{jb} \rVert_1), \qquad M_i = f(x_i) \, T

    Salimans et al., "Improved techniques for training GANs", 2016, section 3.2; their sum includes j = i, which
    adds 1 to every o.

    Args:
        features: length of f(x).
        kernels: number B of similarities appended.
        width: length of a row M_ib.

    Raises:
        ValueError: if an argument is less than 1, or a batch has a single example.

    >>> MinibatchDiscrimination(features=8, kernels=3)(torch.zeros(4, 8)).shape
    torch.Size([4, 11])
    """

    def __init__(self, features: int, kernels: int = 100, width: int = 5):
        super().__init__()
        if min(features, kernels, width) < 1:
            raise ValueError(f"features={features}, kernels={kernels} and width={width} must be at least 1")
        self.kernels = kernels
        self.projection = nn.Parameter(torch.randn(features, kernels, width) / features**0.5)

    def forward(self, f: Float[Tensor, "n features"]) -> Float[Tensor, "n features+{self.kernels}"]:
        """The features, followed by the similarities."""
        if len(f) < 2:
            raise ValueError(
                "minibatch discrimination compares examples, but this batch has 1; use batches of 2 or more"
            )
        rows = torch.einsum("nf,fbw->bnw", f, self.projection)
        fast = rows.device.type == "cpu" and records_backward(rows)
        return torch.cat([f, (_Similarities.apply(rows) if fast else _similarities(rows)).T], dim=1)


def _similarities(rows: Float[Tensor, "b n w"]) -> Float[Tensor, "b n"]:
    """The similarities of each kernel. There is no second derivative, so penalties are refused."""
    distances = torch.cdist(rows, rows, p=1.0)  # (B, n, n)
    return (-distances).exp().sum(2) - 1  # an example is at distance 0 from itself


class _Similarities(torch.autograd.Function):
    """The same, without the operation of torch for each pair of rows, which is slow for short rows on a CPU.

    Distances are symmetric, so the gradient of a row has one sum over pairs instead of two.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        columns = rows.detach().permute(2, 0, 1).contiguous()  # (w, B, n)
        near = columns.new_empty(*columns.shape[1:], columns.shape[2])
        for kernels in _chunks(columns):
            part = columns[:, kernels]
            torch.sum((part[..., :, None] - part[..., None, :]).abs_(), 0, out=near[kernels])
        near.neg_().exp_()
        ctx.save_for_backward(rows, columns, near)
        return near.sum(2) - 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor | None:  # type: ignore[override]
        rows, columns, near = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may be requested, and is an error there
            return differentiable_gradients(lambda rows: (_similarities(rows),), (rows,), gradients)[0]
        weights = near * (gradients[0][..., :, None] + gradients[0][..., None, :])
        result = torch.empty_like(columns)
        for kernels in _chunks(columns):
            part = columns[:, kernels]
            signs = (part[..., None, :] - part[..., :, None]).sign_()
            torch.sum(signs.mul_(weights[kernels]), 3, out=result[:, kernels])
        return result.permute(1, 2, 0)


def _chunks(columns: Tensor) -> list[slice]:
    """The kernels in parts of few enough differences."""
    width, kernels, n = columns.shape
    step = max(1, CHUNK // (width * n * n))
    return [slice(start, start + step) for start in range(0, kernels, step)]
