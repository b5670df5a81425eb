"""Texts that are removed or cut while they are read, and caches that cannot be written or read."""

import errno
import os

import pytest

from danlu.data import TrainingData
from danlu.data.text import token_cache
from danlu.data.text.text_files import document, read, whole
from danlu.errors import RunError, UsageError
from danlu.storage.access import no_progress

LINES = "".join(f"line {k % 7} of a poem\n" for k in range(100))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


def load(name, **page):
    return TrainingData.model_validate({"data": name, "text": page}).load()


def written(tmp_path, content):
    (tmp_path / "t.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"text:{tmp_path / 't.txt'}"


def test_a_file_that_is_gone_or_shorter_than_before(tmp_path):
    """As when it is removed, or cut, after the files were listed."""
    path = tmp_path / "t.txt"
    path.write_text("some words")
    listed = document(path.name, path.read_bytes())._replace(name=str(path), content=None)
    assert "".join(piece.text for piece in read([whole(listed)], "utf-8", no_progress)) == "some words"
    path.write_text("some")
    with pytest.raises(UsageError, match=r"t\.txt was truncated while it was read; try again"):
        list(read([whole(listed)], "utf-8", no_progress))
    path.unlink()
    with pytest.raises(UsageError, match=r"t\.txt cannot be read: No such file or directory"):
        list(read([whole(listed)], "utf-8", no_progress))


def test_a_mark_of_utf_8_in_a_text_of_another_encoding(tmp_path):
    with pytest.raises(UsageError, match="begins with a UTF-8 byte-order mark, so its encoding is not latin-1"):
        load(written(tmp_path, b"\xef\xbb\xbf" + LINES.encode()), encoding="latin-1")


def full(*given, **settings):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_before_or_while_tokens_are_written(tmp_path, monkeypatch):
    text = written(tmp_path, LINES)
    for function in (token_cache.tempfile, "TemporaryFile"), (token_cache, "publish"):
        with monkeypatch.context() as patch:
            patch.setattr(*function, full)
            with pytest.raises(RunError, match=r"texts.*No space left on device"):
                load(text, tokens="bpe", vocabulary=300)
    assert list((tmp_path / "cache" / "texts").glob("[!.]*")) == []


def test_an_entry_that_cannot_be_read_after_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "_read", lambda folder, key: None)
    with pytest.raises(RunError, match=r"cache/texts/\w+ was written but cannot be read; remove it and try again"):
        load(written(tmp_path, LINES), tokens="bpe", vocabulary=300)


def test_a_large_text_needs_a_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file"))
    text = written(tmp_path, LINES)
    (note,) = load(text, tokens="bpe", vocabulary=300).notes
    assert "file/texts cannot be written (Not a directory); the text is tokenized again at each start" in note
    monkeypatch.setattr(token_cache, "IN_MEMORY", len(LINES) - 1)
    with pytest.raises(RunError, match=f"a text of {len(LINES):,} bytes is too large to be tokenized in memory; set"):
        load(text, tokens="bpe", vocabulary=300)
