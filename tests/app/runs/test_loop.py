"""The checkpoint from which several processes resume."""

from types import SimpleNamespace
from typing import Any

import pytest

from danlu.app.console.progress import Screen
from danlu.app.runs.loop import resume_to_end
from danlu.errors import RunError


class Second:
    """The runtime of process 1, whose process 0 has read the checkpoint of round 7."""

    rank = 1

    def broadcast(self, value: int) -> int:
        return 7

    def first_rank_where(self, condition: bool) -> int | None:
        return self.rank if condition else None


def test_a_process_that_cannot_read_the_checkpoint_is_named(tmp_path):
    """As on two machines of which one does not see the run folder."""
    session: Any = SimpleNamespace(trainer=SimpleNamespace(runtime=Second()))
    run: Any = SimpleNamespace(checkpoints=tmp_path / "checkpoints")
    with pytest.raises(RunError, match=r"process 1 cannot read the checkpoint of round 7 in .*checkpoints"):
        resume_to_end(session, run, Screen(quiet=True))
