"""Fixtures that several rooms' tests use."""

import os
import tempfile
from collections.abc import Iterator

import pytest

import ranks


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ranks.Ranks]:
    """Two processes in one process group; tests that use it carry ``xdist_group("two ranks")`` to share it."""
    with ranks.started(tmp_path_factory.mktemp("ranks")) as started:
        yield started


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own() -> Iterator[None]:
    """Nothing is read from, or left in, the cache of whoever runs the tests."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("DANLU_CACHE")
        os.environ["DANLU_CACHE"] = folder
        yield
        if before is None:
            del os.environ["DANLU_CACHE"]
        else:
            os.environ["DANLU_CACHE"] = before
