"""RealNVP. Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017.

danlu train realnvp                           digits
danlu train realnvp --data moons
danlu train realnvp --data table:rows.csv --model.couplings 12
danlu train realnvp --data mnist --model.scales 3
danlu train realnvp --conditional             a density for each class
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import changed_settings
from danlu.models.flows.realnvp import RealNVP
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.likelihood.base import FlowRecipe
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import Positive

_OF_ROWS, _OF_IMAGES = ("hidden", "activation"), ("scales", "width", "blocks", "alpha")


class RealNVPRecipe(FlowRecipe):
    """Residual couplings at two scales for images, and eight fully connected couplings for rows."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"couplings": 1, "width": 4, "blocks": 1}, "batch_size": 16}

    model: Settings[RealNVP] = settings(RealNVP, width=16, blocks=1)
    """the flow"""
    batch_size: Count | Literal["full"] = 64
    epochs: Positive | None = 50
    lr: Positive = 2e-3
    schedule: Schedule = "cosine"
    grad_clip: Positive | None = 50.0

    def network(self, info: DataInfo) -> RealNVP:
        return self.model.build(**self.data_arguments(info))

    def unused_on(self, info: DataInfo) -> list[str]:
        """Settings of the networks of rows have no effect on images, and those of images none on rows."""
        unused = {f"model.{name}" for name in (_OF_IMAGES if len(info.shape) == 1 else _OF_ROWS)}
        return [name for name in changed_settings(self.model, type(self)().model, "model.") if name in unused]
