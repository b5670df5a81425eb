"""Types of recurrent cells: number of gates and states, and the kernel of torch or of danlu that computes them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from danlu.nn.recurrent.coupled_lstm import COUPLED_LSTM
from danlu.nn.recurrent.gru_lecture_notes import GRU_LECTURE_NOTES
from danlu.nn.recurrent.gru_reset_before import GRU_RESET_BEFORE
from danlu.nn.recurrent.peephole_lstm import PEEPHOLE_LSTM
from danlu.nn.recurrent.scan import Cell

Kind = Literal["rnn", "lstm", "peephole", "coupled", "gru"]
Reset = Literal["after", "before", "notes"]
Nonlinearity = Literal["tanh", "relu"]


class CellType(NamedTuple):
    """Properties of a type of cell.

    Attributes:
        kernel: name of torch's operation, or a ``Cell``.
        gates: number of gates, each a block of ``width`` rows in the weight matrices.
        states: 2 for cells with a memory cell besides the output, else 1.
        forgets: index of the gate that ``forget_bias`` sets, and the sign of the bias.
        reads: whether the first gate has as many rows as the input, as in the GRU of the lecture notes.
    """

    kernel: str | Cell
    gates: int
    states: int = 1
    forgets: tuple[int, int] | None = None
    reads: bool = False

    def rows(self, inputs: int, width: int) -> list[int]:
        """Number of rows of each gate in both weight matrices."""
        return [inputs if self.reads and gate == 0 else width for gate in range(self.gates)]


KINDS: dict[tuple[str, str], CellType] = {
    ("rnn", "tanh"): CellType("rnn_tanh", 1),
    ("rnn", "relu"): CellType("rnn_relu", 1),
    ("lstm", ""): CellType("lstm", 4, states=2, forgets=(1, 1)),
    ("peephole", ""): CellType(PEEPHOLE_LSTM, 4, states=2, forgets=(1, 1)),
    ("coupled", ""): CellType(COUPLED_LSTM, 3, states=2, forgets=(0, -1)),
    ("gru", "after"): CellType("gru", 3),
    ("gru", "before"): CellType(GRU_RESET_BEFORE, 3),
    ("gru", "notes"): CellType(GRU_LECTURE_NOTES, 3, reads=True),
}


def cell_type(kind: Kind, reset: Reset = "after", nonlinearity: Nonlinearity = "tanh") -> CellType:
    """Look up a type of cell.

    Raises:
        ValueError: if the name is unknown, or an argument belongs to another type.

    >>> cell_type("coupled").rows(inputs=5, width=8)
    [8, 8, 8]
    """
    if kind != "gru" and reset != "after":
        raise ValueError(f"reset={reset!r} is for kind='gru'; kind={kind!r} has no reset gate, so omit it")
    if kind != "rnn" and nonlinearity != "tanh":
        raise ValueError(f"nonlinearity={nonlinearity!r} is for kind='rnn', not for {kind!r}; omit it")
    variant = {"rnn": nonlinearity, "gru": reset}.get(kind, "")
    if (kind, variant) not in KINDS:
        names = ", ".join(sorted({name for name, _ in KINDS}))
        raise ValueError(
            f"kind={kind!r} with reset={reset!r} and nonlinearity={nonlinearity!r} is unknown; kinds are {names}, "
            f"reset of a GRU is after, before or notes, nonlinearity of an RNN is tanh or relu"
        )
    return KINDS[kind, variant]
