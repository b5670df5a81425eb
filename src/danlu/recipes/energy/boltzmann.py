"""Boltzmann machine. Ackley, Hinton and Sejnowski, "A learning algorithm for Boltzmann machines", 1985; persistent
chains: Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", 2008.

danlu train boltzmann                                          digits, black and white
danlu train boltzmann --model.couplings semi-restricted        no couplings between hidden units
danlu train boltzmann --data mnist --side 14 --model.hidden 100
danlu train boltzmann --data table:signs.csv                   rows of -1 and 1
danlu denoise RUN noisy.png; danlu inpaint RUN photo.png --mask half; danlu sample RUN
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from danlu.catalogue.datasets import find_data_entry
from danlu.data.base.dataset import DataInfo, DataSet
from danlu.data.images.info import ImageInfo
from danlu.data.images.settings import Binarize
from danlu.data.settings import DataSettings
from danlu.data.tables.settings import Table
from danlu.models.energy.boltzmann.machine import BoltzmannMachine
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.energy.base import ContrastiveRecipe
from danlu.recipes.energy.row_values import check_row_values
from danlu.recipes.energy.sign_images import refuse_side, sign_image_data
from danlu.storage.access import Access
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerName, Positive


class BoltzmannRecipe(ContrastiveRecipe):
    """Visible and hidden units of -1 and 1 with couplings between any of them."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": 4, "clamped_sweeps": 2}, "side": 3, "batch_size": 16}

    model: Settings[BoltzmannMachine] = settings(BoltzmannMachine)
    """the machine"""
    side: Count | None = None
    """height and width to which images are resized, before they are black and white; as they are if not given"""
    binarize: Binarize = "threshold"
    table: Table = Table(standardize=False)
    batch_size: Count | Literal["full"] = 100
    epochs: Positive | None = 200
    evaluate_every: Count | None = 250
    optimizer: OptimizerName = "sgd"
    lr: Positive = 0.03
    schedule: Schedule = "linear"

    def load(self, access: Access | None = None) -> DataSet:
        """The data set with values -1 and 1.

        Raises:
            UsageError: also if a value of a table is neither -1 nor 1.
        """
        data = DataSettings.load(self, access)  # in gray, because images are resized before they are binarized
        if isinstance(data.info, ImageInfo):
            return sign_image_data(data, self.side, self.binarize, self.split.seed)
        refuse_side(self.side, data)
        for name in ("train", "validation", "test"):
            check_row_values(data.part(name)[data.info.inputs], data, (-1, 1), "a Boltzmann machine", f"{name} row")
        return data

    def usage(self) -> dict[str, str]:
        return {} if find_data_entry(self.data.partition(":")[0]).kind == "table" else super().usage()

    def network(self, info: DataInfo) -> BoltzmannMachine:
        return self.model.build(shape=info.shape)

    @model_validator(mode="after")
    def _values_are_signs(self) -> Self:
        if self.binarize not in ("threshold", "static"):
            raise ValueError(
                f"binarize={self.binarize} gives no images of -1 and 1; use threshold (white from a gray value of 0.5) "
                f"or static"
            )
        if self.augment.on:
            raise ValueError("augment has no effect: images are binarized before training; leave it out")
        return self
