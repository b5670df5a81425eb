"""One of several processes of a run, as started by the launcher: ``python -m danlu.app.runs.worker RUN``.

Its exit code is 0 even if the run was stopped, or failed with an error that would repeat; the error is written to the
run folder. The launcher restarts all processes only if one was killed: processes that lose the connection to it end
with another exit code.
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
from danlu.app.console.matplotlib_import import ignore_matplotlibrc_here
from danlu.app.console.progress import Screen
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.process_lock import join_run, stop_after_parent
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.distributed import exit_process
from danlu.app.runs.loop import resume_to_end
from danlu.app.runs.session import Session

GRACE = 5.0
"""seconds for a process to end normally after another one has failed"""


def main(words: list[str]) -> None:
    """Start or resume the run. The process that started the launcher holds its lock and has checked it."""
    run, rank = RunFolder.open(words[0]), int(os.environ["RANK"])
    run.writes = rank == 0
    join_run(run.path)
    stop_after_parent(os.getppid())
    if rank_errors.read_errors(run.path):  # restarted, although the error of another process would repeat
        exit_process(0)
    _end_after_failure(run.path, rank)
    try:
        torch.set_num_threads(run.page["threads"])
        screen = Screen("--quiet" in words or rank > 0)
        session = Session.start(run.recipe, run.page["device"], run.access())
        resume_to_end(session, run, screen, dry_run="--dry-run" in words)
    except Exception as error:
        cause = rank_errors.find_cause(run.path, rank, error)
        with suppress(OSError):
            run.save_page(status="failed", error=cause or explain(error)[1])
        exit_process(1 if cause is None else 0)  # not through torch, which may wait for the other processes
    if dist.is_initialized():
        dist.destroy_process_group()


def _end_after_failure(folder: Path, rank: int) -> None:
    """End this process shortly after another has failed, because it may be waiting for that process.

    With gloo, the process soon notices the broken connection. With NCCL, or before the processes are connected, it
    would wait for many minutes.
    """

    def watch() -> None:
        while not rank_errors.another_failed(folder, rank):
            time.sleep(0.5)
        time.sleep(GRACE)
        exit_process(0)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    ignore_matplotlibrc_here()
    main(sys.argv[1:])
    exit_process(0)
