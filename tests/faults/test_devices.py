"""Several processes for one run: the outcome of one, through kills and signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from danlu.app.run_folder.process_lock import at_work, wait_for_all

TRAIN = ["train", "mlp", "--epochs", "12", "--model.hidden", "16", "--model.dropout", "0.2", "--precision", "float64"]


def danlu(*words: str, **variables: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "danlu", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(process: subprocess.Popen, code: int = 0) -> str:
    said = process.communicate(timeout=300)[0].decode()
    assert process.returncode == code, said
    return said


def model(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def page(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def equal(a: Path, b: Path) -> None:
    assert all(torch.equal(tensor, model(b)[name]) for name, tensor in model(a).items())
    assert page(a)["scores"] == page(b)["scores"]
    assert (a / "metrics.jsonl").read_text() == (b / "metrics.jsonl").read_text()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two") / "run"
    ended(danlu(*TRAIN, "--devices", "2", "--out", str(out)))
    return out


def wait_for_lines(out: Path, lines: int) -> None:
    path = out / "metrics.jsonl"
    while not path.exists() or path.read_text().count("\n") < lines:
        time.sleep(0.005)


def workers(run: Path) -> list[int]:
    """Process numbers of the run's workers, in the order of their ranks."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
            environment = (proc / "environ").read_bytes()
        except OSError:
            continue
        rank = re.search(rb"\0RANK=(\d+)\0", b"\0" + environment + b"\0")
        if rank and b"danlu.app.runs.worker" in words and str(run).encode() in words:
            found.append((int(rank[1]), int(proc.name)))
    return [number for _, number in sorted(found)]


def children(number: int) -> list[int]:
    """Process numbers of those that a process has started."""
    found = Path(f"/proc/{number}/task").glob("*/children")
    return [int(word) for path in found for word in path.read_text().split()]


FAULT = """
import os
if os.environ.get("RANK") == "{rank}":  # in no other process of the run
    from danlu.app.runs.session import Session
    from danlu.training.trainer import Trainer
    owner, name = {where}
    real = getattr(owner, name)
    def failing(*args, **kwargs):
        if owner is Session or args[0].round >= 25:
            with open({tries!r}, "a") as file:
                file.write("tried\\n")
            raise {error}
        return real(*args, **kwargs)
    setattr(owner, name, failing)
"""


@pytest.mark.xdist_group("devices")
def test_two_processes_train_what_one_trains(undisturbed, tmp_path):
    """Without dropout, whose masks depend on the rank, to the accuracy of float64."""
    outs = [tmp_path / "one", tmp_path / "two"]
    for devices, out in enumerate(outs, start=1):
        ended(danlu(*TRAIN, "--model.dropout", "0", "--devices", str(devices), "--out", str(out)))
    for name, tensor in model(outs[0]).items():
        torch.testing.assert_close(model(outs[1])[name], tensor, rtol=1e-9, atol=1e-9)
    assert (page(outs[0])["ranks"], page(outs[1])["ranks"]) == (1, 2)


@pytest.mark.xdist_group("devices")
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.long)])
def test_sigkill_of_one_process_is_survived_bit_for_bit(undisturbed, tmp_path, rank):
    out = tmp_path / "run"
    process = danlu(*TRAIN, "--devices", "2", "--out", str(out))
    wait_for_lines(out, 30)
    os.kill(workers(out)[rank], signal.SIGKILL)
    assert "Going on with" in ended(process)
    equal(out, undisturbed)


@pytest.mark.xdist_group("devices")
def test_sigterm_saves_and_resume_goes_on_in_as_many_processes(undisturbed, tmp_path):
    out = tmp_path / "run"
    process = danlu(*TRAIN, "--devices", "2", "--out", str(out))
    wait_for_lines(out, 30)
    process.send_signal(signal.SIGTERM)
    assert f"danlu resume {out}" in ended(process, 3)
    assert page(out)["status"] == "stopped"
    assert 0 < page(out)["round"] < page(out)["rounds"]
    ended(danlu("resume", str(out)))
    equal(out, undisturbed)


@pytest.mark.xdist_group("devices")
def test_without_their_launcher_the_processes_save_and_stop_and_nobody_begins_before(tmp_path):
    out = tmp_path / "run"
    process = danlu(*TRAIN, "--epochs", "3000", "--devices", "2", "--out", str(out))
    wait_for_lines(out, 2)
    (launcher,) = children(process.pid)
    os.kill(launcher, signal.SIGKILL)
    assert re.search(r"Stopped after round \d+", ended(process, 3))
    assert at_work(out) == []
    assert page(out)["status"] == "stopped"


@pytest.mark.xdist_group("devices")
def test_a_second_signal_ends_them_all_at_once(tmp_path):
    out = tmp_path / "run"
    # a round that takes long, so that the first signal cannot have its way
    slow = ["--model.hidden", "4000", "4000", "4000", "--batch-size", "1200", "--epochs", "3000"]
    process = danlu("train", "mlp", *slow, "--devices", "2", "--out", str(out))
    wait_for_lines(out, 1)
    assert len(workers(out)) == 2
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in ended(process, 130)
    assert wait_for_all(out, 30)


@pytest.mark.xdist_group("devices")
@pytest.mark.long
def test_who_cannot_start_again_says_so_though_the_run_was_stopped(tmp_path):
    out = tmp_path / "run"
    process = danlu(*TRAIN, "--devices", "2", "--out", str(out))
    wait_for_lines(out, 1)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in ended(process, 3)
    process = danlu("resume", str(out))
    while page(out)["status"] == "stopped":
        time.sleep(0.005)
    while not children(process.pid):
        time.sleep(0.005)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    assert "left by their launcher, which signal 9 ended" in ended(process, 1)
    assert page(out)["status"] == "failed"


@pytest.mark.xdist_group("devices")
@pytest.mark.long
def test_split_players_train_what_whole_ones_train_in_any_number_of_processes(tmp_path):
    """Stopped in two processes, which wrote half of each tensor, and gone on with in one, and the other way round."""
    words = [*TRAIN, "--model.dropout", "0", "--ema", "0.9", "--grad-clip", "1"]
    whole = tmp_path / "whole"
    ended(danlu(*words, "--out", str(whole)))
    for before, after in (2, 2), (2, 1), (1, 2):
        out = tmp_path / f"{before}-{after}"
        process = danlu(*words, "--shard", "--devices", str(before), "--out", str(out))
        wait_for_lines(out, 30)
        process.send_signal(signal.SIGTERM)
        ended(process, 3)
        parts = sorted(path.name for path in (out / "checkpoints").glob("round-*/part-*"))
        assert bool(parts) == (before == 2), parts
        if before != after:
            assert f"ranks: {before} then, {after} now" in ended(danlu("resume", str(out), "--devices", str(after)), 2)
        said = ended(danlu("resume", str(out), "--devices", str(after), "--anyway"))
        assert "Going on with" in said
        for name, tensor in model(whole).items():
            torch.testing.assert_close(model(out)[name], tensor, rtol=1e-6, atol=1e-6)
        assert page(out)["scores"].keys() == page(whole)["scores"].keys()


@pytest.mark.xdist_group("devices")
def test_torchrun_by_hand_trains_the_same_and_goes_on(undisturbed, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "danlu", *TRAIN, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start() -> subprocess.Popen:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    process = start()
    wait_for_lines(out, 30)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert page(out)["status"] == "stopped"
    assert "Going on with" in ended(start())
    equal(out, undisturbed)
    assert "is finished" in ended(start())


@pytest.mark.xdist_group("devices")
def test_torchrun_by_hand_says_whose_error_it_was(tmp_path):
    fault = FAULT.format(rank=1, where="Trainer, 'play'", error="MemoryError('12 GB')", tries=str(tmp_path / "tries"))
    (tmp_path / "sitecustomize.py").write_text(fault)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "danlu"]
    command += [*TRAIN, "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("danlu: out of memory: 12 GB") == 1
    assert page(tmp_path / "run")["error"].startswith("process 1: out of memory: 12 GB")


@pytest.mark.xdist_group("devices")
def test_torchrun_by_hand_needs_a_common_folder(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "danlu"]
    done = subprocess.run([*command, *TRAIN], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert "name it with --out" in done.stderr


@pytest.mark.xdist_group("devices")
def test_a_run_that_diverges_in_every_process_is_not_tried_again(tmp_path):
    out = tmp_path / "run"
    words = [*TRAIN[:2], "--epochs", "3", "--optimizer", "sgd", "--lr", "1e30", "--schedule", "step", "--devices", "2"]
    said = ended(danlu(*words, "--out", str(out)), 1)
    assert "is not finite in round" in said
    assert "Traceback" not in said
    assert page(out)["status"] == "failed"


@pytest.mark.xdist_group("devices")
@pytest.mark.parametrize(
    ("rank", "where", "error", "line"),
    [
        (1, "Trainer, 'play'", "MemoryError('12 GB')", "process 1: out of memory: 12 GB"),
        pytest.param(
            0,
            "Trainer, 'state'",
            "OSError(28, 'No space left on device', '/data')",
            "process 0: /data: No space left",
            marks=pytest.mark.long,
        ),
        pytest.param(
            1,
            "Session, 'start'",
            "ValueError('five')",
            "process 1: ValueError: five (this should not happen; ",
            marks=pytest.mark.long,
        ),
    ],
)
def test_an_error_of_one_process_is_told_once_and_not_tried_again(undisturbed, tmp_path, rank, where, error, line):
    """In a round, in saving, and before the processes meet, where the other waits for it."""
    out, tries = tmp_path / "run", tmp_path / "tries"
    (tmp_path / "sitecustomize.py").write_text(FAULT.format(rank=rank, where=where, error=error, tries=str(tries)))
    said = ended(danlu(*TRAIN, "--devices", "2", "--out", str(out), PYTHONPATH=str(tmp_path)), 1)
    assert said.count(line) == 1
    assert f"danlu resume {out}" in said
    assert not re.search("Traceback|Connection|another process|Going on", said), said
    assert page(out)["status"] == "failed"
    assert page(out)["error"].startswith(line)
    assert tries.read_text() == "tried\n"
    assert "Traceback" in (out / f"error-{rank}.txt").read_text()
    ended(danlu("resume", str(out)))
    assert not list(out.glob("error-*"))
    equal(out, undisturbed)


@pytest.mark.xdist_group("devices")
def test_a_dry_run_in_two_processes_keeps_nothing(tmp_path):
    command = [sys.executable, "-m", "danlu", *TRAIN[:2], "--devices", "2", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "dry run passed" in done.stdout
    assert "danlu evaluate" not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--batch-size", "1", "--devices", "2"], "a batch of 1 cannot be cut into 2"),
        (["--devices", "100000"], "--devices 100000: there are"),
        (["--devices", "0"], "it takes at least one"),
    ],
)
def test_what_processes_cannot_do_is_refused_before_the_run_begins(words, line, tmp_path):
    said = ended(danlu(*TRAIN, *words, "--out", str(tmp_path / "run")), 2)
    assert line in said
    assert not (tmp_path / "run").exists()
