"""Content that is read again is not damaged by an output whose encoding lacks its characters."""

import contextlib
import io
import json

import pytest

import danlu
from commands import call
from danlu.app.console.output import print_bytes
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
