"""Recipes with a published size: the values are those that the papers print in their sections on CIFAR."""

import re

import pytest

from danlu.catalogue import find_recipe
from danlu.data.images.info import ImageInfo
from danlu.errors import UsageError
from danlu.recipes import changed, from_text, to_yaml

CIFAR = ImageInfo((3, 32, 32), 10)
# Sizes in millions of parameters, as printed: He et al. 2016, table 6; Huang et al. 2017, table 2
PRINTED = {
    "resnet": {20: "0.27", 32: "0.46", 44: "0.66", 56: "0.85", 110: "1.7"},
    "densenet": {40: "1.0", 100: "0.8", 190: "25.6", 250: "15.3"},
}
every_size = pytest.mark.parametrize(
    ("name", "size", "millions"), [(name, *row) for name, sizes in PRINTED.items() for row in sizes.items()]
)


def of_size(name, size, **changes):
    return changed(find_recipe(name)(), {"size": size, **changes})


@every_size
def test_the_network_is_as_large_as_printed(name, size, millions):
    count = sum(p.numel() for p in of_size(name, size).network(CIFAR).parameters())
    assert f"{count / 1e6:.{len(millions.split('.')[1])}f}" == millions


@every_size
def test_it_is_trained_as_the_paper_says(name, size, millions):
    recipe = of_size(name, size)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 1e-4)
    assert recipe.optimizer == {"resnet": "momentum", "densenet": "nesterov"}[name]
    assert recipe.batch_size == {"resnet": 128, "densenet": 64}[name]
    augment = recipe.augment.model_dump(exclude_defaults=True)
    assert augment == {"flip": "horizontal", "crop": 4}
    rounds = recipe.length(45_000 / recipe.batch_size)
    if name == "resnet":
        assert rounds == pytest.approx(64_000, rel=1e-3)
    else:
        assert recipe.epochs == 300
    later = {0.499: 0.1, 0.501: 0.01, 0.749: 0.01, 0.751: 0.001, 1.0: 0.001}
    for fraction, rate in later.items():
        assert recipe.lr * recipe.factor(round(fraction * rounds), rounds) == pytest.approx(rate)
    begins_lower = recipe.lr * recipe.factor(0, rounds) < 0.1
    assert begins_lower == ((name, size) == ("resnet", 110))
    assert recipe.factor(400, rounds) == 1


@every_size
def test_a_file_of_it_says_the_same_when_it_is_read(name, size, millions):
    recipe = of_size(name, size)
    assert from_text(to_yaml(recipe)) == recipe
    assert from_text(f"recipe: {name}\nsize: {size}") == recipe
    assert changed(recipe, {}) == recipe


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_given_beside_the_size_stays(name):
    size = list(PRINTED[name])[2]  # not the usual one of the network
    given = {"lr": 0.03, "batch_size": 50, "epochs": 7.0, "monitor": "accuracy", "model": {"activation": "silu"}}
    recipe = of_size(name, size, **given)
    assert (recipe.lr, recipe.batch_size, recipe.epochs, recipe.monitor) == (0.03, 50, 7, "accuracy")
    assert (recipe.model.activation, recipe.model.size) == ("silu", size)
    assert recipe.weight_decay == 1e-4, "what is not given is the paper's"
    assert from_text(to_yaml(recipe)) == recipe
    assert of_size(name, size, rounds=5).length(100) == 5


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_given_stays_though_it_is_what_the_recipe_has_without_a_size(name):
    usual, size = find_recipe(name)(), next(iter(PRINTED[name]))
    given = {"epochs": usual.epochs, "optimizer": usual.optimizer, "schedule": usual.schedule, "batch_size": 64}
    recipe = of_size(name, size, **given)
    assert {key: getattr(recipe, key) for key in given} == given
    assert (recipe.weight_decay, recipe.momentum) == (1e-4, 0.9)
    edited = re.sub(r"\nepochs: \d+", f"\nepochs: {usual.epochs:g}", to_yaml(of_size(name, size)))
    assert from_text(edited).epochs == usual.epochs


@pytest.mark.parametrize(
    ("name", "size", "millions"), [("resnet", 18, 11.7), ("resnet", 50, 25.6), ("densenet", 121, 8.0)]
)
def test_the_size_of_the_network_alone_builds_that_network(name, size, millions):
    """Parameters for ImageNet: in the tables of torchvision's documentation, to 0.1 million."""
    recipe = changed(find_recipe(name)(), {"model.size": size})
    network = recipe.network(ImageInfo((3, 224, 224), 1000))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert (recipe.epochs, recipe.weight_decay) == (find_recipe(name)().epochs, find_recipe(name)().weight_decay)
    assert from_text(to_yaml(recipe)) == recipe


@pytest.mark.parametrize("name", PRINTED)
def test_without_a_size_nothing_is_the_papers(name):
    assert changed(find_recipe(name)(), {"size": None}) == find_recipe(name)()


@pytest.mark.parametrize("name", PRINTED)
def test_a_size_that_was_not_published_is_refused(name):
    with pytest.raises(UsageError, match=r"size: expected .*, got 21"):
        of_size(name, 21)


@pytest.mark.parametrize("name", PRINTED)
def test_two_sizes_are_refused(name):
    small, *_, large = PRINTED[name]
    with pytest.raises(UsageError, match=rf"size={small} and model\.size={large} differ; set only one of them"):
        of_size(name, small, **{"model.size": large})
