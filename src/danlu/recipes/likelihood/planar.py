"""Planar flow. Rezende and Mohamed, "Variational inference with normalizing flows", 2015.

danlu train planar                        points (moons), by maximum likelihood
danlu train planar --data table:rows.csv
danlu train planar --target u1            the energy U₁ of the paper, by variational inference
danlu train planar --target u4 --annealing 2000
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import Needs, changed_settings
from danlu.data.datasets.energies_2d import ENERGIES
from danlu.models.flows.planar import PlanarFlow
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.likelihood.base import FlowRecipe
from danlu.tasks.task import Task
from danlu.tasks.variational import Variational
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import Positive


class PlanarRecipe(FlowRecipe):
    """32 planar layers, trained on data, or on an energy without data.

    With a target, the model is fitted to its energy with samples of the model. The data set of the same name, which has
    exact samples of the target, is used for scores and reports only.
    """

    needs: ClassVar[tuple[Needs, ...]] = (Needs("annealing", ("target",)),)
    tiny: ClassVar[dict[str, Any]] = {"model": {"layers": 4}, "batch_size": 16}

    model: Settings[PlanarFlow] = settings(PlanarFlow, layers=32)
    """the flow"""
    data: str = "moons"
    target: Literal["u1", "u2", "u3", "u4"] | None = None
    """fit this energy by variational inference instead of data; sets data to the samples of the target"""
    annealing: Annotated[int, Field(ge=0)] = 0
    """with a target: rounds over which the weight of the energy increases from 0.01 to 1"""
    batch_size: Count | Literal["full"] = 256
    rounds: Count | None = 4000
    evaluate_every: Count | None = 200
    lr: Positive = 5e-3
    schedule: Schedule = "cosine"

    def network(self, info: DataInfo) -> PlanarFlow:
        return self.model.build(**self.data_arguments(info))

    def task(self, info: DataInfo) -> Task:
        if self.target is None:
            return super().task(info)
        target = ENERGIES[self.target]
        return Variational(self.network(info), target.energy, target.log_z, self.annealing)

    def unused_on(self, info: DataInfo) -> list[str]:
        """The margin of the logit has no effect on rows."""
        changed = changed_settings(self.model, type(self)().model, "model.")
        return [name for name in changed if name == "model.alpha" and len(info.shape) == 1]

    def with_dependent_defaults(self, values: dict[str, Any]) -> Self:
        """As ``Recipe.with_dependent_defaults``; a target also determines the data."""
        recipe = super().with_dependent_defaults(values)
        target = values.get("target")
        return (
            recipe.model_copy(update={"data": target})
            if isinstance(target, str) and target in ENERGIES and "data" not in values
            else recipe
        )

    @model_validator(mode="before")
    @classmethod
    def _target_determines_data(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("target") is not None:
            return {"data": values["target"], **values}
        return values

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if self.target is None:
            return self
        if self.data.partition(":")[0] != self.target:
            raise ValueError(
                f"target {self.target} is fitted without data, and scored with the data set {self.target}; leave data "
                f"out, or set data={self.target}"
            )
        if self.conditional:
            raise ValueError(f"conditional needs labels, which target {self.target} does not have; set it to False")
        return self
