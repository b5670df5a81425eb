"""What the recipes of all classifiers share."""

from __future__ import annotations

from typing import ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.recipes.config.recipe import Recipe
from danlu.tasks.supervised import Supervised
from danlu.training.optimization.settings import NonNegative, OptimizerSettings, Share


class Classification(OptimizerSettings, Recipe, TableData, ImageData):
    """One classifier, trained with cross-entropy."""

    overfits_to: ClassVar[float | None] = 0.05

    smoothing: Share = 0.0
    """label smoothing"""
    class_weights: tuple[NonNegative, ...] | None = None
    """weight of each class in the loss"""

    def network(self, info: DataInfo) -> Model:
        """The classifier for data of this kind."""
        raise NotImplementedError(f"{type(self).__name__} must build its network")

    def task(self, info: DataInfo) -> Supervised:
        """The supervised game with this recipe's network."""
        weights = self.class_weights
        if info.classes < 2:
            raise UsageError(f"a classifier needs labels of at least two classes, and {self.data} has {info.classes}")
        if weights is not None and len(weights) != info.classes:
            raise UsageError(f"class_weights has {len(weights)} values, and {self.data} has {info.classes} classes")
        return Supervised(self.network(info), self.smoothing, weights, info.inputs)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The one player moves as the recipe itself says."""
        return {"classifier": self}
