"""The page of a room names every module of the room."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/danlu"
PAGES = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/rooms").glob("*.md")))
ROOMS = ("app", "evaluation", "experiments", "losses", "tasks", "training", "models", "metrics", "rng", "sampling")
"""rooms whose pages are complete"""


def modules(room: str) -> list[str]:
    """The dotted names of a room's modules, without ``danlu.``."""
    paths = sorted((SOURCE / room).rglob("*.py"))
    return [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths if path.stem != "__init__"]


def is_named(module: str, pages: str) -> bool:
    """Whether a module is named in full, or by its last name on a line that names its package."""
    package, _, name = module.rpartition(".")
    if re.search(rf"\b{re.escape(module)}\b", pages):
        return True
    return any(f"`{name}`" in line and re.search(rf"\b{re.escape(package)}\b", line) for line in pages.splitlines())


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_the_room_is_named(room):
    assert [module for module in modules(room) if not is_named(module, PAGES)] == []


def test_a_module_that_is_not_named_is_found():
    assert is_named("nn.dense", "| `nn.dense.Dense` | a layer |")
    assert is_named("nn.norm.spectral", "| `nn.norm` | `spectral` |")
    assert not is_named("nn.norm.spectral", "| `nn.norm` | `batch` |")


def test_every_room_is_in_the_list():
    index = (ROOT / "docs/rooms/index.md").read_text(encoding="utf-8")
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert sorted(room for room in rooms if f"`{room}`" not in index) == []
