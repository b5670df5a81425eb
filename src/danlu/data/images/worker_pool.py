"""Apply a function to many files in worker processes; a file that crashes or blocks a worker is reported.

This module does not import torch, so the workers start fast.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from danlu.data.images.decode import Unreadable
from danlu.storage.child_environment import child_environment

FEW_FILES = 500
"""maximum number of files that are processed without workers, because starting workers takes longer"""
MAX_WORKERS = 16
"""maximum number of workers; with more, the process that collects the results is the bottleneck"""
TIMEOUT = 60.0
"""maximum time in seconds for one file"""
START_TIMEOUT = 300.0
"""maximum time in seconds for the start of a worker"""
_BATCH = 16  # number of files that are sent to a worker at a time


def map_files(
    job: Callable[[str], Any], paths: Sequence[str], workers: int | None = None, timeout: float | None = None
) -> Generator[tuple[int, Any], None, None]:
    """Apply a function to many files, in worker processes if there are many. Results do not depend on the workers.

    Workers are started as separate programs, not by ``multiprocessing``, which would run the user's script again in
    each. A worker sends one result per file, so the file that crashes or blocks it is known. A file that crashes two
    workers is unreadable, and so is a file that takes too long.

    Args:
        job: a picklable function of a path; it raises Unreadable for a file that cannot be used.
        paths: paths of the files.
        workers: number of workers; 0 for none; by default it depends on the number of files.
        timeout: maximum time in seconds for one file in a worker; ``TIMEOUT`` by default.

    Yields:
        Number of a file, and the result of the job or the Unreadable that it raised; each file once, in any order.

    >>> list(map_files(os.path.basename, ["a/x.png", "b/y.png"]))
    [(0, 'x.png'), (1, 'y.png')]
    """
    size = default_workers(len(paths)) if workers is None else workers
    pool = _Pool(job, paths, size, TIMEOUT if timeout is None else timeout)
    try:
        yield from pool.results()
    finally:
        pool.close()


def default_workers(files: int) -> int:
    """Number of workers for a number of files; 0 for none."""
    if files <= FEW_FILES or os.name != "posix" or not sys.executable:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


class _Pool:
    """Workers, and the files that are not yet assigned to one."""

    def __init__(self, job: Callable[[str], Any], paths: Sequence[str], size: int, timeout: float):
        self.job, self.paths, self.size, self.timeout = job, paths, size, timeout
        self.waiting: deque[int] = deque(range(len(paths)))
        self.workers: list[_Worker] = []
        self.suspects: set[int] = set()

    def results(self) -> Iterator[tuple[int, Any]]:
        while self.waiting or any(worker.pending for worker in self.workers):
            self._start_workers()
            if not self.workers:  # workers cannot be started on this system
                while self.waiting:
                    number = self.waiting.popleft()
                    yield number, _result(self.job, self.paths[number])
                return
            self._assign_files()
            pause = min(worker.deadline(self.timeout) for worker in self.workers) - time.monotonic()
            ready = wait([worker.connection for worker in self.workers], min(max(0.0, pause), START_TIMEOUT))
            for worker in [worker for worker in self.workers if worker.connection in ready]:
                yield from self._receive(worker)
            for worker in list(self.workers):
                if time.monotonic() > worker.deadline(self.timeout) and not worker.connection.poll():
                    yield from self._handle_timeout(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []

    def _start_workers(self) -> None:
        while len(self.workers) < min(self.size, len(self.waiting)):
            try:
                self.workers.append(_Worker(self.job))
            except OSError:
                self.size -= 1

    def _assign_files(self) -> None:
        """Send files to all idle workers, also to those that became idle before a file was returned by another one."""
        for worker in self.workers:
            if worker.ready and not worker.pending and self.waiting:  # it is receiving, so sending cannot block
                worker.pending.extend(self.waiting.popleft() for _ in range(min(_BATCH, len(self.waiting))))
                worker.last_message = time.monotonic()  # its time for the first file begins now
                with suppress(OSError):  # an exit is noticed by the next receive
                    worker.connection.send([self.paths[number] for number in worker.pending])

    def _receive(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        try:
            result = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._handle_exit(worker)
            return
        worker.last_message = time.monotonic()
        if worker.ready:
            yield worker.pending.popleft(), result
        worker.ready = True

    def _handle_exit(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        """A worker has ended. Its file is tried once more, because the file may not be the cause."""
        how = worker.end(grace=1.0)  # its connection is closed, so it is about to exit
        self._replace(worker)
        if worker.pending and worker.pending[0] in self.suspects:
            yield (
                worker.pending.popleft(),
                Unreadable(f"two processes that read the file ended unexpectedly ({how})", transient=True),
            )
        self.suspects.update(list(worker.pending)[:1])
        self.waiting.extendleft(reversed(worker.pending))

    def _handle_timeout(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        worker.end()
        self._replace(worker)
        if worker.pending:
            yield worker.pending.popleft(), Unreadable(f"not read within {self.timeout:g} seconds", transient=True)
        self.waiting.extendleft(reversed(worker.pending))

    def _replace(self, worker: _Worker) -> None:
        """Remove a worker; another one is started in its place unless this one never started."""
        self.workers.remove(worker)
        self.size -= not worker.ready


class _Worker:
    """A process that applies the job to one file after another.

    Attributes:
        connection: connection to the process.
        pending: numbers of the files that were sent and have no result yet.
        ready: whether the process has started.
        last_message: time of the last message of the process.
    """

    def __init__(self, job: Callable[[str], Any]):
        self.pending: deque[int] = deque()
        self.ready, self.last_message = False, time.monotonic()
        self.connection, worker_end = Pipe()
        with worker_end:
            code = f"from {__name__} import serve; serve({worker_end.fileno()})"
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    env=child_environment(),
                    pass_fds=[worker_end.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                self.connection.close()
                raise
        with suppress(OSError):  # an exit is noticed by the next receive
            self.connection.send(job)

    def deadline(self, timeout: float) -> float:
        """Time at which the next message is overdue."""
        if not self.ready:
            return self.last_message + START_TIMEOUT
        return self.last_message + timeout if self.pending else float("inf")

    def end(self, grace: float = 0.0) -> str:
        """Kill the process after a grace period in seconds; returns a description of its exit."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.process.kill()
        code = self.process.wait()
        self.connection.close()
        return f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"


def serve(handle: int) -> None:
    """The main function of a worker: receive the job, then paths, and send the result for each.

    Args:
        handle: file descriptor of the connection to the main process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to end
    with Connection(handle) as connection:
        job = connection.recv()
        connection.send("ready")
        while True:
            try:
                paths: Iterable[str] = connection.recv()
            except EOFError:
                return
            for path in paths:
                connection.send(_result(job, path))


def _result(job: Callable[[str], Any], path: str) -> Any:
    try:
        return job(path)
    except Unreadable as error:
        return error
