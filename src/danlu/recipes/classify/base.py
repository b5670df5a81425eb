"""The base of the recipes of classifiers."""

from __future__ import annotations

from typing import ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.data.base.page import Fraction
from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.recipe import Recipe
from danlu.tasks.supervised import Supervised
from danlu.training.optimization.settings import NonNegative, OptimizerSettings


class Classification(OptimizerSettings, Recipe, TableData, ImageData):
    """One classifier, trained with cross-entropy."""

    help_section: ClassVar[str] = "loss"
    overfits_to: ClassVar[float | None] = 0.05

    smoothing: Fraction = 0.0
    """label smoothing"""
    class_weights: tuple[NonNegative, ...] | None = None
    """weight of each class in the loss"""

    def network(self, info: DataInfo) -> Model:
        """The classifier for these examples."""
        raise NotImplementedError(f"{type(self).__name__} must build its network")

    def task(self, info: DataInfo) -> Supervised:
        """The supervised task with the network of this recipe.

        Raises:
            UsageError: if the data has fewer than two classes, or class_weights has another number of values.
        """
        weights = self.class_weights
        check_classes(info, self.data, "a classifier")
        if weights is not None and len(weights) != info.classes:
            raise UsageError(
                f"class_weights must have one value per class: {self.data} has {info.classes} classes, "
                f"got {len(weights)} values"
            )
        return Supervised(self.network(info), self.smoothing, weights, info.inputs)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The optimizer settings of the only player: those of the recipe."""
        return {"classifier": self}
