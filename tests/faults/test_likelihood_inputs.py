"""Data on which a flow or a pixel model cannot be trained, from files: one line that names what is wrong and where."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from commands import call_checked

FLOWS = ("planar", "realnvp", "maf", "iaf")
every_flow = pytest.mark.parametrize("recipe", FLOWS)
SHORT = ("--rounds", 1, "--batch_size", 4)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def refused(*words):
    """The line of a command that must fail before it writes anything."""
    before = {path: path.is_dir() or path.read_bytes() for path in Path().rglob("*")}
    out, err = call_checked(*words, code=2)
    assert out == ""
    assert err.startswith("danlu: ")
    assert err.count("\n") == 1, err
    assert {path: path.is_dir() or path.read_bytes() for path in Path().rglob("*")} == before
    return err


def table(*lines):
    rows = [f"{k / 7:.3f},{k % 3},{k % 5}" for k in range(40)]
    Path("t.csv").write_text("\n".join(["length,width,kind", *rows, *lines]) + "\n")
    return "--data", "table:t.csv"


@pytest.mark.parametrize(
    ("recipe", "number"), [("planar", "inf"), ("realnvp", "nan"), ("maf", "1e999"), ("iaf", "-inf"), ("maf", "")]
)
def test_a_row_that_is_not_finite_is_named_by_line_and_column(recipe, number):
    line = refused("train", recipe, *table(f"1.5,{number},2"), *SHORT, "--out", "run")
    assert "t.csv, line 42" in line
    assert "'width'" in line


@every_flow
def test_a_constant_column_is_named(recipe):
    rows = [f"{k / 7:.3f},5,{k % 5}" for k in range(40)]
    Path("t.csv").write_text("\n".join(["length,unit,kind", *rows]) + "\n")
    line = refused("train", recipe, "--data", "table:t.csv", *SHORT, "--out", "run")
    assert "column 'unit' has the same value in all training rows" in line
    assert "(--table.columns)" in line
    words = ("train", recipe, "--data", "table:t.csv", "--table.columns", "length", "kind", *SHORT, "--out", "run")
    call_checked(*words)


def test_rows_to_score_that_are_not_finite_or_have_other_columns():
    call_checked("train", "maf", *table(), *SHORT, "--out", "run")
    Path("bad.csv").write_text("length,width,kind\n1,2,3\n1,inf,3\n")
    assert "bad.csv, line 3: column 'width': inf" in refused("score", "run", "bad.csv")
    Path("other.csv").write_text("length,width\n1,2\n")
    assert "kind" in refused("score", "run", "other.csv")


def images(folder, size, count=20, mode="L"):
    source = np.random.default_rng(0)
    shape = (*size, 3) if mode == "RGB" else size
    for number in range(count):
        path = Path(folder) / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return f"folder:{folder}"


def test_images_that_cannot_be_halved_between_the_scales():
    line = refused("train", "realnvp", "--data", images("odd", (9, 10)), *SHORT, "--out", "run")
    assert "scales=2 needs images whose height and width are multiples of 2 and at least 4; got 9×10" in line
    assert "use 8×10 or 10×10, or scales=1" in line
    words = ("train", "realnvp", "--data", "folder:odd", *SHORT, "--model.width", 4)
    call_checked(*words, "--images.size", 8, 10, "--out", "a")
    call_checked(*words, "--model.scales", 1, "--out", "b")


@pytest.mark.parametrize("recipe", ["pixelcnn", "gated-pixelcnn"])
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--model.first-kernel", 4), "first_kernel=4 must be an odd number of at least"),
        (("--model.channels", 0), "channels"),
        (("--model.channels", 2), "channels=2 must be at least 3, one for each color"),
        (("--model.output", "binary"), "output binary is for images of 2 levels, and these have 256"),
    ],
)
def test_sizes_of_a_pixel_model_that_do_not_fit(recipe, words, hint):
    line = refused("train", recipe, "--data", images("color", (6, 6), mode="RGB"), *words, *SHORT, "--out", "run")
    assert hint in line


@pytest.mark.parametrize("recipe", ["realnvp", "pixelcnn"])
def test_images_of_another_number_of_channels_are_converted_or_refused(recipe):
    """Files are converted to the colors of the model; tensors in Python are not."""
    small = ("--model.width", 4) if recipe == "realnvp" else ("--model.layers", 1, "--model.channels", 4)
    call_checked("train", recipe, "--data", images("gray", (8, 8)), *small, *SHORT, "--out", "run")
    images("color", (8, 8), 2, "RGB")
    assert "nats" in call_checked("score", "run", Path("color/a/0.png"))[0]
    with pytest.raises(ValueError, match=r"\(.*3, 8, 8\)") as refusal:
        danlu.load("run").log_prob(torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(refusal.value)
