"""Tests of a group share a process, and with it what one of them has computed."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="the tests run in one process")
@pytest.mark.xdist_group("groups")
def test_groups_are_known_to_the_scheduler(request):
    """It reads them from the names of the tests. Without groups, the tests pass and take longer."""
    assert request.node.nodeid.endswith("@groups")
