"""Several processes for one run: the outcome of one, through kills and signals."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import call, start, start_ranks, trained_by_ranks, wait_for_lines, with_options
from danlu.app.run_folder.process_lock import processes_using, wait_for_processes
from outcomes import assert_close_tensors, assert_same_run, run_page, weights

TRAIN = ["train", "mlp", "--epochs", "6", "--model.hidden", "16", "--model.dropout", "0.2", "--precision", "float64"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "danlu"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """A run of two processes that nothing has disturbed."""
    out = tmp_path_factory.mktemp("two") / "run"
    trained_by_ranks(*TRAIN, "--out", out)
    return out


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

SLOW = """
import os
if "RANK" in os.environ:
    import time
    from danlu.training.trainer import Trainer
    real = Trainer.run_round
    def run_round(self):
        if self.round:
            time.sleep(60)
        return real(self)
    Trainer.run_round = run_round
"""


def searched_first(folder: Path) -> str:
    """PYTHONPATH with a folder before the others."""
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@pytest.mark.xdist_group("devices")
def test_two_processes_train_what_one_trains(tmp_path):
    """Without dropout, whose masks depend on the rank, to the accuracy of float64."""
    one, two = tmp_path / "one", tmp_path / "two"
    words = [*with_options(TRAIN, "--model.dropout", "0"), "--out"]
    assert call(*words, one, "--devices", "1").code == 0
    trained_by_ranks(*words, two)
    assert_close_tensors(weights(one), weights(two), 1e-9)
    assert (run_page(one)["ranks"], run_page(two)["ranks"]) == (1, 2)


@pytest.mark.xdist_group("devices")
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.long)])
def test_sigkill_of_one_process_and_sigterm_are_survived_bit_for_bit(undisturbed, tmp_path, rank):
    """The launcher starts the processes anew; asked to stop, they save, and as many go on."""
    out = tmp_path / "run"
    process = start(*TRAIN, "--devices", "2", "--out", out)
    wait_for_lines(out, 30, process)
    os.kill(workers(out)[rank], signal.SIGKILL)
    while "Resuming" not in process.said:
        assert process.code is None, process.said
        time.sleep(0.005)
    wait_for_lines(out, 60, process)
    process.signal(signal.SIGTERM)
    assert f"danlu resume {out} --devices 2\n" in process.ended(3)
    assert run_page(out)["status"] == "stopped"
    assert 0 < run_page(out)["round"] < run_page(out)["rounds"]
    start("resume", out, "--devices", "2").ended()
    assert_same_run(out, undisturbed)


@pytest.mark.xdist_group("devices")
def test_without_their_launcher_the_processes_save_and_stop_and_nobody_begins_before(tmp_path):
    out = tmp_path / "run"
    process = start(*with_options(TRAIN, "--epochs", "3000"), "--devices", "2", "--out", out)
    wait_for_lines(out, 2, process)
    (launcher,) = children(process.pid)
    os.kill(launcher, signal.SIGKILL)
    assert re.search(r"Stopped after round \d+", process.ended(3))
    assert processes_using(out) == []
    assert run_page(out)["status"] == "stopped"


@pytest.mark.xdist_group("devices")
def test_a_second_signal_ends_them_all_at_once(tmp_path):
    out = tmp_path / "run"
    # rounds that take long, so that the first signal cannot have its way
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    process = start(*TRAIN, "--devices", "2", "--out", out, PYTHONPATH=searched_first(tmp_path))
    wait_for_lines(out, 1, process)
    assert len(workers(out)) == 2
    process.signal(signal.SIGINT)
    time.sleep(0.2)
    process.signal(signal.SIGINT)
    assert "Traceback" not in process.ended(130)
    assert wait_for_processes(out, 30)


@pytest.mark.xdist_group("devices")
@pytest.mark.long
def test_who_cannot_start_again_says_so_though_the_run_was_stopped(tmp_path):
    out = tmp_path / "run"
    process = start(*TRAIN, "--devices", "2", "--out", out)
    wait_for_lines(out, 1, process)
    process.signal(signal.SIGINT)
    assert "Traceback" not in process.ended(3)
    process = start("resume", out, "--devices", "2")
    while run_page(out)["status"] == "stopped":
        time.sleep(0.005)
    while not children(process.pid):
        time.sleep(0.005)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    assert "lost their launcher, which was ended by signal 9" in process.ended(1)
    assert run_page(out)["status"] == "failed"


@pytest.mark.xdist_group("devices")
@pytest.mark.long
def test_split_players_train_what_whole_ones_train_in_any_number_of_processes(tmp_path):
    """Stopped in two processes, which wrote half of each tensor, and gone on with in one, and the other way round."""
    words = with_options(TRAIN, "--model.dropout", "0", "--ema", "0.9", "--grad-clip", "1")
    whole = tmp_path / "whole"
    start(*words, "--out", whole).ended()
    for before, after in (2, 2), (2, 1), (1, 2):
        out = tmp_path / f"{before}-{after}"
        process = start(*words, "--shard", "--devices", before, "--out", out)
        wait_for_lines(out, 30, process)
        process.signal(signal.SIGTERM)
        process.ended(3)
        parts = sorted(path.name for path in (out / "checkpoints").glob("round-*/part-*"))
        assert bool(parts) == (before == 2), parts
        if before != after:
            assert f"ranks: {before} before, {after} now" in start("resume", out, "--devices", after).ended(2)
        assert "Resuming" in start("resume", out, "--devices", after, "--ignore-changes").ended()
        assert_close_tensors(weights(whole), weights(out), 1e-6)
        assert run_page(out)["scores"].keys() == run_page(whole)["scores"].keys()


@pytest.mark.xdist_group("devices")
def test_torchrun_by_hand_trains_the_same_and_goes_on(undisturbed, tmp_path):
    """Torchrun starts the run and passes the signal on; its processes, started anew, go on and find it finished."""
    out = tmp_path / "run"
    with subprocess.Popen([*TORCHRUN, *TRAIN, "--out", str(out)], stderr=subprocess.DEVNULL) as process:
        wait_for_lines(out, 30)
        process.send_signal(signal.SIGTERM)
    assert run_page(out)["status"] == "stopped"
    assert "Resuming" in trained_by_ranks(*TRAIN, "--out", out)
    assert_same_run(out, undisturbed)
    assert "is finished" in trained_by_ranks(*TRAIN, "--out", out)


@pytest.mark.xdist_group("devices")
def test_torchrun_by_hand_says_whose_error_it_was(tmp_path):
    error, tries = "MemoryError('12 GB')", str(tmp_path / "tries")
    fault = FAULT.format(rank=1, where="Trainer, 'run_round'", error=error, tries=tries)
    processes = start_ranks(*TRAIN, "--out", tmp_path / "run", first=fault)
    assert all(process.wait() and process.code for process in processes)
    said = "".join(process.said for process in processes)
    assert said.count("danlu: out of memory: 12 GB") == 1
    assert run_page(tmp_path / "run")["error"].startswith("process 1: out of memory: 12 GB")


@pytest.mark.xdist_group("devices")
def test_torchrun_by_hand_needs_a_common_folder(tmp_path):
    for process in start_ranks(*TRAIN, folder=tmp_path):
        assert "give it (--out)" in process.ended(2)


@pytest.mark.xdist_group("devices")
def test_a_run_that_diverges_in_every_process_is_not_tried_again(tmp_path):
    out = tmp_path / "run"
    words = [*TRAIN[:2], "--epochs", "3", "--optimizer", "sgd", "--lr", "1e30", "--schedule", "step", "--devices", "2"]
    said = start(*words, "--out", out).ended(1)
    assert "is not finite in round" in said
    assert "Traceback" not in said
    assert run_page(out)["status"] == "failed"


@pytest.mark.xdist_group("devices")
@pytest.mark.parametrize(
    ("rank", "where", "error", "line"),
    [
        (1, "Trainer, 'run_round'", "MemoryError('12 GB')", "process 1: out of memory: 12 GB"),
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
            "process 1: ValueError: five (this is a bug in danlu; ",
            marks=pytest.mark.long,
        ),
    ],
)
def test_an_error_of_one_process_is_told_once_and_not_tried_again(undisturbed, tmp_path, rank, where, error, line):
    """In a round, in saving, and before the processes meet, where the other waits for it."""
    out, tries = tmp_path / "run", tmp_path / "tries"
    (tmp_path / "sitecustomize.py").write_text(FAULT.format(rank=rank, where=where, error=error, tries=str(tries)))
    said = start(
        *TRAIN, "--devices", "2", "--out", out, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    ).ended(1)
    assert said.count(line) == 1
    assert f"danlu resume {out} --devices 2`" in said
    assert not re.search("Traceback|Connection|another process|Going on", said), said
    assert run_page(out)["status"] == "failed"
    assert run_page(out)["error"].startswith(line)
    assert tries.read_text() == "tried\n"
    assert "Traceback" in (out / f"error-{rank}.txt").read_text()
    start("resume", out, "--devices", "2").ended()
    assert not list(out.glob("error-*"))
    assert_same_run(out, undisturbed)


@pytest.mark.xdist_group("devices")
def test_a_dry_run_in_two_processes_keeps_nothing(tmp_path):
    said = start(*TRAIN[:2], "--devices", "2", "--dry-run", folder=tmp_path).ended()
    assert "dry run passed" in said
    assert "danlu evaluate" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--batch-size", "1", "--devices", "2"], "a batch of 1 cannot be split into 2"),
        (["--devices", "100000"], "devices=100000: this machine has"),
        (["--devices", "0"], "devices: expected at least 1, got 0 (--devices)"),
    ],
)
def test_what_processes_cannot_do_is_refused_before_the_run_begins(words, line, tmp_path):
    code, _, said = call(*TRAIN, *words, "--out", tmp_path / "run")
    assert code == 2
    assert line in said
    assert not (tmp_path / "run").exists()
