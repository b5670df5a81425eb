"""Parallel sampling by distillation: a student IAF learns the density of a teacher MAF. van den Oord et al., 2018.

danlu train distill-iaf                                       digits: trains a teacher, then the student
danlu train distill-iaf --data moons                          also spirals, checkerboard, and tables of numbers
danlu train maf --out runs/teacher
danlu train distill-iaf --teacher runs/teacher                the student of a trained teacher
danlu train distill-iaf --data tones --model.conditioner wavenet --teacher-model.conditioner wavenet    waveforms
danlu train distill-iaf --conditional                         class-conditional: danlu sample RUN --label 7

van den Oord et al., "Parallel WaveNet: fast high-fidelity speech synthesis", 2018: probability density distillation.
The student minimizes its KL divergence from the teacher with its own samples, and is what is saved. The divergence is
estimated with new samples in each round, so nothing is fitted too closely, and the last weights are saved.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import changed_settings
from danlu.errors import UsageError
from danlu.models.flows.iaf import IAF
from danlu.models.flows.maf import MAF
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.likelihood.base import AutoregressiveFlowRecipe
from danlu.recipes.likelihood.teacher import load_teacher
from danlu.storage.disk import absolute_path
from danlu.tasks.distillation import Distillation
from danlu.training.optimization.phase import PhaseSettings
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerSettings, Positive


class DistillIAFRecipe(AutoregressiveFlowRecipe):
    """Teacher and student in one run, or the student of a trained teacher."""

    tiny: ClassVar[dict[str, Any]] = {
        "model": {"hidden": (16,), "blocks": 2},
        "teacher_model": {"hidden": (16,), "blocks": 2},
        "teacher_rounds": 3,
        "batch_size": 16,
    }
    two_rounds: ClassVar[dict[str, Any]] = {**AutoregressiveFlowRecipe.two_rounds, "teacher_rounds": None}

    model: Settings[IAF] = settings(IAF, batch_norm=False)
    """the student"""
    teacher: str | None = None
    """folder of a run of maf, whose model is the teacher; without it, the run trains its own teacher first"""
    teacher_model: Settings[MAF] = settings(MAF)
    """the teacher that the run trains; it has the alpha of the student"""
    teacher_rounds: Annotated[int, Field(ge=1)] | None = None
    """rounds of the teacher before the student; a third of all if not given"""
    teacher_lr: Positive | None = None
    """peak learning rate of the teacher; that of the student if not given"""
    rounds: Count | None = 4500
    evaluate_every: Count | None = 150
    schedule: Schedule = "cosine"
    monitor: str | None = "none"

    def network(self, info: DataInfo) -> IAF:
        """The student."""
        return self.model.build(**self.data_arguments(info))

    def task(self, info: DataInfo) -> Distillation:
        """The task with teacher and student.

        Raises:
            UsageError: if the teacher cannot be read or is a model of other examples, if the weights are selected by a
                score of rounds with different teachers, or as in ``LikelihoodRecipe``.
        """
        if self.conditional:
            check_classes(info, self.data, "a class-conditional model")
        student = self.network(info)
        if self.teacher is None and self.monitor != "none":
            raise UsageError(
                "monitor also compares rounds in which the teacher is trained; set teacher to the folder of a trained "
                "maf, or monitor=none",
                settings=("teacher", "monitor=none"),
            )
        if self.teacher is None:
            page = self.teacher_model.model_copy(update={"alpha": student.arguments["alpha"]})
            return Distillation(page.build(**self.data_arguments(info)), student, info, self._rounds_of_teacher())
        teacher = load_teacher(self.teacher, info, self.conditional, self.data)
        if teacher.logit is not None and (alpha := teacher.logit.alpha) != student.arguments["alpha"]:
            raise UsageError(
                f"the student needs the alpha of its teacher; set model.alpha={alpha:g}",
                settings=(f"model.alpha={alpha:g}",),
            )
        return Distillation(teacher, student, info)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The settings of the recipe for both players, each with a schedule over its own rounds."""
        if self.teacher is not None:
            return {"student": self}
        end = self._rounds_of_teacher()
        of_teacher = self.model_copy(update={"lr": self.teacher_lr or self.lr})
        return {"teacher": PhaseSettings.of(of_teacher, stop=end), "student": PhaseSettings.of(self, start=end)}

    def length(self, epoch_rounds: float) -> int:
        """The length of the training in rounds, those of the teacher included.

        Args:
            epoch_rounds: number of rounds in an epoch.

        Raises:
            UsageError: if no rounds are left for the student.
        """
        rounds = super().length(epoch_rounds)
        if reason := self._without_student(rounds):
            raise UsageError(reason, settings=("teacher_rounds",))
        return rounds

    def unused_on(self, info: DataInfo) -> list[str]:
        """The logit of discrete values has no effect on continuous ones."""
        changed = changed_settings(self.model, type(self)().model, "model.")
        return [name for name in changed if name == "model.alpha" and info.spacing is None]

    def with_absolute_paths(self) -> Self:
        """As ``DataSettings.with_absolute_paths``, also of the teacher."""
        recipe = super().with_absolute_paths()
        if self.teacher is None:
            return recipe
        return recipe.model_copy(update={"teacher": str(absolute_path(self.teacher))})

    def _rounds_of_teacher(self) -> int:
        if self.teacher_rounds is not None:
            return self.teacher_rounds
        if self.rounds is None:
            raise UsageError(
                "teacher_rounds is needed if the length is given in epochs: the rounds of the teacher before the "
                "student",
                settings=("teacher_rounds",),
            )
        return max(1, self.rounds // 3)

    def _without_student(self, rounds: int) -> str | None:
        """The error message if no rounds are left for the student, else None."""
        if self.teacher is not None or (self.teacher_rounds or 1) < rounds:
            return None
        if self.teacher_rounds is None:
            return "rounds=1 must be at least 2, one for the teacher and one for the student"
        return f"teacher_rounds={self.teacher_rounds} must be less than rounds={rounds}, which include the student's"

    @model_validator(mode="after")
    def _rounds_for_both(self) -> Self:
        if self.rounds is not None and (reason := self._without_student(self.rounds)):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _student_without_batch_norm(self) -> Self:
        model: Any = self.model
        if model.batch_norm:
            raise ValueError(
                "model.batch_norm has no effect on samples, which always use running averages of data, and the student "
                "is trained without data; set model.batch_norm=False"
            )
        return self

    @model_validator(mode="after")
    def _settings_of_own_teacher(self) -> Self:
        usual: Any = self.usual()
        model: Any = self.model
        teacher_model: Any = self.teacher_model
        changed = changed_settings(teacher_model, usual.teacher_model, "teacher_model.")
        if self.teacher is not None:
            changed += [name for name in ("teacher_rounds", "teacher_lr") if getattr(self, name) is not None]
            if changed:
                raise ValueError(f"{', '.join(changed)}: no effect with a trained teacher; leave it out")
            return self
        if "teacher_model.alpha" in changed and teacher_model.alpha != model.alpha:
            raise ValueError("teacher_model.alpha has no effect; set model.alpha, which both models have")
        return self
