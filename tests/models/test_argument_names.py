"""A number that a constructor refuses is named as the argument that its user set, and not as one of an inner layer."""

import pytest
import torch

from small_models import every_model

NOT_SETTINGS = ("shape", "range", "first", "second")


def numbers(model):
    """The arguments of a model that are whole numbers or tuples of them, each with values that may be wrong."""
    for name, value in model.arguments.items():
        if name in NOT_SETTINGS or isinstance(value, bool):
            continue
        if isinstance(value, int):
            yield from ((name, wrong) for wrong in (0, -1))
        elif isinstance(value, (tuple, list)) and value and all(isinstance(part, int) for part in value):
            yield from ((name, wrong) for wrong in ((0,) * len(value), (-1,) * len(value)))


def refusal(model, name, wrong):
    """The message of the constructor; None if it accepts the number."""
    try:
        with torch.device("meta"):
            type(model)(**{**model.arguments, name: wrong})
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.unchecked
@pytest.mark.parametrize("model", every_model(), ids=lambda model: type(model).__name__)
def test_a_wrong_number_is_named(model):
    refusals = [(name, wrong, refusal(model, name, wrong)) for name, wrong in numbers(model)]
    assert [refused for refused in refusals if refused[2] is not None and refused[0] not in refused[2]] == []
    assert not refusals or any(message for _, _, message in refusals)
