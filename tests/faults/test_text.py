"""Texts that are damaged, empty or written in another way, as a user meets them on the command line."""

import gzip
from pathlib import Path

import pytest

from danlu.app.cli import main

LINES = "größe of a line\n" * 20


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


def looked(capsys, content, *words, name="t.txt"):
    """Exit code and what was said of a look at a text with these bytes."""
    Path(name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main.main(["data", f"text:{name}", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code or 0, out, err


@pytest.mark.parametrize(
    ("content", "line", "bad"),
    [
        (LINES.encode("latin-1"), 1, b"\xf6"),
        (LINES.encode() + b"3,\xff\n", 21, b"\xff"),
        (b"\xef\xbb\xbf" + LINES.encode() + b"3,\xff\n", 21, b"\xff"),
        (LINES.encode() + b"abc\n a\0b\n", 22, b"\0"),
        (LINES.encode() + "日".encode()[:2], 21, b"\xe6"),
    ],
    ids=["latin-1", "byte", "after a mark", "NUL", "cut off"],
)
@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_text_that_cannot_be_read_is_named_by_path_line_and_byte(capsys, content, line, bad, tokens):
    code, out, err = looked(capsys, content, "--text.tokens", tokens)
    assert (code, out) == (2, "")
    (said,) = err.splitlines()
    what = "NUL, which is not text" if bad == b"\0" else f"0x{bad.hex()}, which is not valid UTF-8"
    place = f"{Path('t.txt').resolve()}, line {line}: byte {content.index(bad)} of the file"
    assert said.startswith(f"danlu: {place} is {what}; save the text in UTF-8")
    assert said.endswith("set text.encoding, for example to latin-1 (--text.encoding latin-1)") == (bad != b"\0")
    assert not list(Path("cache").rglob("tokens.bin"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LINES.encode("latin-1"), ("--text.encoding", "latin-1")),
        (LINES.encode(), ()),
        (b"\xef\xbb\xbf" + LINES.encode(), ()),
    ],
)
def test_what_the_message_advises_works(capsys, content, words):
    code, out, err = looked(capsys, content, *words)
    assert (code, err) == (0, "")
    assert out.startswith("text:t.txt: 320 tokens (characters); 224 train, 32 validation, 64 test\n")
    assert "beginning    größe of a line" in out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(LINES.encode(), mtime=0), "is a gzip archive; decompress it first"),
        (LINES.encode("utf-16"), "is text in UTF-16; save it in UTF-8"),
        (b"", "t.txt is empty; the text must have at least one line for each part"),
        (b"\xef\xbb\xbf", "the validation part would be empty"),
        (b"a\n", "the validation part would be empty (a fraction of 0.1 of 2 bytes"),
        (
            b"ab\n" * 90 + "a€\n".encode() * 5,
            "line 91: '€' (U+20AC) is not in the vocabulary",
        ),
    ],
    ids=["gzip", "UTF-16", "empty", "mark alone", "one line", "unknown"],
)
def test_a_text_that_cannot_be_used_is_told_in_a_line(capsys, content, said):
    code, out, err = looked(capsys, content)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--text.encoding", "latin-l"), "unknown encoding 'latin-l'; did you mean 'latin-1'?"),
        (("--text.encoding", "utf-16"), "encoding 'utf-16' does not contain ASCII"),
        (
            ("--text.tokens", "bpe", "--text.vocabulary", "100"),
            "text.vocabulary must be at least 256 with text.tokens bpe (one token per byte), got 100",
        ),
        (("--image", "p.png"), "text has no figure"),
        (("--table.target", "k"), "table.target has no effect on text:"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_line(capsys, words, said):
    code, _, err = looked(capsys, LINES.encode(), *words)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_file_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["data", "text:nothing.txt"])
    assert ended.value.code == 2
    assert "file or folder not found" in capsys.readouterr().err
    Path("empty").mkdir()
    with pytest.raises(SystemExit):
        main.main(["data", "text:empty"])
    assert "has no files with the suffix .txt" in capsys.readouterr().err


def test_a_link_that_leaves_the_folder_is_refused(capsys, tmp_path):
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(SystemExit) as ended:
        main.main(["data", "text:d"])
    assert ended.value.code == 2
    assert "is a link to a file outside of" in capsys.readouterr().err


def test_a_text_alone_is_taken_as_one(capsys):
    Path("t.txt").write_text(LINES)
    with pytest.raises(SystemExit) as ended:
        main.main(["data", "t.txt"])
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("text:t.txt: 320 tokens")


def test_a_path_alone_is_told_what_to_write_before_it(capsys):
    Path("t.txt").write_text(LINES)
    with pytest.raises(SystemExit) as ended:
        main.main(["train", "lstm-lm", "--data", "t.txt"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "danlu: t.txt is a path; write text:t.txt\n"
