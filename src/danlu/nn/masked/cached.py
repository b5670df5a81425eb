"""A masked convolution that computes one pixel at a time, from rows that it keeps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.nn.masked.convolution import MaskedConv2d, VerticalConv2d, color_groups

ROW = -1
"""in place of a column: all columns at once"""
_Views = tuple[Tensor, list[Tensor], list[Tensor]]


class CachedConvolution:
    """The outputs of a masked convolution in raster order, each computed once.

    The contribution of the rows above is computed for a whole row when it begins. An output then is one product of the
    weights of the current row with the last inputs. Channels are last in memory, so these inputs are one row of a
    matrix. The outputs of one color group are computed at a time, because they depend on inputs of earlier groups only.

    The instance keeps a copy of the weights, and is used without gradients.

    Args:
        layer: the convolution.
        n: number of images.
        width: width of the images.

    >>> layer = MaskedConv2d(2, 3, kernel=3, mask="B")
    >>> with torch.no_grad():
    ...     x = torch.randn(1, 2, 1, 5)
    ...     cached = CachedConvolution(layer, n=1, width=5)
    ...     cached.start_row()
    ...     cached.write(2, 0).copy_(x[:, :, 0, 2])
    ...     cached.write(3, 0).copy_(x[:, :, 0, 3])
    ...     torch.testing.assert_close(cached(3, 0), layer(x)[:, :, 0, 3])
    tensor([[...]])
    tensor([[...]])
    """

    def __init__(self, layer: MaskedConv2d, n: int, width: int):
        weight = layer.masked_weight()
        self.n, self.width, self.reach = n, width, layer.reach
        outputs, inputs = weight.shape[:2]
        self.above_weight, self.bias = (weight[:, :, :-1] if layer.rows else None), layer.bias
        self._rows = weight.new_zeros(n, layer.rows + 1, width + 2 * layer.reach, inputs)
        of_input, of_output = (
            [torch.nonzero(color_groups(size, layer.groups, parts) == group)[:, 0] for group in range(layer.groups)]
            for size, parts in ((inputs, 1), (outputs, layer.parts))
        )
        self._outputs = [chosen.to(weight.device) for chosen in of_output]
        current = weight[:, :, -1, : layer.reach + 1].permute(2, 1, 0).reshape(-1, outputs)
        self._weights = [current[:, chosen].contiguous() for chosen in self._outputs]
        self._base = [weight.new_empty(n, width, len(chosen)) for chosen in self._outputs]
        self._views = self._make_views([slice(int(chosen[0]), int(chosen[-1]) + 1) for chosen in of_input])
        self.start_row()

    def _make_views(self, groups: list[slice]) -> list[_Views]:
        """Views of each column, and at last of all; made once, as an index operation takes as long as a small product.

        A view has the inputs on which the outputs depend, the places of the inputs of each group, and the contribution
        of other rows to the outputs of each group.
        """
        current = self._rows[:, -1]
        stride, inputs = current.stride(0), current.shape[2]
        windows = current.as_strided(
            (self.n, self.width, (self.reach + 1) * inputs), (stride, inputs, 1), current.storage_offset()
        )
        row = current[:, self.reach : self.reach + self.width]
        return [
            (windows[:, column], [row[:, column, group] for group in groups], [base[:, column] for base in self._base])
            for column in (*range(self.width), slice(None))
        ]

    def start_row(self, addend: Float[Tensor, "n w outputs"] | Float[Tensor, "n 1 outputs"] | None = None) -> None:
        """Begin the next row.

        Args:
            addend: what is added to all outputs of this row, for example the contribution of the vertical stack.
        """
        base = self.bias
        if self.above_weight is not None:
            self._rows[:, :-1] = self._rows[:, 1:].clone()
            above = self._rows[:, :-1].permute(0, 3, 1, 2)
            base = F.conv2d(above, self.above_weight, self.bias)[:, :, 0].transpose(1, 2)
        if addend is not None:
            base = base + addend
        for target, chosen in zip(self._base, self._outputs, strict=True):
            target.copy_(base[..., chosen])

    def write(self, column: int, group: int) -> Tensor:
        """The place of the inputs of a color group, which the caller fills.

        Args:
            column: the column, or ``ROW``.
            group: the color group.

        Returns:
            A view, (n, inputs of the group), or (n, width, inputs of the group) for ``ROW``.
        """
        return self._views[column][1][group]

    def write_channel(self, column: int, channel: int, values: Float[Tensor, "n"]) -> None:
        """Write one input channel of a column."""
        self._rows[:, -1, self.reach + column, channel] = values

    def write_channels(self, values: Float[Tensor, "n inputs w"]) -> None:
        """Write all inputs of the current row."""
        self._rows[:, -1, self.reach : self.reach + self.width] = values.transpose(1, 2)

    def read_channels(self) -> Float[Tensor, "n inputs w"]:
        """All inputs of the current row."""
        return self._rows[:, -1, self.reach : self.reach + self.width].transpose(1, 2)

    def __call__(self, column: int, group: int, out: Tensor | None = None) -> Tensor:
        """The outputs of a color group, whose inputs must have been written.

        Args:
            column: the column, or ``ROW``.
            group: the color group.
            out: where to write them, for example the place of the inputs of the next layer.

        Returns:
            The outputs, (n, outputs of the group), or (n, width, outputs of the group) for ``ROW``.
        """
        window, _, base = self._views[column]
        if column != ROW:
            return torch.addmm(base[group], window, self._weights[group], out=out)
        outputs = torch.matmul(window, self._weights[group]).add_(base[group])
        return outputs if out is None else out.copy_(outputs)


class CachedVertical:
    """A convolution of the vertical stack that computes one row at a time, from rows that it keeps.

    Args:
        layer: the convolution.
        n: number of images.
        width: width of the images.
    """

    def __init__(self, layer: VerticalConv2d, n: int, width: int):
        self.layer = layer
        _, inputs, rows, _ = layer.weight.shape
        self._rows = layer.weight.new_zeros(n, inputs, rows, width + 2 * layer.reach)

    def __call__(self, row: Float[Tensor, "n inputs w"]) -> Float[Tensor, "n outputs 1 w"]:
        """The outputs of the next row.

        Args:
            row: the inputs of this row; for the first layer of the stack, those of the row above.
        """
        self._rows[:, :, :-1] = self._rows[:, :, 1:].clone()
        reach = self.layer.reach
        self._rows[:, :, -1, reach : reach + row.shape[2]] = row
        return F.conv2d(self._rows, self.layer.weight, self.layer.bias)
