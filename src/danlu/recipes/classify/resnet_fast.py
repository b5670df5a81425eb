"""A small residual network that trains quickly. He, Zhang, Ren and Sun, "Deep residual learning", 2016.

danlu train resnet-fast       digits, 2 cores: test accuracy 0.992 ± 0.004 over five seeds, 3 seconds each
danlu train resnet-fast --data mnist --augment.crop 2       add --precision bf16 if the CPU supports it
danlu train resnet-fast --data fashion-mnist --augment.crop 2 --augment.flip alternating

One pooling after the first convolution and one block in each of three stages; Nesterov momentum with a one-cycle
schedule, label smoothing, channels-last memory format. Images are not flipped by default, because a flipped digit is
not a digit. On a GPU add --compile --precision bf16.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.data.base.page import Fraction
from danlu.models.classify.resnet import ResNet
from danlu.recipes.classify.base import Classification
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import NonNegative, OptimizerName, Positive
from danlu.training.runtime import ChannelsLast


class ResNetFastRecipe(Classification):
    """A fast recipe for small images."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"blocks": (1, 1), "width": 4}, "batch_size": 16}
    overfits_to: ClassVar[float | None] = 0.35  # smoothed labels leave a loss of their own

    model: Settings[ResNet] = settings(
        ResNet, size=None, blocks=(1, 1, 1), width=32, stem="3x3 pool", shortcut="projection"
    )
    """the network"""
    batch_size: Count | Literal["full"] = 128
    optimizer: OptimizerName = "nesterov"
    epochs: Positive | None = 16
    lr: Positive = 0.1
    schedule: Schedule = "one_cycle"
    weight_decay: NonNegative = 5e-4
    smoothing: Fraction = 0.1
    channels_last: ChannelsLast = "on"

    def network(self, info: DataInfo) -> ResNet:
        return self.model.build(shape=info.shape, classes=info.classes)
