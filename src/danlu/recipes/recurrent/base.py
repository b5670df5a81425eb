"""The base of the recipes of language models."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from danlu.data.base.dataset import DataInfo, Part
from danlu.data.base.placement import Placement, fits
from danlu.data.text.info import TextInfo
from danlu.data.text.text_data import TextData
from danlu.data.text.token_streams import Lanes
from danlu.errors import UsageError
from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings
from danlu.recipes.config.recipe import Count, Recipe
from danlu.tasks.language_modeling import Language, RunningText
from danlu.training.optimization.schedules import Schedule
from danlu.training.optimization.settings import OptimizerSettings, Positive


class LanguageRecipe(OptimizerSettings, Recipe, TextData):
    """A language model that reads lanes of running text and carries its state from step to step."""

    help_section: ClassVar[str] = "run"
    tiny: ClassVar[dict[str, Any]] = {
        "model": {"width": 8, "layers": 2, "embedding": 6},
        "batch_size": 8,
        "bptt": 5,
        "text": {"tokens": "words", "vocabulary": 60},
    }
    overfits_to: ClassVar[float | None] = 0.3
    normalized: ClassVar[bool] = True
    """whether the objective normalizes the scores, so that a constant added to all of them has no effect"""

    data: str = "pydoc"
    model: Settings[LanguageModel]
    """the network"""
    batch_size: Count | Literal["full"] = 32
    """number of parts of the text (lanes) that are read in parallel, over all processes and micro-batches"""
    bptt: Count = 64
    """length of truncated backpropagation through time, in tokens"""
    epochs: Positive | None = 5
    lr: Positive = 6e-3
    schedule: Schedule = "one_cycle"
    grad_clip: Positive | None = 1.0
    text_samples: Annotated[int, Field(ge=0)] = 10
    """number of times during training that a text written by the model is saved; 0: never"""

    @property
    def sample_files(self) -> int:
        """How often samples are saved during training."""
        return self.text_samples

    def network(self, info: DataInfo) -> LanguageModel:
        """The model for this vocabulary."""
        assert isinstance(info, TextInfo), "the recipe is for text only"
        return self.model.build(vocabulary=info.vocabulary)

    def task(self, info: DataInfo) -> RunningText:
        return Language(self.network(info), self.rows)

    @property
    def rows(self) -> int:
        """Number of lanes of a batch."""
        assert self.batch_size != "full", "a validator refuses it"
        return self.batch_size

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The settings of the recipe for the only player."""
        return {"model": self}

    def make_stream(self, part: Part, device: torch.device, dtype: torch.dtype) -> Placement:
        """Lanes of the text, which is copied to the device if it fits, else read from its file.

        Raises:
            UsageError: if the text is shorter than one step.
        """
        in_memory = fits(part, device)
        where = "in memory" if device.type == "cpu" else f"on {device}"
        part = part.to(device).unmapped() if in_memory else part
        try:
            lanes = Lanes(part, self.rows, self.bptt, self.seed, device)
        except UsageError as error:
            raise UsageError(f"batch_size={self.batch_size}, bptt={self.bptt}: {error}") from error
        return Placement(lanes, where if in_memory else "read from where it is")

    @model_validator(mode="after")
    def _lanes_are_counted(self) -> Self:
        if self.batch_size == "full":
            raise ValueError("batch_size=full is not available for running text; give a number, for example 32")
        return self

    @model_validator(mode="after")
    def _normalizer_is_used(self) -> Self:
        page: Any = self.model
        if self.normalized and page.learn_normalizer:
            raise ValueError("model.learn_normalizer has no effect with a softmax; it applies to recipe nce-lm")
        return self
