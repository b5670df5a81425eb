"""Errors of several processes: whose it is, that it is told once, and when there is no cause but a death."""

import errno
import os

import pytest

import danlu
from danlu.app.console.error_lines import explain, is_broken_connection
from danlu.app.run_folder import rank_errors
from danlu.app.runs import worker
from danlu.errors import RunError

BROKEN = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:29500")


def test_an_error_of_ones_own_is_written_with_its_place(tmp_path):
    try:
        {}["weight"]
    except KeyError as error:
        found = rank_errors.find_cause(tmp_path, 1, error)
    where = tmp_path / "error-1.txt"
    assert found == f"process 1: KeyError: 'weight' (this is a bug in danlu; {where} shows where)"
    assert '{}["weight"]' in where.read_text()


def test_a_broken_connection_has_the_cause_that_another_process_has_written(tmp_path):
    assert rank_errors.find_cause(tmp_path, 0, BROKEN, patience=0) is None
    rank_errors.find_cause(tmp_path, 1, MemoryError("12 GB"))
    found = rank_errors.find_cause(tmp_path, 0, BROKEN, patience=0)
    assert found is not None
    assert found.startswith("process 1: out of memory: 12 GB")
    assert not (tmp_path / "error-0.txt").exists()


def test_one_error_of_all_is_told_once_and_several_each_with_its_process(tmp_path):
    for rank in range(11):
        rank_errors.find_cause(tmp_path, rank, RunError("not finite"))
    assert rank_errors.read_errors(tmp_path) == "not finite"
    found = rank_errors.find_cause(tmp_path, 10, RunError("the disk is full"))
    assert found is not None
    assert found.endswith("process 9: not finite; process 10: the disk is full")


def test_an_error_can_be_seen_by_the_others_on_a_full_disk_too(tmp_path, monkeypatch, capsys):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(rank_errors, "write_text", full)
    cause = rank_errors.find_cause(tmp_path, 1, RunError("cannot save"))
    assert cause == "process 1: failed, and could not write the reason to disk"
    assert capsys.readouterr().err == "danlu: process 1: cannot save\n"
    assert rank_errors.find_cause(tmp_path, 0, BROKEN, patience=0) is not None


def test_others_are_others_and_what_is_forgotten_is_gone(tmp_path):
    rank_errors.find_cause(tmp_path, 1, RunError("no"))
    assert [rank_errors.another_failed(tmp_path, rank) for rank in (0, 1)] == [True, False]
    rank_errors.remove_errors(tmp_path)
    assert rank_errors.read_errors(tmp_path) is None
    assert not rank_errors.another_failed(tmp_path, 0)


def test_a_worker_that_is_started_anew_does_not_try_again_what_has_failed(tmp_path, monkeypatch):
    """As when a process crashes because another one has failed."""

    class Left(Exception):
        pass

    def leave(code):
        raise Left(code)

    run = danlu.train("mlp", epochs=1, out=tmp_path / "run", quiet=True)
    rank_errors.find_cause(run.path, 1, RunError("no"))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(worker, "exit_process", leave)
    monkeypatch.setattr(worker.Session, "start", lambda *given: pytest.fail("it tries again"))
    with pytest.raises(Left, match="0"):
        worker.main([str(run.path)])


@pytest.mark.parametrize("name", ["DistBackendError", "DistNetworkError", "DistStoreError"])
def test_what_torch_and_gloo_raise_for_a_peer_that_is_gone_is_known(name):
    import torch.distributed as dist

    for error in (getattr(dist, name)("NCCL error: remote process exited"), BROKEN):
        assert is_broken_connection(error)
        assert explain(error)[1].startswith("another process of this run ended unexpectedly")
    for own in (RunError("gone"), ConnectionResetError("by a web server"), MemoryError(), RuntimeError("a bug")):
        assert not is_broken_connection(own)
