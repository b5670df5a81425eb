"""A run that is copied and damaged, and a file that nothing may change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import danlu


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with several checkpoints; tests change copies of it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    danlu.train("mlp", out=folder, epochs=2, model={"hidden": (8,)}, quiet=True)
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A file of the user outside of the folders of danlu, which must stay as it is."""
    path = tmp_path / "thesis.txt"
    path.write_text("the only copy\n")
    yield path
    assert path.read_text() == "the only copy\n"
    assert path.stat().st_nlink <= 2
