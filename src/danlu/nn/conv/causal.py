"""Gated causal convolutions: a sequence model with a fixed receptive field."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.conv.convolution import receptive_field
from danlu.nn.dense import check_dropout, check_width


class GatedBlock(nn.Module):
    r"""A causal convolution with gated linear units, and a shortcut if input and output have as many channels.

    .. math:: y_t = (W * x + b)_t \circ \sigma(V * x + c)_t \; [{} + x_t]

    Dauphin et al., "Language modeling with gated convolutional networks", 2017, equation 1, with the input
    shifted so that no output depends on a later step; dilations as in
    van den Oord et al., "WaveNet", 2016, section 2.1.

    Args:
        inputs: input channels.
        width: output channels; there is a shortcut if ``width == inputs``.
        kernel: number of steps that one output depends on, spaced by ``dilation``.
        dilation: spacing of the kernel.
        dropout: fraction of entries of the gated part set to zero during training.

    >>> GatedBlock(3, 4, kernel=2, dilation=5).memory
    5
    """

    def __init__(self, inputs: int, width: int, kernel: int = 3, dilation: int = 1, dropout: float = 0.0):
        super().__init__()
        self.memory = (kernel - 1) * dilation
        self.shortcut = inputs == width
        self.convolution = nn.Conv1d(inputs, 2 * width, kernel, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "n inputs m"]) -> Float[Tensor, "n width t"]:
        """Outputs for all steps after the first ``memory`` ones, which only provide context."""
        gated = self.dropout(F.glu(self.convolution(x), dim=1))
        return gated + x[:, :, self.memory :] if self.shortcut else gated


class CausalConvolutions(nn.Module):
    """A stack of gated causal convolutions with the interface of ``Recurrent``.

    An output depends only on the last ``receptive_field`` inputs. The state holds the last inputs of each block, so a
    sequence read in pieces gives the same outputs as the sequence read at once.

    Args:
        inputs: input features at each step.
        width: channels of each block.
        layers: number of blocks.
        kernel: kernel size of each block, at least 2.
        dilated: whether the dilation doubles with each block: 1, 2, 4, …
        dropout: fraction of entries set to zero in each block during training.

    Raises:
        ValueError: if an argument is too small.

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
            raise ValueError(f"kernel={kernel} must be at least 2 to depend on earlier steps")
        check_dropout(dropout)
        self.inputs, self.outputs = inputs, width
        dilations = [2**layer if dilated else 1 for layer in range(layers)]
        channels = [inputs] + [width] * (layers - 1)
        self.blocks = nn.ModuleList(
            GatedBlock(block_inputs, width, kernel, dilation, dropout)
            for block_inputs, dilation in zip(channels, dilations, strict=True)
        )
        self.receptive_field = receptive_field([((kernel - 1) * dilation + 1, 1) for dilation in dilations])
        self.sizes = [c * (kernel - 1) * dilation for c, dilation in zip(channels, dilations, strict=True)]

    def forward(
        self, x: Float[Tensor, "n t inputs"], state: Float[Tensor, "n memory"] | None = None
    ) -> tuple[Float[Tensor, "n t width"], Float[Tensor, "n memory"]]:
        """Outputs at every step, and the state after the last step.

        Args:
            x: sequences, batch first.
            state: the state after earlier steps; zeros by default.

        Raises:
            ValueError: if a shape is wrong.
        """
        if x.shape[2] != self.inputs or x.shape[1] == 0:
            raise ValueError(
                f"input of shape {tuple(x.shape)}; expected (rows, steps, {self.inputs}) with at least one step"
            )
        if state is None:
            state = self.zero_state(len(x))
        if state.shape != (len(x), sum(self.sizes)):
            raise ValueError(f"state of shape {tuple(state.shape)}; expected ({len(x)}, {sum(self.sizes)})")
        h, next_states = x.transpose(1, 2), []
        for block, context in zip(self.blocks, state.split(self.sizes, 1), strict=True):
            extended = torch.cat([context.view(len(x), h.shape[1], -1).to(h.dtype), h], 2)
            next_states.append(extended[:, :, h.shape[2] :].flatten(1))
            h = block(extended)
        return h.transpose(1, 2), torch.cat(next_states, 1)

    def zero_state(self, n: int) -> Float[Tensor, "n memory"]:
        """The initial state of n rows."""
        return next(self.parameters()).new_zeros(n, sum(self.sizes))
