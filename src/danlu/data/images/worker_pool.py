"""The same work on many files, in other processes, each of which may be ended or stopped by a file.

This file does without torch, so that the processes start fast.
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

ALONE = 500
"""files up to which this process decodes itself; other processes are not worth their start"""
CREW = 16
"""processes that decode at most; then the one that collects is what limits"""
PATIENCE = 60.0
"""seconds that a process may take for one file"""
STARTING = 300.0
"""seconds that a process may take to start"""
_AT_ONCE = 16  # files that a process is told of at a time


def map_files(
    job: Callable[[str], Any], paths: Sequence[str], workers: int | None = None, patience: float | None = None
) -> Generator[tuple[int, Any], None, None]:
    """Do the same with many files, in other processes if there are many; what comes out does not depend on how many.

    The processes are started as programs of their own and not by ``multiprocessing``, which would run the user's script
    again in each, and each answers file by file on a line of its own, so that it is known which file ends or stops it.
    A file that ends two processes is unreadable, and so is one that keeps one busy for too long.

    Args:
        job: a function of a path that can be pickled; it raises Unreadable for a file that cannot be used.
        paths: of the files.
        workers: processes; 0 for this one alone; chosen by the number of files if not given.
        patience: seconds for a file in another process; ``PATIENCE`` if not given.

    Yields:
        Number of a file, and what the job returned or the Unreadable that it raised; in any order, each file once.

    >>> list(map_files(os.path.basename, ["a/x.png", "b/y.png"]))
    [(0, 'x.png'), (1, 'y.png')]
    """
    size = default_workers(len(paths)) if workers is None else workers
    crew = _Crew(job, paths, size, PATIENCE if patience is None else patience)
    try:
        yield from crew.results()
    finally:
        crew.dismiss()


def default_workers(files: int) -> int:
    """How many processes so many files are worth; 0 for this one alone."""
    if files <= ALONE or os.name != "posix" or not sys.executable:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, CREW)


class _Crew:
    """Processes, the files that wait for one, and what became of them."""

    def __init__(self, job: Callable[[str], Any], paths: Sequence[str], size: int, patience: float):
        self.job, self.paths, self.size, self.patience = job, paths, size, patience
        self.waiting: deque[int] = deque(range(len(paths)))
        self.workers: list[_Worker] = []
        self.suspects: set[int] = set()

    def results(self) -> Iterator[tuple[int, Any]]:
        while self.waiting or any(worker.todo for worker in self.workers):
            self._hire()
            if not self.workers:  # none can be started here
                while self.waiting:
                    number = self.waiting.popleft()
                    yield number, _outcome(self.job, self.paths[number])
                return
            pause = min(worker.deadline(self.patience) for worker in self.workers) - time.monotonic()
            ready = wait([worker.line for worker in self.workers], min(max(0.0, pause), STARTING))
            for worker in [worker for worker in self.workers if worker.line in ready]:
                yield from self._hear(worker)
            for worker in list(self.workers):
                if time.monotonic() > worker.deadline(self.patience) and not worker.line.poll():
                    yield from self._stuck(worker)

    def dismiss(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []

    def _hire(self) -> None:
        while len(self.workers) < min(self.size, len(self.waiting)):
            try:
                self.workers.append(_Worker(self.job))
            except OSError:
                self.size -= 1

    def _hear(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        try:
            answer = worker.line.recv()
        except (EOFError, OSError):
            yield from self._gone(worker)
            return
        worker.since = time.monotonic()
        if worker.ready:
            yield worker.todo.popleft(), answer
        worker.ready = True
        if not worker.todo and self.waiting:  # it listens now, so that telling it cannot block
            worker.todo.extend(self.waiting.popleft() for _ in range(min(_AT_ONCE, len(self.waiting))))
            with suppress(OSError):  # if it is gone, that will be heard
                worker.line.send([self.paths[number] for number in worker.todo])

    def _gone(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        """A process has ended. Its file is tried once more, for it may have been ended by somebody else."""
        how = worker.end(grace=1.0)  # it has closed its line, so that its exit code is near
        self._replace(worker)
        if worker.todo and worker.todo[0] in self.suspects:
            yield worker.todo.popleft(), Unreadable(f"the process that read it was ended ({how}), twice", passing=True)
        self.suspects.update(list(worker.todo)[:1])
        self.waiting.extendleft(reversed(worker.todo))

    def _stuck(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        worker.end()
        self._replace(worker)
        if worker.todo:
            yield worker.todo.popleft(), Unreadable(f"it could not be read in {self.patience:g} seconds", passing=True)
        self.waiting.extendleft(reversed(worker.todo))

    def _replace(self, worker: _Worker) -> None:
        """Somebody else will be hired in its place, unless it never came to work."""
        self.workers.remove(worker)
        self.size -= not worker.ready


class _Worker:
    """A process that does the job with one file after another.

    Attributes:
        line: where it is told of files and answers.
        todo: numbers of the files that it was told of and has not answered.
        ready: whether it has started.
        since: when it was last heard of.
    """

    def __init__(self, job: Callable[[str], Any]):
        self.todo: deque[int] = deque()
        self.ready, self.since = False, time.monotonic()
        self.line, theirs = Pipe()
        with theirs:
            code = f"from {__name__} import serve; serve({theirs.fileno()})"
            places = os.pathsep.join(place or os.getcwd() for place in sys.path)
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", code],
                    env={**os.environ, "PYTHONPATH": places},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                self.line.close()
                raise
        with suppress(OSError):  # if it is gone, that will be heard
            self.line.send(job)

    def deadline(self, patience: float) -> float:
        """When it must have been heard of again."""
        if not self.ready:
            return self.since + STARTING
        return self.since + patience if self.todo else float("inf")

    def end(self, grace: float = 0.0) -> str:
        """End it, after so many seconds in which it may end by itself; how it ended, in words."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.process.kill()
        code = self.process.wait()
        self.line.close()
        return f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"


def serve(handle: int) -> None:
    """Be one of the processes of ``map_files``: take the job, then files, and answer each.

    Args:
        handle: the line to the process that asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when to end
    with Connection(handle) as line:
        job = line.recv()
        line.send("ready")
        while True:
            try:
                paths: Iterable[str] = line.recv()
            except EOFError:
                return
            for path in paths:
                line.send(_outcome(job, path))


def _outcome(job: Callable[[str], Any], path: str) -> Any:
    try:
        return job(path)
    except Unreadable as error:
        return error
