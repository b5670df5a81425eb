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
        "small residual network, fast training",
        "He et al. 2016",
    ),
    "densenet": Entry(
        "danlu.recipes.classify.densenet:DenseNetRecipe", "classify", "densely connected network", "Huang et al. 2017"
    ),
    "vae": Entry("danlu.recipes.latent.vae:VAERecipe", "latent", "variational autoencoder", "Kingma and Welling 2014"),
    "beta-vae": Entry(
        "danlu.recipes.latent.beta_vae:BetaVAERecipe",
        "latent",
        "variational autoencoder with a weighted KL term",
        "Higgins et al. 2017",
    ),
    "inpainting-vae": Entry(
        "danlu.recipes.latent.inpainting_vae:InpaintingVAERecipe",
        "latent",
        "variational autoencoder for inpainting",
        "Sohn et al. 2015",
    ),
    "conditional-vae": Entry(
        "danlu.recipes.latent.conditional_vae:ConditionalVAERecipe",
        "latent",
        "class-conditional variational autoencoder",
        "Sohn et al. 2015",
    ),
    "semi-vae": Entry(
        "danlu.recipes.latent.semi_vae:SemiVAERecipe",
        "latent",
        "semi-supervised variational autoencoder",
        "Kingma et al. 2014",
    ),
    "planar": Entry(
        "danlu.recipes.likelihood.planar:PlanarRecipe", "likelihood", "planar flow", "Rezende and Mohamed 2015"
    ),
    "realnvp": Entry(
        "danlu.recipes.likelihood.realnvp:RealNVPRecipe", "likelihood", "flow of affine couplings", "Dinh et al. 2017"
    ),
    "maf": Entry(
        "danlu.recipes.likelihood.maf:MAFRecipe",
        "likelihood",
        "masked autoregressive flow",
        "Papamakarios et al. 2017",
    ),
    "iaf": Entry(
        "danlu.recipes.likelihood.iaf:IAFRecipe",
        "likelihood",
        "inverse autoregressive flow",
        "Kingma et al. 2016",
    ),
    "distill-iaf": Entry(
        "danlu.recipes.likelihood.distill_iaf:DistillIAFRecipe",
        "likelihood",
        "inverse autoregressive flow, distilled from a masked one",
        "van den Oord et al. 2018",
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
        "class-conditional GAN",
        "Mirza and Osindero 2014",
    ),
    "dcgan": Entry(
        "danlu.recipes.adversarial.dcgan:DCGANRecipe", "adversarial", "deep convolutional GAN", "Radford et al. 2016"
    ),
    "wgan": Entry(
        "danlu.recipes.adversarial.wgan:WGANRecipe",
        "adversarial",
        "Wasserstein GAN with weight clipping",
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
    "hopfield": Entry(
        "danlu.recipes.energy.hopfield:HopfieldRecipe",
        "energy",
        "associative memory of binary patterns",
        "Hopfield 1982",
    ),
    "boltzmann": Entry(
        "danlu.recipes.energy.boltzmann:BoltzmannRecipe",
        "energy",
        "Boltzmann machine with couplings between any units",
        "Ackley, Hinton and Sejnowski 1985",
    ),
    "rbm": Entry(
        "danlu.recipes.energy.rbm:RBMRecipe", "energy", "restricted Boltzmann machine of binary values", "Hinton 2002"
    ),
    "gaussian-rbm": Entry(
        "danlu.recipes.energy.gaussian_rbm:GaussianRBMRecipe",
        "energy",
        "restricted Boltzmann machine of real values",
        "Cho et al. 2011",
    ),
    "deep-energy": Entry(
        "danlu.recipes.energy.deep_energy:DeepEnergyRecipe",
        "energy",
        "a network as energy, with Langevin chains",
        "Du and Mordatch 2019",
    ),
    "pixelcnn": Entry(
        "danlu.recipes.likelihood.pixelcnn:PixelCNNRecipe",
        "likelihood",
        "autoregressive model of pixels",
        "van den Oord et al. 2016",
    ),
    "gated-pixelcnn": Entry(
        "danlu.recipes.likelihood.gated_pixelcnn:GatedPixelCNNRecipe",
        "likelihood",
        "gated autoregressive model of pixels",
        "van den Oord et al. 2016",
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
        "LSTM language model with peephole connections",
        "Gers and Schmidhuber 2000",
    ),
    "coupled-lm": Entry(
        "danlu.recipes.recurrent.coupled_lm:CoupledLMRecipe",
        "recurrent",
        "LSTM language model with coupled gates",
        "Greff et al. 2017",
    ),
    "gru-lm": Entry(
        "danlu.recipes.recurrent.gru_lm:GRULMRecipe", "recurrent", "gated recurrent language model", "Cho et al. 2014"
    ),
    "nce-lm": Entry(
        "danlu.recipes.recurrent.nce_lm:NCELMRecipe",
        "recurrent",
        "language model trained by noise-contrastive estimation",
        "Mnih and Teh 2012",
    ),
}


def all_recipes() -> dict[str, Entry]:
    """Every recipe by name: the built-in ones, then those of installed packages.

    Raises:
        RunError: if a package provides a recipe whose name is already used.
    """
    return dict(_recipes())


@cache
def _recipes() -> dict[str, Entry]:
    recipes = dict(RECIPES)
    for point in entry_points(group="danlu.recipes"):
        package = point.dist.name if point.dist else point.module
        if point.name in recipes:
            owner = recipes[point.name].source
            raise RunError(
                f"the package {package} provides a recipe named {point.name!r}, but this name is already used by "
                f"{owner}"
            )
        recipes[point.name] = Entry(point.value, "installed", f"from the package {package}", package)
    return recipes


def find_recipe(name: str) -> type[Any]:
    """The recipe class with the given name.

    >>> find_recipe("cnn").__name__
    'CNNRecipe'

    Raises:
        UsageError: if there is no recipe with this name.
    """
    return resolve(look_up("recipe", name, all_recipes()).target)


def name_of_recipe(cls: type[Any]) -> str:
    """The catalogue's name of a recipe class.

    Raises:
        UsageError: if the class is not in the catalogue.
    """
    target = f"{cls.__module__}:{cls.__qualname__}"
    for name, entry in all_recipes().items():
        if entry.target == target or (name not in RECIPES and _loads_as(entry, cls)):
            return name
    raise UsageError(f"{target} is not in the catalogue; add it to the entry-point group 'danlu.recipes' of a package")


def _loads_as(entry: Entry, cls: type[Any]) -> bool:
    """Whether an installed entry resolves to this class. It may name a module that re-exports the class."""
    try:
        return resolve(entry.target) is cls
    except UsageError:
        return False
