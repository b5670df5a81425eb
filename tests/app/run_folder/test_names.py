"""Names of run folders: recipe, time and data, and a number if the folder exists."""

from datetime import datetime
from pathlib import Path

import pytest

from danlu.app.run_folder import run_folder
from danlu.app.run_folder.run_folder import RunFolder
from danlu.recipes import as_recipe, changed

TIME = "2026-11-23-1412"


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 23, 14, 12, 59)


@pytest.fixture(autouse=True)
def _clock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder, "datetime", Clock)


def created(data):
    recipe = changed(as_recipe("mlp"), {"data": data})
    run = RunFolder.create(None, recipe, {"recipe": "mlp"})
    run.lock.release()
    return run.path


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("fashion-mnist", "fashion-mnist"),
        ("folder:photos", "folder-photos"),
        ("folder:../My Photos/", "folder-..-My-Photos"),
        ("table:größe_1.csv", "table-größe_1.csv"),
        ("folder:" + "x" * 60, "folder-" + "x" * 33),  # 40 characters
        ("::", "data"),
    ],
)
def test_a_run_is_named_by_recipe_time_and_data(data, word):
    assert created(data) == Path("runs/mlp") / f"{TIME}-{word}"


def test_runs_of_the_same_minute_are_numbered():
    names = [created("digits").name for _ in range(3)]
    assert names == [f"{TIME}-digits", f"{TIME}-digits-2", f"{TIME}-digits-3"]
    assert sorted(path.name for path in Path("runs/mlp").iterdir()) == names


def test_the_folders_above_a_named_run_are_created_too(tmp_path):
    run = RunFolder.create(tmp_path / "a" / "b" / "run", as_recipe("mlp"), {"recipe": "mlp"})
    run.lock.release()
    assert (tmp_path / "a" / "b" / "run" / "run.json").is_file()
