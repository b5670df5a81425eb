"""Content that is read again is not damaged by an output whose encoding lacks its characters.

Control characters reach no terminal.
"""

import contextlib
import errno
import gc
import io
import json
import os
import sys

import pytest

import danlu
from commands import call
from danlu.app.cli.main import main, program
from danlu.app.console.output import print_bytes, print_json
from danlu.app.console.progress import Screen
from danlu.errors import RunError
from danlu.recipes.config.yaml_files import from_text, to_yaml


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A language model of a text with characters that ASCII does not have."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "t.txt").write_text("déjà vu, déjà lu\n" * 200, encoding="utf-8")
    model = {"width": 4, "embedding": 4}
    return danlu.train(
        "lstm-lm", data=f"text:{folder / 't.txt'}", model=model, rounds=2, bptt=4, batch_size=4, out=folder / "run",
        quiet=True,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "utf-8"])
def test_a_recipe_is_printed_as_it_is_read(encoding):
    """In UTF-8: with ASCII, β would become ? in the comments, and so would the letters of a path."""
    ended = call("show", "beta-vae", "--data", "folder:/фото/丹炉", encoding=encoding)
    assert ended.out == to_yaml(from_text(ended.out)) == danlu.show("beta-vae", data="folder:/фото/丹炉")
    assert "β" in ended.out
    assert from_text(ended.out).data == "folder:/фото/丹炉"


@pytest.mark.parametrize("words", [["train", "/фото/β.yaml"], ["data", "folder:/фото"], ["doctor"]], ids=" ".join)
def test_json_is_the_same_in_every_encoding(words):
    """Characters that the encoding lacks are escaped."""
    plain, escaped = (call(*words, "--json", encoding=encoding) for encoding in ("utf-8", "ascii"))
    assert escaped.code == plain.code
    assert escaped.out.isascii()
    assert words == ["doctor"] or "фото" in plain.out
    assert json.loads(escaped.out) == json.loads(plain.out)


@pytest.mark.parametrize("options", [[], ["--beam", "2"], ["--beam", "2", "--best", "2"]], ids=str)
def test_a_text_that_the_output_cannot_hold_is_an_error(writer, options):
    words = "complete", writer.path, "déjà ", "-n", 4, *options
    plain = call(*words)
    assert plain.code == 0
    assert "déjà" in plain.out
    latin = call(*words, encoding="latin-1")
    assert latin.out.encode("utf-8", "surrogateescape").decode("latin-1") == plain.out
    ended = call(*words, encoding="ascii")
    assert ended.code == 1
    assert "the encoding of standard output, ascii, has no character '\\xe9'; set PYTHONIOENCODING=utf-8" in ended.err
    assert "?" not in ended.out
    held = call(*words, "--json", encoding="ascii")
    assert json.loads(held.out) == json.loads(call(*words, "--json").out)


def test_an_output_that_takes_no_bytes_is_named():
    with (
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(RunError, match="give the name of a file instead of -"),
    ):
        print_bytes(b"a,b")


class Terminal(io.TextIOWrapper):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Run a command in a terminal; what appears there."""

    def run(*words: object) -> str:
        screen = Terminal(io.BytesIO(), "utf-8", write_through=True)
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, screen)
        with pytest.raises(SystemExit):
            main([str(word) for word in words])
        return screen.buffer.getvalue().decode()

    monkeypatch.setenv("TERM", "xterm")
    return run


SEQUENCE, SHOWN = "\x1b]0;a\x07\x9b1m\u202e", r"\x1b]0;a\x07\x9b1m\u202e"
"""a sequence that rich does not write; how it is shown"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A language model of a text with control characters."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "t.txt").write_text(f"{SEQUENCE}\t\n" * 200, encoding="utf-8")
    model = {"width": 4, "embedding": 4}
    return danlu.train(
        "lstm-lm", data=f"text:{folder / 't.txt'}", model=model, rounds=2, bptt=4, batch_size=4, out=folder / "run",
        quiet=True,
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--beam", "2"], ["--beam", "2", "--best", "2"]], ids=str)
def test_a_generated_text_is_escaped_in_a_terminal_only(executed, terminal, options):
    words = "complete", executed.path, f"{SEQUENCE}\t", "-n", 30, *options
    piped = call(*words).out
    assert SEQUENCE in piped
    for character in "\x1b\x07\x9b\u202e":
        piped = piped.replace(character, ascii(character)[1:-1])
    assert terminal(*words) == piped
    assert f"{SHOWN}\t" in piped


def test_control_characters_are_escapes_in_json(executed):
    ended = call("complete", executed.path, SEQUENCE, "-n", 30, "--json")
    assert not set(ended.out) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert json.loads(ended.out)["prompt"] == SEQUENCE
    assert json.loads(ended.out)["text"] in call("complete", executed.path, SEQUENCE, "-n", 30).out


def test_json_has_escapes_for_control_characters_only(capsys):
    print_json("a\x7f\u2028é\uffff")
    printed = capsys.readouterr().out
    assert printed == '"a\\u007f\\u2028é\\uffff"\n'
    assert json.loads(printed) == "a\x7f\u2028é\uffff"


def test_a_report_has_the_generated_text_with_escapes(executed):
    report = (executed.path / "report.html").read_text(encoding="utf-8")
    assert SHOWN in report
    assert not set(report) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_a_recipe_is_escaped_in_a_terminal_only(terminal):
    words = "show", "cnn", "--data", "folder:a\u202eb"
    assert "folder:a\u202eb" in call(*words).out
    assert r"folder:a\u202eb" in terminal(*words)


def test_a_table_is_escaped_in_a_terminal_only(monkeypatch):
    for cls, expected in ((Terminal, b"a\\x1b,b\n1,2\n"), (io.TextIOWrapper, b"a\x1b,b\n1,2\n")):
        out = cls(io.BytesIO(), "utf-8", write_through=True)
        monkeypatch.setattr(sys, "stdout", out)
        print_bytes(b"a\x1b,b\n1,2\n")
        assert out.buffer.getvalue() == expected


def test_the_progress_of_a_run_is_escaped(terminal, tmp_path, monkeypatch):
    """In a terminal the progress bar writes sequences, but none that a name contains."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[red][").mkdir()
    (tmp_path / f"[red][/]{SEQUENCE}.csv").write_text("x,y\n" + "1,2\n3,4\n5,7\n" * 9)
    data = f"table:[red][/]{SEQUENCE}.csv"
    said = terminal("train", "vae", "--data", data, "--model.likelihood", "gaussian", "--rounds", 2,
                    "--batch-size", "full", "--out", f"[/]{SEQUENCE}")  # fmt: skip
    assert "Done in" in said
    assert f"[red][/]{SHOWN}.csv" in said
    assert f"[/]{SHOWN}/report.html" in said
    assert not set(said) & {"\x07", "\x9b", "\u202e"}
    assert "\x1b]" not in said


def test_the_steps_before_a_training_are_escaped():
    file = Terminal(io.BytesIO(), "utf-8", write_through=True)
    screen = Screen(file=file)
    screen.progress(f"reading [/] {SEQUENCE}", 1, 2)
    screen.progress(f"reading [/] {SEQUENCE}", 2, 2)
    shown = file.buffer.getvalue().decode()
    assert f"reading [/] {SHOWN}" in shown
    assert not set(shown) & {"\x07", "\x9b", "\u202e"}


def test_a_traceback_is_escaped(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["danlu", "check", f"{SEQUENCE}.yaml", "--debug"])
    try:
        with pytest.raises(SystemExit) as ended:
            program()
    finally:
        gc.enable()
    err = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in err
    assert SHOWN in err
    assert not set(err) & {"\x1b", "\x07", "\x9b", "\u202e"}


class Closed(io.StringIO):
    """A terminal that has been closed, or another broken file."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_a_closed_terminal_does_not_stop_a_run():
    screen = Screen(file=Closed(errno.EIO))
    screen.say("round 1")
    assert screen.console.quiet
    with pytest.raises(OSError, match="No space"):
        Screen(file=Closed(errno.ENOSPC)).say("round 1")


def test_a_long_step_has_a_line_now_and_then_where_there_is_no_terminal(monkeypatch):
    file, clock = io.StringIO(), iter([0.0, 4.0, 11.0, 12.0, 22.0, 40.0])
    monkeypatch.setattr("danlu.app.console.progress.time.monotonic", lambda: next(clock))
    screen = Screen(file=file)
    for done in range(1, 6):
        screen.progress("reading", done, 10)
    screen.progress("a new step", 1, 10)
    assert file.getvalue() == "  reading: 30%\n  reading: 50%\n"
