"""Folders of runs: the newest run stands for the folder; lists of runs with their true status."""

import json
import os
import time

import pytest

import danlu
from commands import call_checked
from danlu.app.run_folder import find_run as find_run_module
from danlu.app.run_folder.find_run import find_run
from danlu.app.run_folder.run_folder import RunFolder
from danlu.errors import UsageError

SMALL = {"model": {"hidden": (8,)}, "rounds": 4, "quiet": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs of a recipe and one of another, in a folder of runs; the second one is the newest."""
    folder = tmp_path_factory.mktemp("runs")
    for name, recipe, started in (("mlp/old", "mlp", 1), ("mlp/new", "mlp", 3), ("other", "mlp", 2)):
        run = danlu.train(recipe, out=folder / name, seed=started, **SMALL)
        run.save_page(started=f"2026-01-0{started}T00:00:00+00:00")
    return folder


def test_a_folder_of_runs_stands_for_its_newest_run(folder, capsys, monkeypatch):
    monkeypatch.setattr(find_run_module, "_announced", set())
    assert find_run(folder / "mlp") == folder / "mlp/new"
    assert find_run(folder) == folder / "mlp/new"
    assert find_run(folder / "mlp/old") == folder / "mlp/old"
    assert find_run(folder / "mlp/old/model") == folder / "mlp/old/model"
    assert find_run(folder) == folder / "mlp/new"  # which is said once
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{folder / 'mlp'} has 2 runs, the newest is used: {folder / 'mlp/new'}",
        f"{folder} has 3 runs, the newest is used: {folder / 'mlp/new'}",
    ]


def test_every_function_that_takes_a_run_takes_a_folder_of_runs(folder):
    assert danlu.evaluate(folder) == danlu.evaluate(folder / "mlp/new")
    assert RunFolder.open(folder / "mlp").path == folder / "mlp/new"
    assert danlu.load(folder).info == danlu.load(folder / "mlp/new").info


def test_a_run_without_a_start_is_ordered_by_its_file(folder, tmp_path):
    for name, age in (("a", 50), ("b", 10), ("c", 30)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{")
        os.utime(tmp_path / name / "run.json", (time.time() - age,) * 2)
    assert find_run(tmp_path) == tmp_path / "b"


def test_links_are_not_followed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder / "mlp")
    assert find_run(tmp_path) == tmp_path
    with pytest.raises(UsageError, match=r"it has no run\.json, and no runs in it"):
        RunFolder.open(tmp_path)


def test_the_list_has_the_newest_run_first_with_its_main_score(folder):
    found = danlu.runs(folder)
    assert [run.path for run in found] == [folder / "mlp/new", folder / "other", folder / "mlp/old"]
    for run in found:
        page = json.loads((run.path / "run.json").read_text())
        assert (run.recipe, run.data, run.status, run.round, run.rounds) == ("mlp", "digits", "finished", 4, 4)
        assert (run.part, run.score) == ("test", ("accuracy", page["scores"]["test"]["accuracy"]))
    assert [run.path for run in danlu.runs(folder / "other")] == [folder / "other"]
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        danlu.runs(folder / "nowhere")


def test_the_status_of_a_run_is_that_of_its_processes(tmp_path):
    run = danlu.train("mlp", out=tmp_path / "run", **SMALL)
    (other := RunFolder.open(run.path)).save_page(status="training")
    assert other.status == "killed"
    with run.hold():
        assert other.status == "running"
        assert [one.status for one in danlu.runs(tmp_path)] == ["running"]
    assert [one.status for one in danlu.runs(tmp_path)] == ["killed"]
    (run.path / "run.json").write_text("{")
    assert [one.status for one in danlu.runs(tmp_path)] == ["damaged"]


def test_the_commands_print_runs_and_their_status(folder, tmp_path):
    out, _ = call_checked("runs", folder)
    lines = out.splitlines()
    assert lines[0].startswith(f"{folder / 'mlp/new'} ")
    assert "finished  4 of 4 rounds  test accuracy 0." in lines[0]
    out, _ = call_checked("runs", folder, "--json")
    assert [run["path"] for run in json.loads(out)["runs"]][1] == str(folder / "other")
    assert call_checked("runs", tmp_path)[0] == f"{tmp_path} has no runs\n"
