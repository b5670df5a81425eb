"""Clipping of gradients by their global norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def clip_gradients(
    gradients: list[Tensor], max_norm: float | None, sum_over_processes: Callable[[list[Tensor]], None] | None = None
) -> tuple[Float[Tensor, ""], Float[Tensor, "k"]]:
    """Scale gradients in place so that their global norm is at most ``max_norm``.

    With g all gradients as one vector, g becomes g · min(1, max_norm / (‖g‖ + 1e-6)), as in Pascanu, Mikolov and Bengio
    (2013) and in ``torch.nn.utils.clip_grad_norm_``.

    Args:
        gradients: the k gradients; for sharded parameters, the part of this process.
        max_norm: the largest norm; None computes the norms without clipping.
        sum_over_processes: sums tensors over the processes in place; needed for sharded parameters.

    Returns:
        The global norm, and the norm of each gradient, both before clipping.

    >>> gradients = [torch.tensor([3.0]), torch.tensor([4.0])]
    >>> norm, norms = clip_gradients(gradients, max_norm=1.0)
    >>> norm.item(), norms.tolist(), [round(g.item(), 4) for g in gradients]
    (5.0, [3.0, 4.0], [0.6, 0.8])
    """
    norms = torch.stack(torch._foreach_norm(gradients))
    if sum_over_processes is not None:
        squares = norms.square()
        sum_over_processes([squares])
        norms = squares.sqrt()
    norm = torch.linalg.vector_norm(norms)
    if max_norm is not None:
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm, norms
