import errno
import os
import resource
from pathlib import Path

import pytest

from danlu.storage import publish, replacing, temporary_folder, write_bytes, write_text
from danlu.storage.atomic import FOLDERS


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_new_content(tmp_path):
    write_text(tmp_path / "a", "löß\n")
    write_bytes(tmp_path / "a", b"\r\n")
    assert (tmp_path / "a").read_bytes() == b"\r\n"
    write_text(tmp_path / "a", "löß\n")
    assert (tmp_path / "a").read_bytes() == "löß\n".encode()
    assert names(tmp_path) == ["a"]


def test_what_was_there_is_visible_until_the_new_file_is_complete(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as file:
        (temporary,) = (other for other in tmp_path.iterdir() if other != path)
        assert temporary.name.startswith(".")
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["sync", "rename"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_text("old")

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "sync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """The kernel refuses what is beyond the largest size of a file; Python ignores the signal."""
    path = tmp_path / "a"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text(path, "new" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.write("text in a file of bytes")  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_file_and_folder_are_synced_in_the_right_order(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(os, "fsync", lambda number: said.append((os.fstat(number).st_ino, (tmp_path / "a").exists())))
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert said == [((tmp_path / "a").stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_the_longest_name_a_file_can_have(tmp_path):
    path = tmp_path / ("ü" * 127)
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_published_folder_replaces_the_one_before(tmp_path):
    for content in ("old", "new"):
        with temporary_folder(tmp_path, "key") as folder:
            assert folder in list(tmp_path.glob(FOLDERS))
            (folder / "a").write_text(content)
            publish(folder, tmp_path / "key")
        assert names(tmp_path) == ["key"]
        assert (tmp_path / "key" / "a").read_text() == content


def test_a_folder_that_is_not_published_is_removed(tmp_path):
    with pytest.raises(FileNotFoundError), temporary_folder(tmp_path, "key") as folder:
        (folder / "no" / "a").write_text("half")
    assert names(tmp_path) == []


def test_two_temporary_folders_of_one_name(tmp_path):
    with temporary_folder(tmp_path, "key") as one, temporary_folder(tmp_path, "key") as two:
        assert one != two


def test_a_folder_that_does_not_exist_cannot_be_published(tmp_path):
    """Only an existing target is replaced; every other error is raised, and the target stays."""
    final = tmp_path / "final"
    final.mkdir()
    (final / "a").write_text("old")
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "missing", final)
    assert (final / "a").read_text() == "old"


@pytest.mark.parametrize("step", ["open", "replace"])
def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path, monkeypatch, step):
    """For example where a file of this name belongs to another user, in a folder that all users can write."""

    def fail(path, *_):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path), None, str(path))

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(PermissionError) as error:
        write_text(tmp_path / "a", "x")
    assert (error.value.filename, error.value.filename2) == (str(tmp_path / "a"), None)
