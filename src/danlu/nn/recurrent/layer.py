"""A stack of recurrent layers of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from danlu.nn.dense import check_dropout, check_width
from danlu.nn.recurrent.cell_types import Kind, Nonlinearity, Reset, cells
from danlu.nn.recurrent.fused import How, apart, compact, fused
from danlu.nn.recurrent.init import Initial, begin
from danlu.nn.recurrent.steps import Steps, pack, unpacked
from danlu.nn.recurrent.sweep import Cell, Weights, sweep

State = Tensor
"""(n, states, layers · directions, width): the first state is the output h, the second an LSTM's memory c"""


class Recurrent(nn.Module):
    r"""Layers that read a sequence step by step and carry a state, :math:`h_t = f(h_{t-1}, x_t)`.

    rnn, lstm and gru with reset="after" are torch's, on its kernels. peephole and coupled LSTM, and the GRU with
    reset="before" (Cho et al. 2014) or "notes" (the lecture notes), have their formulas in the files of those names.
    Parameters have torch's names and order of gates, so that state dicts of the first three go both ways; a peephole
    LSTM adds ``peephole_l0`` and so on with the rows of input, forget and output gate. The state is one tensor, its
    rows first, that can be detached, indexed and kept in a buffer.

    Args:
        inputs: entries of the input at each step.
        width: units of each layer.
        kind: rnn, lstm, peephole, coupled or gru.
        layers: how many, one above the other.
        bidirectional: whether each layer also reads from the end and puts out both, one beside the other.
        dropout: share of units zeroed between layers while training, after each layer but the last.
        bias: whether gates have biases; torch has two that add up, and so it is here.
        reset: of a GRU: after (torch), before (Cho et al.) or notes.
        nonlinearity: of an RNN: tanh or relu.
        initial: of the recurrent matrices: uniform within ±1/√width like all else (torch), orthogonal for each gate,
            or, for an RNN, uniform and scaled to spectral radius 1.
        forget_bias: with which bias an LSTM's forget gate begins (Jozefowicz et al. 2015 take 1), in place of torch's
            random ones; the input gate of a coupled LSTM gets the opposite.

    Raises:
        ValueError: if a number is too small, a name is unknown, or an argument is for another kind.

    >>> layers = Recurrent(inputs=5, width=8, kind="peephole", layers=2)
    >>> outputs, state = layers(torch.zeros(3, 7, 5))
    >>> outputs.shape, state.shape
    (torch.Size([3, 7, 8]), torch.Size([3, 2, 2, 8]))
    >>> outputs, state = layers(torch.zeros(3, 7, 5), state.detach(), lengths=[7, 2, 4])
    """

    _is_eager: ClassVar[bool] = False

    def __init__(
        self,
        inputs: int,
        width: int,
        kind: Kind = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        reset: Reset = "after",
        nonlinearity: Nonlinearity = "tanh",
        initial: Initial = "uniform",
        forget_bias: float | None = None,
    ):
        super().__init__()
        for name, number in (("inputs", inputs), ("width", width), ("layers", layers)):
            check_width(name, number)
        check_dropout(dropout)
        self.cells = cells(kind, reset, nonlinearity)
        self.inputs, self.width, self.kind, self.layers = inputs, width, kind, layers
        self.bidirectional, self.dropout, self.bias = bidirectional, dropout, bias
        self.directions = 2 if bidirectional else 1
        self.outputs = width * self.directions
        for layer in range(layers):
            self._add(layer, inputs if layer == 0 else self.outputs)
        begin(dict(self.named_parameters()), width, self.cells.gates, initial, self.cells.forgets, forget_bias)
        self._compact()

    def forward(
        self,
        x: Float[Tensor, "n t inputs"] | PackedSequence,
        state: Float[Tensor, "n states layers width"] | None = None,
        lengths: Int[Tensor, "n"] | list[int] | None = None,
    ) -> tuple[Any, Float[Tensor, "n states layers width"]]:
        """Outputs of the last layer at every step, and the state after each row's last step.

        Args:
            x: sequences as rows, or packed; what comes out is of the same sort.
            state: before the first step; zeros without it.
            lengths: steps of each row that count, at least 1; outputs behind them are zeros.

        Raises:
            ValueError: if a shape or a length does not fit.
        """
        if lengths is not None:
            padded = unpacked(x)
            outputs, after = self(pack(padded, lengths), state)
            return pad_packed_sequence(outputs, batch_first=True, total_length=padded.shape[1])[0], after
        if not isinstance(x, PackedSequence):
            return self._run(x, self._start(x, len(x), state))
        state = self._start(x.data, int(x.batch_sizes[0]), state)
        order, back = x.sorted_indices, x.unsorted_indices
        outputs, state = self._run(x, state if order is None else state[order])
        return PackedSequence(outputs, x.batch_sizes, order, back), state if back is None else state[back]

    @classmethod
    def stay_eager(cls) -> None:
        """Exclude these layers from torch.compile, which would unroll them anew for each number of steps."""
        if not cls._is_eager:
            run: Any = torch.compiler.disable(cls._run)
            cls._run, cls._is_eager = run, True

    def zero_state(self, n: int) -> Float[Tensor, "n states layers width"]:
        """The state of n rows before anything was read."""
        return next(self.parameters()).new_zeros(n, self.cells.states, self.layers * self.directions, self.width)

    def _start(self, data: Tensor, rows: int, state: Tensor | None) -> Tensor:
        """The state before the first step, after a look at both shapes."""
        if data.shape[-1] != self.inputs:
            raise ValueError(f"an input of {data.shape[-1]} entries a step was given, and inputs={self.inputs}")
        if 0 in data.shape[:-1]:
            raise ValueError(f"the input of shape {tuple(data.shape)} has nothing to read; give at least one step")
        zeros = self.zero_state(rows)
        if state is None:
            return zeros.to(data.dtype)
        if state.shape != zeros.shape:
            raise ValueError(
                f"a state of shape {tuple(state.shape)} was given, and {rows} rows need {tuple(zeros.shape)}: rows, "
                f"states, layers · directions, width"
            )
        return state

    def _run(self, x: Tensor | PackedSequence, state: Tensor) -> tuple[Tensor, Tensor]:
        """All layers; of a packed sequence the data alone."""
        if not isinstance(self.cells.kernel, Cell):
            weights = [getattr(self, name) for name in self._names()]
            how = How(self.bias, self.layers, self.dropout, self.training, self.bidirectional)
            return fused(self.cells.kernel, x, state, weights, how)
        if isinstance(x, PackedSequence):
            return self._swept(self.cells.kernel, x.data, x.batch_sizes.tolist(), state)
        n, t = x.shape[:2]
        outputs, state = self._swept(self.cells.kernel, x.transpose(0, 1).reshape(t * n, -1), [n] * t, state)
        return outputs.view(t, n, -1).transpose(0, 1), state

    def _swept(self, cell: Cell, data: Tensor, sizes: list[int], state: Tensor) -> tuple[Tensor, Tensor]:
        """Layer by layer, on steps that lie one after the other."""
        after: list[Tensor] = []
        for layer in range(self.layers):
            found = []
            for direction in range(self.directions):
                start, steps = state[:, :, len(after)], Steps(sizes, backwards=direction == 1)
                outputs, end = sweep(cell, steps, data, start, self._weights(layer, direction))
                found.append(outputs)
                after.append(end)
            data = torch.cat(found, 1) if self.bidirectional else found[0]
            if layer + 1 < self.layers and self.dropout:
                data = F.dropout(data, self.dropout, self.training)
        return data, torch.stack(after, 2)

    def _weights(self, layer: int, direction: int) -> Weights:
        """Both matrices, one bias for torch's two, and what a cell has beside them."""
        end = _ending(layer, direction)
        matrix, recurrent = getattr(self, f"weight_ih_{end}"), getattr(self, f"weight_hh_{end}")
        if self.bias:
            bias = getattr(self, f"bias_ih_{end}") + getattr(self, f"bias_hh_{end}")
        else:
            bias = matrix.new_zeros(len(matrix))
        more = (getattr(self, f"peephole_{end}"),) if self.kind == "peephole" else ()
        return matrix, recurrent, bias, *more

    def _add(self, layer: int, inputs: int) -> None:
        """The parameters of a layer; their values come later."""
        rows = sum(self.cells.rows(inputs, self.width))
        for direction in range(self.directions):
            end = _ending(layer, direction)
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.width)}
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if self.kind == "peephole":
                shapes["peephole"] = (3, self.width)
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_{end}", nn.Parameter(torch.empty(shape)))

    def _names(self) -> list[str]:
        """Of torch's parameters, in its order, which is the one in which they were added."""
        return [name for name in self._parameters if not name.startswith("peephole")]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Recurrent:
        super()._apply(fn, recurse)
        self._compact()
        return self

    def _compact(self) -> None:
        names, kernel = self._names(), self.cells.kernel
        if not isinstance(kernel, str) or next(self.parameters()).device.type != "cuda":
            return
        calls = self.layers if apart(self.layers, self.dropout) else 1
        many = len(names) // calls
        for call in range(calls):
            inputs, some = self.outputs if call else self.inputs, names[call * many : (call + 1) * many]
            compact(self, some, kernel, inputs, self.width, self.bias, self.layers // calls, self.bidirectional)

    def extra_repr(self) -> str:
        return (
            f"{self.inputs}, {self.width}, kind={self.kind!r}, layers={self.layers}, bidirectional={self.bidirectional}"
        )


def _ending(layer: int, direction: int) -> str:
    """Of the names of a layer's parameters, as torch has it."""
    return f"l{layer}" + ("_reverse" if direction else "")
