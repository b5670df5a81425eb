"""The runs of an experiment, in several processes if the caller allows it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar, TypeVarTuple, cast

import joblib
import torch
from threadpoolctl import threadpool_limits

from danlu.errors import RunError, UsageError
from danlu.experiments.harness.experiment import ProgressCallback
from danlu.storage.available_memory import available_memory
from danlu.storage.child_environment import safe_children

MEMORY = 1 << 29
"""bytes of memory of one process with torch and a small model"""
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@dataclass
class Workers:
    """The processes that a measurement may use.

    Attributes:
        count: the number of processes; with 1 everything runs in this process.
        seconds: processor time of the runs in other processes so far.
    """

    count: int = 1
    seconds: float = 0.0


_WORKERS: ContextVar[Workers] = ContextVar("workers")


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """Let the measurements inside the context use several processes.

    The number of processes changes the duration of a measurement and nothing else. It is therefore no argument of
    ``measure``, but a setting of the process in which it runs, like the number of threads of torch. An experiment with
    one short run has nothing to pass on, and without the context, as in a test, everything runs in this process.

    Args:
        count: the number of processes.

    >>> with workers(1) as used:
    ...     run_each(divmod, [(7, 2), (9, 3)])
    [(3, 1), (3, 0)]
    >>> used.seconds
    0.0
    """
    used = Workers(count)
    token = _WORKERS.set(used)
    try:
        yield used
    finally:
        _WORKERS.reset(token)


def process_count(jobs: int | Literal["auto"]) -> int:
    """The number of processes for a setting; ``auto`` is the number of cores that this process may use.

    Limits of the CPU affinity and of a container are respected; ``auto`` is lower if the memory is not sufficient.

    Raises:
        UsageError: if the number is below 1, or above the number of cores and above 2.

    >>> process_count(1)
    1
    """
    cores = joblib.cpu_count()
    if jobs == "auto":
        return max(1, min(cores, available_memory() // MEMORY))
    if jobs < 1:
        raise UsageError(
            f"jobs: expected auto or a number of processes from 1, got {jobs}; with 1 all runs are in one process",
            settings=("jobs",),
        )
    if jobs > max(2, cores):
        raise UsageError(
            f"jobs={jobs}: this process can use {cores} processor{'s' * (cores > 1)}; use at most {max(2, cores)}",
            settings=("jobs",),
        )
    return jobs


def run_each(
    function: Callable[[*Arguments], Result],
    arguments: Sequence[tuple[*Arguments]],
    progress: ProgressCallback | None = None,
    what: str = "runs",
) -> list[Result]:
    """Call a function for each tuple of arguments, in as many processes as the context ``workers`` allows.

    Every call has one thread, in this process and in others, so the results are the same bit for bit. A function that
    needs the same data in every call keeps it with ``functools.lru_cache``; each process has its own.

    Args:
        function: a function of a module, whose results depend on its arguments alone. Arguments and results are sent
            between processes and should be small.
        arguments: the arguments of each call.
        progress: the progress callback; it is called at the beginning and after each call that has ended.
        what: a description of the calls for the progress callback.

    Returns:
        The results, in the order of the arguments.

    Raises:
        RunError: if a process ended unexpectedly.
        Exception: the first error of a call; calls that run at this time are stopped.

    >>> run_each(pow, [(2, 3), (3, 2)], lambda what, done, total: print(what, done, "of", total), "powers")
    powers 0 of 2
    powers 1 of 2
    powers 2 of 2
    [8, 9]
    """
    if progress:
        progress(what, 0, len(arguments))
    results: dict[int, Result] = {}
    with closing(_calls(function, arguments, _WORKERS.get(Workers()))) as calls:
        for index, result in calls:
            results[index] = result
            if progress:
                progress(what, len(results), len(arguments))
    return [results[index] for index in range(len(arguments))]


def _calls(
    function: Callable[..., Result], arguments: Sequence[tuple], used: Workers
) -> Generator[tuple[int, Result], None, None]:
    """The calls as they end: index and result; a daemonic process may not start others."""
    if min(used.count, len(arguments)) > 1 and not multiprocessing.current_process().daemon:
        yield from _calls_in_workers(function, arguments, used)
    else:
        for index, one in enumerate(arguments):
            yield index, _call(function, one)


def _call(function: Callable[..., Result], arguments: tuple) -> Result:
    """Call a function with one thread."""
    threads = torch.get_num_threads()
    with threadpool_limits(1):  # numpy's matrix products; their rounding depends on the number of threads
        torch.set_num_threads(1)
        try:
            return function(*arguments)
        finally:
            torch.set_num_threads(threads)


def _calls_in_workers(
    function: Callable[..., Result], arguments: Sequence[tuple], used: Workers
) -> Generator[tuple[int, Result], None, None]:
    """The calls as they end in worker processes, which joblib keeps for the next experiment, for at most 5 minutes.

    Closing the generator, an error and an interrupt stop the workers.
    """
    jobs = (joblib.delayed(_in_worker)(index, function, one, os.getpid()) for index, one in enumerate(arguments))
    with safe_children():
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            count = min(used.count, len(arguments))
            parallel = joblib.Parallel(n_jobs=count, return_as="generator_unordered", max_nbytes=None)
        try:
            with closing(cast("Generator[tuple[int, Result, float], None, None]", parallel(jobs))) as ended:
                for index, result, seconds in ended:
                    used.seconds += seconds
                    yield index, result
        except BrokenProcessPool as error:
            raise RunError(
                "a process of the experiment ended unexpectedly, possibly because memory is exhausted; "
                "run everything in one process",
                settings=("jobs=1",),
            ) from error


def _in_worker(index: int, function: Callable[..., Result], arguments: tuple, parent: int) -> tuple[int, Result, float]:
    """Call a function in a worker: index, result and processor time."""
    _end_with(parent)
    begun = time.process_time()
    result = _call(function, arguments)
    return index, result, time.process_time() - begun


@cache
def _end_with(parent: int) -> None:
    """Let this process end soon after the process that started it, and leave Ctrl-C to that process."""

    if os.getpid() == parent:  # joblib was told to start no processes
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
