"""One of the processes of a run, as the launcher starts it: ``python -m danlu.app.runs.worker RUN``.

It ends with code 0 also when the run was stopped or failed for a reason that another try would meet again; that is
written into the run folder. Only a process that dies makes the launcher start all of them anew: who loses the
connection to it ends with another code.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

from danlu.app.console.error_lines import explain
from danlu.app.console.progress import Screen
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.process_lock import attend, stop_without
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.distributed import leave
from danlu.app.runs.loop import carry_on
from danlu.app.runs.session import Session

GRACE = 5.0
"""seconds that a process has to end in its own way after another one has failed"""


def main(words: list[str]) -> None:
    """Go on with the run, or begin it; who has started the launcher holds its lock and has checked it."""
    run, rank = RunFolder.open(words[0]), int(os.environ["RANK"])
    run.writes = rank == 0
    attend(run.path)
    stop_without(os.getppid())
    if rank_errors.told(run.path):  # started anew, because a process died of what another had met
        leave(0)
    _end_with_the_others(run.path, rank)
    try:
        torch.set_num_threads(run.page["threads"])
        screen = Screen("--quiet" in words or rank > 0)
        session = Session.start(run.recipe, run.page["device"], run.access())
        carry_on(session, run, screen, dry_run="--dry-run" in words)
    except Exception as error:
        cause = rank_errors.cause(run.path, rank, error)
        with suppress(OSError):
            run.save_page(status="failed", error=cause or explain(error)[1])
        leave(1 if cause is None else 0)  # not by way of torch, which might wait for the others to leave as well
    if dist.is_initialized():
        dist.destroy_process_group()


def _end_with_the_others(folder: Path, rank: int) -> None:
    """Have this process end a while after another has failed, for it may be waiting for that one.

    Over gloo it soon sees that the connection is broken; over NCCL, or before they have met, it would wait for many
    minutes.
    """

    def look() -> None:
        while not rank_errors.others(folder, rank):
            time.sleep(0.5)
        time.sleep(GRACE)
        leave(0)

    threading.Thread(target=look, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
