"""The one list of what danlu has, as text: nothing is imported until it is asked for by name.

A name in a recipe file, a model folder or on the command line is looked up here and nowhere else, so no file can
name code to run. Other packages add recipes through the entry-point group ``danlu.recipes``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple, TypeVar

from danlu.errors import RunError, UsageError, nearest

Found = TypeVar("Found")


class Entry(NamedTuple):
    """Where a thing lives (``module:attribute``), its family, what it is, and its source."""

    target: str
    family: str
    title: str
    source: str


RECIPES: dict[str, Entry] = {
    "mlp": Entry("danlu.recipes.mlp:MLPRecipe", "classify", "multilayer perceptron", "Rumelhart et al. 1986"),
    "cnn": Entry("danlu.recipes.cnn:CNNRecipe", "classify", "convolutional network with pooling", "LeCun et al. 1998"),
    "resnet": Entry("danlu.recipes.resnet:ResNetRecipe", "classify", "residual network", "He et al. 2016"),
    "resnet-fast": Entry(
        "danlu.recipes.resnet_fast:ResNetFastRecipe", "classify", "small residual network, quickly", "He et al. 2016"
    ),
    "densenet": Entry(
        "danlu.recipes.densenet:DenseNetRecipe", "classify", "densely connected network", "Huang et al. 2017"
    ),
    "vae": Entry("danlu.recipes.vae:VAERecipe", "latent", "variational autoencoder", "Kingma and Welling 2014"),
    "beta-vae": Entry(
        "danlu.recipes.beta_vae:BetaVAERecipe",
        "latent",
        "autoencoder that pays more for its code",
        "Higgins et al. 2017",
    ),
    "inpainting-vae": Entry(
        "danlu.recipes.inpainting_vae:InpaintingVAERecipe",
        "latent",
        "autoencoder that fills in what is missing",
        "Sohn et al. 2015",
    ),
    "conditional-vae": Entry(
        "danlu.recipes.conditional_vae:ConditionalVAERecipe",
        "latent",
        "autoencoder of labelled examples, which draws on demand",
        "Sohn et al. 2015",
    ),
    "semi-vae": Entry(
        "danlu.recipes.semi_vae:SemiVAERecipe",
        "latent",
        "classifier from few labels and many examples",
        "Kingma et al. 2014",
    ),
    "gan": Entry(
        "danlu.recipes.gan:GANRecipe", "adversarial", "generative adversarial network", "Goodfellow et al. 2014"
    ),
    "cgan": Entry(
        "danlu.recipes.cgan:CGANRecipe",
        "adversarial",
        "adversarial network that draws on demand",
        "Mirza and Osindero 2014",
    ),
    "dcgan": Entry("danlu.recipes.dcgan:DCGANRecipe", "adversarial", "deep convolutional GAN", "Radford et al. 2016"),
    "wgan": Entry(
        "danlu.recipes.wgan:WGANRecipe", "adversarial", "Wasserstein GAN with clipped weights", "Arjovsky et al. 2017"
    ),
    "wgan-gp": Entry(
        "danlu.recipes.wgan_gp:WGANGPRecipe",
        "adversarial",
        "Wasserstein GAN with gradient penalty",
        "Gulrajani et al. 2017",
    ),
    "sngan": Entry(
        "danlu.recipes.sngan:SNGANRecipe",
        "adversarial",
        "residual GAN with spectral normalisation",
        "Miyato et al. 2018",
    ),
    "rnn-lm": Entry("danlu.recipes.rnn_lm:RNNLMRecipe", "recurrent", "recurrent language model", "Mikolov et al. 2010"),
    "lstm-lm": Entry("danlu.recipes.lstm_lm:LSTMLMRecipe", "recurrent", "LSTM language model", "Zaremba et al. 2014"),
    "peephole-lm": Entry(
        "danlu.recipes.peephole_lm:PeepholeLMRecipe",
        "recurrent",
        "LSTM language model whose gates see the memory",
        "Gers and Schmidhuber 2000",
    ),
    "coupled-lm": Entry(
        "danlu.recipes.coupled_lm:CoupledLMRecipe",
        "recurrent",
        "LSTM language model that forgets as much as it takes in",
        "Greff et al. 2017",
    ),
    "gru-lm": Entry(
        "danlu.recipes.gru_lm:GRULMRecipe", "recurrent", "gated recurrent language model", "Cho et al. 2014"
    ),
    "nce-lm": Entry(
        "danlu.recipes.nce_lm:NCELMRecipe",
        "recurrent",
        "language model of words told from noise",
        "Mnih and Teh 2012",
    ),
}

MODELS: dict[str, str] = {
    "MLP": "danlu.models.classify.mlp:MLP",
    "CNN": "danlu.models.classify.cnn:CNN",
    "ResNet": "danlu.models.classify.resnet:ResNet",
    "DenseNet": "danlu.models.classify.densenet:DenseNet",
    "VAE": "danlu.models.latent.vae:VAE",
    "ConditionalVAE": "danlu.models.latent.conditional:ConditionalVAE",
    "SemiSupervisedVAE": "danlu.models.latent.semi_supervised:SemiSupervisedVAE",
    "StackedVAE": "danlu.models.latent.stacked:StackedVAE",
    "DCGANGenerator": "danlu.models.adversarial.dcgan:DCGANGenerator",
    "DCGANCritic": "danlu.models.adversarial.dcgan:DCGANCritic",
    "ResNetGenerator": "danlu.models.adversarial.resnet:ResNetGenerator",
    "ResNetCritic": "danlu.models.adversarial.resnet:ResNetCritic",
    "MLPGenerator": "danlu.models.adversarial.mlp:MLPGenerator",
    "MLPCritic": "danlu.models.adversarial.mlp:MLPCritic",
    "LanguageModel": "danlu.models.recurrent.language:LanguageModel",
}

DATA: dict[str, Entry] = {
    "digits": Entry("danlu.data.digits:digits", "images", "1797 handwritten digits, 8×8, embedded", "UCI 1998"),
    "mnist": Entry("danlu.data.official:mnist", "images", "70 000 handwritten digits, 28×28", "LeCun et al. 1998"),
    "fashion-mnist": Entry(
        "danlu.data.official:fashion_mnist", "images", "70 000 pieces of clothing, 28×28", "Xiao et al. 2017"
    ),
    "cifar10": Entry("danlu.data.official:cifar10", "images", "60 000 colour images, 32×32", "Krizhevsky 2009"),
    "folder": Entry("danlu.data.folder:folder", "images", "your own images: folder:PATH", "you"),
    "table": Entry("danlu.data.table:table", "tables", "your own rows, CSV or Parquet: table:FILE", "you"),
    "text": Entry("danlu.data.text:text", "text", "your own running text: text:PATH, a file or a folder", "you"),
    "pydoc": Entry("danlu.data.text:pydoc", "text", "465 000 characters of Python's manual, embedded", "Python"),
    "ptb": Entry(
        "danlu.data.text_official:ptb", "text", "Penn Treebank, a million words of newspapers", "Mikolov et al. 2010"
    ),
    "tiny-shakespeare": Entry(
        "danlu.data.text_official:tiny_shakespeare", "text", "1.1 million characters of plays", "Karpathy 2015"
    ),
    "moons": Entry("danlu.data.toys:moons", "points", "two half circles", "scikit-learn"),
    "circles": Entry("danlu.data.toys:circles", "points", "one circle inside another", "scikit-learn"),
    "ring": Entry("danlu.data.toys:ring", "points", "eight Gaussians on a ring", "Metz et al. 2017"),
    "grid": Entry("danlu.data.toys:grid", "points", "25 Gaussians on a grid", "Dumoulin et al. 2017"),
    "spirals": Entry("danlu.data.toys:spirals", "points", "two spirals", "Grathwohl et al. 2019"),
    "checkerboard": Entry("danlu.data.toys:checkerboard", "points", "squares of a board", "Grathwohl et al. 2019"),
    "pinwheel": Entry("danlu.data.toys:pinwheel", "points", "bent arms", "Johnson et al. 2016"),
}


class Claim(NamedTuple):
    """Where an experiment lives (``module:attribute``), the section of the notes, and what they claim there."""

    target: str
    section: str
    claim: str

    @property
    def group(self) -> str:
        """The part of the notes.

        >>> EXPERIMENTS["momentum"].group
        'Gradient descent'
        """
        return next(title for section, title in CHAPTERS.items() if self.section.startswith(section))


CHAPTERS: dict[str, str] = {
    "0.3": "Gradient descent",
    "1.2": "Layers",
    "1.3": "Against overfitting",
    "1.4": "Deep structures",
    "2.1.3": "Variational autoencoders",
    "2.1": "Likelihood",
    "2.2": "Adversarial networks",
    "3.2": "Recurrent networks",
    "3.4": "Language models",
}

EXPERIMENTS: dict[str, Claim] = {
    "sgd-noise": Claim("danlu.experiments.sgd_noise:EXPERIMENT", "0.3.2", "mini-batch noise lessens overfitting"),
    "momentum": Claim(
        "danlu.experiments.momentum:EXPERIMENT", "0.3.3", "momentum damps oscillation and converges faster"
    ),
    "optimisers": Claim(
        "danlu.experiments.optimisers:EXPERIMENT", "0.3.4", "Adam adapts and converges where SGD struggles"
    ),
    "linear-collapse": Claim(
        "danlu.experiments.linear_collapse:EXPERIMENT", "1.2.1", "without activations any depth is one linear map"
    ),
    "line-detector": Claim(
        "danlu.experiments.line_detector:EXPERIMENT",
        "1.2.2",
        "a 3×3 kernel finds vertical lines, and max pooling keeps the answer",
    ),
    "shift-invariance": Claim(
        "danlu.experiments.shift_invariance:EXPERIMENT",
        "1.2.2",
        "convolution uses translation, fully connected layers do not",
    ),
    "batchnorm": Claim(
        "danlu.experiments.batchnorm:EXPERIMENT",
        "1.2.3",
        "batch norm keeps the scale of activations through depth and training",
    ),
    "overfitting": Claim(
        "danlu.experiments.overfitting:EXPERIMENT",
        "1.3",
        "L2, augmentation, dropout and early stopping close the gap",
    ),
    "depth": Claim(
        "danlu.experiments.depth:EXPERIMENT",
        "1.4",
        "plain networks stop training when deep; residual and dense ones do not",
    ),
    "mle-vs-sum": Claim(
        "danlu.experiments.mle_vs_sum:EXPERIMENT",
        "2.1",
        "the sum of p has trivial optima and a vanishing scale, the sum of log p has neither",
    ),
    "elbo": Claim(
        "danlu.experiments.elbo:EXPERIMENT",
        "2.1.3.2",
        "the bound is log p(x) less the divergence of q from the posterior, and tight there",
    ),
    "beta-vae": Claim(
        "danlu.experiments.beta_vae:EXPERIMENT", "2.1.3.5.2", "β trades reconstruction against divergence"
    ),
    "optimal-discriminator": Claim(
        "danlu.experiments.optimal_discriminator:EXPERIMENT",
        "2.2.2",
        "the best critic is p / (p + q), and with it the game's value is JSD − log 4",
    ),
    "fid-vs-is": Claim(
        "danlu.experiments.fid_vs_is:EXPERIMENT",
        "2.2.3.1",
        "FID reacts to noise and blur, the Inception Score hardly, and that accepts one picture per class",
    ),
    "kl-directions": Claim(
        "danlu.experiments.kl_directions:EXPERIMENT",
        "2.2.3.2",
        "inclusive KL covers modes, exclusive KL picks one, and JSD is like the exclusive",
    ),
    "mode-collapse": Claim(
        "danlu.experiments.mode_collapse:EXPERIMENT",
        "2.2.3.2",
        "GANs drop modes; minibatch discrimination and WGAN help",
    ),
    "tug-of-war": Claim(
        "danlu.experiments.tug_of_war:EXPERIMENT", "2.2.3.3", "two players who pull at −xy never settle"
    ),
    "generator-gradient": Claim(
        "danlu.experiments.generator_gradient:EXPERIMENT",
        "2.2.3.3",
        "when the critic wins, the generator's gradient vanishes",
    ),
    "latent-arithmetic": Claim(
        "danlu.experiments.latent_arithmetic:EXPERIMENT", "2.2.4.1", "latent codes add and subtract"
    ),
    "one-sided-smoothing": Claim(
        "danlu.experiments.one_sided_smoothing:EXPERIMENT",
        "2.2.4.2",
        "smoothing the real label helps, smoothing the fake one harms",
    ),
    "batchnorm-hue": Claim(
        "danlu.experiments.batchnorm_hue:EXPERIMENT",
        "2.2.4.2",
        "batch norm ties the samples of a batch together, virtual batch norm does not",
    ),
    "disjoint-supports": Claim(
        "danlu.experiments.disjoint_supports:EXPERIMENT",
        "2.2.5.1",
        "JSD is constant on disjoint supports, the Wasserstein distance is not",
    ),
    "wgan-architectures": Claim(
        "danlu.experiments.wgan_architectures:EXPERIMENT", "2.2.5.1", "WGAN trains whatever the architecture"
    ),
    "weight-clipping": Claim(
        "danlu.experiments.weight_clipping:EXPERIMENT", "2.2.5.2", "clipping drives weights to ±c; the penalty does not"
    ),
    "conditional-vs-plain": Claim(
        "danlu.experiments.conditional_vs_plain:EXPERIMENT", "2.2.6.1", "labels make a GAN stronger"
    ),
    "vanishing-gradient": Claim(
        "danlu.experiments.vanishing_gradient:EXPERIMENT",
        "3.2.3",
        "an RNN forgets after about 7 steps, an LSTM after about 100",
    ),
    "spectral-radius": Claim(
        "danlu.experiments.spectral_radius:EXPERIMENT",
        "3.2.3",
        "with a spectral radius above 1 gradients explode, below 1 they vanish",
    ),
    "nce-gradient": Claim(
        "danlu.experiments.nce_gradient:EXPERIMENT",
        "3.4.3.1",
        "the gradient of noise-contrastive estimation tends to that of maximum likelihood as k grows",
    ),
    "nce-normaliser": Claim(
        "danlu.experiments.nce_normaliser:EXPERIMENT",
        "3.4.3.1",
        "after noise-contrastive estimation the model's normaliser is close to 1",
    ),
    "beam-search": Claim(
        "danlu.experiments.beam_search:EXPERIMENT", "3.4.3.2", "greedy search is misled, beam search is not"
    ),
}


def recipes() -> dict[str, Entry]:
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
    return _resolve(_look_up("recipe", name, recipes()).target)


def find_model(name: str) -> type[Any]:
    """The model class of that name.

    Raises:
        UsageError: if there is no model of that name.
    """
    return _resolve(_look_up("model", name, MODELS))


def find_data(name: str) -> Any:
    """The function that loads the data set of that name.

    Raises:
        UsageError: if there is no data set of that name.
    """
    return _resolve(_look_up("data set", name, DATA).target)


def find_experiment(name: str) -> Any:
    """The experiment of that name.

    Raises:
        UsageError: if there is no experiment of that name.
    """
    return _resolve(_look_up("experiment", name, EXPERIMENTS).target)


def name_of_model(cls: type[Any]) -> str | None:
    """The catalogue's name of a model class, or None for a class that the catalogue does not have."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    return next((name for name, known in MODELS.items() if known == target), None)


def name_of_recipe(cls: type[Any]) -> str:
    """The catalogue's name of a recipe class.

    Raises:
        UsageError: if the catalogue does not have it.
    """
    target = f"{cls.__module__}:{cls.__qualname__}"
    for name, entry in recipes().items():
        if entry.target == target or (name not in RECIPES and _loads_as(entry, cls)):
            return name
    raise UsageError(f"{target} is not in the catalogue; add it to the entry-point group 'danlu.recipes' of a package")


def _loads_as(entry: Entry, cls: type[Any]) -> bool:
    """Whether an installed entry, which may name a class by another module than its own, is this class."""
    try:
        return _resolve(entry.target) is cls
    except UsageError:
        return False


def _look_up(kind: str, name: str, known: dict[str, Found]) -> Found:
    if name not in known:
        raise UsageError(f"there is no {kind} named {name!r}; {nearest(name, known)}")
    return known[name]


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{target}, which an installed package names, cannot be loaded: {error}") from error
