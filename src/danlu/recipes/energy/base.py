"""The base of the recipes of energy-based models that are trained by contrastive learning."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import Needs
from danlu.data.base.page import Fraction
from danlu.data.images.image_data import ImageData
from danlu.data.images.info import ImageInfo
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.energy.energy_model import EnergyModel
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.recipes.config.recipe import Count
from danlu.tasks.contrastive import Chains, Contrastive
from danlu.training.optimization.settings import OptimizerSettings


class ContrastiveRecipe(OptimizerSettings, GenerativeRecipe, TableData, ImageData):
    """The energy of the data falls, and that of the states of Markov chains rises."""

    help_section: ClassVar[str] = "chains"
    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("slots", ("chains",), ("persistent",)),
        Needs("restart", ("chains",), ("persistent",)),
    )
    overfits_to: ClassVar[float | None] = None  # the term is a difference of energies, and near 0 at the end

    chains: Literal["persistent", "data"] = "persistent"
    """persistent: chains continue from round to round; data: they start at the examples (contrastive divergence)"""
    steps: Count = 1
    """steps of the chains in a round"""
    slots: Count = 1
    """persistent chains for each row of the batch, of which one moves in a round (replay buffer)"""
    restart: Fraction = 0.0
    """probability with which a persistent chain starts anew in a round"""
    likelihood: bool = True
    """compute or estimate the log-likelihood at each evaluation during training; after it, this is always done"""
    monitor: str | None = "none"

    def network(self, info: DataInfo) -> EnergyModel:
        """The model for these examples."""
        raise NotImplementedError(f"{type(self).__name__} must define network")

    def task(self, info: DataInfo) -> Contrastive:
        assert self.batch_size != "full", "a validator refuses it"
        # slots of the defaults apply to persistent chains only; given ones are refused by ``needs``
        slots, restart = (self.slots, self.restart) if self.chains == "persistent" else (1, 0.0)
        rule = Chains(self.chains, self.steps, slots, restart)
        return Contrastive(self.network(info), info, self.batch_size, rule, self.likelihood)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The optimizer settings of the only player: those of the recipe."""
        return {"model": self}

    @model_validator(mode="after")
    def _chains_are_counted(self) -> Self:
        if self.batch_size == "full":
            raise ValueError("batch_size=full is not available: each row of a batch has its chains; give a number")
        return self


def check_binary_data(info: DataInfo, data: str) -> DataInfo:
    """The description of the examples, after a check that their values are 0 and 1.

    Args:
        info: the examples.
        data: name of the data set.

    Raises:
        UsageError: if images have other values. Rows are checked when they are used.
    """
    if isinstance(info, ImageInfo) and (info.levels != 2 or info.bounds != (0.0, 1.0)):
        raise UsageError(
            f"binary visible units need images with the values 0 and 1, and {data} has {info.levels} levels from "
            f"{info.range[0]:g} to {info.range[1]:g}; set binarize to dynamic, static or threshold, or train "
            f"gaussian-rbm",
            settings=("binarize=dynamic",),
        )
    return info
