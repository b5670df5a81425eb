"""The base of the recipes of GANs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import Needs, changed_settings
from danlu.data.base.page import Page
from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.recipes.config.recipe import Count
from danlu.tasks.adversarial import Adversarial, Matching, Techniques, conflict
from danlu.training.optimization.settings import NonNegative, OptimizerName, OptimizerSettings, Positive

Rounds = Annotated[int, Field(ge=0)]
Target = Annotated[float, Field(ge=0, le=1)]


class Points(Page):
    """Fully connected networks for examples that are not images, in recipes for images."""

    latent: Count = 2
    """dimension of the latent"""
    hidden: tuple[Count, ...] = (128, 128, 128, 128)
    """width of each hidden layer"""


class AdversarialRecipe(OptimizerSettings, GenerativeRecipe, TableData, ImageData):
    """A generator and a critic that are trained against each other."""

    help_section: ClassVar[str] = "loss"
    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("noise_rounds", ("instance_noise",)),
        Needs("one_sided", ("penalty",)),
    )
    overfits_to: ClassVar[float | None] = None  # the losses of the two players need not decrease

    generator: Settings[Any]
    """the network that generates examples"""
    critic: Settings[Any]
    """the network that scores examples"""
    conditional: bool = False
    """class-conditional generator and critic"""
    loss: Loss = "non-saturating"
    """adversarial loss"""
    critic_turns: Count = 1
    """updates of the critic per update of the generator"""
    critic_lr: Positive | None = None
    """learning rate of the critic; that of the generator if not given"""
    real_target: Target = 1.0
    """target of the critic for real examples; 0.9 is one-sided label smoothing"""
    fake_target: Target = 0.0
    """target of the critic for generated examples; a value above 0 is two-sided label smoothing"""
    weight_clip: Positive | None = None
    """clip the critic's weights to this absolute value"""
    penalty: NonNegative = 0.0
    """weight of the gradient penalty between real and generated examples"""
    one_sided: bool = False
    """penalize only gradient norms above 1"""
    r1: NonNegative = 0.0
    """weight of the R1 penalty of the gradient at real examples"""
    feature_matching: Matching = "none"
    """feature matching; replace: instead of the adversarial loss of the generator, add: in addition"""
    history: NonNegative = 0.0
    """weight of historical averaging"""
    instance_noise: NonNegative = 0.0
    """standard deviation of noise on the critic's inputs (images are scaled to -1…1)"""
    noise_rounds: Rounds = 0
    """rounds over which that noise decreases to 0; 0: constant noise"""
    eval_samples: Annotated[int, Field(ge=0)] = 2000
    optimizer: OptimizerName = "adam"
    lr: Positive = 2e-4
    evaluate_every: Count | None = 200

    def generator_for(self, info: DataInfo) -> Generator:
        """The generator for these examples."""
        raise NotImplementedError(f"{type(self).__name__} must define generator_for")

    def critic_for(self, info: DataInfo) -> Critic:
        """The critic for these examples."""
        raise NotImplementedError(f"{type(self).__name__} must define critic_for")

    def task(self, info: DataInfo) -> Adversarial:
        """Generator and critic, with their losses.

        Raises:
            UsageError: if it is conditional and there are fewer than two classes, or a setting of a network is invalid.
        """
        if self.conditional and info.classes < 2:
            raise UsageError(
                f"conditional needs labels of at least two classes, {self.data} has {info.classes}; "
                f"set conditional=False",
                settings=("conditional=False",),
            )
        with _name_network("generator", self.generator):
            generator = self.generator_for(info)
        with _name_network("critic", self.critic):
            critic = self.critic_for(info)
        return Adversarial(generator, critic, self.loss, self.techniques(), info.inputs)

    def techniques(self) -> Techniques:
        """The techniques that are added to the adversarial loss."""
        return Techniques(**{name: getattr(self, name) for name in Techniques._fields})

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The settings of the recipe for both players; the critic has its own ``critic_lr`` and no ``ema``."""
        critic = self.model_copy(update={"lr": self.critic_lr or self.lr, "ema": None})
        return {"critic": critic, "generator": self}

    def data_arguments(self, info: DataInfo) -> dict[str, Any]:
        """The arguments of both networks that depend on the data."""
        return {"shape": info.shape, "classes": info.classes if self.conditional else 0}

    @model_validator(mode="after")
    def _compatible(self) -> Self:
        # batch norm is checked when the networks are built: examples that are not images have other networks
        critic: Any = self.critic
        if reason := conflict(self.loss, self.techniques(), critic.spectral, critic.minibatch > 0):
            raise ValueError(reason)
        if self.penalty or self.r1:
            name = "penalty" if self.penalty else "r1"
            for switch, networks in {"shard": "sharded", "compile": "compiled"}.items():
                if getattr(self, switch):
                    raise ValueError(
                        f"{name} needs second derivatives, which {networks} networks do not support; set {switch}=False"
                    )
        if self.history and self.shard:
            raise ValueError("history needs unsharded weights and cannot be combined with shard; set only one of them")
        return self

    @model_validator(mode="after")
    def _enough_examples(self) -> Self:
        if self.batch_size == "full":
            return self
        players: dict[str, Any] = {"generator": self.generator, "critic": self.critic}
        if players["critic"].minibatch and self.batch_size < 2 * self.grad_accumulation:
            raise ValueError(
                f"minibatch discrimination needs at least 2 examples per micro-batch, and batch_size={self.batch_size} "
                f"with grad_accumulation={self.grad_accumulation} gives less; use a larger batch_size"
            )
        for name, player in players.items():
            if player.norm == "virtual" and player.reference > self.batch_size:
                raise ValueError(
                    f"{name}.reference={player.reference} must be at most batch_size={self.batch_size}: the reference "
                    f"examples are taken from one batch"
                )
        return self


@contextmanager
def _name_network(player: str, page: Settings[Any]) -> Iterator[None]:
    """Add the name of the network to errors of its constructor: both networks have settings of the same names."""
    try:
        yield
    except ValueError as error:
        setting = str(error).partition("=")[0]
        raise UsageError(f"{player}{'.' if setting in type(page).model_fields else ': '}{error}") from error


class DensePair(AdversarialRecipe):
    """Fully connected generator and critic, for examples of any shape."""

    def generator_for(self, info: DataInfo) -> Generator:
        return self.generator.build(**self.data_arguments(info), range=info.bounds)

    def critic_for(self, info: DataInfo) -> Critic:
        return self.critic.build(**self.data_arguments(info))


class ConvolutionalPair(AdversarialRecipe):
    """Convolutional generator and critic for images, fully connected ones for other examples."""

    points: Points = Points()
    """generator and critic of examples that are not images"""

    def generator_for(self, info: DataInfo) -> Generator:
        if info.image_size is not None:
            return self.generator.build(**self.data_arguments(info), range=info.bounds)
        points = settings(MLPGenerator, latent=self.points.latent, hidden=self.points.hidden)
        return points.build(**self.data_arguments(info), range=None)

    def unused_on(self, info: DataInfo) -> list[str]:
        """The changed settings of the networks for other examples than these."""
        usual: Any = self.usual()
        if info.image_size is not None:
            return changed_settings(self.points, usual.points, "points.")
        return [
            name
            for player in ("generator", "critic")
            for name in changed_settings(getattr(self, player), getattr(usual, player), f"{player}.")
            if name not in ("critic.minibatch", "critic.spectral")
        ]

    def critic_for(self, info: DataInfo) -> Critic:
        page: Any = self.critic
        if info.image_size is not None:
            return page.build(**self.data_arguments(info))
        shared = {"minibatch": page.minibatch, "spectral": page.spectral}
        points = settings(MLPCritic, hidden=self.points.hidden, **shared)
        return points.build(**self.data_arguments(info))
