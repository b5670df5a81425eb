import errno
from pathlib import Path

import pytest

from danlu.storage import atomic, publish, replacing, temporary_folder, write_bytes, write_text
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
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_text("old")

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "sync":
        monkeypatch.setattr(atomic, "sync", full)
    else:
        monkeypatch.setattr(Path, {"write": "write_bytes", "rename": "replace"}[step], full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_block_that_writes_nothing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        assert not temporary.exists()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_file_and_folder_are_synced_in_the_right_order(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(atomic, "sync", lambda path: said.append((path, (tmp_path / "a").exists())))
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert said == [(temporary, False), (tmp_path, True)]


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
