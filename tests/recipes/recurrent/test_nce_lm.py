"""Settings of language models with sampled objectives that do not go together."""

import pytest

from danlu.errors import UsageError
from danlu.recipes import as_recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.cutoffs": (20,)}, "model.cutoffs give an adaptive softmax, which has no scores of single words; omit"),
        (
            {"objective": "sampled", "noise.log_z": 1.0},
            "sampled normalizes over its sample; leave learn_normalizer",
        ),
        ({"objective": "sampled", "model.learn_normalizer": True}, "leave learn_normalizer and log_z out"),
    ],
)
def test_what_does_not_go_together_is_one_line(changes, message):
    with pytest.raises(UsageError, match=message):
        as_recipe("nce-lm", changes)
    assert as_recipe("nce-lm", {"noise.log_z": 1.0}).objective == "nce"
