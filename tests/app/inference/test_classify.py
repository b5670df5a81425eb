"""Classifying what comes on standard input, and with mirror images."""

import csv
import io
import json
import sys

import pytest
import torch
from PIL import Image

from danlu.app.cli import main
from danlu.app.inference.classify import classify
from danlu.app.inference.load import load
from danlu.app.scoring.evaluate import evaluate
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import MLP, save_model

INFO = ImageInfo((1, 4, 6), 7, tuple("abcdefg"))
TABLE = TableInfo((2,), 2, ("no", "yes"), columns=("width", "height"))


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    save_model(MLP(INFO.shape, INFO.classes, hidden=(8,)), tmp_path / "model", INFO)
    return tmp_path / "model"


@pytest.fixture
def of_rows(tmp_path):
    save_model(MLP(TABLE.shape, TABLE.classes, hidden=(4,)), tmp_path / "rows", TABLE)
    return tmp_path / "rows"


@pytest.fixture
def picture(tmp_path):
    pixels = torch.randint(0, 256, (4, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def sent(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_a_picture_on_standard_input_is_the_picture(model, picture, monkeypatch, capsys):
    sent(monkeypatch, picture.read_bytes())
    assert run("classify", model, "-", picture, "--json") == 0
    piped, named = json.loads(capsys.readouterr().out)["guesses"]
    assert piped["file"] == "standard input"
    assert piped["classes"] == named["classes"]
    assert len(piped["classes"]) == 5  # the best five of seven


def test_rows_on_standard_input(of_rows, monkeypatch, tmp_path):
    content = b"height,width\n1,2\n3,4\n"
    (tmp_path / "t.csv").write_bytes(content)
    sent(monkeypatch, content)
    piped, named = classify(of_rows, "-"), classify(of_rows, tmp_path / "t.csv")
    assert [guess.classes for guess in piped] == [guess.classes for guess in named]
    assert [guess.file for guess in piped] == ["standard input, line 2", "standard input, line 3"]


@pytest.mark.parametrize(
    ("content", "words", "code", "said"),
    [
        (b"", ["-"], 2, "standard input is empty"),
        (b"x", ["-", "-"], 2, "can be given only once"),
        (b"x", ["-"], 1, "standard input: not a readable image"),
    ],
)
def test_what_cannot_be_read_from_standard_input_is_said(model, monkeypatch, capsys, content, words, code, said):
    sent(monkeypatch, content)
    assert run("classify", model, *words) == code
    assert said in capsys.readouterr().err


def test_a_wrong_table_on_standard_input_is_called_so(of_rows, monkeypatch, capsys):
    sent(monkeypatch, b"width\n1\n")
    assert run("classify", of_rows, "-") == 2
    assert "standard input, line 1: missing column 'height'" in capsys.readouterr().err


def test_with_flip_the_answer_is_the_mean_of_both_sides(model, picture):
    net = load(model)
    from danlu.app.files.image_files import read_image

    x = read_image(picture, INFO)[None]
    mean = (net.classify(x) + net.classify(x.flip(-1))) / 2
    (guess,) = classify(model, picture, top=7, flip=True)
    assert dict(guess.classes) == pytest.approx(dict(zip(INFO.class_names, mean[0].tolist(), strict=True)), abs=1e-7)
    (plain,) = classify(model, picture, top=7)
    assert dict(plain.classes) != dict(guess.classes)


def test_flip_of_a_picture_and_of_its_mirror_image_are_alike(model, picture, tmp_path):
    Image.open(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "y.png")
    one, other = classify(model, picture, tmp_path / "y.png", flip=True)
    assert dict(one.classes) == pytest.approx(dict(other.classes), abs=1e-7)


def test_rows_have_no_mirror_image(of_rows, tmp_path):
    (tmp_path / "t.csv").write_text("height,width\n1,2\n")
    with pytest.raises(UsageError, match="flip applies to images only"):
        classify(of_rows, tmp_path / "t.csv", flip=True)


def test_evaluation_with_flip_is_that_of_the_mean(tmp_path):
    import danlu
    from danlu.data import digits

    run = danlu.train("mlp", epochs=2, out=tmp_path / "run", quiet=True)
    part, net = digits().test, load(run.path)
    probabilities = (net.classify(part["image"]) + net.classify(part["image"].flip(-1))) / 2
    right = (probabilities.argmax(1) == part["label"]).double().mean().item()
    scores = evaluate(run.path, flip=True)["scores"]
    assert scores["accuracy"] == pytest.approx(right)
    assert scores["accuracy"] != run.scores["test"]["accuracy"]


def test_classes_are_written_to_a_table(model, picture, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "classes.csv"
    assert run("classify", model, picture, tmp_path / "broken.png", "-o", out) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: 1 classified\n"
    assert "broken.png" in said.err
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    (guess,) = classify(model, picture, top=7)
    assert [line["file"] for line in lines] == [str(picture), str(tmp_path / "broken.png")]
    assert lines[0]["class"] == guess.classes[0][0]
    for name, probability in [(lines[0]["class"], lines[0]["probability"]), *guess.classes]:
        assert float(lines[0][f"p({name})"]) == pytest.approx(float(probability), abs=1e-6)
    assert lines[1]["class"] == ""
    assert "not a readable image" in lines[1]["error"]
    before = out.read_bytes()
    assert run("classify", model, picture, "-o", out) == 2
    assert f"{out} already exists; write to another path with out, or set overwrite=True" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert run("classify", model, picture, "-o", out, "--overwrite") == 0
    assert "error" not in out.read_text()


@pytest.mark.parametrize(("name", "said"), [("x.txt", "the name must end in .csv"), ("no/x.csv", "does not exist")])
def test_a_table_of_classes_has_a_name_that_is_possible(model, picture, tmp_path, name, said):
    with pytest.raises(UsageError, match=said):
        classify(model, picture, out=tmp_path / name)


def test_rows_are_written_with_their_lines(of_rows, tmp_path):
    (tmp_path / "rows.csv").write_text("height,width\n1,2\n3,4\n")
    classify(of_rows, tmp_path / "rows.csv", out=tmp_path / "out.csv", quiet=True)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "file,class,probability,p(no),p(yes)"
    assert [line[0] for line in csv.reader(lines[1:])] == [f"{tmp_path / 'rows.csv'}, line {n}" for n in (2, 3)]
