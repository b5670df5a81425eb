"""What is refused while a training is built."""

import pytest
import torch

from danlu.catalogue import find_recipe
from danlu.data.images.info import ImageInfo
from danlu.data.text.info import TextInfo
from danlu.errors import UsageError
from danlu.recipes import AdversarialRecipe, MLPRecipe, Recipe, as_recipe, build, build_task, changed
from danlu.recipes.classify.base import Classification
from danlu.recipes.latent.base import LatentRecipe


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
def test_labels_are_mixed_for_tasks_that_read_mixed_labels(how):
    changes = {f"augment.{how}": 0.2, "rounds": 2}
    assert build(as_recipe("mlp", changes)).trainer.rounds == 2
    with pytest.raises(UsageError, match="mix labels"):
        build(as_recipe("vae", changes))


def test_a_language_model_gets_the_tokenizer_of_its_data_and_other_models_none():
    recipe = find_recipe("lstm-lm")
    text, images = build(changed(recipe(), {**recipe.tiny, "rounds": 2})), build(as_recipe("mlp", {"rounds": 2}))
    assert text.data.tokenizer is not None
    assert text.task.model.tokenizer is text.data.tokenizer
    assert (images.data.tokenizer, images.task.model.tokenizer) == (None, None)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "resnet-fast", "densenet"])
def test_a_classifier_has_the_shape_and_the_classes_of_the_data(name):
    recipe = find_recipe(name)
    task = build_task(changed(recipe(), recipe.tiny), ImageInfo((3, 12, 12), 4))
    assert task.model.classify(torch.zeros(2, 3, 12, 12)).shape == (2, 4)


def test_a_task_is_built_for_its_kind_of_data_only():
    with pytest.raises(UsageError, match=r"this recipe needs images or table, got text \(digits\)"):
        build_task(as_recipe("mlp"), TextInfo(vocabulary=5))


@pytest.mark.parametrize("recipe", [3, None, MLPRecipe], ids=str)
def test_what_is_no_recipe_is_named(recipe):
    with pytest.raises(UsageError, match="expected the name of a recipe such as 'cnn', a YAML file or a Recipe, got"):
        as_recipe(recipe)


@pytest.mark.parametrize(
    ("cls", "method", "message"),
    [
        (Recipe, "task", "must define task"),
        (Classification, "network", "must build its network"),
        (LatentRecipe, "network", "must define network"),
        (AdversarialRecipe, "generator_for", "must define generator_for"),
        (AdversarialRecipe, "critic_for", "must define critic_for"),
    ],
)
def test_a_recipe_that_lacks_a_method_is_named(cls, method, message):
    class Unfinished(cls):
        pass

    with pytest.raises(NotImplementedError, match=f"Unfinished {message}"):
        getattr(Unfinished.model_construct(), method)(ImageInfo((1, 8, 8), 10))


def test_a_recipe_without_optimizer_settings_is_named():
    class Unfinished(Recipe):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished must define optimizer_settings"):
        Unfinished(rounds=1).optimizer_settings()
