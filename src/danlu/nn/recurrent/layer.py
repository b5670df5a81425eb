"""A stack of recurrent layers of any type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from danlu.nn.dense import check_dropout, check_width
from danlu.nn.recurrent.cell_types import Kind, Nonlinearity, Reset, cell_type
from danlu.nn.recurrent.fused import KernelArguments, flatten_parameters, fused, layer_by_layer
from danlu.nn.recurrent.init import Initial, init_parameters
from danlu.nn.recurrent.scan import Cell, Weights, scan
from danlu.nn.recurrent.steps import Steps, pack, unpacked
from danlu.nn.roles import set_role

State = Tensor
"""(n, states, layers · directions, width): the first state is the output h, the second the memory cell c of an LSTM"""


class Recurrent(nn.Module):
    r"""A stack of recurrent layers, :math:`h_t = f(h_{t-1}, x_t)`.

    The kinds rnn, lstm, and gru with reset="after" are torch's and use its kernels. The formulas of the peephole LSTM,
    the coupled LSTM and the GRU with reset="before" (Cho et al. 2014) or "notes" (the lecture notes) are in
    ``peephole_lstm.py``, ``coupled_lstm.py``, ``gru_reset_before.py`` and ``gru_lecture_notes.py``. Parameters have
    torch's names and order of gates, so state dicts of torch's kinds can be loaded in both directions. A peephole LSTM
    adds ``peephole_l0`` and so on, with one row for the input, forget and output gate each. The state is one tensor,
    batch first, that can be detached, indexed and kept in a buffer.

    Args:
        inputs: input features at each step.
        width: units of each layer.
        kind: rnn, lstm, peephole, coupled or gru.
        layers: number of layers.
        bidirectional: whether each layer also reads backwards; its output is then the concatenation of both directions.
        dropout: fraction of units set to zero during training after each layer except the last.
        bias: whether the gates have biases; as in torch there are two, which are added.
        reset: reset gate of a GRU: after (torch), before (Cho et al.) or notes.
        nonlinearity: activation of an RNN: tanh or relu.
        initial: initialization of the recurrent matrices: uniform within ±1/√width like all other parameters (torch),
            orthogonal for each gate, or, for an RNN, radius: uniform, scaled to spectral radius 1.
        forget_bias: initial bias of the forget gate of an LSTM (1 in Jozefowicz et al. 2015); by default torch's random
            initialization. The input gate of a coupled LSTM gets the negative value.

    Raises:
        ValueError: if a number is too small, a name is unknown, or an argument belongs to another kind.

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
        self.cells = cell_type(kind, reset, nonlinearity)
        self.inputs, self.width, self.kind, self.layers = inputs, width, kind, layers
        self.bidirectional, self.dropout, self.bias = bidirectional, dropout, bias
        self.directions = 2 if bidirectional else 1
        self.outputs = width * self.directions
        for layer in range(layers):
            self._add(layer, inputs if layer == 0 else self.outputs)
        init_parameters(
            dict(self.named_parameters()), width, self.cells.gates, initial, self.cells.forgets, forget_bias
        )
        self._flatten_weights()

    def forward(
        self,
        x: Float[Tensor, "n t inputs"] | PackedSequence,
        state: Float[Tensor, "n states layers width"] | None = None,
        lengths: Int[Tensor, "n"] | list[int] | None = None,
    ) -> tuple[Any, Float[Tensor, "n states layers width"]]:
        """Outputs of the last layer at every step, and the state after the last step of each row.

        Args:
            x: sequences, batch first, or packed; the outputs have the same form.
            state: the state before the first step; zeros by default.
            lengths: number of valid steps of each row, at least 1; outputs after them are zeros.

        Raises:
            ValueError: if a shape or a length is wrong.
        """
        if lengths is not None:
            padded = unpacked(x)
            outputs, after = self(pack(padded, lengths), state)
            return pad_packed_sequence(outputs, batch_first=True, total_length=padded.shape[1])[0], after
        if not isinstance(x, PackedSequence):
            return self._run(x, self._initial_state(x, len(x), state))
        state = self._initial_state(x.data, int(x.batch_sizes[0]), state)
        order, unsorted = x.sorted_indices, x.unsorted_indices
        outputs, state = self._run(x, state if order is None else state[order])
        return PackedSequence(outputs, x.batch_sizes, order, unsorted), state if unsorted is None else state[unsorted]

    @classmethod
    def stay_eager(cls) -> None:
        """Exclude these layers from torch.compile, which would unroll them anew for each number of steps."""
        if not cls._is_eager:
            run: Any = torch.compiler.disable(cls._run)
            cls._run, cls._is_eager = run, True

    def zero_state(self, n: int) -> Float[Tensor, "n states layers width"]:
        """The initial state of n rows."""
        return next(self.parameters()).new_zeros(n, self.cells.states, self.layers * self.directions, self.width)

    def _initial_state(self, data: Tensor, rows: int, state: Tensor | None) -> Tensor:
        """The state before the first step, with both shapes checked."""
        if data.shape[-1] != self.inputs:
            raise ValueError(f"expected inputs={self.inputs} features per step, got {data.shape[-1]}")
        if 0 in data.shape[:-1]:
            raise ValueError(f"the input must have at least one step, got shape {tuple(data.shape)}")
        zeros = self.zero_state(rows)
        if state is None:
            return zeros.to(data.dtype)
        if state.shape != zeros.shape:
            raise ValueError(
                f"state has shape {tuple(state.shape)}, expected {tuple(zeros.shape)}: rows, states, "
                f"layers · directions, width"
            )
        return state

    def _run(self, x: Tensor | PackedSequence, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers; for a packed sequence, return its data only."""
        if not isinstance(self.cells.kernel, Cell):
            weights = [getattr(self, name) for name in self._names()]
            arguments = KernelArguments(self.bias, self.layers, self.dropout, self.training, self.bidirectional)
            return fused(self.cells.kernel, x, state, weights, arguments)
        if isinstance(x, PackedSequence):
            return self._run_cell(self.cells.kernel, x.data, x.batch_sizes.tolist(), state)
        n, t = x.shape[:2]
        outputs, state = self._run_cell(self.cells.kernel, x.transpose(0, 1).reshape(t * n, -1), [n] * t, state)
        return outputs.view(t, n, -1).transpose(0, 1), state

    def _run_cell(self, cell: Cell, data: Tensor, sizes: list[int], state: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers with a cell of danlu, on data ordered by time step."""
        after: list[Tensor] = []
        for layer in range(self.layers):
            direction_outputs = []
            for direction in range(self.directions):
                start, steps = state[:, :, len(after)], Steps(sizes, backwards=direction == 1)
                outputs, end = scan(cell, steps, data, start, self._weights(layer, direction))
                direction_outputs.append(outputs)
                after.append(end)
            data = torch.cat(direction_outputs, 1) if self.bidirectional else direction_outputs[0]
            if layer + 1 < self.layers and self.dropout:
                data = F.dropout(data, self.dropout, self.training)
        return data, torch.stack(after, 2)

    def _weights(self, layer: int, direction: int) -> Weights:
        """Both matrices, the sum of torch's two biases, and further parameters of the cell."""
        suffix = _suffix(layer, direction)
        matrix, recurrent = getattr(self, f"weight_ih_{suffix}"), getattr(self, f"weight_hh_{suffix}")
        if self.bias:
            bias = getattr(self, f"bias_ih_{suffix}") + getattr(self, f"bias_hh_{suffix}")
        else:
            bias = matrix.new_zeros(len(matrix))
        extra = (getattr(self, f"peephole_{suffix}"),) if self.kind == "peephole" else ()
        return matrix, recurrent, bias, *extra

    def _add(self, layer: int, inputs: int) -> None:
        """Register the parameters of a layer without initializing them."""
        rows = sum(self.cells.rows(inputs, self.width))
        for direction in range(self.directions):
            suffix = _suffix(layer, direction)
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.width)}
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if self.kind == "peephole":
                shapes["peephole"] = (3, self.width)
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_{suffix}", nn.Parameter(torch.empty(shape)))
            if self.kind == "peephole":
                set_role(self, "vectors", f"peephole_{suffix}")  # one diagonal matrix per gate

    def _names(self) -> list[str]:
        """Names of the parameters that torch's kernels take, in torch's order, which is that of registration."""
        return [name for name in self._parameters if not name.startswith("peephole")]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Recurrent:
        super()._apply(fn, recurse)
        self._flatten_weights()
        return self

    def _flatten_weights(self) -> None:
        names, kernel = self._names(), self.cells.kernel
        if not isinstance(kernel, str) or next(self.parameters()).device.type != "cuda":
            return
        calls = self.layers if layer_by_layer(self.layers, self.dropout) else 1
        per_call = len(names) // calls
        for call in range(calls):
            inputs, call_names = self.outputs if call else self.inputs, names[call * per_call : (call + 1) * per_call]
            flatten_parameters(
                self, call_names, kernel, inputs, self.width, self.bias, self.layers // calls, self.bidirectional
            )

    def extra_repr(self) -> str:
        return (
            f"{self.inputs}, {self.width}, kind={self.kind!r}, layers={self.layers}, bidirectional={self.bidirectional}"
        )


def _suffix(layer: int, direction: int) -> str:
    """Suffix of the parameter names of a layer, as in torch."""
    return f"l{layer}" + ("_reverse" if direction else "")
