"""Affine couplings: one part of an example is shifted and scaled by functions of the other part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.activations import Activation
from danlu.nn.activations import activation as activation_named
from danlu.nn.context import check_context
from danlu.nn.dense import check_widths
from danlu.nn.derivatives import is_observed, records_backward
from danlu.nn.linear import Linear
from danlu.nn.roles import output_layer
from danlu.nn.transforms.coupling_function import Step, coupling_stack
from danlu.nn.transforms.transform import Transform

BuildNetwork = Callable[[int, int], nn.Module]
"""Creates a network with a number of input and of output channels, which is called with the inputs and the context."""


class CouplingMLP(nn.Module):
    """The network of a coupling of rows: fully connected layers. Its outputs are 0 before the training.

    A context is appended to the inputs.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        hidden: width of each hidden layer.
        context: size of the context, or 0.
        activation: activation function after each hidden layer.

    >>> CouplingMLP(2, 6, hidden=(8,))(torch.zeros(5, 2)).shape
    torch.Size([5, 6])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        activation: Activation = "relu",
    ):
        super().__init__()
        check_widths("hidden", hidden)
        self.context = context
        widths = [inputs + context, *hidden]
        layers = [part for n, m in pairwise(widths) for part in (Linear(n, m), activation_named(activation))]
        self.layers = nn.Sequential(*layers, zero_initialized(output_layer(Linear(widths[-1], outputs))))

    def forward(
        self, x: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n outputs"]:
        """The outputs for each row.

        Raises:
            ValueError: if a context is missing, or the network takes none.
        """
        check_context(self.context > 0, context)
        return self.layers(x if context is None else torch.cat([x, context], 1))

    def relu_layers(self) -> list[Tensor] | None:
        """Weights and biases in turn, if the layers are linear ones with ReLU between them; otherwise None."""
        layers, tensors = list(self.layers), list[Tensor]()
        if type(self.layers) is not nn.Sequential or len(layers) % 2 == 0:
            return None
        if any(is_observed(module) for module in (self, self.layers, *layers)):
            return None
        for number, layer in enumerate(layers):
            if type(layer) not in ((nn.ReLU,) if number % 2 else (Linear, nn.Linear)):
                return None  # also for a subclass, which can compute something else
            if isinstance(layer, nn.Linear):
                if layer.bias is None:
                    return None
                tensors += [layer.weight, layer.bias]
        return tensors


class Coupling(Transform):
    r"""An affine coupling: half of the channels stay, and the others are scaled and shifted by functions of them.

    .. math:: z_a = x_a, \qquad z_b = x_b \odot e^{s(x_a)} + t(x_a), \qquad
        s = \gamma \odot \tanh(r(x_a)), \qquad \log \left| \det \frac{\partial z}{\partial x} \right| = \sum_j s_j

    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017, equations 4 to 8 and section 4.1. A
    network computes r and t. The factors γ are learned, one for each channel, so a log-scale never exceeds them,
    however far an input is from the training data.

    Args:
        size: number of channels d, the second dimension of the inputs; at least 2.
        build: creates the network from its numbers of inputs and outputs.
        swap: whether the first half is changed instead of the second one. With an odd d the first half is the larger.
        positions: number of dimensions of an example after the channels: 2 for images.

    Raises:
        ValueError: if there are fewer than 2 channels.

    >>> coupling = Coupling(3, CouplingMLP)
    >>> z, log_det = coupling(torch.ones(5, 3))  # the identity before the training
    >>> z.equal(torch.ones(5, 3)), log_det.equal(torch.zeros(5))
    (True, True)
    """

    def __init__(self, size: int, build: BuildNetwork, swap: bool = False, positions: int = 0):
        super().__init__()
        if size < 2:
            raise ValueError(f"a coupling needs at least 2 values, of which one stays as it is; got {size}")
        half = (size + 1) // 2
        self.sizes, self.swap = (half, size - half), swap
        kept, changed = self.sizes[::-1] if swap else self.sizes
        self.network = build(kept, 2 * changed)
        self.limit = nn.Parameter(torch.ones(changed, *(1,) * positions))

    def forward(
        self, x: Float[Tensor, "n d *positions"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d *positions"], Float[Tensor, "n"]]:
        """Scale and shift one half."""
        if (step := self.step(x, context, inverse=False)) is not None:
            return coupling_stack(x, context, [step])
        kept, changed = self._split(x)
        log_scale, shift = self._scale_and_shift(kept, context)
        return self._join(kept, torch.addcmul(shift, changed, log_scale.exp())), log_scale.flatten(1).sum(1)

    def inverse(
        self, z: Float[Tensor, "n d *positions"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d *positions"], Float[Tensor, "n"]]:
        """Remove shift and scale, which depend on the half that stayed."""
        if (step := self.step(z, context, inverse=True)) is not None:
            return coupling_stack(z, context, [step])
        kept, changed = self._split(z)
        log_scale, shift = self._scale_and_shift(kept, context)
        return self._join(kept, (changed - shift) * (-log_scale).exp()), -log_scale.flatten(1).sum(1)

    def step(self, x: Tensor, context: Tensor | None, inverse: bool) -> Step | None:
        """The coupling as a part of a stack that is computed as one function, on a CPU; None if it must be called."""
        network = self.network
        if type(network) is not CouplingMLP or x.device.type != "cpu" or not records_backward(x):
            return None
        check_context(network.context > 0, context)
        if type(self) is not Coupling or is_observed(self) or x.dim() != 2 or x.shape[1] != sum(self.sizes):
            return None
        tensors = [self.limit, *(network.relu_layers() or [])]
        same_type = all(t.dtype == x.dtype for t in tensors) and (context is None or context.dtype == x.dtype)
        return Step(self.swap, inverse, tensors) if same_type and len(tensors) > 1 else None

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split(self.sizes, 1)
        return (second, first) if self.swap else (first, second)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.swap else [kept, changed], 1)

    def _scale_and_shift(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-scale s and shift t."""
        raw, shift = self.network(kept, context).to(kept.dtype).chunk(2, 1)
        return self.limit * raw.tanh(), shift


def zero_initialized(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """The layer, with weights and biases of 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
