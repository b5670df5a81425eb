"""What the recipes of variational autoencoders share."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import Field

from danlu.data.base.dataset import DataInfo
from danlu.data.images.binarize import Binarize
from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.latent.conditional import ConditionalVAE
from danlu.models.latent.vae import VAE
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.recipes.config.recipe import Count
from danlu.tasks.elbo import Elbo, KLWeight, Masks, Objective
from danlu.training.optimization.settings import NonNegative, OptimizerSettings, Positive

M = TypeVar("M", bound=Model)
Rounds = Annotated[int, Field(ge=0)]


class Latent(OptimizerSettings, GenerativeRecipe, TableData, ImageData):
    """Encoder and decoder that minimize the negative evidence lower bound, in nats per example."""

    overfits_to: ClassVar[float | None] = 0.7  # a bound in nats has no 0 to which it could fall

    beta: NonNegative = 1.0
    """weight β of the KL term; 1 gives the evidence lower bound"""
    beta_warmup: Rounds = 0
    """rounds over which beta increases from 0"""
    free_bits: NonNegative = 0.0
    """KL per latent unit that is not penalized, in nats"""
    capacity: NonNegative | None = None
    """target C of the KL term, in nats (Burgess et al. 2018)"""
    capacity_rounds: Rounds = 0
    """rounds over which the capacity increases from 0"""
    samples: Count = 1
    """latent samples per example"""
    objective: Objective = "elbo"
    """elbo: evidence lower bound; iwae: importance weighted bound"""
    binarize: Binarize = "none"
    lr: Positive = 1e-3

    def network(self, info: DataInfo) -> VAE | ConditionalVAE:
        """The model for data of this kind."""
        raise NotImplementedError(f"{type(self).__name__} must build its network")

    def kl_weight(self) -> KLWeight:
        """Of the divergence."""
        return KLWeight(self.beta, self.beta_warmup, self.free_bits, self.capacity, self.capacity_rounds)

    def elbo(self, info: DataInfo, masks: Masks | None = None, separate: bool = False) -> Elbo:
        """The game with this recipe's network."""
        return Elbo(self.network(info), self.kl_weight(), self.samples, self.objective, masks, separate, info.inputs)


def check_classes(info: DataInfo, data: str, recipe: str) -> None:
    """Whether there are labels to learn from.

    Raises:
        UsageError: if there are none, or of one class alone.
    """
    if info.classes < 2:
        how = {"images": "a folder for each class has them", "table": "--table.target COLUMN says where they are"}
        hint = f"; {how[info.kind]}" if data.startswith(("folder:", "table:")) and info.kind in how else ""
        raise UsageError(f"{recipe} needs labels of at least two classes, and {data} has {info.classes}{hint}")


def checked(network: M, info: DataInfo, data: str, page: str = "model") -> M:
    """The network, if the data can have the distribution that it gives the values.

    Raises:
        UsageError: if they cannot.
    """
    family = network.autoencoder.likelihood.family  # type: ignore[union-attr]
    if family != "gaussian" and (info.kind != "images" or info.range != (0.0, 1.0)):
        kind = "pictures with values from 0 to 1"
        raise UsageError(f"likelihood {family} is for {kind}, and {data} has none; use --{page}.likelihood gaussian")
    return network
