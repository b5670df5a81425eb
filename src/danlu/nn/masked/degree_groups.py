"""Groups of consecutive degrees, for the sequential evaluation of ``danlu.nn.MADE``.

Values are stored with one row for each unit: the units that a layer reads are then one block of memory. What the units
of a group get from units before the group is one product with a rectangle of weights, in which nothing is masked. The
steps of the group then read its own units only, so their products are small, and need masked weights.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from danlu.nn.masked.linear import MaskedLinear

if TYPE_CHECKING:
    from danlu.nn.masked.made import MADE

TOGETHER = 32
"""Number of degrees of a group. The tensors of its steps are made together, because a view of a tensor takes as long as
an operation. Units that are not known yet have the value and the weight 0."""


class Units:
    """How many units of each level have low degrees. The levels are inputs, hidden layers and outputs.

    Attributes:
        below: for each level, the number of units with a degree below r, for r = 0, …, size + 1. The degree of an
            output is the number of its entry.
        counts: for each level, the number of units of each degree from 0 to size.
    """

    def __init__(self, made: MADE):
        degrees = torch.arange(made.size + 2)
        inputs, outputs = (degrees - 1).clamp(min=0), degrees * made.outputs
        hidden = [torch.searchsorted(layer.degrees.cpu(), degrees) for layer in made.layers[:-1]]
        self.below: list[list[int]] = [level.tolist() for level in (inputs, *hidden, outputs)]
        self.counts = [[b - a for a, b in pairwise(level)] for level in self.below]

    def rows(self, level: int, first: int, last: int) -> slice:
        """The units of these degrees."""
        return slice(self.below[level][first], self.below[level][last + 1])


class Products:
    """The products from which the units of each degree of a group are computed.

    Args:
        before: what these units get from units before the group.
        weight: the weights of the units of the group that they depend on.
        inputs: the values of these units; they are read when a product is computed.
        out: the memory for the results.
        counts: the number of units of each degree.
    """

    def __init__(self, before: Tensor, weight: Tensor, inputs: Tensor, out: Tensor, counts: list[int]):
        self.inputs, self.counts = inputs, counts
        self._parts = list(zip(*(rows.split(counts) for rows in (before, weight, out)), strict=True))

    def compute(self, number: int) -> Tensor:
        """The values of the units of a degree before the activation function.

        Args:
            number: the degree, minus the first degree of the group.
        """
        before, weight, out = self._parts[number]
        return torch.addmm(before, weight, self.inputs, out=out)


class ArrayProducts:
    """The same in NumPy, which starts an operation in a third of the time that torch takes; on a CPU only.

    Args:
        before: as for ``Products``.
        weight: as for ``Products``.
        inputs: as for ``Products``.
        out: as for ``Products``.
        counts: as for ``Products``.
    """

    def __init__(self, before: Tensor, weight: Tensor, inputs: Tensor, out: Tensor, counts: list[int]):
        self.inputs, self.counts = inputs.numpy(), counts
        ends = list(accumulate(counts))
        rows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        arrays = [values.numpy() for values in (before, weight, out)]
        self._parts = [tuple(values[part] for values in arrays) for part in rows]

    def compute(self, number: int) -> np.ndarray:
        """The values of the units of a degree before the activation function.

        Args:
            number: the degree, minus the first degree of the group.
        """
        before, weight, out = self._parts[number]
        np.dot(weight, self.inputs, out=out)
        out += before
        return out


AnyProducts = TypeVar("AnyProducts", Products, ArrayProducts)


def layer_products(
    kind: type[AnyProducts],
    units: Units,
    k: int,
    layer: MaskedLinear,
    bias: Tensor,
    values: list[Tensor],
    first: int,
    last: int,
) -> AnyProducts:
    """The products of layer k for the degrees of a group; the degree of an entry is one more than its number.

    Args:
        kind: the class that computes them.
        units: the numbers of units.
        k: number of the layer.
        layer: the layer.
        bias: what is added to its products, with one row for each unit.
        values: the values of each level; entries up to degree ``first`` and units of lower degrees are known.
        first: the first degree.
        last: the last degree.
    """
    rows, known, end = units.rows(k + 1, first, last), units.below[k][first + (k == 0)], units.below[k][last + 1]
    out = values[k + 1][rows]
    # autocast does not change a product that is written to a given tensor
    before = torch.addmm(bias[rows], layer.weight[rows, :known], values[k][:known], out=torch.empty_like(out))
    weight = layer.weight[rows, known:end] * layer.mask[rows, known:end]
    return kind(before, weight, values[k][known:end], out, units.counts[k + 1][first : last + 1])


def gradient_products(
    units: Units, k: int, layer: MaskedLinear, gradients: list[Tensor], first: int, last: int
) -> Products:
    """The products that give the gradients of the units of level k, for the degrees of a group.

    Args:
        units: the numbers of units.
        k: number of the level; the layer reads it.
        layer: the layer.
        gradients: the gradients of each level, before the activation function; those of units of higher degrees, and
            of the outputs for entries from number ``last`` on, are known.
        first: the first degree.
        last: the last degree.
    """
    is_output = k + 2 == len(gradients)
    rows, start = units.rows(k, first, last), units.below[k + 1][first]
    known = units.below[k + 1][last if is_output else last + 1]
    out = gradients[k][rows]
    before = torch.mm(layer.weight[known:, rows].t(), gradients[k + 1][known:], out=torch.empty_like(out))
    weight = (layer.weight[start:known, rows] * layer.mask[start:known, rows]).t().contiguous()
    return Products(before, weight, gradients[k + 1][start:known], out, units.counts[k][first : last + 1])
