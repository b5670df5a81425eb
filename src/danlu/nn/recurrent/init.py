"""Initialization of recurrent layers."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Initial = Literal["uniform", "orthogonal", "radius"]


@torch.no_grad()
def scale_radius(weight: Float[Tensor, "width width"], radius: float = 1.0) -> None:
    r"""Scale a square matrix to a given spectral radius, in place.

    .. math:: W \leftarrow W \, r / \max_k |\lambda_k(W)|

    Over t steps a linear network multiplies by :math:`W^t`, which vanishes if the radius is below 1 and explodes if it
    is above 1. Section 3.2.3 of the lecture notes.

    Args:
        weight: the recurrent matrix; it is changed.
        radius: the spectral radius r.

    Raises:
        ValueError: if all eigenvalues are 0.

    >>> weight = torch.tensor([[0.0, 4.0], [1.0, 0.0]])
    >>> scale_radius(weight)
    >>> torch.linalg.eigvals(weight).abs()
    tensor([1., 1.])
    """
    if weight.is_meta:  # it has no values
        return
    largest = torch.linalg.eigvals(weight.double()).abs().max()
    if not largest > 0:
        raise ValueError(f"a matrix whose eigenvalues are all 0 cannot be scaled to the spectral radius {radius}")
    weight.mul_(radius / largest.to(weight.dtype))


@torch.no_grad()
def orthogonal_blocks(weight: Float[Tensor, "rows width"], rows: list[int]) -> None:
    """Make the block of each gate in a recurrent matrix orthogonal, which preserves the norm of a signal.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2014. In a block that is not square the rows or the columns are orthonormal.

    Args:
        weight: the blocks, stacked along the rows; it is changed.
        rows: number of rows of each block.
    """
    for block in weight.split(rows):
        nn.init.orthogonal_(block)


@torch.no_grad()
def init_parameters(
    parameters: dict[str, nn.Parameter],
    width: int,
    gates: int,
    initial: Initial,
    forget: tuple[int, int] | None,
    forget_bias: float | None,
) -> None:
    """Initialize all parameters of recurrent layers, which have torch's names.

    Args:
        parameters: the parameters by name; they are changed.
        width: units of a layer.
        gates: number of gates.
        initial: initialization of the recurrent matrices.
        forget: index of the gate that ``forget_bias`` sets, and the sign of the bias.
        forget_bias: the bias of the forget gate, or None for torch's initialization.

    Raises:
        ValueError: if there is no forget gate, or a spectral radius is requested for more than one gate.
    """
    if forget_bias is not None and forget is None:
        raise ValueError(f"forget_bias={forget_bias} is for the forget gate of an LSTM; this kind has none, so omit it")
    for name, parameter in parameters.items():
        nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)
        if name.startswith("weight_hh") and initial != "uniform":
            _recurrent(parameter, width, gates, initial)
        if name.startswith("bias") and forget is not None and forget_bias is not None:
            gate, sign = forget
            bias = sign * forget_bias if name.startswith("bias_ih") else 0.0  # the two add up
            parameter[gate * width : (gate + 1) * width] = bias


def _recurrent(weight: Tensor, width: int, gates: int, initial: Initial) -> None:
    if initial == "orthogonal":
        other_rows = [width] * (gates - 1)  # the first gate may have a different number of rows
        orthogonal_blocks(weight, [len(weight) - sum(other_rows), *other_rows])
    elif initial == "radius" and gates == 1:
        scale_radius(weight)
    elif initial == "radius":
        raise ValueError("initial='radius' is for kind='rnn'; for cells with gates use 'orthogonal'")
    else:
        raise ValueError(f"initial={initial!r} is unknown; choose uniform, orthogonal or radius")
