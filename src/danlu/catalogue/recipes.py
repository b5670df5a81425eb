"""The recipes: the built-in ones by name, and those of installed packages (entry-point group ``danlu.recipes``)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from danlu.catalogue.entry import Entry
from danlu.catalogue.lookup import look_up, resolve
from danlu.errors import RunError, UsageError

RECIPES: dict[str, Entry] = {
    "mlp": Entry("danlu.recipes.classify.mlp:MLPRecipe", "classify", "multilayer perceptron", "Rumelhart et al. 1986"),
    "cnn": Entry(
        "danlu.recipes.classify.cnn:CNNRecipe", "classify", "convolutional network with pooling", "LeCun et al. 1998"
    ),
    "resnet": Entry("danlu.recipes.classify.resnet:ResNetRecipe", "classify", "residual network", "He et al. 2016"),
    "resnet-fast": Entry(
        "danlu.recipes.classify.resnet_fast:ResNetFastRecipe",
        "classify",
        "small residual network, quickly",
        "He et al. 2016",
    ),
    "densenet": Entry(
        "danlu.recipes.classify.densenet:DenseNetRecipe", "classify", "densely connected network", "Huang et al. 2017"
    ),
    "vae": Entry("danlu.recipes.latent.vae:VAERecipe", "latent", "variational autoencoder", "Kingma and Welling 2014"),
    "beta-vae": Entry(
        "danlu.recipes.latent.beta_vae:BetaVAERecipe",
        "latent",
        "autoencoder that pays more for its code",
        "Higgins et al. 2017",
    ),
    "inpainting-vae": Entry(
        "danlu.recipes.latent.inpainting_vae:InpaintingVAERecipe",
        "latent",
        "autoencoder that fills in what is missing",
        "Sohn et al. 2015",
    ),
    "conditional-vae": Entry(
        "danlu.recipes.latent.conditional_vae:ConditionalVAERecipe",
        "latent",
        "autoencoder of labeled examples, which draws on demand",
        "Sohn et al. 2015",
    ),
    "semi-vae": Entry(
        "danlu.recipes.latent.semi_vae:SemiVAERecipe",
        "latent",
        "classifier from few labels and many examples",
        "Kingma et al. 2014",
    ),
    "gan": Entry(
        "danlu.recipes.adversarial.gan:GANRecipe",
        "adversarial",
        "generative adversarial network",
        "Goodfellow et al. 2014",
    ),
    "cgan": Entry(
        "danlu.recipes.adversarial.cgan:CGANRecipe",
        "adversarial",
        "adversarial network that draws on demand",
        "Mirza and Osindero 2014",
    ),
    "dcgan": Entry(
        "danlu.recipes.adversarial.dcgan:DCGANRecipe", "adversarial", "deep convolutional GAN", "Radford et al. 2016"
    ),
    "wgan": Entry(
        "danlu.recipes.adversarial.wgan:WGANRecipe",
        "adversarial",
        "Wasserstein GAN with clipped weights",
        "Arjovsky et al. 2017",
    ),
    "wgan-gp": Entry(
        "danlu.recipes.adversarial.wgan_gp:WGANGPRecipe",
        "adversarial",
        "Wasserstein GAN with gradient penalty",
        "Gulrajani et al. 2017",
    ),
    "sngan": Entry(
        "danlu.recipes.adversarial.sngan:SNGANRecipe",
        "adversarial",
        "residual GAN with spectral normalization",
        "Miyato et al. 2018",
    ),
    "rnn-lm": Entry(
        "danlu.recipes.recurrent.rnn_lm:RNNLMRecipe", "recurrent", "recurrent language model", "Mikolov et al. 2010"
    ),
    "lstm-lm": Entry(
        "danlu.recipes.recurrent.lstm_lm:LSTMLMRecipe", "recurrent", "LSTM language model", "Zaremba et al. 2014"
    ),
    "peephole-lm": Entry(
        "danlu.recipes.recurrent.peephole_lm:PeepholeLMRecipe",
        "recurrent",
        "LSTM language model whose gates see the memory",
        "Gers and Schmidhuber 2000",
    ),
    "coupled-lm": Entry(
        "danlu.recipes.recurrent.coupled_lm:CoupledLMRecipe",
        "recurrent",
        "LSTM language model that forgets as much as it takes in",
        "Greff et al. 2017",
    ),
    "gru-lm": Entry(
        "danlu.recipes.recurrent.gru_lm:GRULMRecipe", "recurrent", "gated recurrent language model", "Cho et al. 2014"
    ),
    "nce-lm": Entry(
        "danlu.recipes.recurrent.nce_lm:NCELMRecipe",
        "recurrent",
        "language model of words told from noise",
        "Mnih and Teh 2012",
    ),
}


def all_recipes() -> dict[str, Entry]:
    """Every recipe by name: the built-in ones, then those of installed packages.

    Raises:
        RunError: if a package brings a recipe whose name is taken.
    """
    return dict(_recipes())


@cache
def _recipes() -> dict[str, Entry]:
    found = dict(RECIPES)
    for point in entry_points(group="danlu.recipes"):
        package = point.dist.name if point.dist else point.module
        if point.name in found:
            taken = found[point.name].source
            raise RunError(f"the package {package} brings a recipe named {point.name!r}, which is taken by {taken}")
        found[point.name] = Entry(point.value, "installed", f"from the package {package}", package)
    return found


def find_recipe(name: str) -> type[Any]:
    """The recipe class of that name.

    >>> find_recipe("cnn").__name__
    'CNNRecipe'

    Raises:
        UsageError: if there is no recipe of that name.
    """
    return resolve(look_up("recipe", name, all_recipes()).target)


def name_of_recipe(cls: type[Any]) -> str:
    """The catalogue's name of a recipe class.

    Raises:
        UsageError: if the catalogue does not have it.
    """
    target = f"{cls.__module__}:{cls.__qualname__}"
    for name, entry in all_recipes().items():
        if entry.target == target or (name not in RECIPES and _loads_as(entry, cls)):
            return name
    raise UsageError(f"{target} is not in the catalogue; add it to the entry-point group 'danlu.recipes' of a package")


def _loads_as(entry: Entry, cls: type[Any]) -> bool:
    """Whether an installed entry, which may name a class by another module than its own, is this class."""
    try:
        return resolve(entry.target) is cls
    except UsageError:
        return False
