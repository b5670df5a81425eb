"""Mutated files for every reader: each is read or refused with an error of danlu, within processor time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fuzz_readers
from fuzz_readers import READERS, Reader, fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")

CHARACTERS = 40_000
"""length of a message, which lists up to 200 errors of a recipe"""


def fuzzed(folder: Path, count: int, *names: str) -> dict[str, dict]:
    """The outcomes by reader, of a process whose memory is limited."""
    out = folder / "outcomes.json"
    command = [sys.executable, fuzz_readers.__file__, str(out), str(count), *names]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    outcomes = json.loads(out.read_text(encoding="utf-8"))
    assert done.returncode == 0, f"ended in {outcomes.get('unfinished')}: {done.stderr[-2_000:]}"
    return outcomes


def check(outcomes: dict[str, dict], count: int) -> None:
    for name, result in outcomes.items():
        assert (name, result["unexpected"], result["slow"]) == (name, [], [])
        assert sum(result["outcomes"].values()) == count
        assert result["characters"] <= CHARACTERS


def test_few_mutations_of_each_file(tmp_path):
    outcomes = fuzzed(tmp_path, 25)
    assert outcomes.keys() == READERS.keys()
    check(outcomes, 25)
    totals = [set(result["outcomes"]) for result in outcomes.values()]
    assert {"read", "UsageError", "RunError"} == set.union(*totals)


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_many_mutations_of_each_file(name, tmp_path):
    check(fuzzed(tmp_path, 2_000, name), 2_000)


def test_an_error_of_another_type_is_found(tmp_path, monkeypatch):
    def write(folder: Path) -> Path:
        (folder / "file").write_bytes(b"right")
        return folder / "file"

    def read(path: Path) -> None:
        if path.read_bytes() != b"right":
            raise TypeError("wrong")

    monkeypatch.setitem(READERS, "faulty", Reader(write, read, "bytes"))
    result = fuzz("faulty", 9, tmp_path)
    assert len(result["unexpected"]) == result["outcomes"]["TypeError"] > 0
