"""Gated convolutions that look back only: a sequence model that sees a fixed number of steps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.conv.convolution import receptive_field
from danlu.nn.dense import check_dropout, check_width


class GatedBlock(nn.Module):
    r"""A causal convolution, half of whose outputs open or close the other half, with a shortcut where it fits.

    .. math:: y_t = (W * x + b)_t \circ \sigma(V * x + c)_t \; [{} + x_t]

    Dauphin et al., "Language modeling with gated convolutional networks", 2017, equation 1, their input moved so that
    no step sees a later one; dilations as in van den Oord et al., "WaveNet", 2016, section 2.1.

    Args:
        inputs: channels that come in.
        width: channels that go out; there is a shortcut if they are as many.
        kernel: steps that one output sees, at ``dilation`` from each other.
        dilation: distance of the steps.
        dropout: share of entries of the gated part zeroed while training.

    >>> GatedBlock(3, 4, kernel=2, dilation=5).memory
    5
    """

    def __init__(self, inputs: int, width: int, kernel: int = 3, dilation: int = 1, dropout: float = 0.0):
        super().__init__()
        self.memory = (kernel - 1) * dilation
        self.shortcut = inputs == width
        self.convolution = nn.Conv1d(inputs, 2 * width, kernel, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "n inputs seen"]) -> Float[Tensor, "n width t"]:
        """Outputs for all steps but the first ``memory``, which are what was there before."""
        gated = self.dropout(F.glu(self.convolution(x), dim=1))
        return gated + x[:, :, self.memory :] if self.shortcut else gated


class CausalConvolutions(nn.Module):
    """Gated causal convolutions, one above the other, with the interface of ``Recurrent``.

    An output depends on the last ``receptive_field`` inputs and on nothing else, however long the sequence is. The
    state is the end of what each block has read, so that a text in pieces gives what it gives as a whole.

    Args:
        inputs: entries of the input at each step.
        width: channels of each block.
        layers: how many blocks.
        kernel: steps that an output of a block sees, at least 2.
        dilated: whether the distance of those steps doubles with each block: 1, 2, 4, …
        dropout: share of entries zeroed in each block while training.

    Raises:
        ValueError: if a number is too small.

    >>> layers = CausalConvolutions(inputs=5, width=8, layers=4, kernel=3)
    >>> layers.receptive_field, CausalConvolutions(5, 8, layers=4, kernel=3, dilated=True).receptive_field
    (9, 31)
    >>> outputs, state = layers(torch.zeros(3, 7, 5))
    >>> outputs.shape, state.shape
    (torch.Size([3, 7, 8]), torch.Size([3, 58]))
    """

    def __init__(
        self, inputs: int, width: int, layers: int = 4, kernel: int = 3, dilated: bool = False, dropout: float = 0.0
    ):
        super().__init__()
        for name, number in (("inputs", inputs), ("width", width), ("layers", layers)):
            check_width(name, number)
        if kernel < 2:
            raise ValueError(f"kernel={kernel} looks at no step before; use at least 2")
        check_dropout(dropout)
        self.inputs, self.outputs = inputs, width
        dilations = [2**layer if dilated else 1 for layer in range(layers)]
        channels = [inputs] + [width] * (layers - 1)
        self.blocks = nn.ModuleList(
            GatedBlock(before, width, kernel, dilation, dropout)
            for before, dilation in zip(channels, dilations, strict=True)
        )
        self.receptive_field = receptive_field([((kernel - 1) * dilation + 1, 1) for dilation in dilations])
        self.sizes = [c * (kernel - 1) * dilation for c, dilation in zip(channels, dilations, strict=True)]

    def forward(
        self, x: Float[Tensor, "n t inputs"], state: Float[Tensor, "n memory"] | None = None
    ) -> tuple[Float[Tensor, "n t width"], Float[Tensor, "n memory"]]:
        """Outputs at every step, and the state after the last one.

        Args:
            x: sequences as rows.
            state: what the blocks have read before; zeros without it.

        Raises:
            ValueError: if a shape does not fit.
        """
        if x.shape[2] != self.inputs or x.shape[1] == 0:
            raise ValueError(
                f"an input of shape {tuple(x.shape)} was given; give rows, at least one step, {self.inputs}"
            )
        if state is None:
            state = self.zero_state(len(x))
        if state.shape != (len(x), sum(self.sizes)):
            raise ValueError(
                f"a state of shape {tuple(state.shape)} was given, and {len(x)} rows need {sum(self.sizes)}"
            )
        here, after = x.transpose(1, 2), []
        for block, past in zip(self.blocks, state.split(self.sizes, 1), strict=True):
            seen = torch.cat([past.view(len(x), here.shape[1], -1).to(here.dtype), here], 2)
            after.append(seen[:, :, here.shape[2] :].flatten(1))
            here = block(seen)
        return here.transpose(1, 2), torch.cat(after, 1)

    def zero_state(self, n: int) -> Float[Tensor, "n memory"]:
        """The state of n rows before anything was read."""
        return next(self.parameters()).new_zeros(n, sum(self.sizes))
