"""Language model with a coupled LSTM. Greff et al., "LSTM: a search space odyssey", 2017.

danlu train coupled-lm
danlu train coupled-lm --data tiny-shakespeare
"""

from __future__ import annotations

from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.recurrent.base import LanguageRecipe


class CoupledLMRecipe(LanguageRecipe):
    """An LSTM with coupled gates, which initially keeps its state."""

    model: Settings[LanguageModel] = settings(
        LanguageModel, kind="coupled", width=256, layers=1, embedding=64, initial="orthogonal", forget_bias=1.0
    )
    """the network"""
