"""Language model of words, by noise-contrastive estimation. Gutmann and Hyvärinen 2010; Mnih and Teh 2012.

danlu train nce-lm
danlu train nce-lm --data ptb --epochs 10
danlu train nce-lm --objective sampled           a sampled softmax from the same noise (Jean et al. 2015)
danlu train nce-lm --model.learn-normalizer      a constant log Z is learned (Gutmann and Hyvärinen)

Mnih and Teh, "A fast and simple algorithm for training neural probabilistic language models": noise from the unigram
distribution, log Z fixed at 0. The noise words are shared within the batch. Scores on held-out text are those of the
normalized model.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import model_validator

from danlu.data.base.dataset import DataInfo
from danlu.data.base.page import Page
from danlu.data.text.settings import Text
from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.recurrent.base import LanguageRecipe
from danlu.tasks.noise_contrastive import Distribution, Noise, NoiseContrastive, Objective
from danlu.training.optimization.settings import Positive


class NoisePage(Page):
    """The noise distribution."""

    words: Count = 100
    """noise words, shared by all contexts of a batch"""
    distribution: Distribution = "unigram"
    """unigram: training frequencies; uniform: all words equally likely"""
    log_z: float = 0.0
    """constant value of log Z"""


class NCELMRecipe(LanguageRecipe):
    """An LSTM trained by noise-contrastive estimation."""

    help_section: ClassVar[str] = "loss"
    tiny: ClassVar[dict[str, Any]] = {
        **LanguageRecipe.tiny,
        "noise": {"words": 7},
    }
    overfits_to: ClassVar[float | None] = 0.6  # noise words can equal the correct word, so the loss does not approach 0

    normalized: ClassVar[bool] = False

    text: Text = Text(tokens="words")
    model: Settings[LanguageModel] = settings(
        LanguageModel, width=128, layers=1, initial="orthogonal", forget_bias=1.0, dropout=0.2
    )
    """the network"""
    noise: NoisePage = NoisePage()
    """noise distribution"""
    objective: Objective = "nce"
    """nce: noise-contrastive estimation; or a sampled softmax"""
    bptt: Count = 20
    epochs: Positive | None = 10

    def task(self, info: DataInfo) -> NoiseContrastive:
        noise = Noise(self.noise.words, self.noise.distribution, self.noise.log_z)
        return NoiseContrastive(self.network(info), self.rows, noise, self.objective)

    @model_validator(mode="after")
    def _single_scores(self) -> Self:
        page: Any = self.model
        if page.cutoffs:
            raise ValueError("model.cutoffs give an adaptive softmax, which has no scores of single words; omit them")
        if self.objective == "sampled" and (page.learn_normalizer or self.noise.log_z):
            raise ValueError("objective sampled normalizes over its sample; leave learn_normalizer and log_z out")
        return self
