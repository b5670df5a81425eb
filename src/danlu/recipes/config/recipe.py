"""The settings of all recipes: length, seed, precision, monitored score; and the interface of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from danlu.data.base.dataset import DataInfo, Part
from danlu.data.base.placement import Placement, choose_placement
from danlu.data.kinds import KINDS
from danlu.data.settings import DataSettings
from danlu.tasks.task import Task
from danlu.training.optimization.settings import OptimizerSettings, Positive
from danlu.training.runtime import ChannelsLast, Precision

Count = Annotated[int, Field(ge=1)]


class Recipe(DataSettings):
    """The settings of a training, and the task that they describe.

    Raises:
        ValueError: if both rounds and epochs are given, or settings are not compatible.
    """

    help_section: ClassVar[str] = "run"
    tiny: ClassVar[dict[str, Any]] = {}
    """changes that make the recipe small enough for the tests"""
    two_rounds: ClassVar[dict[str, Any]] = {"rounds": 2, "epochs": None, "evaluate_every": 1}
    """changes of a dry run"""
    overfits_to: ClassVar[float | None] = 1.0
    """fraction of the first loss that training on one batch must reach; None if the loss need not decrease"""
    without_gradient: ClassVar[frozenset[str]] = frozenset()
    """parameters without a gradient, because the loss does not depend on them"""

    batch_size: Count | Literal["full"] = 64
    """examples per optimizer step, over all processes and micro-batches; full: the whole training part"""
    rounds: Count | None = None
    """number of rounds; a round updates each network at least once; replaces epochs"""
    epochs: Positive | None = None
    """length of the training in passes over the training data"""
    seed: int = 0
    """random seed"""
    grad_accumulation: Count = 1
    """number of micro-batches per step; a larger number needs less memory"""
    precision: Precision = "float32"
    """bf16: automatic mixed precision with bfloat16"""
    compile: bool = False
    """compile the networks with torch.compile"""
    cuda_graphs: bool = False
    """use CUDA graphs on a GPU; faster for small networks"""
    deterministic: bool = False
    """reproducible numbers on a GPU; slower"""
    tf32: bool = False
    """allow TF32 in matrix products on a GPU"""
    channels_last: ChannelsLast = "auto"
    """channels-last memory format for convolutions in training; auto: on a CPU, where it is faster"""
    evaluate_every: Count | None = None
    """rounds between evaluations on the validation part; default: one epoch"""
    monitor: str | None = None
    """score that selects the saved weights; the first validation score if not given; none: the last weights"""
    patience: Count | None = None
    """number of evaluations without a better score after which training stops"""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the description of a setting when a recipe changes its default; ``data`` names the kinds it accepts."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            for base in cls.__mro__:
                base_field = getattr(base, "model_fields", {}).get(name)
                if field.description is None and base_field is not None:
                    field.description = base_field.description
        if usages := [KINDS[kind].usage for kind in cls.settings_by_kind()]:
            cls.model_fields["data"].description = f"name of the data set, or {' or '.join(usages)} for your own files"

    def task(self, info: DataInfo) -> Task:
        """Build the task for this data.

        Raises:
            UsageError: if the recipe cannot use the data.
        """
        raise NotImplementedError(f"{type(self).__name__} must define task")

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The optimizer settings of each player."""
        raise NotImplementedError(f"{type(self).__name__} must define optimizer_settings")

    def settings_of_players(self, task: Task) -> dict[str, OptimizerSettings]:
        """The optimizer settings of each player of a task of this recipe, whose players may depend on the data."""
        return self.optimizer_settings()

    def unused_on(self, info: DataInfo) -> list[str]:
        """Names of the changed settings that have no effect on these examples."""
        return []

    @property
    def sample_files(self) -> int:
        """Number of times that samples are saved during training; 0 for a model that does not generate."""
        return 0

    def make_stream(self, part: Part, device: torch.device, dtype: torch.dtype) -> Placement:
        """The stream of training batches, before ``transform``, and where the examples are stored.

        Args:
            part: the training examples.
            device: device of the batches.
            dtype: data type of floating-point values.
        """
        return choose_placement(part, self.batch_size, self.seed, device, dtype)

    @field_validator("channels_last", mode="before")
    @classmethod
    def _words_for_truth_values(cls, value: Any) -> Any:
        """Recipe files of earlier versions have true and false."""
        return value if not isinstance(value, bool) else "on" if value else "off"

    @model_validator(mode="before")
    @classmethod
    def _rounds_replace_epochs(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("rounds") is not None:
            return {"epochs": None, **values}
        return values

    def with_dependent_defaults(self, values: dict[str, Any]) -> Self:
        """The defaults for settings that are not given, which may depend on given values: rounds replaces epochs."""
        if values.get("rounds") is not None and "epochs" not in values:
            return self.model_copy(update={"epochs": None})
        if values.get("epochs") is not None and "rounds" not in values:
            return self.model_copy(update={"rounds": None})
        return self

    @model_validator(mode="after")
    def _check_length_and_batch(self) -> Recipe:
        if (self.rounds is None) == (self.epochs is None):
            raise ValueError("set exactly one of rounds and epochs")
        if self.patience is not None and self.monitor == "none":
            raise ValueError("patience needs a monitored score; set monitor, or leave patience out")
        if self.batch_size != "full" and self.grad_accumulation > self.batch_size:
            raise ValueError(f"batch_size must be at least grad_accumulation={self.grad_accumulation}")
        return self

    def length(self, epoch_rounds: float) -> int:
        """The length of the training in rounds.

        Args:
            epoch_rounds: number of rounds in an epoch.
        """
        return self.rounds if self.rounds is not None else max(1, round((self.epochs or 0) * epoch_rounds))
