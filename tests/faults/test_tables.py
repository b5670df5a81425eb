"""Tables whose text is damaged or written in another way, as a user meets them on the command line."""

import gzip
from pathlib import Path

import pytest

from danlu.app.cli import main

TRAIN = ("train", "mlp", "--epochs", "1", "--batch_size", "4", "--model.hidden", "8", "--table.target", "k")
LINES = "größe,k\n" + "1,é\n2,ü\n" * 10


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(capsys, content, *words):
    """Exit code and what was said of a training on a table with these bytes."""
    Path("t.csv").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main.main([*TRAIN, "--data", "table:t.csv", "--out", "run", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code, out, err


@pytest.mark.parametrize(
    ("content", "line", "bad"),
    [
        (LINES.encode("latin-1"), 1, b"\xf6"),
        (LINES.encode() + b"3,\xff\n", 22, b"\xff"),
        (b"\xef\xbb\xbf" + LINES.encode() + b"3,\xff\n", 22, b"\xff"),
        (b"x,k\n1,a\n2,\0b\n", 3, b"\0"),
    ],
)
def test_text_that_cannot_be_read_is_named_by_path_line_and_byte(capsys, content, line, bad):
    code, out, err = trained(capsys, content)
    assert (code, out) == (2, "")
    (said,) = err.splitlines()
    what = "NUL, which is not text" if bad == b"\0" else f"0x{bad.hex()}, which is not valid UTF-8"
    place = f"{Path('t.csv').resolve()}, line {line}: byte {content.index(bad)} of the file"
    assert said.startswith(f"danlu: {place} is {what}; save the table as CSV in UTF-8")
    assert said.endswith("set table.encoding, for example to latin-1 (--table.encoding latin-1)") == (bad != b"\0")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(LINES.encode(), mtime=0), "a gzip archive"),
        (LINES.encode("utf-16"), "text in UTF-16"),
        (b"<html>", "a web page"),
    ],
    ids=["gzip", "UTF-16", "page"],
)
def test_a_file_of_another_kind_is_told_in_a_line(capsys, content, kind):
    code, out, err = trained(capsys, content)
    assert (code, out) == (2, "")
    (said,) = err.splitlines()
    assert said.startswith(f"danlu: {Path('t.csv').resolve()} is {kind}; ")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LINES.encode("latin-1"), ("--table.encoding", "latin-1")),
        (LINES.encode(), ()),
        (b"\xef\xbb\xbf" + LINES.encode(), ()),
        (b"\xef\xbb\xbf" + LINES.encode(), ("--table.encoding", "utf-8-sig")),
    ],
)
def test_what_the_message_advises_works(capsys, content, words):
    code, out, err = trained(capsys, content, *words)
    assert (code, err) == (0, "")
    assert "14 train, 2 validation, 4 test; 1, 2 classes" in out


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("latin-l", "unknown encoding 'latin-l'; did you mean 'latin-1'?"),
        ("utf-16", "encoding 'utf-16' does not contain ASCII"),
    ],
)
def test_an_encoding_that_cannot_be_is_refused_in_a_line(capsys, encoding, said):
    code, out, err = trained(capsys, LINES.encode(), "--table.encoding", encoding)
    assert (code, out) == (2, "")
    assert err.startswith(f"danlu: {said}")
    assert len(err.splitlines()) == 1
    assert not Path("run").exists()
