"""Language model with gated recurrent units. Cho et al., "Learning phrase representations using RNN …", 2014.

danlu train gru-lm
danlu train gru-lm --model.reset before    as in the paper; after: as in PyTorch; notes: as in the notes
danlu train gru-lm --data tiny-shakespeare
"""

from __future__ import annotations

from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.recurrent.base import LanguageRecipe


class GRULMRecipe(LanguageRecipe):
    """Gated recurrent units with orthogonal recurrent matrices."""

    model: Settings[LanguageModel] = settings(
        LanguageModel, kind="gru", width=256, layers=1, embedding=64, initial="orthogonal"
    )
    """the network"""
