"""Densely connected network. Huang, Liu, van der Maaten and Weinberger, 2017.

"Densely connected convolutional networks", CVPR.

danlu train densenet                              digits, 2 cores: test accuracy 0.998 ± 0.002, five seeds, 18 seconds
danlu train densenet --data cifar10 --size 100    the paper's DenseNet-BC (k = 12): 4.51 % error after 300 epochs

With --size, the values are those of the paper's sections 4.1 and 4.2: batches of 64, 300 epochs, Nesterov momentum 0.9,
weight decay 0.0001, learning rate 0.1, divided by 10 after 1/2 and 3/4 of the training, horizontal flips, and random
crops with 4 pixels of padding (4 is from the authors' code). A tenth of the training part is used for validation;
--split.validation 0 trains on all of it, as the paper does for its final results.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.data.images.settings import Augment
from danlu.models.classify.densenet import DenseNet
from danlu.recipes.classify.published import Published
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import NonNegative, OptimizerName, Positive


class DenseNetRecipe(Published):
    """Three blocks of four layers each, unless a size is given."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"blocks": (2, 2), "width": 4, "growth": 4}, "batch_size": 16}
    paper: ClassVar[dict[str, Any]] = {
        "optimizer": "nesterov",
        "momentum": 0.9,
        "lr": 0.1,
        "schedule": "step",
        "weight_decay": 1e-4,
        "decay_all": True,
        "batch_size": 64,
        "epochs": 300,
        "augment": Augment(flip="horizontal", crop=4),
        "monitor": "none",
    }

    size: Literal[40, 100, 190, 250] | None = None
    """layers of a network of the paper's table 2; sets the training as in the paper"""
    model: Settings[DenseNet] = settings(DenseNet, size=None, blocks=(4, 4, 4), growth=12)
    """the network"""
    optimizer: OptimizerName = "nesterov"
    epochs: Positive | None = 30
    lr: Positive = 0.1
    schedule: Schedule = "one_cycle"
    weight_decay: NonNegative = 5e-4

    def network(self, info: DataInfo) -> DenseNet:
        return self.model.build(shape=info.shape, classes=info.classes)
