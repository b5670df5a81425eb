"""The entries of a vector one after another: only the units of one degree are computed at each entry.

A unit of degree r depends on the entries 0 to r - 1 and on units of degree at most r. When these entries are known, its
value is final, so every weight is used once, at any number of layers (``danlu.nn.masked.degree_groups``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.masked.conditioner import NextArray, NextEntry, NextGradient
from danlu.nn.masked.degree_groups import (
    TOGETHER,
    AnyProducts,
    ArrayProducts,
    Products,
    Units,
    gradient_products,
    layer_products,
)

if TYPE_CHECKING:
    from danlu.nn.masked.made import MADE


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
    values, biases = _memory(made, like, shift)
    rectified, entries = isinstance(made.activation, nn.ReLU), values[0].unbind(0)

    def activate(y: Tensor) -> Tensor:
        return y.relu_() if rectified else y.copy_(made.activation(y))

    for i, outputs in _outputs(Products, made, units, values, biases, values, activate):
        entries[i].copy_(step(i, outputs.t()))
    return values[0].t()


def generate_arrays(
    made: MADE, units: Units, step: NextArray, like: Float[Tensor, "n size"], shift: Float[Tensor, "n first"] | None
) -> Float[Tensor, "n size"]:
    """The same in NumPy, for a network with ReLU and tensors on a CPU; see ``MADE.generate_arrays``.

    Args:
        made: the network.
        units: the numbers of its units.
        step: gives an entry.
        like: a tensor of the shape of the result.
        shift: what the context adds to the first layer.
    """
    values, biases = _memory(made, like, shift)
    arrays = [level.numpy() for level in values]

    def activate(y: np.ndarray) -> np.ndarray:
        return np.maximum(y, 0, out=y)

    for i, outputs in _outputs(ArrayProducts, made, units, values, biases, arrays, activate):
        arrays[0][i] = step(i, outputs)
    return values[0].t()


def _outputs(
    kind: type[AnyProducts],
    made: MADE,
    units: Units,
    values: list[Tensor],
    biases: list[Tensor],
    levels: Sequence[Any],
    activate: Callable[[Any], Any],
) -> Iterator[tuple[int, Any]]:
    """Each entry's number and outputs; the caller stores the entry before it asks for the next ones.

    ``levels`` are the values as tensors or arrays, which ``activate`` changes in place.
    """
    for first in range(0, made.size, TOGETHER):
        last = min(first + TOGETHER, made.size) - 1
        *hidden, outputs = (
            layer_products(kind, units, k, layer, bias, values, first, last)
            for k, (layer, bias) in enumerate(zip(made.layers, biases, strict=True))
        )
        for i in range(first, last + 1):
            for k, products in enumerate(hidden):
                if products.counts[i - first]:
                    y = activate(products.compute(i - first))
                    if made.residual and k:
                        y += levels[k][units.rows(k, i, i)]
            yield i, outputs.compute(i - first)


def _memory(made: MADE, like: Tensor, shift: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    """Zeros for the values of each level, and what is added to the products of each layer: one row for each unit."""
    values = [like.new_zeros(rows, len(like)) for rows in (made.size, *(len(layer.weight) for layer in made.layers))]
    biases = [layer.bias.unsqueeze(1) for layer in made.layers]
    if shift is not None:
        biases[0] = biases[0] + shift.t()
    return values, biases


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
    of_outputs = gradients[-1].split(made.outputs)
    for last in range(made.size, 0, -TOGETHER):
        first = max(last - TOGETHER, 0) + 1
        entries, *hidden = (
            gradient_products(units, k, layer, gradients, first, last) for k, layer in enumerate(layers)
        )
        for degree in range(last, first - 1, -1):
            carried: Tensor | None = None
            # the units of this degree are complete: they are used for the outputs of entries from this number on
            for k in reversed(range(len(hidden))):
                if hidden[k].counts[degree - first]:
                    of_units = hidden[k].compute(degree - first)
                    if made.residual and carried is not None:
                        of_units += carried
                    carried = of_units.clone() if made.residual else None
                    of_units *= slopes[k][units.rows(k + 1, degree, degree)]
            of_entry = entries.compute(degree - first)[0]  # there is one entry of each degree
            of_outputs[degree - 1].copy_(step(degree - 1, of_entry).t())


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
