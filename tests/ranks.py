"""Two processes that play one game together, started once per test run and given one job after the other."""

import os
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


class Ranks:
    """Runs a module-level function on every rank; its first argument is a float64 runtime of that rank."""

    def __init__(self, jobs: list[Any], answers: Any):
        self._jobs, self._answers = jobs, answers

    def run(self, job: Job, *args: Any) -> list[Any]:
        """What the job returns on each rank, in their order."""
        for queue in self._jobs:
            queue.put((job, args))
        results = dict(self._answers.get(timeout=120) for _ in self._jobs)
        for rank, (error, _) in sorted(results.items()):
            assert error is None, f"rank {rank} failed:\n{error}"
        return [results[rank][1] for rank in sorted(results)]


@contextmanager
def started(folder: Path, world: int = 2) -> Iterator[Ranks]:
    """The processes, while it lasts."""
    context = mp.get_context("spawn")
    answers = context.Queue()
    jobs = [context.Queue() for _ in range(world)]
    meeting = f"file://{folder / 'meeting'}"
    processes = [
        context.Process(target=_work, args=(rank, world, meeting, queue, answers), daemon=True)
        for rank, queue in enumerate(jobs)
    ]
    for process in processes:
        process.start()
    try:
        yield Ranks(jobs, answers)
    finally:
        for queue in jobs:
            queue.put(None)
        for process in processes:
            process.join(timeout=30)
        assert [process.exitcode for process in processes] == [0] * world


def _work(rank: int, world: int, meeting: str, jobs: Any, answers: Any) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    runtime = Runtime(precision="float64", rank=rank, world=world)
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
