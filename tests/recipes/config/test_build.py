"""What is refused while a training is built."""

import pytest

from danlu.errors import UsageError
from danlu.recipes import as_recipe, build


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
def test_labels_are_mixed_for_tasks_that_read_mixed_labels(how):
    changes = {f"augment.{how}": 0.2, "rounds": 2}
    assert build(as_recipe("mlp", changes)).trainer.rounds == 2
    with pytest.raises(UsageError, match="mix labels"):
        build(as_recipe("vae", changes))
