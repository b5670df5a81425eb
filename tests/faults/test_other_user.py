"""What another user of the machine can do: these tests run a process under another user ID, so they need root."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import danlu
from danlu.data import digits
from danlu.data.survey.survey import survey_data_set
from danlu.errors import UsageError

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach and write, as /tmp; pytest's own folders are private."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o1777)
        yield Path(name)


def as_other_user(action: Callable[[], object]) -> str:
    """Do something in a process of another user; return the name of the exception, or the result as text."""
    read, write = os.pipe()
    number = os.fork()
    if number == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            result = str(action())
        except BaseException as error:
            result = type(error).__name__
        os.write(write, result.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(number, 0)
    with open(read, encoding="utf-8") as file:
        return file.read()


def lock(path: Path) -> None:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def open_folder(path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o777)


def test_another_user_can_neither_lock_a_run_nor_write_it(shared: Path):
    danlu.train("mlp", out=shared / "run", epochs=1, model={"hidden": (8,)}, quiet=True)
    assert '"format"' in as_other_user((shared / "run" / "run.json").read_text)  # the umask allows to read it
    assert as_other_user(lambda: lock(shared / "run" / ".lock")) == "PermissionError"
    assert as_other_user(lambda: (shared / "run" / "notes").symlink_to("/etc/passwd")) == "PermissionError"


def test_another_user_cannot_read_the_cache(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DANLU_CACHE", str(shared / "cache"))
    survey_data_set(digits())
    assert list((shared / "cache" / "surveys").iterdir())
    for folder in shared / "cache", shared / "cache" / "surveys":
        assert as_other_user(partial(os.listdir, folder)) == "PermissionError"


def test_a_link_of_another_user_is_not_followed(shared: Path, tmp_path: Path):
    (tmp_path / "private").mkdir()
    assert as_other_user(lambda: (shared / "run").symlink_to(tmp_path / "private")) == "None"
    with pytest.raises(UsageError, match="run is a symbolic link"):
        danlu.train("mlp", out=shared / "run", epochs=1, quiet=True)
    assert not list((tmp_path / "private").iterdir())


def test_a_folder_of_another_user_is_not_used(shared: Path, monkeypatch: pytest.MonkeyPatch):
    assert as_other_user(lambda: open_folder(shared / "run")) == "None"
    with pytest.raises(UsageError, match="run belongs to another user"):
        danlu.train("mlp", out=shared / "run", epochs=1, quiet=True)
    assert as_other_user(lambda: open_folder(shared / "cache" / "surveys")) == "None"
    monkeypatch.setenv("DANLU_CACHE", str(shared / "cache"))
    with pytest.raises(UsageError, match="surveys belongs to another user"):
        survey_data_set(digits())
