"""Run and model folders from strangers: a link in them must not let danlu read, empty or replace files elsewhere."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import danlu
from commands import call
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import MLP
from danlu.models.saving.model_folder import load_model, save_model
from danlu.training import Checkpoint, checkpoint
from outcomes import edit_json, read_json


@pytest.fixture
def received(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run that is not finished, as from an archive."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    edit_json(folder / "run.json", status="stopped")
    return folder


NAMES = [
    *(".lock", ".processes", "report.html", "card.md", "metrics.jsonl", "recipe.yaml", "error-0.txt", "notes.txt"),
    *("model/model.safetensors", "model/model.json", "samples/round-000001-samples.png", "tensorboard/events"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_with_a_link_is_refused_before_anything_is_opened(received: Path, precious: Path, name: str):
    link = received / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    before = contents(received)
    for words in ["resume", received], ["evaluate", received], ["classify", received, "x.png"]:
        ended = call(*words)
        assert ended.code == 2, words
        said = " ".join(ended.err.split())
        assert f"{link} is a symbolic link; danlu uses only plain files and folders here" in said
        assert "Remove it, or, if it is your own link, replace it by a copy of what it leads to" in said
    assert contents(received) == before


@pytest.mark.parametrize("name", ["checkpoints", "model", "samples", "checkpoints/round-000000002"])
def test_a_folder_that_is_a_link_is_refused(received: Path, tmp_path: Path, name: str):
    elsewhere, link = tmp_path / "elsewhere", received / name
    elsewhere.mkdir()
    if link.exists():
        shutil.rmtree(link)
    link.symlink_to(elsewhere)
    with pytest.raises(UsageError, match=rf"{name} is a symbolic link"):
        danlu.resume(received, quiet=True)
    assert not list(elsewhere.iterdir())


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "pipe"), (make_socket, "socket")])
def test_a_pipe_or_a_socket_is_refused_and_does_not_block(
    received: Path, make: Callable[[Path], None], kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(received)  # the path of a socket is short
    Path(".lock").unlink()
    make(Path(".lock"))
    with pytest.raises(UsageError, match=rf"\.lock is a {kind}; .* nothing in \. was opened or changed. Remove it"):
        danlu.resume(".", quiet=True)


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_a_hard_link_to_a_file_elsewhere_is_not_written(received: Path, precious: Path, name: str):
    """A file with two names is usual in a copy; only files that are changed in place are checked."""
    (received / name).unlink()
    os.link(precious, received / name)
    if name == ".lock":
        with pytest.raises(UsageError, match=r"\.lock has 2 names \(hard links\), and writing to it would change"):
            danlu.resume(received, quiet=True)
    else:  # it is written anew under this name
        danlu.resume(received, quiet=True)


def test_a_link_to_a_run_is_followed(received: Path, tmp_path: Path):
    """Because the user names it."""
    (tmp_path / "latest").symlink_to(received)
    assert danlu.resume(tmp_path / "latest", quiet=True).page["status"] == "finished"


def test_a_run_without_links_is_resumed_and_its_locks_become_private(received: Path):
    for name in (".lock", ".processes"):
        (received / name).touch()
        (received / name).chmod(0o666)
    danlu.resume(received, quiet=True)
    assert read_json(received / "run.json")["status"] == "finished"
    assert [(received / name).stat().st_mode & 0o777 for name in (".lock", ".processes")] == [0o600, 0o600]


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_model_folder_with_a_link_is_refused(tmp_path: Path, name: str):
    save_model(MLP((4,), 2), tmp_path / "model", TableInfo((4,), 2))
    (tmp_path / "model" / name).rename(tmp_path / "elsewhere")
    (tmp_path / "model" / name).symlink_to(tmp_path / "elsewhere")
    for load in load_model, danlu.load:
        with pytest.raises(UsageError, match=f"{name} is a symbolic link; .* it was not opened"):
            load(tmp_path / "model")


def test_a_model_folder_can_have_other_links_beside_the_model(tmp_path: Path):
    """For example if it is the current folder of a project."""
    save_model(MLP((4,), 2), tmp_path, TableInfo((4,), 2))
    (tmp_path / "data").symlink_to("/")
    assert load_model(tmp_path).info.classes == 2


@pytest.mark.parametrize("name", ["../precious.safetensors", "/etc/hostname", "part-1/../../x", "", "notes.txt"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    path = checkpoint.write(tmp_path / "checkpoints", Checkpoint(7, {}, {}))
    manifest = read_json(path / "manifest.json")
    edit_json(path / "manifest.json", sha256={**manifest["sha256"], name: "0" * 64})
    digested = []
    digest = checkpoint.file_digest
    monkeypatch.setattr(checkpoint, "file_digest", lambda path: digested.append(path) or digest(path))
    said: list[str] = []
    assert checkpoint.newest(tmp_path / "checkpoints", said.append) is None
    assert f"manifest.json names {name!r}, which is not a file of a checkpoint" in said[0]
    assert digested == []


def test_a_link_in_a_checkpoint_is_not_read(tmp_path: Path):
    path = checkpoint.write(tmp_path / "checkpoints", Checkpoint(7, {}, {}))
    (path / "tensors.safetensors").rename(tmp_path / "elsewhere")
    (path / "tensors.safetensors").symlink_to(tmp_path / "elsewhere")
    assert checkpoint.of_round(tmp_path / "checkpoints", 7) is None


def contents(folder: Path) -> dict[str, bytes | None]:
    """The files of a folder; None for a link."""
    return {str(p): None if p.is_symlink() else p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}
