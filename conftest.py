"""What every test and every example finds ready."""

import gc
import os
import tempfile
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads of one would only fight the other's

import jaxtyping
import pytest
import torch

_MATHEMATICS = ("nn", "losses", "sampling", "data", "models", "metrics", "tasks", "training")
"""folders of tests in which the shapes in signatures are checked, where --jaxtyping-packages installs the checks"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """The tests of a group run in one process, and the other tests of a file too: it makes their fixtures once."""
    from xdist.scheduler import LoadGroupScheduling

    class LoadGroupsAndFiles(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return scope if scope != nodeid else nodeid.partition("::")[0]

    return LoadGroupsAndFiles(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_finish() -> None:
    """Keep what was collected out of garbage collections, each of which would take a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes in tests of the mathematics, unless the test is marked ``unchecked``."""
    folder = item.nodeid.removeprefix("tests/").partition("/")[0]
    checked = folder in _MATHEMATICS and item.get_closest_marker("unchecked") is None
    jaxtyping.config.update("jaxtyping_disable", not checked)


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
