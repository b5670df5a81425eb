"""Language model with a peephole LSTM. Gers and Schmidhuber, "Recurrent nets that time and count", 2000.

danlu train peephole-lm
danlu train peephole-lm --data tiny-shakespeare
"""

from __future__ import annotations

from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.recurrent.base import LanguageRecipe


class PeepholeLMRecipe(LanguageRecipe):
    """A peephole LSTM whose forget gates are open at initialization."""

    model: Settings[LanguageModel] = settings(
        LanguageModel, kind="peephole", width=256, layers=1, embedding=64, initial="orthogonal", forget_bias=1.0
    )
    """the network"""
