"""Runs of made-up experiments. Worker processes import this module, and no module of tests."""

import os
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

from danlu.errors import Diverged

ERRORS = (ValueError("the second run"), Diverged("critic", "score", 3, "layers.0.weight"))


def ended_later(number: int, of: int) -> int:
    """The square; of several calls that start together the last one ends first."""
    time.sleep(0.2 * (of - number))
    return number**2


def process() -> int:
    """The number of the process."""
    return os.getpid()


def threads() -> set[int]:
    """The numbers of threads of torch and of each library of numpy."""
    return {torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())}


def busy(seconds: float) -> None:
    """Use so much processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def fail(number: int) -> int:
    """An error, a different one for each number."""
    if number:
        raise ERRORS[number - 1]
    return number


def crash(number: int) -> int:
    """The process ends."""
    if number:
        os._exit(1)
    return number


def wait(folder: Path, number: int) -> None:
    """Write the number of the process to a file, and wait."""
    (folder / f"{number}.part").write_text(str(os.getpid()))
    (folder / f"{number}.part").rename(folder / f"{number}.pid")
    time.sleep(600)
