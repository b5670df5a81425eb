"""MADE: a fully connected network with masks that make it autoregressive."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.activations import Activation
from danlu.nn.activations import activation as activation_named
from danlu.nn.context import check_context
from danlu.nn.dense import check_widths
from danlu.nn.derivatives import is_plain
from danlu.nn.masked.conditioner import Conditioner, NextArray, NextEntry, NextGradient
from danlu.nn.masked.degree_groups import Units
from danlu.nn.masked.degrees import Degrees, hidden_degrees
from danlu.nn.masked.linear import MaskedLinear
from danlu.nn.masked.sequential import backsolve, generate, generate_arrays
from danlu.nn.roles import output_layer
from danlu.rng.keys import key


class MADE(Conditioner):
    r"""A fully connected network whose outputs for entry i depend only on the entries before i.

    Input i has degree i + 1. A hidden unit of degree m depends on units and inputs of degree at most m, and the outputs
    for entry i depend on units of degree at most i. Germain et al., "MADE: masked autoencoder for distribution
    estimation", 2015, section 4. The context enters the first layer without a mask, and with a context there are hidden
    units of degree 0, which depend on it alone. Therefore the outputs for entry 0 depend on the context, too.

    ``generate`` and ``backsolve`` compute only the units of one degree at a time, because units of lower degree do not
    change any more. Each weight is used once, as in a single pass.

    Args:
        size: number of entries.
        outputs: number of outputs for each entry.
        hidden: width of each hidden layer; a layer with fewer units than entries leaves out some dependences.
        context: length of the context, or 0.
        degrees: degrees of the hidden units: "sequential" or "random"; see ``hidden_degrees``.
        activation: activation function of each hidden layer.
        residual: whether each hidden layer from the second on adds its input; all hidden layers then have the same
            width and degrees.
        seed: seed of random degrees.

    Raises:
        ValueError: if a number is out of range, or ``residual`` is set for layers of different widths.

    >>> made = MADE(size=3, outputs=2, hidden=(8,), context=4)
    >>> made(torch.zeros(5, 3), torch.zeros(5, 4)).shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        size: int,
        outputs: int = 2,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        degrees: Degrees = "sequential",
        activation: Activation = "relu",
        residual: bool = False,
        seed: int = 0,
    ):
        super().__init__(size, outputs)
        check_widths("hidden", hidden)
        if context < 0:
            raise ValueError(f"context={context} must be at least 0")
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"residual needs hidden layers of one width, got hidden={tuple(hidden)}")
        self.residual = residual
        lowest = 0 if context else min(1, size - 1)
        inputs = torch.arange(1, size + 1)
        layers = []
        for number, width in enumerate(hidden):
            layer_seed = key("degrees", seed, 0 if residual else number)
            units = hidden_degrees(width, lowest, size - 1, degrees, layer_seed)
            layers.append(MaskedLinear(inputs, units))
            inputs = units
        self.hidden = nn.ModuleList(layers)
        last = torch.arange(1, size + 1).repeat_interleave(outputs)
        self.output = output_layer(MaskedLinear(inputs, last, strict=True))
        first = hidden[0] if hidden else size * outputs
        self.context = nn.Linear(context, first, bias=False) if context else None
        self.activation = activation_named(activation)
        self._units: Units | None = None

    def forward(
        self, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size outputs"]:
        """The outputs for all entries at once."""
        return self.shifted(x, self.of_context(context))

    def shifted(
        self, x: Float[Tensor, "n size"], shift: Float[Tensor, "n first"] | None
    ) -> Float[Tensor, "n size outputs"]:
        """The outputs for all entries, with the result of ``of_context``, which several calls can share."""
        for layer in self.hidden:
            y = layer(x)
            if shift is not None:
                y, shift = y + shift, None
            y = self.activation(y)
            x = x + y if self.residual and layer is not self.hidden[0] else y
        y = self.output(x)
        return (y if shift is None else y + shift).unflatten(1, (self.size, self.outputs))

    def of_context(self, context: Float[Tensor, "n c"] | None) -> Float[Tensor, "n first"] | None:
        """What the context adds to the first layer; None without a context.

        Raises:
            ValueError: if the context is missing, or the network has no input for it.
        """
        check_context(self.context is not None, context)
        return None if self.context is None or context is None else self.context(context)

    @torch.no_grad()
    def generate(
        self, step: NextEntry, like: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size"]:
        """Compute the entries of x one after another; see ``Conditioner.generate``."""
        return generate(self, self.units, step, like, self.of_context(context))

    def takes_arrays(self, like: Float[Tensor, "n size"]) -> bool:
        """Whether ``generate_arrays`` computes entries of this type: with ReLU, of plain tensors on a CPU.

        Args:
            like: a tensor with the data type and device of the entries.
        """
        types = {like.dtype, *(parameter.dtype for parameter in self.parameters())}
        return isinstance(self.activation, nn.ReLU) and is_plain(like) and types in ({torch.float32}, {torch.float64})

    @torch.no_grad()
    def generate_arrays(
        self, step: NextArray, like: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size"]:
        """``generate`` in NumPy, which takes less time with few examples.

        Args:
            step: called for i = 0, 1, …, size - 1 with the outputs for entry i, (outputs, n), which are overwritten
                later; it returns entry i, (n,).
            like: a tensor for which ``takes_arrays`` is true, with the shape of the result.
            context: the second input of ``forward``.
        """
        return generate_arrays(self, self.units, step, like, self.of_context(context))

    @torch.no_grad()
    def backsolve(
        self, step: NextGradient, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> None:
        """Propagate gradients backwards through the entries; see ``Conditioner.backsolve``."""
        backsolve(self, self.units, step, x, self.of_context(context))

    @property
    def layers(self) -> list[MaskedLinear]:
        """The hidden layers, and the output layer."""
        return [*self.hidden, self.output]  # type: ignore[list-item]

    @property
    def units(self) -> Units:
        """The numbers of units of each degree."""
        if self._units is None:
            self._units = Units(self)
        return self._units
