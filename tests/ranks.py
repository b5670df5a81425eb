"""Two processes that play one game together, started once per test run and given one job after the other."""

import os
import queue
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from danlu.app.runs.distributed import exit_process
from danlu.training import Runtime

Job = Callable[..., Any]
LIMIT = 120.0
"""seconds for a job, which takes a few: ranks that wait for each other would wait for ever"""
GRACE = 10.0
"""seconds that the other ranks have to answer after one has failed"""


class Ranks:
    """Runs a module-level function on every rank; its first argument is a float64 runtime of that rank.

    The processes start with the first job. If one of them dies or does not answer, all are killed, the job fails, and
    the next job starts new ones.
    """

    def __init__(self, folder: Path, world: int = 2, method: str = "spawn", limit: float = LIMIT, grace: float = GRACE):
        self._folder, self._world, self._limit, self._grace = folder, world, limit, grace
        self._context: Any = mp.get_context(method)
        self._processes: list[Any] = []
        self._starts = 0

    def run(self, job: Job, *args: Any) -> list[Any]:
        """What the job returns on each rank, in their order."""
        if not self._processes:
            self._start()
        for jobs in self._jobs:
            jobs.put((job, args))
        results = self._results()
        problems = [f"rank {rank} failed:\n{error}" for rank, (error, _) in sorted(results.items()) if error]
        if missing := sorted({*range(self._world)} - {*results}):
            codes = [process.exitcode for process in self._processes]
            problems += [f"rank {rank} gave no answer; its exit code is {codes[rank]}" for rank in missing]
            self._kill()
        assert not problems, "\n".join(problems)
        return [results[rank][1] for rank in sorted(results)]

    def stop(self) -> None:
        """Let the processes end."""
        for jobs in self._jobs if self._processes else ():
            jobs.put(None)
        for process in self._processes:
            process.join(timeout=30)
        codes = [process.exitcode for process in self._processes]
        self._kill()
        assert not any(code != 0 for code in codes), f"exit codes of the ranks: {codes}"

    def _results(self) -> dict[int, tuple[str | None, Any]]:
        """The error and the value of each rank, without ranks that do not answer."""
        results: dict[int, tuple[str | None, Any]] = {}
        end = time.monotonic() + self._limit
        while len(results) < self._world and time.monotonic() < end:
            try:
                rank, result = self._answers.get(timeout=0.2)
            except queue.Empty:
                if any(not p.is_alive() for rank, p in enumerate(self._processes) if rank not in results):
                    break
                continue
            results[rank] = result
            if result[0] is not None:
                end = min(end, time.monotonic() + self._grace)
        return results

    def _start(self) -> None:
        self._starts += 1
        meeting = f"file://{self._folder / f'meeting-{self._starts}'}"
        self._answers = self._context.Queue()
        self._jobs = [self._context.Queue() for _ in range(self._world)]
        self._processes = [
            self._context.Process(target=_work, args=(rank, self._world, meeting, jobs, self._answers), daemon=True)
            for rank, jobs in enumerate(self._jobs)
        ]
        for process in self._processes:
            process.start()

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()
        self._processes = []


@contextmanager
def started(folder: Path, world: int = 2, **options: Any) -> Iterator[Ranks]:
    """The processes, while it lasts; for the options see `Ranks`."""
    ranks = Ranks(folder, world, **options)
    try:
        yield ranks
    finally:
        ranks.stop()


def _work(rank: int, world: int, meeting: str, jobs: Any, answers: Any) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    runtime = Runtime(precision="float64", channels_last=True, rank=rank, world=world)
    while (job := jobs.get()) is not None:
        function, args = job
        try:
            answers.put((rank, (None, function(runtime, *args))))
        except Exception:
            answers.put((rank, (traceback.format_exc(), None)))
    dist.destroy_process_group()
    answers.close()
    answers.join_thread()
    exit_process(0)
