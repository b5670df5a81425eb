"""Signals, networks, memory: what the process around a run does to it."""

import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import danlu
from danlu.app.cli import main

LONG = ["train", "mlp", "--epochs", "400", "--model.hidden", "16"]


def start(*words: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "danlu", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for_lines(out: Path, lines: int) -> None:
    path = out / "metrics.jsonl"
    while not path.exists() or path.read_text().count("\n") < lines:
        time.sleep(0.002)


def test_a_second_signal_ends_at_once_without_damage(tmp_path):
    """Two signals in a row: whichever moment they meet, the run can be resumed."""
    out = tmp_path / "run"
    process = start(*LONG, "--out", str(out))
    wait_for_lines(out, 5)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (3, 128 + signal.SIGINT)
    assert json.loads((out / "run.json").read_text())["status"] in ("training", "stopped")
    resumed = start("resume", str(out))
    while not (line := resumed.stdout.readline()).startswith(b"  round "):
        assert line, "it ended before it trained"
    resumed.send_signal(signal.SIGTERM)
    resumed.communicate(timeout=60)
    assert resumed.returncode == 3


def test_nothing_is_asked_of_the_network_and_a_home_that_cannot_be_written_is_no_matter(tmp_path):
    """Every socket and every name look-up is refused by an audit hook, and HOME is a file."""
    home = tmp_path / "home"
    home.write_text("")
    code = f"""
import sys
asked = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        asked.append((event, args))
        raise PermissionError(event)
sys.addaudithook(hook)
from danlu.app.cli.main import main
try:
    main(["train", "mlp", "--epochs", "1", "--out", {str(tmp_path / "run")!r}])
except SystemExit as ended:
    assert ended.code == 0, ended.code
assert not asked, asked
"""
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "MPLCONFIGDIR": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_imports():
    names = [m.name for m in pkgutil.walk_packages(danlu.__path__, "danlu.") if m.name != "danlu.__main__"]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(names) > 50


def test_no_optional_package_is_needed(tmp_path):
    """Training, evaluating and classifying with every package of the groups test and tensorboard hidden."""
    hidden = ["tensorboard", "beartype", "pytest", "transformers", "torchvision", "torchaudio", "torch_fidelity"]
    code = f"""
import sys
for name in {hidden!r}:
    sys.modules[name] = None
import danlu
run = danlu.train("mlp", epochs=1, out={str(tmp_path / "run")!r}, quiet=True)
assert danlu.evaluate(run.path)["scores"] == run.scores["test"]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "error", [MemoryError("12 GB"), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_out_of_memory_says_what_needs_less_and_keeps_what_was_saved(tmp_path, capsys, monkeypatch, error):
    from danlu.training.trainer import Trainer

    real = Trainer.play

    def play(self):
        if self.round == 45:
            raise error
        return real(self)

    monkeypatch.setattr(Trainer, "play", play)
    with pytest.raises(SystemExit) as ended:
        main.main(["train", "mlp", "--epochs", "4", "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    for hint in ("out of memory", "--batch-size", "--grad-accumulation", "--precision bf16"):
        assert hint in said
    monkeypatch.undo()
    assert list((tmp_path / "run" / "checkpoints").glob("round-*"))
    assert danlu.resume(tmp_path / "run", quiet=True).page["status"] == "finished"
