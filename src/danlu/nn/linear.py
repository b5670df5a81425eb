"""The linear layer, computed with oneDNN on CPUs where that is faster.

torch multiplies float32 matrices with MKL. On one core of an AMD EPYC with AVX-512, MKL reached 100 GFLOPS and oneDNN,
which torch uses for convolutions, 210 GFLOPS. On a core without AVX-512 (peak 78 GFLOPS) MKL was at least as fast. Both
accumulate in float32, in different orders.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

MIN_PRODUCTS = 2**20
"""Smallest number of multiplications for which oneDNN is used."""


class Linear(nn.Linear):
    """Drop-in replacement of ``torch.nn.Linear``: same arguments, parameters, and gradients of every order.

    >>> Linear(3, 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        if not _use_onednn_for_training(input, self.weight):
            return F.linear(input, self.weight, self.bias)
        product = _Product.apply(input, self.weight)
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    """a bᵀ. Its derivatives are products of the same kind, so it has derivatives of every order, also in torch.func."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b), None, "none", [], "")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        # The inputs themselves and not their dense copies: a copy has no history, and second derivatives would lose it.
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (a, b), gradient = ctx.saved_tensors, gradients[0].contiguous()
        needs_a, needs_b = ctx.needs_input_grad
        return (
            _Product.apply(gradient, b.t()) if needs_a else None,
            _Product.apply(gradient.t(), a.t()) if needs_b else None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (a, b), (tangent_a, tangent_b) = ctx.saved_tensors, tangents
        parts = [] if tangent_a is None else [_Product.apply(tangent_a, b)]
        parts += [] if tangent_b is None else [_Product.apply(a, tangent_b)]
        return sum(parts[1:], parts[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Tensor) -> tuple[Tensor, int]:
        a, b = (x if d is None else x.movedim(d, 0) for x, d in zip(args, in_dims, strict=True))
        return a @ b.mT, 0


def product(
    a: Float[Tensor, "n k"], b: Float[Tensor, "k m"], bias: Float[Tensor, "m"] | None = None
) -> Float[Tensor, "n m"]:
    """Compute a b, plus an optional row, with the faster of MKL and oneDNN.

    It is for functions that define their own derivatives; where autograd records, it is torch's own product.

    >>> product(torch.ones(2, 3), torch.ones(3, 1), torch.ones(1)).tolist()
    [[4.0], [4.0]]
    """
    if not torch.is_grad_enabled() and _use_onednn(a, b.t()):
        return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b.t()), bias, "none", [], "")
    return a @ b if bias is None else torch.addmm(bias, a, b)


def add_product_(total: Float[Tensor, "n m"], a: Float[Tensor, "n k"], b: Float[Tensor, "k m"]) -> None:
    """Add a b to ``total`` in place, with the faster of MKL and oneDNN; the sum has the type of ``total``.

    >>> total = torch.ones(2, 1)
    >>> add_product_(total, torch.ones(2, 3), torch.ones(3, 1))
    >>> total.tolist()
    [[4.0], [4.0]]
    """
    if total.dtype == a.dtype and (torch.is_grad_enabled() or not _use_onednn(a, b.t())):
        total.addmm_(a, b)
    else:
        total += product(a, b)


def write_product(out: Float[Tensor, "n m"], a: Float[Tensor, "n k"], b: Float[Tensor, "k m"]) -> None:
    """Write a b into ``out``, with the faster of MKL and oneDNN, for functions that define their own derivatives.

    >>> out = torch.zeros(2, 1)
    >>> write_product(out, torch.ones(2, 3), torch.ones(3, 1))
    >>> out.tolist()
    [[3.0], [3.0]]
    """
    if _use_onednn(a, b.t()):
        out.copy_(product(a, b))
    else:
        torch.mm(a, b, out=out)


def _dense(matrix: Tensor) -> Tensor:
    """The matrix with contiguous rows or columns; oneDNN was 500 times slower on a slice of columns."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _use_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether both are large float32 matrices on a CPU; compiled code always uses torch's own operation."""
    return (
        PREFER_ONEDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.dim() == 2
        and len(x) * weight.numel() >= MIN_PRODUCTS
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _use_onednn_for_training(x: Tensor, weight: Tensor) -> bool:
    """Like ``_use_onednn``, but only while gradients are recorded: exported code uses torch's own operation."""
    return torch.is_grad_enabled() and type(x) is Tensor and _use_onednn(x, weight)


def _has_onednn() -> bool:
    """Whether this build of torch has the private oneDNN operation and it gives the expected result."""
    if not torch.backends.mkldnn.is_available():
        return False
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    try:
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "").tolist() == [[11.0, 17.0]]
    except (AttributeError, RuntimeError, TypeError):
        return False


HAS_ONEDNN = _has_onednn()
PREFER_ONEDNN = HAS_ONEDNN and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
"""Whether oneDNN is faster than MKL on this CPU."""
