"""How recurrent layers begin."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Initial = Literal["uniform", "orthogonal", "radius"]


@torch.no_grad()
def scale_radius(weight: Float[Tensor, "width width"], radius: float = 1.0) -> None:
    r"""Scale a square matrix so that the largest modulus of its eigenvalues is the radius.

    .. math:: W \leftarrow W \, r / \max_k |\lambda_k(W)|

    Over t steps a linear network multiplies by :math:`W^t`, which dies out with a smaller radius and explodes with a
    larger one. Section 3.2.3 of the lecture notes.

    Args:
        weight: the recurrent matrix; it is changed.
        radius: r.

    Raises:
        ValueError: if all eigenvalues are 0.

    >>> weight = torch.tensor([[0.0, 4.0], [1.0, 0.0]])
    >>> scale_radius(weight)
    >>> torch.linalg.eigvals(weight).abs()
    tensor([1., 1.])
    """
    largest = torch.linalg.eigvals(weight.double()).abs().max()
    if not largest > 0:
        raise ValueError(f"a matrix whose eigenvalues are all 0 cannot be scaled to the spectral radius {radius}")
    weight.mul_(radius / largest.to(weight.dtype))


@torch.no_grad()
def orthogonal_blocks(weight: Float[Tensor, "rows width"], rows: list[int]) -> None:
    """Make each gate's block of a recurrent matrix orthogonal; a signal that passes one keeps its length.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2014. Where a block is not square its rows or its columns are orthonormal.

    Args:
        weight: the blocks, one above the other; it is changed.
        rows: of each block.
    """
    for block in weight.split(rows):
        nn.init.orthogonal_(block)


@torch.no_grad()
def begin(
    parameters: dict[str, nn.Parameter],
    width: int,
    gates: int,
    initial: Initial,
    forget: tuple[int, int] | None,
    forget_bias: float | None,
) -> None:
    """Draw all parameters of recurrent layers, named as torch names them.

    Args:
        parameters: by name; they are changed.
        width: units of a layer.
        gates: blocks of rows in a matrix.
        initial: of the recurrent matrices.
        forget: the gate that a bias makes remember, counted from 0, and with which sign.
        forget_bias: that bias, if it is wanted.

    Raises:
        ValueError: if there is no such gate, or a spectral radius is wanted of several blocks.
    """
    if forget_bias is not None and forget is None:
        raise ValueError(
            f"forget_bias={forget_bias} is for an LSTM's forget gate, and this kind has none; leave it out"
        )
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
        others = [width] * (gates - 1)  # a gate in front may be of another length
        orthogonal_blocks(weight, [len(weight) - sum(others), *others])
    elif initial == "radius" and gates == 1:
        scale_radius(weight)
    elif initial == "radius":
        raise ValueError("initial='radius' is for the one recurrent matrix of kind='rnn'; gates take 'orthogonal'")
    else:
        raise ValueError(f"initial={initial!r} is unknown; choose uniform, orthogonal or radius")
