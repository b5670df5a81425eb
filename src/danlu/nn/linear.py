"""The linear map, on a CPU by way of oneDNN where that is quicker.

torch multiplies matrices of float32 with MKL. On one core of an AMD EPYC with AVX-512 that reached 100 billion
operations a second, and oneDNN, which torch has for convolutions, 210; on one without, where both can do 78, MKL was as
quick or quicker. The sums are in float32 either way, in another order.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
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


def product(
    a: Float[Tensor, "n k"], b: Float[Tensor, "k m"], plus: Float[Tensor, "m"] | None = None
) -> Float[Tensor, "n m"]:
    """a b, and a row that is added, by the quicker of both: for formulas that know their own derivatives.

    No gradient goes through it.

    >>> product(torch.ones(2, 3), torch.ones(3, 1), torch.ones(1)).tolist()
    [[4.0], [4.0]]
    """
    if _worth(a, b.t()):
        return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b.t()), plus, "none", [], "")
    return a @ b if plus is None else torch.addmm(plus, a, b)


def add_product_(total: Float[Tensor, "n m"], a: Float[Tensor, "n k"], b: Float[Tensor, "k m"]) -> None:
    """total += a b, by the quicker of both, with the sum in the total's type.

    >>> total = torch.ones(2, 1)
    >>> add_product_(total, torch.ones(2, 3), torch.ones(3, 1))
    >>> total.tolist()
    [[4.0], [4.0]]
    """
    if total.dtype == a.dtype and not _worth(a, b.t()):
        total.addmm_(a, b)
    else:
        total += product(a, b)


def _dense(matrix: Tensor) -> Tensor:
    """The matrix with its rows or its columns one after the other; oneDNN was 500 times slower on half its columns."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _worth(x: Tensor, weight: Tensor) -> bool:
    """Matrices of float32 on a CPU, large enough; what is compiled stays torch's."""
    return (
        QUICKER
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.dim() == 2
        and len(x) * weight.numel() >= WORTH
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _quicker(x: Tensor, weight: Tensor) -> bool:
    """The same while training alone: what is exported stays torch's, too."""
    return torch.is_grad_enabled() and type(x) is Tensor and _worth(x, weight)


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
QUICKER = HAS_ONEDNN and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
"""Whether it is worth it here."""
