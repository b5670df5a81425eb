"""Rows of a table as inputs: what a model says of each, from its folder alone, and what is told about other files."""

import json
import shutil

import pytest
import torch

import danlu
from commands import call_checked
from danlu.app.files.table_files import read_rows
from danlu.data import standardize
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError

ROWS = [(k + i / 50, -k - i / 70, ("tulip", "rose")[k]) for i in range(30) for k in (0, 1)]


def written(folder, text, name="new.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def trained(folder, **page):
    """A model without the table that it was trained on."""
    gap = "9,,rose\n" if page else ""
    lines = "".join(f"{a},{b},{kind}\n" for a, b, kind in ROWS)
    path = written(folder, "length,width,kind\n" + lines + gap, "flowers.csv")
    settings = {"target": "kind", **page}
    danlu.train("mlp", data=f"table:{path}", table=settings, epochs=3, batch_size=16, out=folder / "run", quiet=True)
    path.unlink()
    return (folder / "run" / "model").rename(folder / "model")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("drop"), missing="drop")


@pytest.fixture(scope="module")
def filling(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("mean"), missing="mean")


def test_each_row_gets_the_probabilities_of_the_model(model, tmp_path):
    """Of the same numbers as a tensor; the columns come in another order, with others between them."""
    path = written(tmp_path, "id,width,note,length\n1,-0.5,x,0.25\n2,-1.5,,1\n\n3,0,y,0\n")
    guesses = danlu.classify(model, path, quiet=True)
    loaded = danlu.load(model)
    expected = loaded.classify(standardize(loaded.info, [[0.25, -0.5], [1.0, -1.5], [0.0, 0.0]]))
    assert [guess.file for guess in guesses] == [f"{path}, line {line}" for line in (2, 3, 5)]
    names = loaded.info.class_names
    for guess, row in zip(guesses, expected, strict=True):
        assert [name for name, _ in guess.classes] == [names[k] for k in row.argsort(descending=True)]
        assert sorted(p for _, p in guess.classes) == pytest.approx(sorted(row.tolist()), rel=1e-6)
    assert danlu.classify(model, path, top=1, quiet=True)[0].classes == guesses[0].classes[:1]


def test_the_command_prints_a_line_for_each_row_and_notes_elsewhere(model, tmp_path):
    path = written(tmp_path, "width,length,id\n-2,2,1\n0,0,2\n")
    out, err = call_checked("classify", model, path)
    first, second = out.splitlines()
    assert first.startswith(f"{path}, line 2  rose 0.")
    assert second.startswith(f"{path}, line 3  tulip 0.")
    assert err == f"{path}: ignored columns (the model does not use them): id\n"
    out, _ = call_checked("classify", model, path, "--json", "--top", "1")
    guesses = json.loads(out)["guesses"]
    assert [(guess["file"], guess["classes"][0][0], guess["error"]) for guess in guesses] == [
        (f"{path}, line 2", "rose", None),
        (f"{path}, line 3", "tulip", None),
    ]


def test_a_column_without_a_name_is_not_called_by_another_one(model, tmp_path):
    path = written(tmp_path, ",width,length\ncar 1,-2,2\ncar 2,0,0\n")
    _, err = call_checked("classify", model, path)
    assert err == f"{path}: ignored columns (the model does not use them): the first one, which has no name\n"


def test_a_gap_is_filled_by_a_model_that_knows_with_what(filling, tmp_path):
    info = danlu.load(filling).info
    gap = written(tmp_path, "length,width\n2,\n,NA\n", "gap.csv")
    whole = written(tmp_path, f"length,width\n2,{info.fill[1]!r}\n{info.fill[0]!r},{info.fill[1]!r}\n", "whole.csv")
    assert [g.classes for g in danlu.classify(filling, gap)] == [g.classes for g in danlu.classify(filling, whole)]


def test_a_gap_is_said_by_a_model_that_does_not_and_the_other_rows_are_answered(model, tmp_path):
    path = written(tmp_path, "length,width\n2,-2\n2,\n0,0\n")
    out, err = call_checked("classify", model, path, code=1)
    assert [line.split("  ")[0] for line in out.splitlines()] == [f"{path}, line 2", f"{path}, line 4"]
    assert err == (
        f"danlu: {path}, line 3: the number in column 'width' is missing; fill it in, or train a model with "
        f"the setting table.missing=mean\n"
    )
    guesses = json.loads(call_checked("classify", model, path, "--json", code=1)[0])["guesses"]
    assert [guess["error"] is None for guess in guesses] == [True, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("length\n1\n", "line 1: missing column 'width'; the model needs the columns 'length', 'width'"),
        ("a\n1\n", "line 1: missing columns 'length', 'width'; the model needs the columns 'length', 'width'"),
        ("length,width\n1,x\n", "line 2: column 'width': 'x' is not a number; the model needs a number"),
        ("length,width\n1,2,3\n", "line 2: 3 fields, expected 2 as in the header"),
        ("length,width\n", "has no rows below its first line, the names of the columns"),
        ("", "is empty; the first line of a table must have the names of the columns"),
        (b"length,width\n1,\xe9\n", "line 2: byte 15 of the file is 0xe9, which is not valid UTF-8; save"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "line 3: byte 8 of the file is NUL, which is not text; save the table as CSV"),
        ("length,width\n1,1e300\n", r"line 2: column 'width': 1e\+300 exceeds the range of float32"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_a_line(model, tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(UsageError, match=message) as caught:
        danlu.classify(model, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_wrong_with_the_words_is_said(model, tmp_path):
    path = written(tmp_path, "length,width\n1,2\n")
    assert "invert applies to images only" in call_checked("classify", model, path, "--invert", code=2)[1]
    assert "no.csv does not exist" in call_checked("classify", model, "no.csv", code=2)[1]
    assert "is a folder; give the path of a CSV or Parquet file" in call_checked("classify", model, tmp_path, code=2)[1]
    with pytest.raises(UsageError, match="unknown encoding 'utf-9'"):
        danlu.classify(model, path, encoding="utf-9")


def test_another_encoding_can_be_named(model, tmp_path):
    text = "größe,length,width\n1,2,-2\n"
    here, there = written(tmp_path, text), written(tmp_path, text.encode("latin-1"), "latin.csv")
    (expected,) = danlu.classify(model, here, quiet=True)
    (found,) = danlu.classify(model, there, encoding="latin-1", quiet=True)
    assert found.classes == expected.classes


def test_many_rows_are_read_in_order(model, tmp_path, monkeypatch):
    from danlu.app.files import table_files

    path = written(tmp_path, "length,width\n" + "".join(f"{k},{-k}\n" for k in range(50)))
    whole = danlu.classify(model, path)
    monkeypatch.setattr(table_files, "_AT_ONCE", 7)
    parts = danlu.classify(model, path)
    assert [guess.file for guess in parts] == [f"{path}, line {k + 2}" for k in range(50)]
    for a, b in zip(parts, whole, strict=True):
        assert [name for name, _ in a.classes] == [name for name, _ in b.classes]
        assert [p for _, p in a.classes] == pytest.approx([p for _, p in b.classes], rel=1e-5)


def test_a_number_too_large_when_standardized_is_said_of_its_row(tmp_path):
    info = TableInfo((1,), columns=("a",), shift=(0.0,), scale=(1e-30,))
    (first, x, none), (second, nothing, error) = read_rows(written(tmp_path, "a\n1e-30\n1e30\n"), info)
    assert torch.equal(x, torch.ones(1, 1))
    assert (none, nothing) == (None, None)
    assert (first[0][-6:], second[0][-6:]) == ("line 2", "line 3")
    assert error.endswith("line 3: column 'a': 1e+30 is not a finite number")


def test_models_of_other_inputs_say_so(tmp_path):
    path = written(tmp_path, "a\n1\n")
    with pytest.raises(UsageError, match=r"takes images of shape 1×8×8, not rows of a table"):
        read_rows(path, ImageInfo((1, 8, 8)))
    with pytest.raises(UsageError, match="has no column names"):
        read_rows(path, TableInfo((1,)))


def test_points_are_rows_too(tmp_path):
    danlu.train("mlp", data="moons:200", epochs=1, batch_size=32, out=tmp_path / "run", quiet=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (guess,) = danlu.classify(tmp_path / "run", written(tmp_path, "x,y\n0,1\n"))
    assert {name for name, _ in guess.classes} == {"upper", "lower"}


def test_rows_of_a_parquet_file_are_rows_too(model, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"id": ["a", "b"], "width": [-2.0, None], "length": [2, 0]}
    parquet.write_table(arrow.table(columns), tmp_path / "new.parquet")
    first, second = danlu.classify(model, tmp_path / "new.parquet", quiet=True)
    (same,) = danlu.classify(model, written(tmp_path, "length,width\n2,-2\n"))
    assert first.file == f"{tmp_path / 'new.parquet'}, row 1"
    assert [name for name, _ in first.classes] == [name for name, _ in same.classes]
    assert dict(first.classes) == pytest.approx(dict(same.classes), rel=1e-6)
    assert "new.parquet, row 2: the number in column 'width' is missing" in second.error
