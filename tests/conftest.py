"""Fixtures that several rooms' tests use."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

import ranks
from undrawn import undrawn_reports


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ranks.Ranks]:
    """Two processes in one process group; tests that use it carry ``xdist_group("two ranks")`` to share it."""
    with ranks.started(tmp_path_factory.mktemp("ranks")) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def reports(request: pytest.FixtureRequest) -> Iterator[None]:
    """The figures of reports are drawn in modules marked ``figures`` only."""
    with nullcontext() if request.node.get_closest_marker("figures") else undrawn_reports():
        yield


@pytest.fixture(scope="module")
def few_examples() -> Iterator[None]:
    """Scores for which a class-conditional model computes many bounds for each class are those of few examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.evaluation.evaluators.BOUND_EXAMPLES", 20)
        patch.setattr("danlu.evaluation.model_scores.ROBUSTNESS_IMAGES", 20)
        yield


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
