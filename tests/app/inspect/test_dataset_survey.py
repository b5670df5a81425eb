"""``danlu data``: what is said, drawn and refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import danlu
from commands import call_checked
from danlu.app.cli import main
from danlu.app.run_folder.run_folder import RunFolder
from danlu.errors import UsageError


def test_a_set_is_described():
    out = call_checked("data", "digits")[0]
    assert "digits: 1,797 images of shape 1×8×8; 1,258 train, 180 validation, 359 test" in out
    assert "No problems found." in out
    assert f"fingerprint {danlu.survey('digits')[0].fingerprint()}" in out


def test_settings_change_what_is_read():
    assert "180 validation, 0 test" in call_checked("data", "digits", "--split.test", "0")[0]
    assert "the test part is empty" in call_checked("data", "digits", "--split.test", "0")[0]


def test_json_is_one_object():
    facts = json.loads(call_checked("data", "digits", "--json")[0])
    assert facts["examples"] == {"train": 1258, "validation": 180, "test": 359}
    assert facts["info"]["shape"] == [1, 8, 8]


def test_a_picture_is_drawn(tmp_path):
    call_checked("data", "digits", "--image", str(tmp_path / "digits.png"))[0]
    with Image.open(tmp_path / "digits.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert len(np.unique(pixels)) > 10


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "data: the first argument must be a data set"),
        (("digit",), "unknown data set 'digit'; did you mean 'digits'?"),
        (("digits:3",), "the data set digits takes no argument"),
        (("digits", "--split.test", "0.95"), "validation + test must be less than 1, got"),
        (("digits", "--image", "a.xyz"), "a.xyz cannot be drawn"),
        (("mnist", "--data-dir", "/nowhere"), "data_dir: folder not found: /nowhere (--data-dir)"),
        (
            ("digits", "--images.size", "0"),
            "images: size must be one or two numbers (height and width) of at least 1, got (0,)",
        ),
        (
            ("digits", "--split.validation", "nan"),
            "split.validation: expected a number >= 0 and < 1, got .nan",
        ),
        (
            ("digits", "--table.target", "k"),
            "table.target has no effect on digits: it applies to your own tables (table:FILE)",
        ),
        (("digits", "--images.size", "3", "--images.fit", "pad"), "images.size, images.fit have no effect on digits"),
        (
            ("moons", "--images.size", "3"),
            "images.size has no effect on moons: it applies to your own images (folder:PATH)",
        ),
        (("table:x.csv", "--images.size", "3"), "images.size has no effect on table:"),
        (("folder:x", "--table.missing", "drop"), "table.missing has no effect on folder:"),
        (("digits", "--data", "moons"), "data: the data set is the first argument; remove --data"),
        (("pydoc", "--image", "x.png"), "pydoc: text has no figure; kinds of data with a figure: images, table"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, line):
    text = call_checked("data", *words, code=2)[1]
    assert line in text
    assert len(text.splitlines()) == 1 or not words


def test_of_many_columns_and_classes_the_first_are_shown(tmp_path):
    rows = [[f"k{number}"] + ["1"] * 3000 for number in range(100) for _ in range(4)]
    lines = [["k", *(f"column{number}" for number in range(3000))], *rows]
    (tmp_path / "wide.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    words = (f"table:{tmp_path}/wide.csv", "--table.target", "k")
    out = call_checked("data", *words)[0]
    assert len(out) < 6000
    assert out.count("column29 ") == 1
    assert "column30" not in out
    assert "and 2,970 more columns; --json lists all" in out
    assert "and 70 more classes; --json lists all" in out
    assert "constant in the training part: column0, column1" in out
    assert "column7 and 2,992 more\n" in out
    assert len(json.loads(call_checked("data", *words, "--json")[0])["channels"]) == 3000


def test_names_are_shown_as_they_are(tmp_path):
    for name in (":ok:", "[red]", ":no:"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (4, 4), number).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos").rename(tmp_path / ":smile:")
    out = call_checked("data", f"folder:{tmp_path}/:smile:")[0]
    for name in (":ok:", "[red]", ":no:", "folder::smile:"):
        assert name in out


def test_a_path_that_is_not_utf_8_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch):
    """A recipe names its data, and is UTF-8; a file's name is any bytes."""
    monkeypatch.chdir(tmp_path)
    bad = os.fsdecode(b"b\xff")
    try:
        os.mkdir(bad)
    except OSError:
        pytest.skip("this system has no such names")
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n2,3\n" * 10)
    words = ["train", "mlp", "--epochs", "1", "--out", "out"]
    for more in (
        ["--data", f"folder:{bad}"],
        ["--data", f"table:{bad}/t.csv"],
        ["--data", "table:t.csv", "--table.test-file", f"{bad}/t.csv"],
        ["--data-dir", bad],
    ):
        with pytest.raises(SystemExit) as ended:
            main.main([*words, *more])
        err = capsys.readouterr().err
        assert ended.value.code == 2
        assert r"b\udcff" in err
        assert "the path is not valid UTF-8, so it cannot be stored in a recipe file; rename the file or folder" in err
        assert not (tmp_path / "out").exists()
    monkeypatch.setenv("DANLU_DATA", str(tmp_path / bad))
    with pytest.raises(SystemExit):
        main.main(words)
    assert "the path is not valid UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_file_may_have_any_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"m\xff.yaml")
    try:
        Path(name).write_text("recipe: mlp\nrounds: 2\n")
    except OSError:
        pytest.skip("this system has no such names")
    with pytest.raises(SystemExit) as ended:
        main.main(["train", name, "--out", "out"])
    assert ended.value.code == 0, capsys.readouterr().err
    assert RunFolder.open("out").page["status"] == "finished"


def test_a_run_finds_its_data_again_from_elsewhere(tmp_path, monkeypatch):
    """The folder that was named is kept with the run."""
    from danlu.data.datasets import mnist_cifar
    from official_files import toy

    made = toy(tmp_path / "given" / "toy")
    monkeypatch.setattr(mnist_cifar, "MNIST", made)
    monkeypatch.delenv("DANLU_DATA", raising=False)
    whole = {"split.validation": 0.0, "data_dir": tmp_path / "given"}
    run = danlu.train("mlp", data="mnist", out=tmp_path / "run", epochs=1, batch_size=8, quiet=True, **whole)
    monkeypatch.chdir(tmp_path)
    assert danlu.evaluate(run.path)["examples"] == 10
    assert run.scores.keys() == {"test"}
    with pytest.raises(UsageError, match="the validation part of toy has no examples"):
        danlu.evaluate(run.path, "validation")
    with pytest.raises(UsageError, match="folder not found"):
        danlu.train("mlp", data="mnist", data_dir=tmp_path / "nowhere", out=tmp_path / "other")


def test_without_a_validation_part_nothing_is_watched_and_the_last_weights_are_kept(tmp_path, capsys):
    """The command from its beginning to its end, with a part for the test or without."""
    words = ["train", "mlp", "--split.validation", "0", "--epochs", "2", "--model.hidden", "4"]
    for out, more in (("with", []), ("without", ["--split.test", "0"])):
        with pytest.raises(SystemExit) as ended:
            main.main([*words, *more, "--out", str(tmp_path / out)])
        assert ended.value.code == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "note: the validation part is empty" in said
        assert "The saved weights are those of the last round" in said
    run = RunFolder.open(tmp_path / "with")
    assert (run.page["weights"], run.page["best"], run.scores.keys()) == ("last", None, {"test"})
    assert not any(name.startswith("validation/") for entry in run.metrics() for name in entry)
    assert RunFolder.open(tmp_path / "without").scores == {}
    assert danlu.evaluate(run.path)["scores"] == pytest.approx(run.scores["test"])
    with pytest.raises(UsageError, match="the validation part of digits has no examples"):
        danlu.evaluate(run.path, "validation")


@pytest.mark.parametrize("name", ["moons", "ring", "grid"])
def test_points_of_a_large_table_are_drawn(name, tmp_path):
    call_checked("data", name, "--image", tmp_path / "points.png")
    assert (tmp_path / "points.png").stat().st_size > 1000


def test_invalid_settings_of_the_library_call_are_a_usage_error():
    with pytest.raises(UsageError, match=r"split.validation: expected a number >= 0 and < 1, got 2"):
        danlu.survey("digits", split={"validation": 2})
    with pytest.raises(UsageError, match=r"splitt: unknown setting"):
        danlu.survey("digits", splitt={"validation": 0.2})
