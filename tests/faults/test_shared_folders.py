"""Folders that other users can write: nothing is written through a link, or into a folder of another user."""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import danlu
from commands import call, call_checked
from danlu.app.run_folder import process_lock
from danlu.data import Images, Split, Text, digits, read_text
from danlu.data.datasets.mnist_cifar import MNIST, find_files
from danlu.data.images.decode_cache import decode_files
from danlu.data.survey.survey import survey_data_set
from danlu.errors import UsageError
from danlu.evaluation import Columns, reference_moments
from danlu.evaluation.feature_extractors import inception, is_trained
from danlu.storage import Access, cache_entries, write_text
from danlu.storage.access import no_progress
from danlu.storage.cache_entries import locked_entry
from danlu.storage.plain_files import append_text, make_folder
from danlu.storage.private_folder import open_lock


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model generates images."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    danlu.train("vae", out=folder, epochs=1, model={"hidden": (8,), "latent": 2}, quiet=True)
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder as /tmp: every user can create files in it."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def of_another_user(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let a folder belong to another user. Only root can do it; others see themselves as another user."""

    def change(path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
        else:
            user = os.getuid()
            monkeypatch.setattr(os, "getuid", lambda: user + 1)

    return change


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    "words",
    [
        ["export", "RUN", "--out", "OUT.onnx", "--verb", "encode"],
        ["export", "RUN", "--out", "OUT.safetensors"],
        ["sample", "RUN", "--out", "OUT.png", "--overwrite"],
        ["sample", "RUN", "--out", "OUT.npy", "--overwrite"],
        ["data", "digits", "--image", "OUT.png"],
    ],
)
def test_a_link_at_the_name_of_a_result_is_replaced(vae: Path, shared: Path, precious: Path, words: list[str]):
    out = next(word for word in words if "OUT" in word).replace("OUT", str(shared / "x"))
    Path(out).symlink_to(precious)
    call_checked(*[str(vae) if word == "RUN" else out if "OUT" in word else word for word in words])
    assert stat.S_ISREG(Path(out).lstat().st_mode)
    assert [path.name for path in shared.iterdir()] == [Path(out).name]


def test_a_link_to_nothing_is_not_followed(vae: Path, shared: Path, tmp_path: Path):
    (shared / "x.npy").symlink_to(tmp_path / "new")
    call_checked("sample", vae, "--out", shared / "x.npy")
    assert not (tmp_path / "new").exists()


def test_a_link_at_the_temporary_name_is_not_followed(shared: Path, precious: Path, monkeypatch: pytest.MonkeyPatch):
    """Another user would have to guess the name."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 2 * size)
    (shared / f".x.txt.{'0' * 16}.making").symlink_to(precious)
    with pytest.raises(FileExistsError) as caught:
        write_text(shared / "x.txt", "new")
    assert caught.value.filename == str(shared / "x.txt")


def test_temporary_names_differ_and_are_long(shared: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: seen.append(path.name) or replace(path, to))
    for _ in range(2):
        write_text(shared / "x", "new")
    assert len(set(seen)) == 2
    assert all(len(bytes.fromhex(name.split(".")[-2])) == 8 for name in seen)


def test_a_run_is_not_created_through_a_link(shared: Path, tmp_path: Path):
    (tmp_path / "private").mkdir()
    (shared / "run").symlink_to(tmp_path / "private")
    ended = call("train", "mlp", "--out", shared / "run")
    assert ended.code == 2
    assert "run is a symbolic link" in " ".join(ended.err.split())
    assert not list((tmp_path / "private").iterdir())


def test_images_are_not_written_through_a_link_to_a_folder(vae: Path, shared: Path, tmp_path: Path):
    (tmp_path / "private").mkdir()
    (shared / "images").symlink_to(tmp_path / "private")
    ended = call("sample", vae, "--out", f"{shared}/images/")
    assert ended.code == 2
    assert "images is a symbolic link" in " ".join(ended.err.split())
    assert not list((tmp_path / "private").iterdir())


def test_a_run_is_not_created_in_a_folder_of_another_user(shared: Path, of_another_user: Callable[[Path], None]):
    (shared / "run").mkdir()
    of_another_user(shared / "run")
    with pytest.raises(UsageError, match="run belongs to another user, who could change the files in it; give "):
        danlu.train("mlp", out=shared / "run", quiet=True)


def test_a_folder_of_the_administrator_is_used(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "lstat", lambda path: SimpleNamespace(st_mode=stat.S_IFDIR, st_uid=0))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    make_folder(shared)


def test_nothing_is_appended_through_a_link(shared: Path, precious: Path):
    (shared / "a").symlink_to(precious)
    os.link(precious, shared / "b")
    for name in "a", "b":
        with pytest.raises(UsageError, match=r"is a symbolic link|has 2 names"):
            append_text(shared / name, "line\n")
    append_text(shared / "c", "line\n")
    append_text(shared / "c", "line\n")
    assert (shared / "c").read_text() == "line\nline\n"


def test_a_lock_is_not_opened_through_a_link_and_is_private(shared: Path, precious: Path):
    (shared / "a").symlink_to(precious)
    with pytest.raises(UsageError, match="is a symbolic link"):
        open_lock(shared / "a")
    with umask(0):
        os.close(open_lock(shared / "b"))
    assert (shared / "b").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_results_follow_the_umask_and_locks_are_private(tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    with umask(mask):
        danlu.train("mlp", out=tmp_path / "run", epochs=1, model={"hidden": (8,)}, quiet=True)
        danlu.export(tmp_path / "run", tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", *(tmp_path / "run").rglob("*")):
        wanted = 0o600 if path.name == ".lock" else (0o777 if path.is_dir() else 0o666) & ~mask
        assert path.stat().st_mode & 0o777 == wanted, path


@pytest.mark.parametrize("mask", [0, 0o022])
def test_the_cache_is_private(tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    with umask(mask):
        survey_data_set(digits())
        reference_moments(Columns(), "a", "train", lambda: torch.eye(3))
    folders = [tmp_path / "cache", *(tmp_path / "cache").iterdir()]
    assert {folder.name for folder in folders} == {"cache", "moments", "surveys"}
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3


def tokens(folder: Path) -> None:
    (folder / "a.txt").write_text("a b " * 100)
    read_text(str(folder / "a.txt"), Text(tokens="bpe", vocabulary=300), Split())


CACHED: dict[str, Callable[[Path], object]] = {
    "texts": tokens,
    "decoded": lambda folder: decode_files(folder, [], Images(), Access()),
    "surveys": lambda folder: survey_data_set(digits(), Access()),
    "moments": lambda folder: reference_moments(Columns(), "a", "train", lambda: torch.eye(3)),
    "mnist": lambda folder: find_files(MNIST, Access(folder, download=False)),
    "feature-extractors": lambda folder: is_trained(digits(), Access()),
    "inception": lambda folder: inception(Access(folder, download=False)),
}


@pytest.mark.parametrize("name", CACHED)
@pytest.mark.parametrize("kind", ["of another user", "link"])
def test_the_cache_of_another_user_is_not_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_another_user: Callable[[Path], None],
    name: str,
    kind: str,
):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "data").mkdir()
    if kind == "link":
        (tmp_path / "cache" / name).symlink_to(tmp_path / "data")
    else:
        (tmp_path / "cache" / name).mkdir()
        of_another_user(tmp_path / "cache" / name)
    reason = "is a link" if kind == "link" else "belongs to another user"
    with pytest.raises(UsageError, match=rf"cache/{name} {reason}.*; set the environment variable DANLU_CACHE to a "):
        CACHED[name](tmp_path / "data")


def test_an_entry_is_created_without_the_lock_if_another_process_does_not_release_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache_entries, "LONGEST_WAIT", 0.3)
    (tmp_path / ".making-key-0-00").mkdir()  # of the process that holds the lock
    handle = os.open(tmp_path / ".key.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with locked_entry(tmp_path, "key", no_progress):
            assert (tmp_path / ".making-key-0-00").exists()
    finally:
        os.close(handle)


def test_a_process_does_not_wait_for_ever_to_join_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_lock, "_JOIN_TIMEOUT", 0.1)
    handle = os.open(tmp_path / ".processes", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(UsageError, match=r"\.processes is locked by another process; stop it"):
            process_lock.join_run(tmp_path)
    finally:
        os.close(handle)


@pytest.mark.parametrize("content", [b"-1", b"9" * 90, b"\xff\xfe", b"1.5 abc", b""])
def test_the_text_of_a_lock_file_may_be_anything(tmp_path: Path, content: bytes):
    (tmp_path / ".lock").write_bytes(content)
    handle = os.open(tmp_path / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(UsageError, match="is in use by another process; wait for it, or stop it"):
            process_lock.RunLock(tmp_path).acquire()
    finally:
        os.close(handle)
