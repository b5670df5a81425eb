"""Which recipes have the settings of generated samples."""

import pytest

from danlu.catalogue.recipes import RECIPES
from danlu.recipes import GenerativeRecipe, build
from danlu.verbs import can
from examined import tiny


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_models_that_sample_have_the_settings_of_samples(name):
    recipe = tiny(name)
    model = build(recipe).task.model
    assert isinstance(recipe, GenerativeRecipe) == can(model, "sample")
    assert bool(recipe.sample_files) == (can(model, "sample") or can(model, "complete"))
