"""Runs in several processes: results, errors, threads, processor time, interrupts, and the numbers of experiments."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import joblib
import pytest
import torch
from threadpoolctl import threadpool_limits

import experiment_jobs as jobs
from danlu.catalogue import find_experiment
from danlu.data.text.tokenizers import UnknownCharacter
from danlu.errors import Diverged, RunError, UsageError
from danlu.experiments.harness import parallel
from danlu.experiments.harness.parallel import process_count, run_each, workers
from danlu.storage.access import no_progress

pytestmark = pytest.mark.xdist_group("workers")  # in one process, which starts workers less often
TESTS = Path(__file__).parents[2]


def test_results_have_the_order_of_the_arguments_and_each_end_is_told():
    told = []
    with workers(2):
        results = run_each(jobs.ended_later, [(k, 4) for k in range(4)], lambda *words: told.append(words), "squares")
    assert results == [0, 1, 4, 9]
    assert told == [("squares", k, 4) for k in range(5)]


def test_runs_are_in_this_process_unless_the_caller_allows_others():
    here = {os.getpid()}
    assert set(run_each(jobs.process, [()] * 3)) == here
    with workers(1):
        assert set(run_each(jobs.process, [()] * 3)) == here
    with workers(2):
        assert not here & set(run_each(jobs.process, [()] * 3))
        assert set(run_each(jobs.process, [()])) == here  # a single run
        assert run_each(jobs.process, []) == []
    assert set(run_each(jobs.process, [()] * 3)) == here


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_has_one_thread(count):
    before = torch.get_num_threads()
    with threadpool_limits(2):
        torch.set_num_threads(2)
        try:
            assert jobs.threads() == {2}
            with workers(count):
                assert run_each(jobs.threads, [()] * 2) == [{1}] * 2
            assert jobs.threads() == {2}
        finally:
            torch.set_num_threads(before)


def test_processor_time_of_workers_is_counted_and_that_of_this_process_is_not():
    with workers(2) as used:
        run_each(jobs.busy, [(0.3,)] * 3)
        first = used.seconds
        run_each(jobs.busy, [(0.3,)] * 3)
    assert first >= 0.9
    assert used.seconds >= first + 0.9
    with workers(1) as used:
        run_each(jobs.busy, [(0.1,)])
    assert used.seconds == 0


@pytest.mark.parametrize(("number", "count"), [(1, 1), (2, 1), pytest.param(1, 2, marks=pytest.mark.long), (2, 2)])
def test_an_error_reaches_the_caller(number, count):
    expected = jobs.ERRORS[number - 1]
    with workers(count), pytest.raises(type(expected)) as caught:
        run_each(jobs.fail, [(0,), (number,), (0,)])
    assert type(caught.value) is type(expected)
    assert str(caught.value) == str(expected)
    for name in ("player", "term", "round", "tensor", "settings") if isinstance(expected, Diverged) else ():
        assert getattr(caught.value, name) == getattr(expected, name)
    with workers(count):  # the next experiment has workers again
        assert run_each(jobs.fail, [(0,), (0,)]) == [0, 0]


@pytest.mark.parametrize(
    "error",
    [
        Diverged("critic", "score", 3, "layers.0.weight"),
        UsageError("no such thing", settings=("lr=0.1",)),
        UnknownCharacter("ß", 2, 5, "leave it out"),
    ],
)
def test_a_copy_of_an_error_is_equal_to_it(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_process_that_ends_is_one_clear_error():
    with workers(2), pytest.raises(RunError, match="a process of the experiment ended unexpectedly") as caught:
        run_each(jobs.crash, [(0,), (1,), (0,)])
    assert caught.value.settings == ("jobs=1",)


@pytest.mark.parametrize("name", ["linear-collapse", "vanishing-gradient"])
def test_the_numbers_of_an_experiment_do_not_depend_on_the_processes(name):
    measure = find_experiment(name).measure
    with workers(2) as used:
        apart = measure(3, no_progress, True)
    assert used.seconds > 0
    assert json.dumps(apart) == json.dumps(measure(3, no_progress, True))


@pytest.mark.parametrize(("stop", "everybody"), [("SIGINT", True), ("SIGTERM", False)])
def test_workers_end_when_the_program_is_stopped(tmp_path, stop, everybody):
    """Ctrl-C reaches all processes of a terminal; kill only the first one. Each is sent to a program without main."""
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\n"
        "from pathlib import Path\n"
        "import experiment_jobs as jobs\n"
        "from danlu.experiments.harness.parallel import run_each, workers\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell ignores it in the background
        "print('once', flush=True)\n"
        "with workers(2):\n"
        f"    run_each(jobs.wait, [(Path({str(tmp_path)!r}), k) for k in range(2)])\n"
    )
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    program = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    try:
        files = [tmp_path / f"{k}.pid" for k in range(2)]
        _wait_until(lambda: program.poll() is not None or all(file.exists() for file in files))
        assert program.poll() is None, program.communicate()
        number = getattr(signal, stop)
        (os.killpg if everybody else os.kill)(program.pid, number)
        _wait_until(lambda: program.poll() is not None)
        pids = [int(file.read_text()) for file in files]
        assert program.pid not in pids
        _wait_until(lambda: not any(map(_runs, pids)))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    said, errors = program.communicate()
    assert program.returncode == -number
    assert said == "once\n"
    assert ("KeyboardInterrupt" in errors) == (stop == "SIGINT")


def _wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid):
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_workers_import_no_module_from_the_current_folder(tmp_path, monkeypatch):
    """As from an interactive session, whose search path begins with the current folder."""
    for name in ("random", "socket", "torch"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)  # workers of other tests
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    with workers(2):
        assert len(run_each(jobs.process, [()] * 2)) == 2
    assert not (tmp_path / "ran").exists()
    assert sys.path[0] == ""


def test_the_number_of_processes():
    cores = joblib.cpu_count()
    assert process_count("auto") == cores
    assert [process_count(1), process_count(2)] == [1, 2]
    for jobs_ in (0, -1):
        with pytest.raises(UsageError, match=f"jobs: expected auto or a number of processes from 1, got {jobs_}"):
            process_count(jobs_)
    with pytest.raises(UsageError, match=f"jobs=1000: .* {cores} processor.*; use at most {max(2, cores)}"):
        process_count(1000)


def test_a_process_that_may_start_no_others_makes_the_calls_itself(monkeypatch):
    monkeypatch.setattr(parallel.multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    with workers(2) as used:
        assert run_each(jobs.process, [(), ()]) == [os.getpid(), os.getpid()]
    assert used.seconds == 0


def test_little_memory_means_few_processes(monkeypatch):
    monkeypatch.setattr(parallel.joblib, "cpu_count", lambda: 16)
    monkeypatch.setattr(parallel, "available_memory", lambda: 3 * parallel.MEMORY + 1)
    assert process_count("auto") == 3
    monkeypatch.setattr(parallel, "available_memory", lambda: 0)
    assert process_count("auto") == 1
