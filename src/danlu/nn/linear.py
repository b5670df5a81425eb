"""The linear map, on a CPU by way of oneDNN where that is quicker.

torch multiplies matrices of float32 with MKL. On one core of an AMD EPYC with AVX-512 that reached 100 billion
operations a second, and oneDNN, which torch has for convolutions, 210. The sums are in float32 either way, in another
order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORTH = 2**20
"""products of two numbers in a layer, from which on the call is worth it"""


class Linear(nn.Linear):
    """As in torch: same arguments, weights, names and gradients of every order.

    >>> Linear(3, 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        if not _quicker(input, self.weight):
            return F.linear(input, self.weight, self.bias)
        product = _Product.apply(input, self.weight)
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    """a bᵀ; its derivatives are such products again, so that they can be derived, too."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        a, b = _dense(a), _dense(b)
        ctx.save_for_backward(a, b)
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (a, b), gradient = ctx.saved_tensors, gradients[0].contiguous()
        for_a, for_b = ctx.needs_input_grad
        return (
            _Product.apply(gradient, b.t()) if for_a else None,
            _Product.apply(gradient.t(), a.t()) if for_b else None,
        )


def _dense(matrix: Tensor) -> Tensor:
    """The matrix with its rows or its columns one after the other; oneDNN was 500 times slower on half its columns."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _quicker(x: Tensor, weight: Tensor) -> bool:
    """Plain matrices of float32 on a CPU, large enough, while training: what is exported or compiled stays torch's."""
    return (
        torch.is_grad_enabled()
        and type(x) is Tensor
        and x.dim() == 2
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and len(x) * weight.numel() >= WORTH
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and HAS_ONEDNN
    )


def _has_onednn() -> bool:
    """Whether this build of torch has the operation, which is not among its public ones, and it does what it should."""
    if not torch.backends.mkldnn.is_available():
        return False
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    try:
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "").tolist() == [[11.0, 17.0]]
    except (AttributeError, RuntimeError, TypeError):
        return False


HAS_ONEDNN = _has_onednn()
