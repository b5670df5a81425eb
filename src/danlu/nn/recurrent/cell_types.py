"""The kinds of recurrent cells: how many gates and states they have, and which of torch's kernels or which of ours."""

from __future__ import annotations

from typing import Literal, NamedTuple

from danlu.nn.recurrent.coupled_lstm import COUPLED
from danlu.nn.recurrent.gru_lecture_notes import NOTES
from danlu.nn.recurrent.gru_reset_before import BEFORE
from danlu.nn.recurrent.peephole_lstm import PEEPHOLE
from danlu.nn.recurrent.sweep import Cell

Kind = Literal["rnn", "lstm", "peephole", "coupled", "gru"]
Reset = Literal["after", "before", "notes"]
Nonlinearity = Literal["tanh", "relu"]


class Cells(NamedTuple):
    """What sets a kind apart.

    Attributes:
        kernel: name of torch's operation, or a cell of ours.
        gates: blocks of width rows in the matrices.
        states: 2 with a memory cell beside the output, else 1.
        forgets: which gate a bias makes remember, and with which sign.
        reads: whether a gate in front is as long as the input, as in the notes' GRU.
    """

    kernel: str | Cell
    gates: int
    states: int = 1
    forgets: tuple[int, int] | None = None
    reads: bool = False

    def rows(self, inputs: int, width: int) -> list[int]:
        """Lengths of the blocks of rows in both matrices, one for each gate."""
        return [inputs if self.reads and gate == 0 else width for gate in range(self.gates)]


KINDS: dict[tuple[str, str], Cells] = {
    ("rnn", "tanh"): Cells("rnn_tanh", 1),
    ("rnn", "relu"): Cells("rnn_relu", 1),
    ("lstm", ""): Cells("lstm", 4, states=2, forgets=(1, 1)),
    ("peephole", ""): Cells(PEEPHOLE, 4, states=2, forgets=(1, 1)),
    ("coupled", ""): Cells(COUPLED, 3, states=2, forgets=(0, -1)),
    ("gru", "after"): Cells("gru", 3),
    ("gru", "before"): Cells(BEFORE, 3),
    ("gru", "notes"): Cells(NOTES, 3, reads=True),
}


def cells(kind: Kind, reset: Reset = "after", nonlinearity: Nonlinearity = "tanh") -> Cells:
    """The kind by its names.

    Raises:
        ValueError: if there is none of that name, or an argument is for another kind.

    >>> cells("coupled").rows(inputs=5, width=8)
    [8, 8, 8]
    """
    if kind != "gru" and reset != "after":
        raise ValueError(f"reset={reset!r} is for kind='gru', and kind={kind!r} has no reset gate; leave it out")
    if kind != "rnn" and nonlinearity != "tanh":
        raise ValueError(f"nonlinearity={nonlinearity!r} is for kind='rnn' and not for {kind!r}; leave it out")
    variant = {"rnn": nonlinearity, "gru": reset}.get(kind, "")
    if (kind, variant) not in KINDS:
        names = ", ".join(sorted({name for name, _ in KINDS}))
        raise ValueError(
            f"kind={kind!r} with reset={reset!r} and nonlinearity={nonlinearity!r} is unknown; kinds are {names}, "
            f"reset of a GRU is after, before or notes, nonlinearity of an RNN is tanh or relu"
        )
    return KINDS[kind, variant]
