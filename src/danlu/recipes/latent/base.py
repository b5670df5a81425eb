"""The base of the recipes of variational autoencoders."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import Needs
from danlu.data.images.image_data import ImageData
from danlu.data.images.info import ImageInfo
from danlu.data.images.settings import Binarize
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.latent.conditional import ConditionalVAE
from danlu.models.latent.vae import VAE
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.recipes.config.recipe import Count
from danlu.tasks.elbo import Elbo, Objective
from danlu.tasks.kl_weight import KLWeight
from danlu.tasks.random_masks import Masks
from danlu.training.optimization.settings import NonNegative, OptimizerSettings, Positive

M = TypeVar("M", bound=Model)
Rounds = Annotated[int, Field(ge=0)]


class LatentRecipe(OptimizerSettings, GenerativeRecipe, TableData, ImageData):
    """Encoder and decoder that minimize the negative evidence lower bound, in nats per example."""

    help_section: ClassVar[str] = "loss"
    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("capacity_rounds", ("capacity",)),
        *(Needs(name, ("beta",)) for name in ("beta_warmup", "free_bits", "capacity")),
    )
    overfits_to: ClassVar[float | None] = 0.7  # the loss in nats does not approach 0

    beta: NonNegative = 1.0
    """weight β of the KL term; 1 gives the evidence lower bound"""
    beta_warmup: Rounds = 0
    """rounds over which beta increases from 0"""
    free_bits: NonNegative = 0.0
    """KL term of a latent unit up to which it is not penalized, in nats"""
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
        """The model for these examples."""
        raise NotImplementedError(f"{type(self).__name__} must define network")

    def kl_weight(self) -> KLWeight:
        """The weight of the KL divergence."""
        return KLWeight(self.beta, self.beta_warmup, self.free_bits, self.capacity, self.capacity_rounds)

    def elbo(self, info: DataInfo, masks: Masks | None = None, separate: bool = False) -> Elbo:
        """The task with the network of this recipe."""
        return Elbo(self.network(info), self.kl_weight(), self.samples, self.objective, masks, separate, info.inputs)


def data_arguments(info: DataInfo) -> dict[str, Any]:
    """The arguments of an autoencoder that depend on the data: the shape, and for images the number of gray levels."""
    return {"shape": info.shape, "levels": info.levels} if isinstance(info, ImageInfo) else {"shape": info.shape}


def check_likelihood(network: M, info: DataInfo, data: str, page: str = "model") -> M:
    """The network, after a check that its likelihood is defined for the values of the data.

    Args:
        network: an autoencoder.
        info: the examples.
        data: name of the data set.
        page: name of the settings of the network.

    Raises:
        UsageError: if the likelihood is not defined for these values.
    """
    family = network.autoencoder.likelihood.family  # type: ignore[union-attr]
    if family != "gaussian" and info.bounds != (0.0, 1.0):
        raise UsageError(
            f"likelihood {family} needs images with values from 0 to 1; use {page}.likelihood=gaussian for {data}",
            settings=(f"{page}.likelihood=gaussian",),
        )
    if family == "logistic" and isinstance(info, ImageInfo) and info.levels == 2:
        raise UsageError(
            f"likelihood logistic is for gray values, and binarize leaves only 0 and 1; use "
            f"{page}.likelihood=bernoulli, or leave binarize out",
            settings=(f"{page}.likelihood=bernoulli", "binarize"),
        )
    return network
