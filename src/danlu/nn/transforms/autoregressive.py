"""Autoregressive transforms: each entry is transformed with parameters that depend on the entries before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from danlu.nn.derivatives import without_autocast
from danlu.nn.masked.conditioner import Conditioner
from danlu.nn.masked.made import MADE
from danlu.nn.transforms.transform import Transform
from danlu.nn.transforms.univariate import Univariate

ROWS, VALUES = 256, 2**18
"""Number of examples that are computed together in the sequential direction, at least, and the number of their values,
at least one of both. More would not fit in a cache."""
FEW_ROWS = 256
"""Largest number of examples for which the sequential direction is computed in NumPy."""


class Autoregressive(Transform):
    r"""Transform each entry of a vector with parameters that a network computes from the entries before it.

    .. math:: z_i = \tau(x_i; \, h_i(x_1, \dots, x_{i-1}, c))

    The Jacobian is triangular, so its log-determinant is a sum over entries. ``forward`` takes one pass of the network.
    ``inverse`` computes the entries one after another: with ``danlu.nn.MADE`` and ``danlu.nn.WaveNet`` with the
    operations of about one pass, with other conditioners in as many passes as there are entries. With ``Affine`` this
    is a layer of masked autoregressive flow (Papamakarios et al., 2017, equations 2 to 5); its ``danlu.nn.Inverse`` is
    a layer of inverse autoregressive flow (Kingma et al., "Improved variational inference with inverse autoregressive
    flow", 2016).

    The gradients of ``inverse`` with respect to z, the context and the parameters follow from the implicit function
    theorem. With :math:`J = \partial f / \partial x` and the gradient g of x, the triangular system
    :math:`J^T v = g` is solved from the last entry to the first; v is the gradient of z, and :math:`-v^T \partial f` is
    that of the parameters. Second derivatives of ``inverse`` raise an error.

    Args:
        conditioner: the network h. Any ``danlu.nn.Conditioner`` can be used.
        univariate: the function τ, for example ``danlu.nn.Affine``; the number of its parameters must be that of the
            outputs of the network.

    Raises:
        ValueError: if these numbers differ.

    >>> from danlu.nn import MADE, Affine
    >>> layer = Autoregressive(MADE(size=3, outputs=2), Affine())
    >>> z, log_det = layer(torch.zeros(5, 3))
    >>> x, _ = layer.inverse(z)
    >>> z.shape, log_det.shape, x.allclose(torch.zeros(5, 3), atol=1e-6)
    (torch.Size([5, 3]), torch.Size([5]), True)
    """

    _is_eager = False

    def __init__(self, conditioner: Conditioner, univariate: Univariate):
        super().__init__()
        if conditioner.outputs != univariate.outputs:
            raise ValueError(
                f"the conditioner has {conditioner.outputs} outputs for each entry, and {type(univariate).__name__} "
                f"has {univariate.outputs} parameters; set outputs={univariate.outputs} in the conditioner"
            )
        self.conditioner, self.univariate = conditioner, univariate

    def forward(
        self, x: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """z, and the sum of the logarithms of its slopes, in one pass."""
        z, log_slope = self.univariate(x, self._parameters_of(x, context))
        return z, log_slope.sum(1)

    def inverse(
        self, z: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """x, entry by entry, and its log-determinant."""
        rows = max(ROWS, VALUES // z.shape[1])
        parts = [
            self._generate(part, None if context is None else context[start : start + rows])
            for start, part in zip(range(0, max(len(z), 1), rows), z.detach().split(rows), strict=True)
        ]
        x, log_det = (torch.cat(values) for values in zip(*parts, strict=True))
        if not torch.is_grad_enabled():
            return x, log_det
        z_of_x, _ = self.univariate(x, self._parameters_of(x, context))
        residual = z - z_of_x  # 0 up to rounding; what matters are its gradients
        if not residual.requires_grad:
            return x, log_det
        x = x + _Solve.apply(residual, x, None if context is None else context.detach().to(x.dtype), self)
        _, log_slope = self.univariate(x, self._parameters_of(x, context))
        return x, -log_slope.sum(1)

    def _parameters_of(self, x: Tensor, context: Tensor | None) -> Float[Tensor, "n d outputs"]:
        """The outputs of the network in the precision of x: with autocast, theirs is too low for sums."""
        return self.conditioner(x, context).to(x.dtype)

    @classmethod
    def stay_eager(cls) -> None:
        """Exclude the sequential direction from torch.compile, which would unroll it."""
        if not cls._is_eager:
            inverse: Any = torch.compiler.disable(cls.inverse)
            cls.inverse, cls._is_eager = inverse, True

    @torch.inference_mode()  # operations take less time than with torch.no_grad
    def _generate(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """x and its log-determinant; autograd cannot use these tensors, only copies of them."""
        if isinstance(self.conditioner, MADE) and len(z) <= FEW_ROWS and self.conditioner.takes_arrays(z):
            columns = z.t().contiguous()
            log_slopes = torch.empty_like(columns)
            with np.errstate(all="ignore"):  # as in torch: overflows are infinite, without a warning
                if (next_entry := self.univariate.inverse_of_arrays(columns.numpy(), log_slopes.numpy())) is not None:
                    return self.conditioner.generate_arrays(next_entry, z, context), log_slopes.sum(0)
        entries = z.t().contiguous().unbind(0)
        log_slopes, inverse = [], self.univariate.inverse_like(entries[0])

        def step(i: int, parameters: Tensor) -> Tensor:
            parameters = parameters if parameters.dtype == z.dtype else parameters.to(z.dtype)
            entry, log_slope = inverse(entries[i], parameters)
            log_slopes.append(log_slope)
            return entry

        x = self.conditioner.generate(step, z, context)
        return x, torch.stack(log_slopes).sum(0)

    def _solve_transposed(self, g: Tensor, x: Tensor, context: Tensor | None) -> Float[Tensor, "n d"]:
        """The solution v of Jᵀ v = g, where J is the Jacobian of ``forward`` at x."""
        slope, of_parameters = self._partial_derivatives(x, context)
        entries, slopes, factors = (
            values.transpose(0, 1).contiguous().unbind(0) for values in (g, slope, of_parameters)
        )
        solution = []

        def step(i: int, of_later: Tensor) -> Tensor:
            solution.append((entries[i] - of_later) / slopes[i])
            return factors[i] * solution[-1].unsqueeze(1)

        self.conditioner.backsolve(step, x, context)
        return torch.stack(solution[::-1], 1)

    def _partial_derivatives(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The derivatives of each z_i with respect to x_i and to its parameters, (n, d) and (n, d, outputs)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            parameters = self._parameters_of(x.detach(), context).detach().requires_grad_()
            z, _ = self.univariate(x, parameters)
            of_x, of_parameters = torch.autograd.grad(z.sum(), (x, parameters))
        return of_x, of_parameters


class _Solve(torch.autograd.Function):
    """0, with the derivatives of J⁻¹ times the residual."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, context: Tensor | None, transform: Autoregressive) -> Tensor:
        # the weights of this pass: the module can have others when the gradients are computed
        weights = dict(transform.named_parameters(prefix="transform"))
        ctx.save_for_backward(residual, x, context, *weights.values())
        ctx.transform, ctx.names = transform, tuple(weights)
        return torch.zeros_like(residual)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        residual, x, context, *weights = ctx.saved_tensors
        named = dict(zip(ctx.names, weights, strict=True))
        with torch.no_grad():
            solution = functional_call(_TransposedSolver(ctx.transform), named, (gradients[0], x, context))
        if torch.is_grad_enabled():  # a second derivative may be requested
            solution = _FirstDerivativesOnly.apply(solution, residual, gradients[0])
        return solution, None, None, None


class _TransposedSolver(nn.Module):
    """The solution of the triangular system as the ``forward`` that ``functional_call`` needs."""

    def __init__(self, transform: Autoregressive):
        super().__init__()
        self.transform = transform

    def forward(self, g: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        return self.transform._solve_transposed(g, x, context)


class _FirstDerivativesOnly(torch.autograd.Function):
    """Raise an error when the solution is differentiated again; otherwise it would silently count as a constant.

    It is connected to the gradient and to the residual, which depends on z, the context and all parameters.
    """

    @staticmethod
    def forward(ctx: Any, solution: Tensor, residual: Tensor, gradient: Tensor) -> Tensor:
        return solution.view_as(solution)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(
            "the sequential direction of an autoregressive transform has first derivatives only; the direction of one "
            "pass has derivatives of every order"
        )
