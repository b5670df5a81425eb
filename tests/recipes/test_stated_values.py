"""Defaults that a paper or the page of a recipe states; the values here are copied from there, not from the code."""

import pytest
from torch import nn

from danlu.catalogue import RECIPES, find_recipe
from danlu.recipes import changed
from danlu.training import OptimizerSettings
from danlu.training.player import Player

STATED = {
    "gan": {
        # Goodfellow et al. 2014, algorithm 1 ("we used k = 1") and the end of section 3; without labels: the page
        "critic_turns": 1,
        "loss": "non-saturating",
        "conditional": False,
    },
    "cgan": {"conditional": True, "critic_turns": 1},  # Mirza and Osindero 2014, section 3.2; k = 1 as for gan
    "dcgan": {
        # Radford et al. 2016, section 4, and figure 1 for the latent; β₂, one turn of the critic and the constant rate
        # are those of the authors' code for faces; no weight decay in section 4 (their code has l2 = 1e-5)
        "optimizer": "adam",
        "lr": 0.0002,
        "betas": (0.5, 0.999),
        "batch_size": 128,
        "generator.latent": 100,
        "critic_turns": 1,
        "schedule": "constant",
        "weight_decay": 0.0,
    },
    "wgan": {
        # Arjovsky et al. 2017, algorithm 1: α = 0.00005, c = 0.01, m = 64, n_critic = 5, RMSProp
        "optimizer": "rmsprop",
        "lr": 0.00005,
        "weight_clip": 0.01,
        "batch_size": 64,
        "critic_turns": 5,
        "loss": "wasserstein",
        "penalty": 0.0,
    },
    "wgan-gp": {
        # Gulrajani et al. 2017, algorithm 1: λ = 10, n_critic = 5, α = 0.0001, β = (0, 0.9); section 4: no batch norm
        "optimizer": "adam",
        "lr": 0.0001,
        "betas": (0.0, 0.9),
        "penalty": 10.0,
        "one_sided": False,
        "critic_turns": 5,
        "critic.norm": None,
        "weight_clip": None,
        "loss": "wasserstein",
    },
    "sngan": {
        # Miyato et al. 2018, the authors' code for CIFAR-10 (SN-ResNet with the hinge loss)
        "optimizer": "adam",
        "lr": 0.0002,
        "betas": (0.0, 0.9),
        "critic_turns": 5,
        "batch_size": 64,
        "generator.latent": 128,
        "critic.spectral": True,
        "loss": "hinge",
    },
    "vae": {
        # Kingma and Welling 2014, section 2.3: L = 1; the page: --separate is the other way of the lecture notes
        "samples": 1,
        "beta": 1.0,
        "objective": "elbo",
        "separate": False,
    },
    "beta-vae": {"beta": 4.0, "monitor": "none", "model.likelihood": "gaussian"},  # the page
    "inpainting-vae": {"hide": 0.9, "blocks": True, "monitor": "none", "model.masks": True},  # the page
    "conditional-vae": {"beta": 1.0, "samples": 1},
    "semi-vae": {
        # the page: M1 + M2, sums over all labels, codes drawn as in Kingma et al. 2014, the last weights
        "stacked": True,
        "relaxation": "enumerate",
        "codes": "draw",
        "labels": 50,
        "monitor": "none",
    },
    "rnn-lm": {"model.kind": "rnn", "model.initial": "radius", "grad_clip": 1.0},  # the page
    # Jozefowicz et al. 2015: bias 1; epochs: the page
    "lstm-lm": {"model.kind": "lstm", "model.forget_bias": 1.0, "epochs": 5},
    "nce-lm": {
        # Mnih and Teh 2012: unigram noise, a normalizer of 1
        "objective": "nce",
        "noise.distribution": "unigram",
        "noise.log_z": 0.0,
        "model.learn_normalizer": False,
        "text.tokens": "words",
    },
    "resnet-fast": {
        # the page
        "optimizer": "nesterov",
        "schedule": "one_cycle",
        "channels_last": "on",
        "augment.flip": "none",
        "smoothing": 0.1,
    },
    # the pages: "trains for 40 epochs with AdamW and the one-cycle schedule"
    "mlp": {"model.dropout": 0.2, "epochs": 40, "optimizer": "adamw", "schedule": "one_cycle", "model.hidden": (512,)},
    "cnn": {"model.dropout": 0.3, "epochs": 40, "optimizer": "adamw", "schedule": "one_cycle", "model.padding": 1},
}
"""recipe: setting: value, with the source"""

PUBLISHED = {
    # He et al. 2016, section 4.2, and Huang et al. 2017, sections 4.1 and 4.2. The code of Huang et al. decays every
    # parameter; for He et al. it is fb.resnet.torch, the code of others. No monitor: the last weights are scored
    "resnet": {
        "lr": 0.1, "weight_decay": 0.0001, "decay_all": True, "momentum": 0.9, "monitor": "none",
        "optimizer": "momentum", "schedule": "step", "batch_size": 128, "epochs": 182,  # 64,000 rounds of 45,000 images
        "augment.flip": "horizontal", "augment.crop": 4,
    },
    "densenet": {
        "lr": 0.1, "weight_decay": 0.0001, "decay_all": True, "momentum": 0.9, "monitor": "none",
        "optimizer": "nesterov", "schedule": "step", "batch_size": 64, "epochs": 300,
        "augment.flip": "horizontal", "augment.crop": 4,
    },
}  # fmt: skip
SIZES = [("resnet", size) for size in (20, 32, 44, 56, 110)] + [("densenet", size) for size in (40, 100, 190, 250)]

OPTIMIZERS = {
    # docstrings of OptimizerSettings; Adam also Kingma and Ba 2015, algorithm 1. AdamW has the same constants
    "sgd": {"momentum": 0},
    "momentum": {"momentum": 0.9, "nesterov": False},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0},
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0},
    "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0},
}


def value_of(page, setting):
    for name in setting.split("."):
        page = getattr(page, name)
    return page


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, values in STATED.items() for setting in values]
)
def test_a_default_is_the_stated_value(name, setting):
    assert value_of(find_recipe(name)(), setting) == STATED[name][setting]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_a_published_size_has_the_values_of_the_paper(name, size):
    recipe = changed(find_recipe(name)(), {"size": size})
    assert {setting: value_of(recipe, setting) for setting in PUBLISHED[name]} == PUBLISHED[name]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_the_stated_defaults(name):
    player = Player("net", nn.Linear(2, 1), OptimizerSettings(optimizer=name), rounds=1)
    (optimizer,) = player.optimizers
    (group,) = optimizer.param_groups
    assert {setting: group[setting] for setting in OPTIMIZERS[name]} == OPTIMIZERS[name]


TWINS = [
    (
        ("rnn-lm", "lstm-lm", "peephole-lm", "coupled-lm", "gru-lm"),
        ("model.width", "model.layers", "model.embedding", "batch_size", "bptt", "epochs"),
    ),
    (("vae", "beta-vae", "conditional-vae", "inpainting-vae"), ("model.latent", "model.hidden")),
    (("dcgan", "wgan", "wgan-gp"), ("generator.width", "critic.width", "rounds")),
    (("gan", "cgan"), ("generator.latent", "generator.hidden", "critic.hidden", "rounds")),
]
"""recipes that differ in the method, and the settings of size and length that they share"""


@pytest.mark.parametrize(("names", "setting"), [(names, setting) for names, settings in TWINS for setting in settings])
def test_recipes_that_are_compared_have_networks_of_the_same_size(names, setting):
    assert len({value_of(find_recipe(name)(), setting) for name in names}) == 1


@pytest.mark.parametrize("name", RECIPES)
def test_what_changes_speed_and_rounding_is_off_unless_the_recipe_is_named_after_its_speed(name):
    recipe = find_recipe(name)()
    off = {"precision": "float32", "compile": False, "cuda_graphs": False, "deterministic": False, "tf32": False}
    assert {setting: value_of(recipe, setting) for setting in off} == off
    assert recipe.channels_last == ("on" if name == "resnet-fast" else "auto")
