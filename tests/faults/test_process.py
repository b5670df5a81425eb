"""Signals, networks, memory: what the process around a run does to it."""

import os
import pkgutil
import signal
import subprocess
import sys

import pytest

import danlu
from commands import call, start, wait_for_lines
from outcomes import run_page

LONG = ["train", "mlp", "--epochs", "4000", "--model.hidden", "16"]


def test_a_second_signal_ends_at_once_without_damage(tmp_path):
    """Two signals in a row: whichever moment they meet, the run can be resumed."""
    out = tmp_path / "run"
    process = start(*LONG, "--out", out)
    wait_for_lines(out, 5, process)
    process.signal(signal.SIGINT)
    process.signal(signal.SIGINT)
    process.wait()
    assert process.code in (3, 128 + signal.SIGINT)
    assert run_page(out)["status"] in ("training", "stopped")
    resumed = start("resume", out)
    while "\n  round " not in resumed.said:
        assert resumed.code is None, f"it ended before it trained:\n{resumed.said}"
    resumed.signal(signal.SIGTERM)
    resumed.ended(3)


def test_a_fresh_process_needs_no_network_no_home_and_no_optional_package(tmp_path):
    """Every module is imported, and a run is trained and evaluated, in one process.

    Every package of the groups test and tensorboard is hidden. Every socket and every name look-up is refused by an
    audit hook, and HOME is a file.
    """
    home = tmp_path / "home"
    home.write_text("")
    hidden = ["tensorboard", "beartype", "pytest", "transformers", "torchvision", "torchaudio", "torch_fidelity"]
    names = [m.name for m in pkgutil.walk_packages(danlu.__path__, "danlu.") if m.name != "danlu.__main__"]
    assert len(names) > 50
    code = f"""
import importlib, sys
for name in {hidden!r}:
    sys.modules[name] = None
asked = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        asked.append((event, args))
        raise PermissionError(event)
sys.addaudithook(hook)
for name in {names!r}:
    importlib.import_module(name)
import json
from pathlib import Path
from danlu.app.cli.main import main
run = Path({str(tmp_path / "run")!r})
try:
    main(["train", "mlp", "--epochs", "1", "--out", str(run)])
except SystemExit as ended:
    assert ended.code == 0, ended.code
import danlu
assert danlu.evaluate(run)["scores"] == json.loads((run / "run.json").read_text())["scores"]["test"]
assert not asked, asked
"""
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "MPLCONFIGDIR": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_out_of_memory_outside_of_a_training_step_advises_no_smaller_batch(tmp_path, monkeypatch):
    def read(*_, **__):
        raise MemoryError("12 GB")

    monkeypatch.setattr("danlu.data.datasets.digits.digits", read)
    code, _, said = call("train", "mlp", "--out", tmp_path / "run")
    assert (code, said.splitlines()[-1]) == (1, "danlu: out of memory: 12 GB. Saved files are kept.")


@pytest.mark.parametrize(
    "error", [MemoryError("12 GB"), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_out_of_memory_says_what_needs_less_and_keeps_what_was_saved(tmp_path, monkeypatch, error):
    from danlu.training import Trainer

    real = Trainer.run_round

    def run_round(self):
        if self.round == 45:
            raise error
        return real(self)

    monkeypatch.setattr(Trainer, "run_round", run_round)
    code, _, said = call("train", "mlp", "--epochs", "4", "--out", tmp_path / "run")
    assert code == 1
    for hint in ("out of memory", "--batch-size", "--grad-accumulation", "--precision bf16"):
        assert hint in said
    monkeypatch.undo()
    assert list((tmp_path / "run" / "checkpoints").glob("round-*"))
    assert danlu.resume(tmp_path / "run", quiet=True).page["status"] == "finished"
