"""One of the processes of a run, as the launcher starts it: ``python -m danlu.app.worker RUN``.

It ends with code 0 also when the run was stopped or failed for a reason that another try would meet again; that is
written into run.json. Only a process that dies makes the launcher start all of them anew.
"""

from __future__ import annotations

import os
import sys
import time

import torch
import torch.distributed as dist

from danlu.app.go import carry_on
from danlu.app.run_folder import RunFolder
from danlu.app.screen import Screen
from danlu.app.session import Session
from danlu.app.together import leave
from danlu.errors import RunError, UsageError


def main(words: list[str]) -> None:
    """Go on with the run, or begin it; the launcher holds its lock and has checked it."""
    run = RunFolder.open(words[0])
    first = os.environ["RANK"] == "0"
    run.writes = first
    try:
        torch.set_num_threads(run.page["threads"])
        screen = Screen("--quiet" in words or not first)
        session = Session.start(run.recipe, run.page["device"], run.access())
        carry_on(session, run, screen, dry_run="--dry-run" in words)
    except (UsageError, RunError) as error:
        run.save_page(status="failed", error=str(error))
        if not first and not _is_written(run):  # the others know nothing of it and would wait
            print(f"danlu: process {os.environ['RANK']}: {error}", file=sys.stderr)
            leave(1)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _is_written(run: RunFolder, seconds: float = 5.0) -> bool:
    """Whether the first process has failed too, which it needs a moment to write."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if RunFolder.open(run.path).page["status"] == "failed":
            return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
