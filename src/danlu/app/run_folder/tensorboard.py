"""TensorBoard events, if TensorBoard is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any


class Events:
    """Writes every logged value as a scalar; does nothing if TensorBoard is not installed.

    Args:
        folder: folder of the event files; created with the first value.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._installed = find_spec("tensorboard") is not None
        self._writer: Any = None

    def write(self, entry: dict[str, float]) -> None:
        """Write one line of the log. After a resume, values beyond the last checkpoint are hidden."""
        if not self._installed:
            return
        round = int(entry["round"])
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import

            self._writer = SummaryWriter(str(self.folder), purge_step=round)
        for name, value in entry.items():
            if name != "round":
                self._writer.add_scalar(name, value, round)
        self._writer.flush()
