"""Training on a folder of a million files that together do not fit into memory, beside a folder of ten thousand.

Each run is a process of its own, `danlu train` on files of 64×64 RGB pixels, which come to 12 GB. What is counted is
memory that nobody could take away from the process, its own and that of the processes which decode for it; pages of
the mapped cache are not, for the system drops them when it needs room.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.harness import Row

FEW, MANY, SIDE, CLASSES, A_FOLDER = 10_000, int(os.environ.get("DANLU_IMAGES", 1_000_000)), 64, 10, 10_000
ROUNDS, EXTRA = 300, 1000
"""bytes that a file may take: its name, its place and its label"""


def run() -> list[Row]:
    """Make both folders, train on both, and compare the peaks."""
    room = Path(tempfile.mkdtemp(prefix="danlu-memory-", dir=os.environ.get("DANLU_ROOM")))
    try:
        few, _ = _peak(room, FEW)
        many, seconds = _peak(room, MANY)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    an_image = (many - few) / (MANY - FEW)
    return [
        Row(
            name="memory-folder",
            peer=f"the same with {FEW:,} files",
            unit="MiB",
            theirs=few / 2**20,
            ours=many / 2**20,
            ratio=None,
            spread=(few / 2**20, many / 2**20),
            difference=(many - few) / 2**20,
            target=f"at most {EXTRA} bytes a file more, however large the pictures are",
            met=an_image <= EXTRA,
            notes=f"{MANY:,} files of {SIDE}×{SIDE} RGB, {an_image:.0f} bytes a file; first start with decoding and "
            f"{ROUNDS} rounds {seconds[0]:.0f} s, second start {seconds[1]:.0f} s",
        )
    ]


def _peak(room: Path, files: int) -> tuple[int, list[float]]:
    """Bytes of memory at the peak of a first start, which decodes, and a second one; and what they took."""
    folder = room / f"{files}"
    chunks = [(folder, first, min(A_FOLDER, files - first)) for first in range(0, files, A_FOLDER)]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write, chunks))
    peaks, seconds = [], []
    for _ in range(2):
        begun = time.monotonic()
        peaks.append(_trained(room, folder))
        seconds.append(time.monotonic() - begun)
    shutil.rmtree(folder)
    return max(peaks), seconds


def _write(chunk: tuple[Path, int, int]) -> None:
    """Smooth pictures of a color that belongs to their class, so that there is something to learn."""
    folder, first, count = chunk
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        place = folder / f"class {number % CLASSES}" / f"{number // A_FOLDER}"
        if number < first + CLASSES:
            place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 128, (8, 8, 3)) + 12 * (number % CLASSES)
        Image.fromarray(coarse.astype(np.uint8)).resize((SIDE, SIDE)).save(place / f"{number}.jpg", quality=60)


def _trained(room: Path, folder: Path) -> int:
    """Train on a folder as a user would, and monitor."""
    words = ["train", "cnn", "--data", f"folder:{folder}", "--rounds", str(ROUNDS), "--model.channels", "4", "4"]
    words += ["--model.hidden", "16", "--evaluate-every", str(ROUNDS), "--out", str(room / f"run-{time.time_ns()}")]
    words += ["--split.validation", "0.001", "--split.test", "0.001"]
    environment = {**os.environ, "DANLU_CACHE": str(room / "cache")}
    process = subprocess.Popen([sys.executable, "-m", "danlu", *words], env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _own_memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"danlu {json.dumps(words)} ended with code {process.returncode}")
    return peak


def _own_memory(pid: int) -> int:
    """Bytes of anonymous memory of a process and its children."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            status = Path(f"/proc/{member.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        total += sum(int(lines.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem")) * 1024
    return total
