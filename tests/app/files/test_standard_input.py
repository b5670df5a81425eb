"""The temporary file of standard input."""

import io
import sys
import tempfile

import pytest

from danlu.app.files.standard_input import with_standard_input
from danlu.errors import RunError, UsageError


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("content", "suffix"), [(b"a,b\n1,2\n", ".csv"), (b"PAR1...", ".parquet")])
def test_the_temporary_file_is_removed(tmp_path, monkeypatch, content, suffix, fails):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    found = []

    def read() -> None:
        with with_standard_input(["first", "-"]) as (files, display):
            found.extend(files)
            (path,) = tmp_path.iterdir()
            assert (str(path), path.read_bytes(), path.suffix) == (files[1], content, suffix)
            assert display(f"{path}, line 2") == "standard input, line 2"
            if fails:
                raise RunError(f"{path} is wrong")

    if fails:
        with pytest.raises(RunError, match=r"^standard input is wrong$"):
            read()
    else:
        read()
    assert found[0] == "first"
    assert not list(tmp_path.iterdir())


def test_a_terminal_is_no_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with (
        pytest.raises(UsageError, match="standard input, which is a terminal; redirect a file"),
        with_standard_input(["-"]),
    ):
        pass
