"""Deep energy-based model. Du and Mordatch, "Implicit generation and modeling with energy-based models", 2019; Nijkamp
et al., "On the anatomy of MCMC-based maximum likelihood learning of energy-based models", 2020.

danlu train deep-energy                               points (moons)
danlu train deep-energy --data checkerboard
danlu train deep-energy --data table:measurements.csv
danlu sample RUN; danlu denoise RUN rows.csv --noise 0.2

The default settings are for rows of few columns. The documentation has settings for images.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.data.base.page import Fraction
from danlu.data.images.info import ImageInfo
from danlu.models.energy.deep.deep_energy import DeepEnergy
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.energy.base import ContrastiveRecipe
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerName, Positive


class DeepEnergyRecipe(ContrastiveRecipe):
    """A network is the energy; Langevin chains from a replay buffer are its samples."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (8,)}, "batch_size": 16, "slots": 2, "steps": 3}

    model: Settings[DeepEnergy] = settings(DeepEnergy)
    """the energy and its chains"""
    data: str = "moons"
    steps: Count = 5
    slots: Count = 8
    batch_size: Count | Literal["full"] = 256
    rounds: Count | None = 3000
    evaluate_every: Count | None = 1000
    optimizer: OptimizerName = "adam"
    betas: tuple[Fraction, Fraction] | None = (0.0, 0.99)
    lr: Positive = 5e-3
    schedule: Schedule = "cosine"
    ema: Fraction | None = 0.999

    def network(self, info: DataInfo) -> DeepEnergy:
        levels = {"range": info.range, "levels": info.levels} if isinstance(info, ImageInfo) else {"range": None}
        return self.model.build(shape=info.shape, **levels)
