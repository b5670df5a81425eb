"""Learning what comes next in running text from a few words of noise, without a sum over the vocabulary."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.losses.next_token import noise_contrastive, sampled_softmax
from danlu.models.recurrent.language import LanguageModel
from danlu.tasks.language_modeling import RunningText
from danlu.tasks.task import Descend, Terms, Turn, Update

Objective = Literal["nce", "sampled"]
Distribution = Literal["unigram", "uniform"]


class Noise(NamedTuple):
    """What right words are told from.

    Attributes:
        words: k, how many words of noise all contexts of a batch share.
        distribution: words as often as they have been seen in training, with one more of each; or all alike.
        log_z: what log Z is taken for in every context; a model may learn a constant beside it.
    """

    words: int = 100
    distribution: Distribution = "unigram"
    log_z: float = 0.0


USUAL = Noise()


class NoiseContrastive(RunningText):
    """A language model learns to tell each next word from noise, or descends on a sampled softmax.

    The noise is drawn once for the whole batch (Mnih and Teh 2012, section 4), so that all processes and micro-batches
    have the same, and its scores are one product. How common words are is counted as they are read: before each step
    those of its batch. The biases begin at −log of the vocabulary, where scores are about normalized.

    Args:
        model: what learns, with a full softmax.
        rows: lanes of a batch.
        noise: what right words are told from.
        objective: nce, or sampled, which estimates the sum of the softmax from the same noise.

    Raises:
        ValueError: if there is no noise, or the model has an adaptive softmax.

    >>> task = NoiseContrastive(LanguageModel(vocabulary=5, width=4), rows=2)
    >>> [type(turn).__name__ for turn in task.turns(0)]
    ['Update', 'Descend']
    """

    counts: Tensor
    better: ClassVar = RunningText.better

    def __init__(self, model: LanguageModel, rows: int, noise: Noise = USUAL, objective: Objective = "nce"):
        super().__init__(model, rows)
        if noise.words < 1:
            raise ValueError(f"noise.words={noise.words} must be at least 1")
        if model.bias is None:
            raise ValueError("cutoffs make an adaptive softmax, which has no single scores; leave them out")
        if objective == "sampled" and (noise.log_z or model.log_z is not None):
            raise ValueError("a sampled softmax is normalized by its sample; leave log_z and learn_normalizer out")
        self.noise_, self.objective = noise, objective
        self.register_buffer("counts", torch.ones(model.vocabulary, dtype=torch.long))
        nn.init.constant_(model.bias, noise.log_z - math.log(model.vocabulary))

    def turns(self, round: int) -> list[Turn]:
        return [Update(self.count, fresh=True), Descend("model", self.fit, fresh=False)]

    def count(self, batch: Batch) -> None:
        """Take note of how common the words of a batch are."""
        words = batch["target"][batch["valid"]] if "valid" in batch.fields else batch["target"].flatten()
        self.counts.index_add_(0, words, torch.ones_like(words))

    def fit(self, batch: Batch) -> Terms:
        """The loss of each token."""
        features, targets = self.read(batch)
        log_q = self.log_q()
        words = self.draw(log_q)
        right, wrong = self.language.scores(features, targets), self.language.scores(features, words[None])
        right, wrong = right.to(log_q.dtype), wrong.to(log_q.dtype)
        if self.objective == "sampled":
            return {"sampled": sampled_softmax(right, wrong, log_q[words], words[None] == targets[:, None])}
        z = self.noise_.log_z
        return {"nce": noise_contrastive(right - z, log_q[targets], wrong - z, log_q[words])}

    def log_q(self) -> Float[Tensor, "v"]:
        """Log-probability of each word as noise."""
        counts = torch.ones_like(self.counts) if self.noise_.distribution == "uniform" else self.counts
        return (counts.to(self.state.dtype) / counts.sum()).log()

    def draw(self, log_q: Float[Tensor, "v"]) -> Int[Tensor, "k"]:
        """Words of noise, the same in every process and micro-batch."""
        first = Batch({}, slice(0, 1), 1, self.counts[:1])
        uniform = self.noise((self.noise_.words,), uniform=True, batch=first)[0]
        ends = log_q.exp().cumsum(0)
        return torch.searchsorted(ends, uniform * ends[-1], right=True).clamp_max(len(ends) - 1)
