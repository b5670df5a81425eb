"""The stream of a recipe for images has its augmentation and its binarization."""

import pytest
import torch

from danlu.recipes import as_recipe


def first_batch(**changes):
    recipe = as_recipe("vae", {"batch_size": 32, **changes})
    stream, _ = recipe.make_stream(recipe.load().train, torch.device("cpu"), torch.float32)
    return recipe.transform(stream, recipe.seed).batch(0, slice(0, 32))["image"]


@pytest.mark.parametrize("changes", [{"augment.flip": "horizontal"}, {"binarize": "dynamic"}])
def test_examples_are_changed_as_the_recipe_says(changes):
    plain, changed = first_batch(), first_batch(**changes)
    assert torch.equal(plain, first_batch())
    assert changed.shape == plain.shape
    assert not torch.equal(changed, plain)
    if "binarize" in changes:
        assert set(changed.unique().tolist()) == {0.0, 1.0}
    else:  # a flip moves the gray levels of an image and makes no new ones
        assert set(changed.unique().tolist()) == set(plain.unique().tolist())
