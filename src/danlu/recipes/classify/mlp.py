"""Multilayer perceptron. Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986.

danlu train mlp     digits, 2 cores: test accuracy 0.984 ± 0.002 over five seeds, a second each
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.models.classify.mlp import MLP
from danlu.recipes.classify.base import Classification
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import NonNegative, Positive


class MLPRecipe(Classification):
    """The notes' network with 512 hidden units, and dropout."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (8,)}, "batch_size": 16}

    model: Settings[MLP] = settings(MLP, dropout=0.2)
    """the network"""
    epochs: Positive | None = 40
    lr: Positive = 3e-3
    schedule: Schedule = "one_cycle"
    weight_decay: NonNegative = 0.01

    def network(self, info: DataInfo) -> MLP:
        return self.model.build(shape=info.shape, classes=info.classes)
