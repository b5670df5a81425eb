"""Killed at random moments and resumed, a run ends bit for bit where the uninterrupted one ends."""

import os
import pty
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from commands import Command, start, wait_for_lines, with_options
from danlu.training import checkpoint
from outcomes import run_page, weights

# twelve epochs, saved at each new best; dropout, average and early stopping have state to lose
TRAIN = ["train", "cnn", "--epochs", "12", "--ema", "0.99", "--patience", "8", "--model.channels", "8", "8"]


def outcome(run: Path) -> dict:
    """All that the run ends with and that has a right value: model, last checkpoint, scores, logged values."""
    page, last = run_page(run), checkpoint.newest(run / "checkpoints")
    assert last is not None
    return {
        "model": {k: v.numpy().tobytes() for k, v in weights(run).items()},
        "state": {k: v.numpy().tobytes() for k, v in last.tensors.items()},
        "last": (last.round, last.page["best"]),
        "scores": page["scores"],
        "best": page["best"],
        "metrics": (run / "metrics.jsonl").read_text(),
    }


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("whole") / "run"
    start(*TRAIN, "--out", out).ended()
    return outcome(out)


def logged(out: Path) -> int:
    path = out / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def live_for_a_while(process: Command, out: Path, seconds: float) -> bool:
    """Let it train for so long after its first line of log, then kill it; whether it was still alive."""
    before = logged(out)
    while process.code is None and logged(out) <= before:
        before = min(before, logged(out))  # a resumed run first drops the lines that it will write again
        time.sleep(0.002)
    if process.wait(seconds):
        return False
    process.signal(signal.SIGKILL)
    process.ended(-signal.SIGKILL)
    return True


def killed_and_resumed(out: Path, words: list[str], kills: int, seed: int) -> int:
    """Kill a run at random moments and go on, at most so many times, then let it end; how often it was killed."""
    moments, killed = random.Random(seed), 0
    words = [*words, "--out", str(out)]
    while killed < kills and live_for_a_while(start(*words), out, moments.uniform(0, 0.35)):
        words, killed = ["resume", str(out)], killed + 1
    start("resume", out).ended()
    return killed


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_sigkill_at_random_moments(tmp_path, uninterrupted, seed):
    assert killed_and_resumed(tmp_path / "run", TRAIN, kills=5, seed=seed) >= 1
    assert outcome(tmp_path / "run") == uninterrupted


@pytest.mark.long
def test_twenty_sigkills(tmp_path):
    longer = [*TRAIN[:3], "100", *TRAIN[4:6], "--patience", "1000", *TRAIN[8:]]
    start(*longer, "--out", tmp_path / "whole").ended()
    assert killed_and_resumed(tmp_path / "run", longer, kills=20, seed=9) == 20
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_sigterm_saves_and_says_how_to_go_on(tmp_path, uninterrupted):
    out = tmp_path / "run"
    process = start(*TRAIN, "--out", out)
    wait_for_lines(out, 1, process)
    process.signal(signal.SIGTERM)
    assert f"danlu resume {out}" in process.ended(3)
    assert run_page(out)["status"] == "stopped"
    assert not (out / "model").exists()
    start("resume", out).ended()
    assert outcome(out) == uninterrupted


def test_a_second_process_on_one_folder_is_refused(tmp_path):
    out = tmp_path / "run"
    first = start(*with_options(TRAIN, "--patience", "100000", "--epochs", "100000"), "--out", out)
    wait_for_lines(out, 1, first)
    assert f"in use by process {first.pid}" in start("resume", out).ended(2)
    first.signal(signal.SIGKILL)
    first.ended(-signal.SIGKILL)


def test_a_terminal_that_is_closed_saves_the_round(tmp_path):
    """The system sends SIGHUP, and from then on every word to the terminal is an error."""
    out = tmp_path / "run"
    words = ["train", "mlp", "--epochs", "3000", "--evaluate-every", "20", "--out", str(out)]
    number, terminal = pty.fork()
    if not number:
        os.execv(sys.executable, [sys.executable, "-m", "danlu", *words])
    while not (out / "metrics.jsonl").exists():
        os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 3
    assert run_page(out)["status"] == "stopped"
    assert (out / "checkpoints" / f"round-{run_page(out)['round']:09d}").is_dir()
