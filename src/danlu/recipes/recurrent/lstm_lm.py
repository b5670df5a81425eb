r"""LSTM language model. Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization", 2014.

danlu train lstm-lm
danlu train lstm-lm --data tiny-shakespeare
danlu train lstm-lm --data text:PATH --text.tokens bpe
danlu train lstm-lm --model.kind convolution --model.layers 4    causal convolutions over 9 characters

The small network of the paper on the Penn Treebank: test perplexity 110.7 (paper: 114.5) in 80 minutes on one core. The
authors' code sums the loss over the 20 tokens of a step and clips the norm of the gradient at 5; with the mean, the
learning rate is 20 times as large and the threshold 1/20 of theirs:

danlu train lstm-lm --data ptb --model.width 200 --model.layers 2 --model.embedding 200 --model.initial uniform \
    --model.forget-bias None --model.scale 0.1 --batch-size 20 --bptt 20 --epochs 13 --optimizer sgd --lr 20 \
    --grad-clip 0.25 --schedule step --gamma 0.5 --milestones 0.308 0.385 0.462 0.538 0.615 0.692 0.769 0.846 0.923
"""

from __future__ import annotations

from danlu.models.recurrent.language import LanguageModel
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.recurrent.base import LanguageRecipe


class LSTMLMRecipe(LanguageRecipe):
    """An LSTM whose forget gates are open at initialization."""

    model: Settings[LanguageModel] = settings(
        LanguageModel, width=256, layers=1, embedding=64, initial="orthogonal", forget_bias=1.0
    )
    """the network"""
