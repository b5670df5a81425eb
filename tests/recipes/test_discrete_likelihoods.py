"""On every data set the probabilities of the values that an example can have sum to one."""

import math
import os
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from danlu.catalogue.datasets import DATA
from danlu.catalogue.recipes import all_recipes, find_recipe
from danlu.errors import RunError, UsageError
from danlu.recipes import as_recipe
from danlu.recipes.config.build import build_task
from danlu.recipes.latent.base import LatentRecipe

PACKAGED = ("digits", "pydoc", "moons")
IMAGES = [name for name, entry in DATA.items() if entry.kind == "images" and name != "folder"]
TEXTS = [name for name, entry in DATA.items() if entry.kind == "text" and name != "text"]
LATENT = [name for name in all_recipes() if issubclass(find_recipe(name), LatentRecipe)] + ["semi-vae"]
LANGUAGE = [name for name, entry in all_recipes().items() if entry.family == "recurrent"]


def read(recipe, data, **settings):
    """The properties and the first training examples of a data set; skip the test if its files are not here."""
    if data not in PACKAGED and not Path(os.environ.get("DANLU_DATA", "nowhere"), data).is_dir():
        pytest.skip(f"the files of {data} are not in the package; set DANLU_DATA to their folder")
    try:
        with patch("danlu.data.datasets.mnist_cifar.fetch", side_effect=RunError("tests download nothing")):
            data_set = as_recipe(recipe, {"data": data, **settings}).load()
    except RunError as error:
        pytest.skip(f"{data}: {error}")
    return data_set.info, data_set.train.rows(slice(0, 2000))[data_set.info.inputs]


@cache
def images(name, binarize="none"):
    return read("vae", name, binarize=binarize)


@cache
def text(name):
    return read("lstm-lm", name, text={"tokens": "words", "vocabulary": 60})


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("binarize", ["none", "static"])
def test_the_levels_of_a_data_set_are_those_of_its_values(name, binarize):
    """Every value is a multiple of 1 / (levels − 1), and the multiples have no common divisor: no grid is coarser."""
    info, x = images(name, binarize)
    values = x.double() * (info.levels - 1)
    assert values.sub(values.round()).abs().max() < 1e-4
    multiples = values.round().long().unique().tolist()
    assert (multiples[0], multiples[-1]) == (0, info.levels - 1)
    assert math.gcd(*multiples) == 1


@pytest.mark.parametrize("data", IMAGES)
@pytest.mark.parametrize("recipe", LATENT)
@pytest.mark.parametrize("likelihood", ["logistic", "bernoulli"])
def test_the_probabilities_of_a_pixel_sum_to_one(recipe, data, likelihood):
    """Over the values of the data set: its gray levels for logistic, and 0 and 1 of binary images for bernoulli."""
    binarize = "none" if likelihood == "logistic" else "static"
    network = "first" if recipe == "semi-vae" else "model"
    settings = {"data": data, "binarize": binarize, **find_recipe(recipe).tiny}
    settings[network] = {**settings[network], "likelihood": likelihood}
    info, _ = images(data, binarize)
    model = build_task(as_recipe(recipe, settings), info).model.double()
    model = model.first if recipe == "semi-vae" else model
    centers = torch.randn(50, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = torch.linspace(0, 1, info.levels, dtype=torch.float64)[:, None]
    sums = model.autoencoder.likelihood.log_prob(levels, centers.expand(-1, info.levels, -1, -1)).exp().sum(1)
    torch.testing.assert_close(sums, torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("data", TEXTS)
@pytest.mark.parametrize(("recipe", "settings"), [*((name, {}) for name in LANGUAGE), ("lstm-lm", {"cutoffs": (20,)})])
def test_the_probabilities_of_the_next_token_sum_to_one(recipe, settings, data):
    info, tokens = text(data)
    tiny = find_recipe(recipe).tiny
    changes = {"data": data, **tiny, "model": {**tiny["model"], **settings}}
    model = build_task(as_recipe(recipe, changes), info).model.double().eval()
    vocabulary = info.vocabulary
    start = tokens[:6].long()
    followed = torch.cat([start.expand(vocabulary, -1), torch.arange(vocabulary)[:, None]], 1)
    log_probs, _ = model.log_probs(followed[:, :-1], followed[:, 1:])
    assert log_probs[:, -1].exp().sum().item() == pytest.approx(1, abs=1e-10)


def test_values_between_the_levels_have_the_probability_of_the_nearest_level():
    model = build_task(as_recipe("vae", {"model.likelihood": "logistic"}), images("digits")[0]).model
    output, x = torch.zeros(1, 3, 1, 2), torch.tensor([[4 / 16, 9 / 16], [64 / 255, 143 / 255], [0.27, 0.55]])
    level, byte, augmented = model.autoencoder.likelihood.log_prob(x, output)[0].tolist()
    assert level == byte == augmented


def test_a_discrete_likelihood_of_values_that_are_not_discrete_is_refused():
    info, _ = read("vae", "moons")
    with pytest.raises(UsageError, match="likelihood logistic needs images with values from 0 to 1"):
        build_task(as_recipe("vae", {"data": "moons", "model.likelihood": "logistic"}), info)
