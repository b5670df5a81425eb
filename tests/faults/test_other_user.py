"""What another user of the machine can do: these tests run a process under another user ID, so they need root."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import danlu
from commands import call
from danlu.app.experiments import runner
from danlu.data import digits
from danlu.data.survey.survey import survey_data_set
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import MLP
from danlu.models.saving.model_folder import save_model
from danlu.storage import plain_files
from danlu.storage.access import Access
from danlu.storage.atomic import temporary_folder
from danlu.storage.download import File, fetch
from danlu.storage.plain_files import check_parents

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


def leave_links(folder: Path, links: dict[str, Path]) -> None:
    for name, target in links.items():
        (folder / name).symlink_to(target)


@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_the_links_of_another_user_at_the_names_of_results_are_not_followed(
    shared: Path, tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
):
    shared.chmod(mode)
    (tmp_path / "thesis.txt").write_text("the only copy\n")
    links = {"line-detector.png": tmp_path / "thesis.txt", runner.PAGE: tmp_path / "new"}
    assert as_other_user(lambda: leave_links(shared, links)) == "None"
    monkeypatch.setattr(runner, "EXPERIMENTS", {"line-detector": runner.EXPERIMENTS["line-detector"]})
    assert runner.run_all(shared, quiet=True) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "the only copy\n"
    assert {path.name: path.is_symlink() for path in shared.iterdir()} == dict.fromkeys(links, False)


@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_no_result_is_written_through_a_link_of_another_user(
    shared: Path, tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
):
    """The link is a folder on the way to the result."""
    shared.chmod(mode)
    (tmp_path / "private").mkdir()
    links = {"results": tmp_path / "private", "runs": tmp_path / "private"}
    assert as_other_user(lambda: leave_links(shared, links)) == "None"
    monkeypatch.chdir(shared)
    for words in (
        ["experiment", "line-detector", "--out", "results/today"],
        ["train", "mlp", "--out", "results/run"],
        ["train", "mlp"],  # its folder is in runs/
        ["data", "digits", "--image", shared / "results" / "x.png"],
    ):
        ended = call(*words)
        assert ended.code == 2, words
        assert "is a symbolic link of another user, who decides where it leads" in " ".join(ended.err.split())
    assert not list((tmp_path / "private").iterdir())


def test_links_of_the_user_or_in_a_folder_of_few_users_are_followed(shared: Path, tmp_path: Path):
    (tmp_path / "private").mkdir()
    (shared / "own").symlink_to(tmp_path / "private")
    (tmp_path / "group").mkdir(mode=0o775)
    (tmp_path / "group" / "current").symlink_to(tmp_path / "private")
    os.lchown(tmp_path / "group" / "current", NOBODY, NOBODY)
    for number, folder in enumerate((shared / "own", tmp_path / "group" / "current")):
        runner.experiment("line-detector", out=folder / str(number), quiet=True)
    assert sorted(path.name for path in (tmp_path / "private").iterdir()) == ["0", "1"]


def is_refused(path: Path) -> bool:
    try:
        check_parents(path)
    except UsageError as error:
        return "is a symbolic link of another user, who decides where it leads" in str(error)
    return False


def test_a_link_of_the_user_that_leads_through_one_of_another_user(shared: Path, tmp_path: Path):
    (tmp_path / "private" / "deep").mkdir(parents=True)
    assert as_other_user(lambda: leave_links(shared, {"x": tmp_path / "private"})) == "None"
    own = {"direct": shared / "x", "twice": Path("direct"), "below": shared / "x" / "deep", "loop": Path("loop")}
    own["relative"] = Path(os.path.relpath(shared / "x", tmp_path))
    leave_links(tmp_path, own)
    for name in ("direct", "twice", "below", "relative"):
        assert is_refused(tmp_path / name / "report.png"), name
    assert is_refused(tmp_path / "below" / ".." / "report.png")  # it is reached through the link, too
    assert is_refused(tmp_path / "private" / ".." / "direct" / "report.png")
    assert not is_refused(tmp_path / "private" / "report.png")
    assert not is_refused(tmp_path / "direct")  # which is replaced
    assert not is_refused(tmp_path / "loop" / "report.png")  # the system cannot follow it
    with pytest.raises(OSError, match="symbolic links"):
        (tmp_path / "loop" / "report.png").stat()


def test_a_link_in_a_folder_of_another_user(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its owner can replace the link, also if nobody else can."""
    assert as_other_user((shared / "theirs").mkdir) == "None"
    assert as_other_user(lambda: leave_links(shared / "theirs", {"x": tmp_path})) == "None"
    (shared / "theirs").chmod(0o755)
    assert is_refused(shared / "theirs" / "x" / "report.png")
    monkeypatch.setattr(plain_files, "_owner_of_root", lambda: NOBODY)  # the administrator, as a container can show it
    assert not is_refused(shared / "theirs" / "x" / "report.png")
    (shared / "theirs").chmod(0o1777)
    assert is_refused(shared / "theirs" / "x" / "report.png")


def test_resume_creates_nothing_through_a_link_of_another_user(shared: Path, tmp_path: Path):
    run = danlu.train("mlp", out=tmp_path / "run", epochs=1, model={"hidden": (8,)}, quiet=True)
    run.save_page(status="training")
    (run.path / ".lock").unlink()
    assert as_other_user(lambda: leave_links(shared, {"x": tmp_path})) == "None"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    ended = call("resume", shared / "x" / "run")
    assert ended.code == 2
    assert "x is a symbolic link of another user" in " ".join(ended.err.split())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_no_folder_is_created_through_a_link_of_another_user(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert as_other_user(lambda: leave_links(shared, {"x": tmp_path})) == "None"
    monkeypatch.setenv("DANLU_CACHE", str(shared / "x" / "cache"))
    for create in (True, False):
        with pytest.raises(UsageError, match=r"x is a .* Set the environment variable DANLU_CACHE to a folder"):
            Access().cache_folder("surveys", create)
    with pytest.raises(UsageError, match="x is a symbolic link"):
        fetch(File("a", 1, ""), ["http://127.0.0.1:9"], shared / "x" / "new", lambda *_: None)
    with pytest.raises(UsageError, match="x is a symbolic link"), temporary_folder(shared / "x", "a"):
        pass
    with pytest.raises(UsageError, match="x is a symbolic link"):
        save_model(MLP((4,), 2), shared / "x" / "model", TableInfo((4,), 2))
    assert not list(tmp_path.iterdir())
