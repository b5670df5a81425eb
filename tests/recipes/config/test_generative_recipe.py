"""Which recipes have the settings of generated samples."""

import pytest

from danlu.catalogue.recipes import RECIPES
from danlu.recipes import GenerativeRecipe, as_recipe, build
from danlu.verbs import can
from examined import tiny


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_models_that_sample_have_the_settings_of_samples(name):
    recipe = tiny(name)
    model = build(recipe).task.model
    assert isinstance(recipe, GenerativeRecipe) == can(model, "sample")
    assert bool(recipe.sample_files) == (can(model, "sample") or can(model, "complete"))


@pytest.mark.parametrize(("changes", "rounds"), [({"rounds": 7}, 7), ({"epochs": 2.5}, 50), ({"epochs": 0.01}, 1)])
def test_the_length_is_in_rounds(changes: dict[str, float], rounds: int):
    assert as_recipe("mlp", changes).length(epoch_rounds=20.0) == rounds
