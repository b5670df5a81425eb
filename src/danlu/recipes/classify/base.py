"""The base of the recipes of classifiers, which predict a number if the target of the data is a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import Needs
from danlu.data.base.number_target import NumberTarget
from danlu.data.base.page import Fraction
from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.classify.regressor import Regressor
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.recipe import Recipe
from danlu.tasks.regression import Regression, RegressionLoss
from danlu.tasks.supervised import Supervised
from danlu.tasks.task import Task
from danlu.training.optimization.settings import NonNegative, OptimizerSettings


class Classification(OptimizerSettings, Recipe, TableData, ImageData):
    """One classifier, trained with cross-entropy; or, if the target is a number, a regression.

    The target of the data decides: ``info.target`` is set for a number.
    """

    help_section: ClassVar[str] = "loss"
    overfits_to: ClassVar[float | None] = 0.05
    needs: ClassVar[tuple[Needs, ...]] = (Needs("delta", ("loss",), ("huber",)),)

    smoothing: Fraction = 0.0
    """label smoothing"""
    class_weights: tuple[NonNegative, ...] | None = None
    """weight of each class in the loss"""
    loss: RegressionLoss = "squared"
    """loss of a numeric target; gaussian: a mean and a standard deviation are predicted"""
    delta: Annotated[float, Field(gt=0)] = 1.0
    """error from which the Huber loss is linear, in standard deviations of the training targets"""

    def network(self, info: DataInfo) -> Model:
        """The network for these examples, with ``info.classes`` outputs."""
        raise NotImplementedError(f"{type(self).__name__} must build its network")

    def task(self, info: DataInfo) -> Supervised | Regression:
        """The task with the network of this recipe: a regression if the target is a number.

        Raises:
            UsageError: if the data has fewer than two classes, or class_weights has another number of values,
                or a setting has no effect on this target.
        """
        if info.target is not None:
            return self._regression(info, info.target)
        self._refuse(("loss", "delta"), f"the classes of {self.data}; it applies to a numeric target")
        weights = self.class_weights
        check_classes(info, self.data, "a classifier")
        if weights is not None and len(weights) != info.classes:
            raise UsageError(
                f"class_weights must have one value per class: {self.data} has {info.classes} classes, "
                f"got {len(weights)} values"
            )
        return Supervised(self.network(info), self.smoothing, weights, info.inputs)

    def _regression(self, info: DataInfo, target: NumberTarget) -> Regression:
        self._refuse(
            ("smoothing", "class_weights"), f"the numeric target {target.name!r} of {self.data}; it applies to classes"
        )
        deviation = self.loss == "gaussian"
        network = self.network(replace(info, classes=2 if deviation else 1, class_names=(), target=None))
        regressor: Any = Regressor(network, target.shift, target.scale, deviation)
        return Regression(regressor, self.loss, self.delta, info.inputs)

    def _refuse(self, names: Sequence[str], why: str) -> None:
        """Raise UsageError if one of these settings was changed, which have no effect on the target."""
        for name in names:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise UsageError(f"{name} has no effect on {why}; leave it out", settings=(name,))

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The optimizer settings of the only player: those of the recipe."""
        return {"classifier": self}

    def settings_of_players(self, task: Task) -> dict[str, OptimizerSettings]:
        """The settings of the recipe for the only player, a classifier or a regressor."""
        return dict.fromkeys(task.players(), self)
