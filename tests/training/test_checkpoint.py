"""A checkpoint exists whole or not at all, whatever happens while it is written."""

import errno
import hashlib
import json
import os
import shutil

import pytest
import torch
from safetensors import SafetensorError

from danlu.errors import RunError, UsageError
from danlu.training import Checkpoint, checkpoint


def made(round: int) -> Checkpoint:
    tensors = {"a": torch.arange(6.0).view(2, 3) + round, "step": torch.tensor(round)}
    return Checkpoint(round, tensors, {"drawn": 2 * round, "best": None})


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(tmp_path, made(7))
    back = checkpoint.newest(tmp_path)
    assert back is not None
    assert back.round == 7
    assert back.page["drawn"] == 14
    for name, tensor in made(7).tensors.items():
        assert torch.equal(back.tensors[name], tensor)
        assert back.tensors[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    ("best", "left"),
    [
        (10, [5, 10, 20, 95, 100]),  # and the one before the best, from which its round can be trained again
        (5, [5, 20, 95, 100]),
        (20, [15, 20, 95, 100]),
        (95, [20, 95, 100]),
        (12, [10, 20, 95, 100]),  # the checkpoint of the best is gone
        (None, [20, 95, 100]),
    ],
)
def test_the_newest_the_best_and_the_one_before_it_are_kept(tmp_path, best, left):
    for round in (5, 10, 15, 20, 100, 95):
        checkpoint.write(tmp_path, made(round))
    checkpoint.prune(tmp_path, keep=3, best=best)
    assert sorted(int(p.name.removeprefix("round-")) for p in tmp_path.iterdir()) == left
    assert all((checkpoint.of_round(tmp_path, round) is not None) == (round in left) for round in (5, 10, 15, 20))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "truncated": lambda c: (c / "tensors.safetensors").write_bytes((c / "tensors.safetensors").read_bytes()[:-5]),
    "bit in the weights": lambda c: flip_a_bit(c / "tensors.safetensors"),
    "bit in the page": lambda c: flip_a_bit(c / "page.json"),
    "no manifest": lambda c: (c / "manifest.json").unlink(),
    "no weights": lambda c: (c / "tensors.safetensors").unlink(),
    "manifest of zeros": lambda c: (c / "manifest.json").write_bytes(b"\0" * 40),
    "manifest is a list": lambda c: (c / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, damage):
    checkpoint.write(tmp_path, made(1))
    for _ in range(2):  # the second time the set-aside name is taken
        damage(checkpoint.write(tmp_path, made(2)))
        said = []
        back = checkpoint.newest(tmp_path, said.append)
        assert back is not None
        assert back.round == 1
        assert len(said) == 1
        assert "round-000000002" in said[0]
    assert len(list(tmp_path.glob("damaged-*"))) == 2


class Crash(BaseException):
    """The process is gone: nothing catches it, no clean-up that a dead process could not do."""


@pytest.mark.parametrize("call", range(12))
def test_a_crash_at_any_sync_write_or_rename_leaves_the_old_one(tmp_path, monkeypatch, call):
    checkpoint.write(tmp_path, made(1))
    calls = 0

    def dying(real):
        def wrapped(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call + 1:
                raise Crash
            return real(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(checkpoint, "save_file", dying(checkpoint.save_file))
        patch.setattr(checkpoint, "write_text", dying(checkpoint.write_text))
        patch.setattr(checkpoint.Path, "rename", dying(checkpoint.Path.rename))
        try:
            checkpoint.write(tmp_path, made(2))
            whole = True
        except Crash:
            whole = False
    back = checkpoint.newest(tmp_path)
    assert back is not None
    assert back.round in ((2,) if whole else (1, 2))
    assert torch.equal(back.tensors["a"], made(back.round).tensors["a"])
    checkpoint.write(tmp_path, made(3))  # and what is left over is in nobody's way
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    assert newest.round == 3
    if call == 11:
        assert whole, "there are fewer than 12 moments to crash in; the parametrization covers them all"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_full_disk_is_said_with_path_and_bytes_and_loses_nothing(tmp_path, monkeypatch, error):
    checkpoint.write(tmp_path, made(1))

    def full(*args, **kwargs):
        raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match=r"round-000000002.*needs 32 bytes.*No space left"):
        checkpoint.write(tmp_path, made(2))
    assert [p.name for p in tmp_path.iterdir()] == ["round-000000001"]


@pytest.mark.unchecked
def test_a_newer_format_is_refused(tmp_path):
    path = checkpoint.write(tmp_path, made(1))
    page = json.loads((path / "page.json").read_text())
    shutil.rmtree(path)
    patched = Checkpoint(1, made(1).tensors, {**page, "format": checkpoint.FORMAT + 1})
    with pytest.raises(UsageError, match="this version of danlu reads formats up to"):
        checkpoint.read(checkpoint.write(tmp_path, patched))


def sign(path):
    """Make the manifest fit, as whoever made the files would."""
    names = ("tensors.safetensors", "page.json")
    digests = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    (path / "manifest.json").write_text(json.dumps({"format": 1, "sha256": digests}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"\x80\x02cos\nsystem\n(S'touch owned'\ntR.",
            "a pickle file, which can run arbitrary code",
        ),
        (b"PK\x03\x04archive/data.pkl", "a pickle file, which can run arbitrary code"),
        (b"<!DOCTYPE html><html>404</html>", "not a weights file; it looks like a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "not a weights file; it looks like a Git LFS",
        ),
        (b"just text", "not a weights file; it looks like text"),
        (b"", "empty"),
    ],
)
def test_a_checkpoint_from_elsewhere_with_something_else_for_tensors_is_named(content, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = checkpoint.write(tmp_path, made(1))
    (path / "tensors.safetensors").write_bytes(content)
    sign(path)
    with pytest.raises(RunError, match=f"tensors.safetensors is {said}"):
        checkpoint.newest(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.unchecked
@pytest.mark.parametrize("page", ["[]", "{}", "not json", '{"format": 1}'])
def test_a_checkpoint_from_elsewhere_with_another_page_is_refused(page, tmp_path):
    path = checkpoint.write(tmp_path, made(1))
    (path / "page.json").write_text(page)
    sign(path)
    with pytest.raises(RunError, match=r"page.json is damaged"):
        checkpoint.newest(tmp_path)


def test_parts_that_the_manifest_does_not_name_are_not_read(tmp_path):
    path = checkpoint.write(tmp_path, made(1))
    shutil.copy(path / "tensors.safetensors", path / "part-00003-of-00003.safetensors")
    assert torch.equal(checkpoint.read(path).tensors["a"], made(1).tensors["a"])


def test_what_a_killed_process_has_left_is_cleared_away(tmp_path):
    left = tmp_path / ".making-round-000000009"
    left.mkdir()
    (left / "tensors.safetensors").write_bytes(b"half")
    checkpoint.write(tmp_path, made(1))
    assert [path.name for path in tmp_path.iterdir()] == ["round-000000001"]
