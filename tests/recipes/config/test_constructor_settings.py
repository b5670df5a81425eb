"""Settings derived from the arguments of a constructor."""

from collections.abc import Sequence
from typing import Literal

import pytest
from pydantic import ValidationError
from torch import nn

from danlu.models import Model
from danlu.recipes.config.constructor_settings import Settings, settings


class Example(Model):
    """A model.

    Args:
        size: from the data.
        kind: a name, or a network.
        part: a network.
        widths: widths.
        norm: a name, or nothing.
    """

    def __init__(
        self,
        size: int,
        kind: Literal["plain", "other"] | nn.Module | None = "plain",
        part: nn.Module | None = None,
        widths: Sequence[int] = (3,),
        norm: Literal["batch"] | None = None,
    ):
        super().__init__()


def test_an_argument_that_is_a_name_or_a_network_is_a_setting_with_the_names():
    fields = Settings[Example].model_fields
    assert list(fields) == ["kind", "widths", "norm"]
    assert fields["kind"].annotation == Literal["plain", "other"]
    assert fields["kind"].description == "a name, or a network"
    assert fields["norm"].annotation == Literal["batch"] | None
    assert settings(Example, kind="other").build(size=4).arguments["kind"] == "other"
    with pytest.raises(ValidationError, match="'plain' or 'other'"):
        settings(Example, kind="third")
    with pytest.raises(ValidationError, match="'plain' or 'other'"):
        settings(Example, kind=None)
