"""What every test and every example finds ready."""

import os
import tempfile
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads of one would only fight the other's

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own() -> Iterator[None]:
    """Nothing is read from, or left in, the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("DANLU_CACHE", folder)
        yield


@pytest.fixture(autouse=True)
def _names_for_examples(doctest_namespace: dict) -> None:
    """Examples in docstrings may say torch and nn without importing them."""
    doctest_namespace["torch"] = torch
    doctest_namespace["nn"] = torch.nn


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """A test that draws from torch's own generator draws the same numbers each time."""
    torch.manual_seed(0)
