"""The base of the recipes of models that are trained by maximum likelihood."""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo, DataSet, Part
from danlu.data.images.image_data import ImageData
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.tables.table_data import TableData
from danlu.data.waveforms.info import WaveformInfo
from danlu.data.waveforms.waveform_data import WaveformData
from danlu.errors import UsageError, few
from danlu.models.base import Model
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.storage.access import Access
from danlu.tasks.likelihood import Likelihood
from danlu.tasks.task import Task
from danlu.training.optimization.settings import OptimizerSettings, Positive


class LikelihoodRecipe(OptimizerSettings, GenerativeRecipe):
    """A model with a log-likelihood, trained to minimize the negative log-likelihood in nats per example."""

    help_section: ClassVar[str] = "loss"
    overfits_to: ClassVar[float | None] = 0.8  # the loss in nats does not approach 0

    conditional: bool = False
    """class-conditional model: it gets the label of each example"""
    lr: Positive = 1e-3

    def network(self, info: DataInfo) -> Model:
        """The model for these examples."""
        raise NotImplementedError(f"{type(self).__name__} must define network")

    def task(self, info: DataInfo) -> Task:
        """The task with the network of this recipe.

        Raises:
            UsageError: if it is conditional and the data has fewer than two classes, or a setting of the network is
                not possible for the data.
        """
        if self.conditional:
            check_classes(info, self.data, "a class-conditional model")
        return Likelihood(self.network(info), info)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The optimizer settings of the only player: those of the recipe."""
        return {"model": self}

    def data_arguments(self, info: DataInfo) -> dict[str, Any]:
        """The arguments of a model that depend on the data: shape and classes; for discrete values their levels."""
        common = {"shape": info.shape, "classes": info.classes if self.conditional else 0}
        discrete = isinstance(info, ImageInfo | WaveformInfo)
        return {**common, "levels": info.levels, "range": info.range} if discrete else common


class FlowRecipe(LikelihoodRecipe, TableData, ImageData):
    """A normalizing flow of rows or images."""

    def load(self, access: Access | None = None) -> DataSet:
        """Read the data set, as ``DataSettings.load``.

        Raises:
            UsageError: also if a column of a table has the same value in all training rows: its density is infinite.
        """
        data = super().load(access)
        if isinstance(data.info, TableInfo):
            _refuse_constant_columns(data.train, data.info, data.name)
        return data


class AutoregressiveFlowRecipe(FlowRecipe, WaveformData):
    """A normalizing flow of rows, images or waveforms whose values depend on the values before them."""


class PixelRecipe(LikelihoodRecipe, ImageData):
    """An autoregressive model of the pixels of images."""


def _refuse_constant_columns(train: Part, info: TableInfo, name: str) -> None:
    low, high = train[info.inputs].aminmax(dim=0)
    if constant := (low == high).nonzero()[:, 0].tolist():
        names = few([repr(info.columns[k]) for k in constant] if info.columns else [str(k) for k in constant])
        raise UsageError(
            f"{name}: column {names} has the same value in all training rows, where a density is infinite; leave it "
            f"out with table.columns",
            settings=("table.columns",),
        )
