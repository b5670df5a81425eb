"""Restricted Boltzmann machine. Smolensky 1986; Hinton, "Training products of experts by minimizing contrastive
divergence", 2002; Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient",
2008.

danlu train rbm                                       digits, persistent contrastive divergence
danlu train rbm --chains data --steps 25              contrastive divergence with 25 steps
danlu train rbm --data mnist --model.hidden 500 --epochs 40 --batch-size 100
danlu train rbm --data table:votes.csv                rows of 0 and 1
danlu sample RUN; danlu denoise RUN noisy.png; danlu inpaint RUN photo.png --mask half
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.catalogue.datasets import find_data_entry
from danlu.data.base.batch_stream import PartStream, Stream
from danlu.data.base.dataset import DataInfo, DataSet
from danlu.data.images.settings import Binarize
from danlu.data.settings import DataSettings
from danlu.data.tables.settings import Table
from danlu.models.energy.rbm.machine import RBM
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.energy.base import ContrastiveRecipe, check_binary_data
from danlu.recipes.energy.row_values import check_row_values
from danlu.storage.access import Access
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerName, Positive


class RBMRecipe(ContrastiveRecipe):
    """Binary visible and hidden units."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": 8}, "batch_size": 16}

    model: Settings[RBM] = settings(RBM)
    """the machine"""
    binarize: Binarize = "dynamic"
    table: Table = Table(standardize=False)
    batch_size: Count | Literal["full"] = 50
    epochs: Positive | None = 200
    evaluate_every: Count | None = 500
    optimizer: OptimizerName = "sgd"
    lr: Positive = 0.05
    schedule: Schedule = "linear"

    def load(self, access: Access | None = None) -> DataSet:
        """Read the data set.

        Raises:
            UsageError: also if a value of a table is neither 0 nor 1.
        """
        if not self._of_rows:
            return super().load(access)
        data = DataSettings.load(self, access)  # binarize applies to images
        for name in ("train", "validation", "test"):
            check_row_values(data.part(name)[data.info.inputs], data, (0, 1), "a binary RBM", f"{name} row")
        return data

    def usage(self) -> dict[str, str]:
        return {} if self._of_rows else super().usage()

    def transform(self, stream: PartStream, seed: int) -> Stream:
        return stream if self._of_rows else super().transform(stream, seed)

    @property
    def _of_rows(self) -> bool:
        """Whether the examples are rows of a table."""
        return find_data_entry(self.data.partition(":")[0]).kind == "table"

    def network(self, info: DataInfo) -> RBM:
        return self.model.build(shape=check_binary_data(info, self.data).shape, visible="binary")
