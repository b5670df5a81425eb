"""Which processes are at work in a run."""

import os
import subprocess
import sys
import time

import pytest

from danlu.app.run_folder.process_lock import RunLock, is_alive, processes_using, wait_for_processes
from danlu.app.run_folder.run_folder import RunFolder
from danlu.errors import RunError, UsageError
from danlu.recipes.config.resolve import as_recipe

LOCK = "danlu.app.run_folder.process_lock"
AT_WORK = f"import sys, time; from {LOCK} import join_run; join_run(__import__('pathlib').Path(sys.argv[1]))"


@pytest.fixture
def worker(tmp_path):
    command = [sys.executable, "-c", f"{AT_WORK}; print('there', flush=True); time.sleep(600)", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_nobody_holds_a_run_in_which_others_are_at_work(tmp_path, worker):
    assert processes_using(tmp_path) == [worker.pid]
    run = RunFolder(tmp_path, None, {})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"is in use by process {worker.pid}; wait for it, or stop it"):
        run.hold()
    assert not wait_for_processes(tmp_path, 0.2)
    worker.kill()
    worker.wait()
    assert wait_for_processes(tmp_path, 10)
    run.hold().lock.release()
    assert not is_alive(worker.pid)


def test_where_nobody_has_been_nobody_is(tmp_path):
    assert processes_using(tmp_path) == []
    assert wait_for_processes(tmp_path, 0)


STARTS = """
import os, subprocess, sys
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
os.read(0, 1)
"""
LEFT = f"import os, time; from {LOCK} import *; join_run(FOLDER); stop_after_parent(os.getppid()); time.sleep(600)"


def test_who_loses_its_parent_stops(tmp_path):
    child, pipe = LEFT.replace("FOLDER", f"Path({str(tmp_path)!r})"), subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", STARTS, child], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        while processes_using(tmp_path) != [number]:
            time.sleep(0.1)
        process.kill()
    assert wait_for_processes(tmp_path, 30)


def test_two_holders_of_one_folder_are_refused(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    with pytest.raises(UsageError, match=f"is in use by process {os.getpid()}; wait for it, or stop it"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_run_folder_that_is_filled_meanwhile_is_left_alone(tmp_path, monkeypatch):
    """The folder is empty before it is locked, and has another run afterwards."""
    recipe, hold = as_recipe("mlp"), RunFolder.hold

    def hold_late(run):
        (tmp_path / "run.json").write_text("{}")
        return hold(run)

    monkeypatch.setattr(RunFolder, "hold", hold_late)
    with pytest.raises(UsageError, match="already contains a run"):
        RunFolder.create(tmp_path, recipe, {"recipe": "mlp"})
    assert (tmp_path / "run.json").read_text() == "{}"
    assert not (tmp_path / "recipe.yaml").exists()
    lock = RunLock(tmp_path)  # which has been released
    lock.acquire()
    lock.release()


def test_a_run_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot create the run folder .*file/run: Not a directory"):
        RunFolder.create(tmp_path / "file" / "run", as_recipe("mlp"), {"recipe": "mlp"})
