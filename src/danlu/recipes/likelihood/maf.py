"""Masked autoregressive flow. Papamakarios, Pavlakou and Murray, 2017.

danlu train maf                                       digits
danlu train maf --data moons --model.no-batch-norm    also spirals, checkerboard, and tables of numbers
danlu train maf --conditional                         class-conditional: danlu sample RUN --label 7
danlu train maf --model.mixture 10                    MAF MoG: a mixture of normal distributions after the blocks
danlu train maf --data tones --model.conditioner wavenet --conditional   waveforms; your own: wav:PATH
danlu train maf --data mnist --model.hidden 1024 --lr 1e-4 --batch-size 100      the network of the paper
danlu train maf --data cifar10 --model.hidden 1024 1024 --model.alpha 0.05
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import changed_settings
from danlu.models.flows.maf import MAF
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.likelihood.base import AutoregressiveFlowRecipe
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import Positive


class MAFRecipe(AutoregressiveFlowRecipe):
    """Five blocks with two hidden layers, and batch normalization after each block."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (16,), "blocks": 2}, "batch_size": 16}

    model: Settings[MAF] = settings(MAF)
    """the flow"""
    epochs: Positive | None = 60
    schedule: Schedule = "cosine"

    def network(self, info: DataInfo) -> MAF:
        return self.model.build(**self.data_arguments(info))

    def unused_on(self, info: DataInfo) -> list[str]:
        """The logit of discrete values has no effect on continuous ones."""
        changed = changed_settings(self.model, type(self)().model, "model.")
        return [name for name in changed if name == "model.alpha" and info.spacing is None]
