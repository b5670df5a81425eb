"""Restricted Boltzmann machine with real visible units. Welling, Rosen-Zvi and Hinton, "Exponential family harmoniums
with an application to information retrieval", 2005; Cho, Ilin and Raiko, "Improved learning of Gaussian-Bernoulli
restricted Boltzmann machines", 2011.

danlu train gaussian-rbm                              digits with gray values
danlu train gaussian-rbm --data table:measurements.csv
danlu train gaussian-rbm --data moons --model.hidden 64
danlu denoise RUN noisy.png --noise 0.2; danlu sample RUN
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.models.energy.rbm.machine import RBM
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.energy.base import ContrastiveRecipe
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerName, Positive


class GaussianRBMRecipe(ContrastiveRecipe):
    """Normally distributed visible units, whose variances are trained, and binary hidden units."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": 8}, "batch_size": 16}

    model: Settings[RBM] = settings(RBM)
    """the machine"""
    batch_size: Count | Literal["full"] = 50
    epochs: Positive | None = 50
    evaluate_every: Count | None = 250
    optimizer: OptimizerName = "adam"
    lr: Positive = 1e-3
    schedule: Schedule = "linear"

    def network(self, info: DataInfo) -> RBM:
        return self.model.build(shape=info.shape, visible="gaussian")
