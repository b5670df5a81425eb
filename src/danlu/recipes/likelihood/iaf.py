"""Inverse autoregressive flow. Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016.

danlu train iaf                                       digits
danlu train iaf --data moons --model.no-batch-norm    also spirals, checkerboard, and tables of numbers
danlu train iaf --data tones --model.conditioner wavenet   waveforms
danlu train iaf --conditional                         class-conditional: danlu sample RUN --label 7
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import changed_settings
from danlu.models.flows.iaf import IAF
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.likelihood.base import AutoregressiveFlowRecipe
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import Positive


class IAFRecipe(AutoregressiveFlowRecipe):
    """Five blocks with two hidden layers, and batch normalization after each block."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (16,), "blocks": 2}, "batch_size": 16}

    model: Settings[IAF] = settings(IAF)
    """the flow"""
    epochs: Positive | None = 60
    schedule: Schedule = "cosine"

    def network(self, info: DataInfo) -> IAF:
        return self.model.build(**self.data_arguments(info))

    def unused_on(self, info: DataInfo) -> list[str]:
        """The logit of discrete values has no effect on continuous ones."""
        changed = changed_settings(self.model, type(self)().model, "model.")
        return [name for name in changed if name == "model.alpha" and info.spacing is None]
