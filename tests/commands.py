"""The command line in this process, and in processes of its own that can be killed.

Most tests need no process: `call` runs a command here. Where a process is the point, `start` and `start_code` fork one
from a server that has imported everything already. It has a number, signals and an exit code like any other, and starts
in a tenth of a second in place of five. What importing itself does is tested with real starts in
``faults/test_process.py``.
"""

import contextlib
import io
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from danlu.app.cli.main import main
from undrawn import undrawn_reports

_PRELOADED = [
    *("commands", "danlu.app.cli.commands.training", "danlu.app.runs.train", "danlu.app.runs.finish"),
    *("danlu.app.report.figures.training_curves", "torch._dynamo", "torch.distributed.tensor"),
]

LIMIT = 300.0
"""seconds for a command, which takes a few: one that waits for another process may wait for ever"""


class Ended(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


def call(*words: object, encoding: str = "utf-8") -> Ended:
    """Run a command in this process, with this encoding of its standard output."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return Ended(code, out.buffer.getvalue().decode(errors="surrogateescape"), err.getvalue())


def call_checked(*words: object, code: int = 0) -> tuple[str, str]:
    """Run a command in this process that must end with this exit code; return standard output and standard error."""
    ended = call(*words)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    return ended.out, ended.err


class Command:
    """A command in a process of its own; see `start`."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str], first: str):
        number, path = tempfile.mkstemp(suffix=".txt")
        os.close(number)
        self._output = Path(path)
        self._process = forkserver().Process(target=_run, args=(words, folder, environment, first, path), daemon=False)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def said(self) -> str:
        """What it has written to standard output and standard error so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, or minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait so long; whether it has ended. Without a time, wait until it has ended; after ``LIMIT`` it is killed."""
        self._process.join(LIMIT if seconds is None else seconds)
        if seconds is None and self.code is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"the command has not ended after {LIMIT} seconds:\n{self.said}")
        return self.code is not None

    def wait_to_say(self, text: str) -> None:
        """Wait until it has written this text."""
        end = time.monotonic() + LIMIT
        while text not in self.said:
            assert time.monotonic() < end, f"it has not said {text!r} after {LIMIT} seconds:\n{self.said}"
            assert self.code is None, f"it ended before it said {text!r}:\n{self.said}"
            time.sleep(0.002)

    def ended(self, code: int = 0) -> str:
        """Wait until it has ended with this code; what it has written."""
        self.wait()
        assert self.code == code, f"exit code {self.code}, expected {code}:\n{self.said}"
        return self.said


def start(*words: object, folder: Path | None = None, first: str = "", **variables: str) -> Command:
    """Start a command in a process of its own.

    Args:
        words: the command's words.
        folder: where it runs; None is the current folder.
        first: Python code that runs in the process before the command.
        variables: additional environment variables.
    """
    return Command([str(word) for word in words], folder or Path.cwd(), {**os.environ, **variables}, first)


def start_code(code: str) -> Command:
    """Start Python code in a process of its own."""
    return Command([], Path.cwd(), dict(os.environ), code)


def start_ranks(*words: object, folder: Path | None = None, first: str = "", world: int = 2) -> list[Command]:
    """Start a command in several processes with the environment that torchrun gives them, but without torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "TORCHELASTIC_RUN_ID": "none"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]
    return [start(*words, folder=folder, first=first, **common, **meeting, **rank) for rank in ranks]


def trained_by_ranks(*words: object) -> str:
    """What two processes have written that train to the end."""
    return "".join([process.ended() for process in start_ranks(*words)])


def wait_for_lines(out: Path, lines: int, process: Command | None = None) -> None:
    """Wait until a run has logged so many lines."""
    path, end = out / "metrics.jsonl", time.monotonic() + LIMIT
    while not path.exists() or path.read_text().count("\n") < lines:
        assert time.monotonic() < end, f"the run has not logged {lines} lines after {LIMIT} seconds"
        assert process is None or process.code is None, f"it ended before it logged {lines} lines:\n{process.said}"
        time.sleep(0.002)


def forkserver() -> multiprocessing.context.ForkServerContext:
    """The server from which `start` forks; a process of it starts without imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _run(words: list[str], folder: Path, environment: dict[str, str], first: str, output: str) -> None:
    """In the process: run the code and the command, if there are words, with their output in a file."""
    with open(output, "ab", buffering=0) as file:
        sys.stdout.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    exec(first, {})
    if words:
        with undrawn_reports():
            main(words)


def with_options(words: Sequence[str], *options: str) -> list[str]:
    """The words of a command with other values of some options; options that are not there are appended.

    >>> with_options(["train", "mlp", "--epochs", "3", "--lr", "1"], "--epochs", "9", "--ema", "0.9")
    ['train', 'mlp', '--lr', '1', '--epochs', '9', '--ema', '0.9']
    """
    kept = list(words)
    for flag in options[::2]:
        if flag in kept:
            place = kept.index(flag)
            del kept[place : place + 2]
    return [*kept, *options]
