"""Names with control characters, markup or any length: no run fails for them, and they reach no screen or page raw."""

import csv
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from commands import call_checked
from danlu.data import read_folder
from danlu.errors import UsageError
from danlu.limits import NAME_CHARACTERS

pytestmark = pytest.mark.figures

NAMES = [
    "esc\x1b]0;title\x07",
    "c1\x9b31m",
    "\u202etxt.exe",
    "two\nlines",
    "tab\tcr\rdel\x7f",
    "\u2066isolate\u2029end",
    "noncharacter\uffff",
    "$x_1$ $",
    "[red]",
    "[/]",
    "{x} %s",
    "<b>&amp;",
    "_hidden",
    "..",
    "😀",
    "n" * NAME_CHARACTERS,
]
SHOWN = [
    r"esc\x1b]0;title\x07",
    r"c1\x9b31m",
    r"\u202etxt.exe",
    r"two\nlines",
    r"tab\tcr\rdel\x7f",
    "noncharacter\\uffff",
]


def raw(text: str) -> set[str]:
    """The characters of a text that a terminal or a browser executes."""
    return {
        one
        for one in text
        if (unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\n\t")
        or unicodedata.bidirectional(one) in ("LRO", "RLO", "LRE", "RLE", "PDF", "LRI", "RLI", "FSI", "PDI")
    }


def printed(*words: object, code: int = 0) -> str:
    """The output of a command, which has no control characters."""
    out, err = call_checked(*words, code=code)
    assert not raw(out + err), (words, raw(out + err))
    return out + err


def pages(run: Path) -> tuple[str, str]:
    """The report and the card of a run, which have no control characters."""
    report, card = ((run / name).read_text(encoding="utf-8") for name in ("report.html", "card.md"))
    assert not raw(report)
    assert not raw(card)
    return report, card


def table(path: Path, columns: list[str], classes: list[str]) -> Path:
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*columns, "class"])
        rows.writerows([*rng.normal(size=len(columns)).round(3), name] for name in classes * 12)
    return path


def training(recipe: str, file: Path, out: Path) -> tuple[object, ...]:
    """The words of a short training on a table."""
    data = ("--data", f"table:{file}", "--table.target", "class")
    return ("train", recipe, *data, "--rounds", 2, "--batch-size", "full", "--out", out)


class Trained(NamedTuple):
    """A table whose names are strange, and a run on it."""

    table: Path
    run: Path
    output: str


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("names")
    file = table(folder / "esc\x1b]0;t.csv", NAMES[:2], NAMES)
    words = training("mlp", file, folder / "run")
    return Trained(file, folder / "run", printed(*words))


def test_a_classifier_of_classes_with_any_name_is_reported(classifier):
    assert "Traceback" not in classifier.output
    report, card = pages(classifier.run)
    for name in SHOWN:
        assert name in report  # in the confusion matrix or the table of classes
        assert name.replace("\\", "\\\\").replace("_", "\\_") in re.sub(r"\\([\[\]])", r"\1", card)
    assert "_hidden" in report


def test_a_table_with_any_names_is_described_and_classified(classifier, tmp_path):
    image = tmp_path / "image\x1b.png"
    described = printed("data", classifier.table, "--table.target", "class", "--image", image)
    assert image.exists()
    assert all(name in described for name in SHOWN)
    assert max(map(len, described.splitlines())) < 1000
    guesses = printed("classify", classifier.run, classifier.table, "--top", len(NAMES))
    assert all(name in guesses for name in SHOWN)
    assert len(guesses.splitlines()) == 12 * len(NAMES) + 1  # a note on the column of the class


def test_generated_rows_of_columns_with_any_name_are_reported(tmp_path):
    file = table(tmp_path / "t.csv", NAMES, ["a", "b"])
    words = training("vae", file, tmp_path / "run")
    printed(*words, "--model.latent", 2, "--model.likelihood", "gaussian")
    report, _ = pages(tmp_path / "run")
    assert SHOWN[0] in report
    assert SHOWN[1] in report
    printed("sample", tmp_path / "run", "--out", tmp_path / "rows.csv")
    printed("score", tmp_path / "run", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as rows:
        assert next(csv.reader(rows)) == NAMES  # the columns of the file, not what is shown


@pytest.mark.parametrize("names", [NAMES[:2], [*NAMES[:2], "\x1b" * NAME_CHARACTERS]], ids=["names", "long"])
def test_a_figure_of_points_has_any_names(names, tmp_path):
    file = table(tmp_path / "t.csv", names[-2:], names)
    printed("data", file, "--table.target", "class", "--image", tmp_path / "points.png")
    assert Image.open(tmp_path / "points.png").size[0] > 400


def folder_of(root: Path, names: list[str]) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(root / name / f"{number}\x1b]0;.png")
    return root


def test_images_in_folders_with_any_name(tmp_path):
    names = [name for name in NAMES if name not in ("..", "_hidden") and "/" not in name and len(name) < 200]
    images = folder_of(tmp_path / "images\u202e", [*names, "n" * 200, os.fsdecode(b"latin-1 \xe9")])
    words = [
        "--data",
        f"folder:{images}",
        "--rounds",
        2,
        "--batch-size",
        "full",
        "--model.latent",
        2,
        "--model.likelihood",
        "bernoulli",
    ]
    run = tmp_path / "run\x1b]0;\n"
    assert SHOWN[0] not in printed("train", "conditional-vae", *words, "--out", run)
    report, card = pages(run)
    assert r"esc\x1b…" in report
    assert r"latin-1 \\udce9" in card
    assert r"\x1b]0;.png" in printed("score", run, images / NAMES[0])
    printed("sample", run, "--label", "all", "--out", tmp_path / "all.png")
    printed("sample", run, "--label", SHOWN[0], "--out", tmp_path / "one.png")
    assert r"available: " in printed("sample", run, "--label", "\x1b[31m", "--out", tmp_path / "none.png", code=2)


def test_folders_that_are_printed_alike_are_refused(tmp_path):
    folder_of(tmp_path, ["a\x1b", r"a\x1b", "b"])
    with pytest.raises(UsageError, match=r"has two folders whose name is printed as a\\x1b; rename one of them"):
        read_folder(str(tmp_path))


def test_classes_of_a_table_are_chosen_as_they_are_printed(tmp_path):
    file = table(tmp_path / "t.csv", ["x", "y"], ["a\x1b", "b"])
    words = (
        "train",
        "cgan",
        "--data",
        f"table:{file}",
        "--table.target",
        "class",
        "--rounds",
        2,
        "--batch-size",
        "full",
        "--eval-samples",
        0,
    )
    printed(*words, "--out", tmp_path / "run")
    for label in ("a\x1b", r"a\x1b"):
        assert r"8 samples of a\x1b" in printed(
            "sample", tmp_path / "run", "--label", label, "-n", 8, "--out", tmp_path / "rows.csv", "--overwrite"
        )


@pytest.mark.parametrize(
    "words",
    [
        ["train", "cnn", "--x\x1b[31m", "3"],
        ["train", "cnn", "--data", "folder:\x1b[31m\u202e"],
        ["train", "\u202e\x1b[31m.yaml"],
        ["evaluate", "\x1b[31m"],
        ["classify", "\x9b", "\x1b[31m"],
        ["data", "\x1b[31m\ud800.csv"],
        ["sample", "\x1b[31m\udcff"],
    ],
    ids=ascii,
)
def test_an_error_shows_words_with_escapes(words):
    assert printed(*words, code=2).startswith("danlu: ")


@pytest.mark.parametrize("key", ['"\\e[31m"', "\u202ekey", '"\\u2028"', "[4", "&\u202e"], ids=ascii)
def test_an_error_in_a_recipe_file_is_printed_with_escapes(key, tmp_path):
    file = tmp_path / "esc\x1b[31m.yaml"
    file.write_text(f"recipe: cnn\n{key}: 4\n", encoding="utf-8")
    assert r"esc\x1b[31m.yaml:" in printed("check", file, code=2)
