"""The limit on the parts of a model is exact."""

import pytest
from torch import nn

from danlu.models.saving import shape_check
from danlu.models.saving.shape_check import TooManyParts, build_without_memory


def test_a_model_with_as_many_parts_as_allowed_is_built_and_one_more_is_refused(monkeypatch):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    parts = len(list(model.modules())) - 1 + len(list(model.parameters())) + len(list(model.buffers()))
    for limit in (parts, parts - 1):
        monkeypatch.setattr(shape_check, "MODEL_PARTS", limit)
        if limit == parts:
            build_without_memory(lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
        else:
            with pytest.raises(TooManyParts, match=f"more than {limit} modules"):
                build_without_memory(lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
