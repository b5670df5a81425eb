"""Noise-contrastive training of language models, without a sum over the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

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
    """Distribution and number of noise words.

    Attributes:
        words: number k of noise words, shared by all contexts of a batch.
        distribution: "unigram" is proportional to the counts of words seen in training plus one, "uniform" is uniform.
        log_z: assumed value of log Z in every context. A model may learn a constant in addition.
    """

    words: int = 100
    distribution: Distribution = "unigram"
    log_z: float = 0.0


DEFAULT = Noise()


class NoiseContrastive(RunningText):
    """Trains a language model with noise-contrastive estimation or a sampled softmax.

    The noise words are drawn once for the whole batch. All processes and micro-batches
    use the same words, and their scores are one matrix product. Words are counted as they are read; the words of a
    batch are counted before its step. Biases start at −log of the vocabulary size, where scores are almost normalized.

    Args:
        model: the language model to train, with a full softmax.
        rows: number of lanes of a batch.
        noise: distribution and number of noise words.
        objective: "nce" for noise-contrastive estimation, or "sampled" for a softmax over a sample of the vocabulary.

    Raises:
        ValueError: if there are no noise words, the model has an adaptive softmax, or a sampled softmax is combined
            with a normalizer.

    >>> task = NoiseContrastive(LanguageModel(vocabulary=5, width=4), rows=2)
    >>> [type(turn).__name__ for turn in task.turns(0)]
    ['Update', 'Descend']
    """

    counts: Tensor
    better: Mapping[str, str] = RunningText.better

    def __init__(self, model: LanguageModel, rows: int, noise: Noise = DEFAULT, objective: Objective = "nce"):
        super().__init__(model, rows)
        if noise.words < 1:
            raise ValueError(f"noise.words={noise.words} must be at least 1")
        if model.bias is None:
            raise ValueError("cutoffs give an adaptive softmax, which has no score of a single word; leave them out")
        if objective == "sampled" and (noise.log_z or model.log_z is not None):
            raise ValueError("objective sampled normalizes over its sample; leave log_z and learn_normalizer out")
        self.noise_, self.objective = noise, objective
        self.register_buffer("counts", torch.ones(model.vocabulary, dtype=torch.long))
        nn.init.constant_(model.bias, noise.log_z - math.log(model.vocabulary))

    def turns(self, round: int) -> list[Turn]:
        return [Update(self.count, fresh=True), Descend("model", self.fit, fresh=False)]

    def count(self, batch: Batch) -> None:
        """Count the words of a batch."""
        words = batch["target"][batch["valid"]] if "valid" in batch.fields else batch["target"].flatten()
        self.counts.index_add_(0, words, torch.ones_like(words))

    def fit(self, batch: Batch) -> Terms:
        """The loss of each token."""
        features, targets = self.read(batch)
        log_q = self.log_q()
        words = self.draw(log_q)
        scores, noise = (
            self.language.scores(features, targets),
            self.language.scores(features, words[None]),
        )
        scores, noise = scores.to(log_q.dtype), noise.to(log_q.dtype)
        if self.objective == "sampled":
            return {"sampled": sampled_softmax(scores, noise, log_q[words], words[None] == targets[:, None])}
        z = self.noise_.log_z
        return {"nce": noise_contrastive(scores - z, log_q[targets], noise - z, log_q[words])}

    def log_q(self) -> Float[Tensor, "v"]:
        """Log-probability of each word under the noise distribution."""
        counts = torch.ones_like(self.counts) if self.noise_.distribution == "uniform" else self.counts
        return (counts.to(self.state.dtype) / counts.sum()).log()

    def draw(self, log_q: Float[Tensor, "v"]) -> Int[Tensor, "k"]:
        """Draw noise words, the same in every process and micro-batch."""
        first = Batch({}, slice(0, 1), 1, self.counts[:1])
        uniform = self.noise((self.noise_.words,), uniform=True, batch=first)[0]
        cumulative = log_q.exp().cumsum(0)
        return torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp_max(len(cumulative) - 1)
