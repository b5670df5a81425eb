"""Lists in the docs are those of danlu: filled in from its tables, or compared with them."""

import importlib.util
import re
from pathlib import Path

import pytest

from danlu.app.cli.run_command import function_of
from danlu.app.cli.signature import arguments_of
from danlu.app.command_table import COMMANDS
from danlu.catalogue import RECIPES

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
