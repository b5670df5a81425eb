"""Residual network. He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016.

danlu train resnet                             digits, 2 cores: test accuracy 0.996 ± 0.004 over five seeds, 10 seconds
danlu train resnet --data cifar10 --size 20    the paper's: 8.75 % error after 64 000 rounds
danlu train resnet --data cifar10 --size 56    the paper's: 6.97 %
danlu train resnet --data folder:PHOTOS --model.size 18 --images.size 224

With --size, the values are those of the paper's section 4.2: 45 000 images in batches of 128, momentum 0.9, weight
decay 0.0001, learning rate 0.1, divided by 10 after 1/2 and 3/4 of the training, horizontal flips, and random crops
with 4 pixels of padding. Weight decay includes norms, the last weights are saved, and no score is monitored.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.data.images.settings import Augment
from danlu.models.classify.resnet import ResNet
from danlu.recipes.classify.published import Published
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import NonNegative, OptimizerName, Positive


class ResNetRecipe(Published):
    """Three stages of one block each, unless a size is given."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"blocks": (1, 1), "width": 4}, "batch_size": 16}
    paper: ClassVar[dict[str, Any]] = {
        "optimizer": "momentum",
        "momentum": 0.9,
        "lr": 0.1,
        "schedule": "step",
        "weight_decay": 1e-4,
        "decay_all": True,
        "batch_size": 128,
        "epochs": 182,
        "augment": Augment(flip="horizontal", crop=4),
        "monitor": "none",
    }

    size: Literal[20, 32, 44, 56, 110] | None = None
    """layers of a network of the paper's section 4.2; sets the training as in the paper"""
    model: Settings[ResNet] = settings(ResNet, size=None, blocks=(1, 1, 1), width=32, shortcut="projection")
    """the network"""
    optimizer: OptimizerName = "nesterov"
    epochs: Positive | None = 30
    lr: Positive = 0.1
    schedule: Schedule = "one_cycle"
    weight_decay: NonNegative = 5e-4

    @classmethod
    def of_paper(cls, size: Any) -> dict[str, Any]:
        """Size 110 does not start at the full rate: about 400 rounds of a lower one come first (theirs constant
        at 0.01, here increasing)."""
        return {**cls.paper, "warmup": 400} if size == 110 else cls.paper

    def network(self, info: DataInfo) -> ResNet:
        return self.model.build(shape=info.shape, classes=info.classes)
