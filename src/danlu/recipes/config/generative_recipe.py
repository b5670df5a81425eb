"""The settings of recipes whose models generate examples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from danlu.recipes.config.recipe import Recipe


class GenerativeRecipe(Recipe):
    """A recipe whose model generates images or rows, which are scored and saved during training."""

    eval_samples: Annotated[int, Field(ge=0)] = 0
    """number of generated examples to score at each evaluation; the first score selects the saved weights; 0: none"""
    feature_extractor: Literal["auto", "inception"] = "auto"
    """feature extractor for FID and similar scores; auto: a classifier of the data if it has classes, else pixels"""
    sample_grids: Annotated[int, Field(ge=0)] = 10
    """number of times during training that image grids of the model's outputs are saved; 0: never"""

    @property
    def sample_files(self) -> int:
        """How often samples are saved during training."""
        return self.sample_grids
