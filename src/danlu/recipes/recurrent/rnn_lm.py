"""Language model with a plain recurrent network. Mikolov et al., "Recurrent neural network based language model", 2010.

danlu train rnn-lm
danlu train rnn-lm --model.nonlinearity relu --model.initial orthogonal
danlu train rnn-lm --data tiny-shakespeare

The recurrent matrices are initialized with spectral radius 1, and gradients are clipped, as the lecture notes recommend
against exploding gradients (section 3.2.3).
"""

from __future__ import annotations

from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.recurrent.base import LanguageRecipe


class RNNLMRecipe(LanguageRecipe):
    """A plain recurrent network, initialized with spectral radius 1."""

    model: Settings[LanguageModel] = settings(
        LanguageModel, kind="rnn", width=256, layers=1, embedding=64, initial="radius"
    )
    """the network"""
