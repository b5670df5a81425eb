"""Fixtures that several rooms' tests use."""

from collections.abc import Iterator

import pytest

import ranks


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ranks.Ranks]:
    """Two processes in one process group; tests that use it carry ``xdist_group("two ranks")`` to share it."""
    with ranks.started(tmp_path_factory.mktemp("ranks")) as started:
        yield started
