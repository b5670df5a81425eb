"""The entries of a vector one after another: only the units of one degree are computed at each entry.

A unit of degree r depends on the entries 0 to r - 1 and on units of degree at most r. When these entries are known, its
value is final, so every weight is used once, at any number of layers. Values are stored with one row for each unit:
the units that a layer reads are then one block of memory.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.masked.conditioner import NextEntry, NextGradient
from danlu.nn.masked.linear import MaskedLinear

if TYPE_CHECKING:
    from danlu.nn.masked.made import MADE

TOGETHER = 32
"""Number of consecutive degrees whose products read the same units. Their tensors are made together, because a view of
a tensor takes as long as an operation. Units that are not known yet have the value and the weight 0."""


class Units:
    """How many units of each level have low degrees. The levels are inputs, hidden layers and outputs.

    Attributes:
        below: for each level, the number of units with a degree below r, for r = 0, …, size + 1. The degree of an
            output is the number of its entry.
    """

    def __init__(self, made: MADE):
        degrees = torch.arange(made.size + 2)
        inputs, outputs = (degrees - 1).clamp(min=0), degrees * made.outputs
        hidden = [torch.searchsorted(layer.degrees.cpu(), degrees) for layer in made.layers[:-1]]
        self.below: list[list[int]] = [level.tolist() for level in (inputs, *hidden, outputs)]

    def rows(self, level: int, first: int, last: int) -> slice:
        """The units of these degrees."""
        return slice(self.below[level][first], self.below[level][last + 1])

    def counts(self, level: int, first: int, last: int) -> list[int]:
        """The number of units of each of these degrees."""
        below = self.below[level][first : last + 2]
        return [b - a for a, b in pairwise(below)]


class Product(NamedTuple):
    """What the units of one degree are computed from, and the memory for their values."""

    weight: Tensor
    inputs: Tensor
    bias: Tensor
    out: Tensor

    def compute(self) -> Tensor:
        """The values of the units before the activation function."""
        return torch.addmm(self.bias, self.weight, self.inputs, out=self.out)


Products = list[Product | None]
"""the product for each degree; None where no unit has this degree"""


def generate(
    made: MADE, units: Units, step: NextEntry, like: Float[Tensor, "n size"], shift: Float[Tensor, "n first"] | None
) -> Float[Tensor, "n size"]:
    """The entries, computed one after another; see ``Conditioner.generate``.

    Args:
        made: the network.
        units: the numbers of its units.
        step: gives an entry.
        like: a tensor of the shape of the result.
        shift: what the context adds to the first layer.
    """
    layers = made.layers
    values = [like.new_zeros(rows, len(like)) for rows in (made.size, *(len(layer.weight) for layer in layers))]
    biases = [layer.bias.unsqueeze(1) for layer in layers]
    if shift is not None:
        biases[0] = biases[0] + shift.t()
    *hidden, last = (_layer_products(units, k, layers[k], biases[k], values) for k in range(len(layers)))
    rectified = isinstance(made.activation, nn.ReLU)
    for i, entry in enumerate(values[0].unbind(0)):
        for k, products in enumerate(hidden):
            if (product := products[i]) is not None:
                y = product.compute()
                y = y.relu_() if rectified else y.copy_(made.activation(y))
                if made.residual and k:
                    y += values[k][units.rows(k, i, i)]
        product = last[i]
        assert product is not None  # each entry has outputs
        entry.copy_(step(i, product.compute().t()))
    return values[0].t()


def backsolve(
    made: MADE, units: Units, step: NextGradient, x: Float[Tensor, "n size"], shift: Float[Tensor, "n first"] | None
) -> None:
    """Gradients from the last entry to the first; see ``Conditioner.backsolve``.

    Args:
        made: the network.
        units: the numbers of its units.
        step: gives the gradient of the outputs for an entry.
        x: the entries.
        shift: what the context adds to the first layer.
    """
    layers = made.layers
    slopes = _slopes(made, x, shift)
    gradients = [x.new_zeros(rows, len(x)) for rows in (made.size, *(len(layer.weight) for layer in layers))]
    entries, *hidden = (_gradient_products(units, k, layer, gradients) for k, layer in enumerate(layers))
    of_outputs = gradients[-1].split(made.outputs)
    for i in reversed(range(made.size)):
        carried: Tensor | None = None
        # the units of degree i + 1 are complete: they are used for the outputs of entries from i + 1 on
        for k in reversed(range(len(hidden))):
            if (product := hidden[k][i + 1]) is not None:
                of_units = product.compute()
                if made.residual and carried is not None:
                    of_units += carried
                carried = of_units.clone() if made.residual else None
                of_units *= slopes[k][units.rows(k + 1, i + 1, i + 1)]
        product = entries[i + 1]
        assert product is not None  # there is one entry of each degree
        of_outputs[i].copy_(step(i, product.compute()[0]).t())


def _layer_products(units: Units, k: int, layer: MaskedLinear, bias: Tensor, values: list[Tensor]) -> Products:
    """The product of layer k for each degree from 0 on.

    Args:
        units: the numbers of units.
        k: number of the layer.
        layer: the layer.
        bias: what is added to its products, with one row for each unit.
        values: the values of each level.
    """
    size, products = len(values[0]), []
    for first in range(0, size, TOGETHER):
        last = min(first + TOGETHER, size) - 1
        rows, end = units.rows(k + 1, first, last), units.below[k][last + 1]
        weight, counts = layer.weight[rows, :end] * layer.mask[rows, :end], units.counts(k + 1, first, last)
        parts = zip(*(x.split(counts) for x in (weight, bias[rows], values[k + 1][rows])), strict=True)
        products += [Product(w, values[k][:end], b, out) if len(w) else None for w, b, out in parts]
    return products


def _gradient_products(units: Units, k: int, layer: MaskedLinear, gradients: list[Tensor]) -> Products:
    """The product that gives the gradients of the units of level k, for each degree from 0 on.

    Args:
        units: the numbers of units.
        k: number of the level; the layer reads it.
        layer: the layer.
        gradients: the gradients of each level, before the activation function.
    """
    size, products, zero = len(gradients[0]), [], gradients[0].new_zeros(1, 1)
    for first in range(0, size + 1, TOGETHER):
        last = min(first + TOGETHER - 1, size)
        rows, start = units.rows(k, first, last), units.below[k + 1][first]
        weight = (layer.weight[start:, rows] * layer.mask[start:, rows]).t().contiguous()
        parts = zip(*(x.split(units.counts(k, first, last)) for x in (weight, gradients[k][rows])), strict=True)
        products += [Product(w, gradients[k + 1][start:], zero, out) if len(w) else None for w, out in parts]
    return products


def _slopes(made: MADE, x: Tensor, shift: Tensor | None) -> list[Float[Tensor, "units n"]]:
    """The derivative of the activation function at each hidden unit."""
    slopes = []
    for k, layer in enumerate(made.layers[:-1]):
        y = layer(x)
        if shift is not None and not k:
            y = y + shift
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            activated = made.activation(y)
            (slope,) = torch.autograd.grad(activated.sum(), y)
        slopes.append(slope.t().contiguous())
        x = x + activated.detach() if made.residual and k else activated.detach()
    return slopes
