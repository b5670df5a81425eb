"""The recipes of variational autoencoders: what they build, and what does not go together, in one line each."""

import pytest

from danlu.app.cli.main import main
from danlu.catalogue import find_recipe
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.recipes import changed
from danlu.tasks import KLWeight, Masks

PICTURES = ImageInfo((1, 8, 8), 10)
NAMES = ("vae", "beta-vae", "inpainting-vae", "conditional-vae")


def task_of(name, **changes):
    return changed(find_recipe(name)(), changes).task(PICTURES)


def test_each_recipe_is_what_its_name_says():
    vae, beta, inpainting, conditional = (task_of(name) for name in NAMES)
    assert (vae.kl_weight, vae.masks, vae.vae.masks) == (KLWeight(), None, False)
    assert (beta.kl_weight, beta.masks) == (KLWeight(beta=4.0), None)
    assert (inpainting.kl_weight, inpainting.masks, inpainting.vae.masks) == (
        KLWeight(beta=0.1),
        Masks(0.9, True),
        True,
    )
    assert (conditional.kl_weight, conditional.masks, conditional.vae.classes) == (KLWeight(), None, 10)


def test_settings_reach_the_game():
    given = {"beta": 3.0, "beta_warmup": 7, "capacity": 20.0, "capacity_rounds": 9, "samples": 2}
    task = task_of("vae", **given)
    assert task.kl_weight == KLWeight(3.0, 7, 0.0, 20.0, 9)
    assert task.samples == 2
    assert task_of("vae", objective="iwae", samples=5).objective == "iwae"
    assert task_of("inpainting-vae", hide=0.5, blocks=False).masks == Masks(0.5, False)


def test_separate_turns_have_a_descent_for_each():
    recipe = changed(find_recipe("vae")(), {"separate": True, "lr": 0.5})
    assert recipe.optimizer_settings().keys() == recipe.task(PICTURES).players().keys() == {"decoder", "encoder"}
    assert {descent.lr for descent in recipe.optimizer_settings().values()} == {0.5}


@pytest.mark.parametrize("family", ["bernoulli", "logistic"])
@pytest.mark.parametrize(
    "info",
    [TableInfo((2,), 2), ImageInfo((1, 8, 8), 10, range=(-1.0, 1.0))],
    ids=["table", "another range"],
)
def test_probabilities_of_pixels_are_for_pixels(family, info):
    recipe = changed(find_recipe("vae")(), {"model.likelihood": family})
    with pytest.raises(UsageError, match=f"likelihood {family} needs images with values from 0 to 1; use"):
        recipe.task(info)
    changed(recipe, {"model.likelihood": "gaussian"}).task(info)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "vae --data moons",
            "likelihood bernoulli needs images with values from 0 to 1; use model.likelihood",
        ),
        ("beta-vae --data moons --model.likelihood logistic", "likelihood logistic needs images"),
        ("vae --free-bits 1 --capacity 3", "free_bits and capacity both set a target of the KL term; set only one"),
        ("vae --objective iwae --beta 2", "has no separate KL term; use objective elbo"),
        ("beta-vae --objective iwae", "has no separate KL term"),
        ("vae --objective iwae --free-bits 0.5", "has no separate KL term"),
        ("vae --samples 0", "samples: expected an integer >= 1, got 0"),
        ("vae --beta -1", "beta: expected a number >= 0, got -1"),
        ("vae --beta-warmup -1", "beta_warmup: expected an integer >= 0, got -1"),
        ("vae --capacity -2", "capacity: expected a number >= 0 or null, got -2"),
        (
            "vae --data moons --model.likelihood gaussian --binarize static",
            "binarize has no effect on moons: it applies to images; leave it out (--binarize)",
        ),
        (
            "vae --data moons --model.likelihood gaussian --binarize dynamic",
            "binarize has no effect on moons: it applies to images; leave it out (--binarize)",
        ),
        ("vae --model.channels 8 8 8 8", "4 convolutions with stride 2 are too many for 8×8 pixels"),
        ("vae --data moons --model.likelihood gaussian --model.channels 8", "must be (channels, height, width)"),
        (
            "vae --model.likelihood gaussian --model.spread -1",
            "spread=-1.0 must be a number greater than 0, or 'shared', or 'each'",
        ),
        ("vae --model.latent 0", "latent"),
        ("vae --model.posterior flow", "model.posterior: expected one of gaussian, planar, iaf, got 'flow'"),
        ("vae --model.posterior planar --model.posterior-layers 0", "posterior_layers=0 must be an integer >= 1"),
        ("vae --model.posterior-layers 4", "model.posterior_layers has no effect with model.posterior=gaussian"),
        (
            "vae --model.posterior planar --model.posterior-hidden 9",
            "model.posterior_hidden has no effect with model.posterior=planar; it applies to iaf",
        ),
        (
            "conditional-vae --model.posterior planar --free-bits 1",
            "free_bits needs a KL divergence in closed form, and a posterior with a flow has an estimate of it; use",
        ),
        ("beta-vae --model.posterior iaf --capacity 3", "capacity needs a KL divergence in closed form"),
        ("inpainting-vae --hide 1.5", "hide: expected a number >= 0 and < 1, got 1.5"),
        ("inpainting-vae --model.no-masks", "random masks need a model with masks=True, whose encoder gets the mask"),
        ("vae --model.masks", "masks=True needs random masks during training, as in the recipe inpainting-vae"),
        ("conditional-vae --data ring", "likelihood bernoulli needs images with values from 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["train", *words.split(), "--dry-run"])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.startswith("danlu: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_conditional_model_needs_classes():
    with pytest.raises(UsageError, match=r"conditional-vae needs labels of at least two classes, digits has 0$"):
        find_recipe("conditional-vae")().task(ImageInfo((1, 8, 8), 0))


@pytest.mark.parametrize("recipe", ["conditional-vae", "semi-vae"])
@pytest.mark.parametrize(
    ("data", "info", "hint", "settings"),
    [
        ("table:rows.csv", TableInfo((3,)), "name the column of the labels", ("table.target=COLUMN",)),
        ("folder:pictures", ImageInfo((1, 8, 8)), "put the images of each class into a folder of its own", ()),
    ],
)
def test_where_labels_come_from_is_said(recipe, data, info, hint, settings):
    message = f"{recipe} needs labels of at least two classes, {data} has 0; {hint}"
    with pytest.raises(UsageError, match=message) as caught:
        find_recipe(recipe)(data=data).task(info)
    assert caught.value.settings == settings
