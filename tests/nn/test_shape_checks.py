"""The tests of the mathematics run with the shapes in signatures checked, where the command asks for it."""

import jaxtyping
import pytest
import torch

from danlu.losses import cross_entropy


@pytest.fixture(autouse=True)
def _checks_are_installed(request):
    if not request.config.getoption("jaxtyping_packages"):
        pytest.skip("runs with --jaxtyping-packages, as in .ci/run")


def test_a_wrong_shape_is_found_by_the_signature():
    with pytest.raises(jaxtyping.TypeCheckError):
        cross_entropy(torch.zeros(3, 2), torch.zeros(3))


@pytest.mark.unchecked
def test_a_marked_test_meets_the_function_itself():
    with pytest.raises((RuntimeError, IndexError)):  # torch's own; a TypeCheckError is a TypeError
        cross_entropy(torch.zeros(3, 2), torch.zeros(3))
