"""Tables in the documentation agree with the code: they are derived from it, or compared with it."""

import importlib.util
import json
import re
from ast import literal_eval
from contextlib import suppress
from pathlib import Path

import pytest

from danlu.app.cli.run_command import function_of
from danlu.app.cli.signature import arguments_of
from danlu.app.command_table import COMMANDS
from danlu.app.console.settings_flags import flags
from danlu.catalogue import RECIPES, find_recipe
from danlu.catalogue.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("reference_tables", DOCS / "reference_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_has_every_command_and_option(tables):
    source = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([a-z][\w-]*)$", source, re.MULTILINE) == list(COMMANDS)
    page = tables.on_page_markdown(source)
    assert "<!--" not in page
    for name in COMMANDS:
        assert f"| [`{name}`](#{name}) | " in page
        section = re.split(r"^## ", page.partition(f"\n## {name}\n")[2], flags=re.MULTILINE)[0]
        named = [argument for argument in arguments_of(function_of(name)) if {*argument.flags} - {"--json"}]
        assert all(argument.flags[0] in section for argument in named), name


def test_the_overview_lists_every_recipe(tables):
    page = tables.on_page_markdown((DOCS / "index.md").read_text(encoding="utf-8"))
    assert "<!--" not in page
    for name, entry in RECIPES.items():
        assert f"| `{name}` | {entry.title} | {entry.source} |" in page


def test_the_models_of_the_readme_are_those_of_the_catalogue():
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Models\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert rows[0] == ["model", "recipe", "digits, test accuracy, mean of five seeds", "status"]
    names = {row[0]: re.findall(r"`([\w-]+)`", row[1]) for row in rows[2:]}
    assert sorted(name for row in names.values() for name in row) == sorted(RECIPES)
    assert {row[0] for row in rows[2:] if row[3] == "available"} == {model for model, row in names.items() if row}
    assert {row[3] for row in rows[2:]} <= {"available", "planned"}


def table_rows(page: str) -> list[list[str]]:
    """The cells of each line of the tables in a page."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]


def test_the_table_of_experiments_has_the_stored_verdicts(tables, tmp_path, monkeypatch):
    words = ("holds", "not decided")
    runs = [{"verdict": word, "reason": f"reason {k}.", "cpu_seconds": 11.6} for k, word in enumerate(words)]
    (tmp_path / "momentum.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
    (tmp_path / "depth.json").write_text(json.dumps({"runs": [runs[0], runs[0]]}), encoding="utf-8")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = tables.on_page_markdown((DOCS / "experiments.md").read_text(encoding="utf-8"))
    rows = {row[0].strip("`"): row for row in table_rows(page) if len(row) == 6}
    for name, entry in EXPERIMENTS.items():
        assert rows[name][1:3] == [f"{entry.section}, line {entry.line}", entry.claim]
    assert rows["momentum"][3:] == ["holds / not decided", "reason 0.", "12 s"]
    assert rows["depth"][3:] == ["holds", "reason 0.", "12 s"]
    assert rows["elbo"][3:] == ["–", "–", "–"]


def test_every_experiment_is_in_the_table_of_the_notes():
    page = (DOCS / "notes-to-code.md").read_text(encoding="utf-8")
    named = {name for row in table_rows(page) for cell in row for name in cell.split(", ")}
    assert set(EXPERIMENTS) - named == set()


def test_settings_in_tables_exist():
    """The first column of a table of settings has settings of a recipe; ``model.hidden`` is ``--model.hidden``."""
    known = {flag.name.removeprefix("--").replace("-", "_") for name in RECIPES for flag in flags(find_recipe(name)())}
    named = set()
    for page in (DOCS / "recipes.md", *sorted((DOCS / "models").glob("*.md"))):
        header = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            header = "" if line[:1] != "|" else header or line
            if header.startswith("| setting |"):
                named |= set(re.findall(r"`([a-z][\w.]*)`", line.split("|")[1]))
    assert {"lr", "grad_clip", "model.hidden"} <= named
    assert named - known == set()


@pytest.mark.parametrize("page", sorted((DOCS / "models").glob("*.md")), ids=lambda page: page.stem)
def test_the_defaults_in_tables_are_those_of_the_recipe(page):
    header, compared = "", 0
    for line in page.read_text(encoding="utf-8").splitlines():
        header = "" if line[:1] != "|" else header or line
        titled = re.match(r"\| setting \| default(?: in `(.*)`)? \|", header)
        if titled is None or line == header or line.startswith("|---"):
            continue
        values = flattened(find_recipe(titled[1] or page.stem)().model_dump(mode="json"))
        setting, default = (cell.strip() for cell in line.split("|")[1:3])
        names = re.findall(r"`([\w.]+)`", setting)
        cells = re.findall(r"`\[.*?\]`|[^,]+", default) if len(names) > 1 else [default]
        stated = [documented(cell) for cell in cells]
        assert [None if values[name] == [] else values[name] for name in names] == stated * (
            len(names) // len(stated)
        ), line
        compared += 1
    assert compared or "| setting | default" not in page.read_text(encoding="utf-8")


def test_the_table_of_lengths_and_optimizers_has_the_defaults_of_every_recipe():
    page = (DOCS / "recipes.md").read_text(encoding="utf-8").partition("## Defaults of length and optimization")[2]
    head, _, *rows = table_rows(page.partition("\n## ")[0])
    settings = [cell.strip("`") for cell in head[1:]]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row[0])}
    assert named == set(RECIPES), "add a row for a new recipe"
    for row in rows:
        stated = [literal_eval(cell) if cell[:1].isdigit() else cell or None for cell in row[1:]]
        for name in re.findall(r"`([\w-]+)`", row[0]):
            recipe = find_recipe(name)()
            assert [getattr(recipe, setting, None) or None for setting in settings] == stated, name


def flattened(page, prefix=""):
    """Settings of a recipe under dotted names."""
    values = {}
    for name, value in page.items():
        values |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return values


def documented(cell):
    """The value that a cell of the column "default" states; a default that depends on others is none."""
    text = cell.strip().strip("`")
    if text.startswith(("none", "from ", "the same")):
        return None
    with suppress(ValueError):
        return literal_eval(text)
    return {"yes": True, "no": False}.get(text, text)
