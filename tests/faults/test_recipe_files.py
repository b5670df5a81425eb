"""A recipe file can be wrong in any way: it is refused in clear lines, and nothing in it is run or imported."""

import importlib
import os
import re
import sys
from pathlib import Path

import pytest

from danlu import catalogue
from danlu.app.cli import main
from danlu.catalogue import find_recipe
from danlu.errors import UsageError
from danlu.limits import PROBLEMS
from danlu.recipes import CNNRecipe, from_text, from_yaml

every_recipe = pytest.mark.parametrize("name", catalogue.RECIPES)


def refused(text: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        from_text(text, "mine.yaml")
    return str(raised.value).splitlines()


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module named ``trap`` that can be imported, and leaves a file if it is; the path of that file."""
    sprung = tmp_path / "sprung"
    (tmp_path / "trap.py").write_text(
        f"open({str(sprung)!r}, 'w').close()\n"
        "from danlu.recipes.classify.cnn import CNNRecipe as Recipe\n"
        "from danlu.models.classify.cnn import CNN as Model\n"
        "def load(): return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TRAP", str(sprung))
    return sprung


def test_the_trap_works(trap: Path):
    """Otherwise the tests below could not fail."""
    importlib.import_module("trap")
    del sys.modules["trap"]
    assert trap.exists()
    trap.unlink()
    os.system('touch "$TRAP"')
    assert trap.exists()


TAGS = [
    "!!python/object/apply:os.system ['touch \"$TRAP\"']",
    '!!python/object/apply:os.system\n  - touch "$TRAP"',
    "!!python/object/new:trap.Recipe []",
    "!!python/object:trap.Recipe {}",
    "!!python/name:trap.Recipe ''",
    "!!python/module:trap ''",
    "!<tag:yaml.org,2002:python/module:trap> ''",
    "!!map {a: 1}",
    "!local 1",
    "! 1",
]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("key", ["recipe", "data", "lr", "model", "unknown"])
def test_tags_are_refused_and_run_nothing(trap: Path, tag: str, key: str):
    head = "" if key == "recipe" else "recipe: cnn\n"
    said = refused(f"{head}{key}: {tag}\n")
    assert not trap.exists()
    assert "trap" not in sys.modules
    assert re.match(
        rf"mine\.yaml:{head.count('cnn') + 1}: {key}: the tag !.* is not allowed; .* plain values only$", said[0]
    )


@pytest.mark.parametrize("tag", TAGS)
def test_tags_are_refused_wherever_they_stand(trap: Path, tag: str):
    flow = tag.replace("\n  - ", " [") + ("]" if "\n" in tag else "")
    for text in (flow, f"recipe: cnn\nmodel:\n  hidden: [{flow}]", f"recipe: cnn\n? {flow}\n: 1", f"[{flow}]"):
        assert any("the tag !" in line for line in refused(text)), text
    assert not trap.exists()
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    "path", ["trap:Recipe", "trap.Recipe", "danlu.recipes.classify.cnn:CNNRecipe", "CNNRecipe", "./trap.py"]
)
def test_a_recipe_is_a_name_of_the_catalogue_and_never_a_path(trap: Path, path: str):
    (line,) = refused(f"recipe: {path}")
    assert line.startswith(f"mine.yaml:1: recipe: unknown recipe {path!r}; ")
    assert not trap.exists()
    assert "trap" not in sys.modules


@every_recipe
@pytest.mark.parametrize("path", ["trap:Model", "trap.Model", "os.system", "danlu.models.classify.cnn:CNN"])
def test_a_value_is_never_a_path_to_code(trap: Path, name: str, path: str):
    """Put where a page, a choice, a number or a truth value belongs, it is a wrong value like any other."""
    page = "model" if "model" in find_recipe(name).model_fields else "critic"  # a network's
    said = refused(f"recipe: {name}\n{page}: {path}\nbatch_size: {path}\nprecision: {path}\ncompile: {path}\n")
    for number, (key, line) in enumerate(zip((page, "batch_size", "precision", "compile"), said, strict=True), 2):
        assert line.startswith(f"mine.yaml:{number}: {key}: expected ")
        assert f", got {path!r}" in line
    assert not trap.exists()
    assert "trap" not in sys.modules


@pytest.mark.parametrize("path", ["trap:load", "trap.load", "danlu.data.datasets.digits:digits"])
def test_a_data_set_is_a_name_of_the_catalogue_and_never_a_path(trap: Path, path: str):
    """Which data sets there are is asked when they are wanted, and again of the catalogue."""
    recipe = from_text(f"recipe: cnn\ndata: {path}")
    assert recipe == CNNRecipe(data=path)
    with pytest.raises(UsageError, match=re.escape(f"unknown data set {path!r}; available: ")):
        catalogue.find_data(recipe.data)
    assert not trap.exists()
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    "key", ["_target_", "class_path", "__class__", "__reduce__", "init_args", "model_config", "tiny", "task"]
)
def test_keys_that_name_code_elsewhere_are_unknown_here(key: str):
    for text, path in (
        (f"recipe: cnn\n{key}: trap.Model", key),
        (f"recipe: cnn\nmodel: {{{key}: trap.Model}}", f"model.{key}"),
    ):
        (line,) = refused(text)
        assert line.startswith(f"mine.yaml:2: {path}: unknown setting; ")


def test_a_repeated_key_is_refused():
    assert refused("recipe: cnn\nlr: 0.1\nseed: 1\nlr: 0.001") == ["mine.yaml:4: lr: set twice, first in line 2"]


def test_numbers_are_numbers_and_quoted_numbers_are_text():
    assert from_text("recipe: cnn\nlr: 1e-3") == CNNRecipe(lr=1e-3)
    for quoted in ("'1e-3'", '"1e-3"'):
        (line,) = refused(f"recipe: cnn\nlr: {quoted}")
        assert line == "mine.yaml:2: lr: expected a number > 0, got '1e-3'; write it without quotes"


@every_recipe
def test_misspelt_and_unknown_keys_are_refused_with_the_nearest(name: str):
    assert refused(f"recipe: {name}\nbatchsize: 8\nsead: 1\n") == [
        "mine.yaml:2: batchsize: unknown setting; did you mean 'batch_size'?",
        "mine.yaml:3: sead: unknown setting; did you mean 'seed'?",
    ]


def test_an_alias_bomb_is_refused_before_it_grows():
    layers = "\n".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    said = refused(f"recipe: cnn\nk0: &a0 [x]\n{layers}")
    assert said[0] == "mine.yaml:2: k0: the anchor &a0 is not allowed; write the value where it is needed"
    assert len(said) == PROBLEMS + 1
    assert said[-1] == f"and {1 + 29 * 10 - PROBLEMS} more errors"


def test_the_command_line_says_every_mistake_and_exits_with_2(
    trap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "mine.yaml"
    path.write_text(f"recipe: cnn\nlr: fast\nmodel: {TAGS[0]}\nlr: 1\nsead: 1\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as exited:
        main.main(["check", str(path)])
    said = capsys.readouterr()
    assert exited.value.code == 2
    assert said.out == ""
    assert said.err.splitlines() == [
        f"danlu: {path}:2: lr: expected a number > 0, got 'fast'",
        f"{path}:3: model: the tag !!python/object/apply:os.system is not allowed; a recipe file has plain values only",
        f"{path}:4: lr: set twice, first in line 2",
        f"{path}:5: sead: unknown setting; did you mean 'seed'?",
    ]
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_of_noise_is_refused(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(UsageError, match=r"mine\.yaml:2: byte 128 is not UTF-8"):
        from_yaml(path)
