"""Semi-supervised learning: maximization of a bound on labeled and a bound on unlabeled examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.losses.classification import cross_entropy
from danlu.losses.per_example import per_example
from danlu.metrics.classification import accuracies
from danlu.models.latent.semi_supervised import Costs, SemiSupervisedVAE
from danlu.models.latent.stacked import StackedVAE
from danlu.models.latent.vae import VAE
from danlu.nn.one_hot import one_hot
from danlu.tasks.task import Descend, Task, Terms, Turn

Relaxation = Literal["enumerate", "gumbel"]
Codes = Literal["mean", "draw"]


class SemiSupervised(Task):
    r"""Trains a semi-supervised autoencoder on labeled and unlabeled examples.

    .. math:: \frac1N \Big( \sum_\text{labeled} L(x, y) + \sum_\text{unlabeled} U(x) \Big)
        + \alpha \, \frac1{N_l} \sum_\text{labeled} -\log q(y \mid x)

    in nats per example: Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models",
    2014, equations 8 and 9, divided by the number N of examples. The paper's weight 0.1 N is α = 0.1 here. A batch
    has two parts, ``labeled`` and ``unlabeled``.

    With a stacked model, the first model is trained first, on its own bound of the unlabeled part. Then it is frozen,
    and the second model is trained on its codes: their means, or samples as in the paper.

    Args:
        model: the model to train.
        labeled_weight: s, the weight of the bound of labeled examples; in the paper, the fraction of labeled examples.
        classification: α, the weight of the cross-entropy.
        relaxation: "enumerate" sums over all labels, "gumbel" samples one from the Gumbel-softmax distribution.
        temperature: temperature of the Gumbel-softmax distribution.
        first_rounds: number of rounds in which the first of two stacked models is trained.
        codes: codes on which the second model is trained, "mean" or "draw".
        inputs: name of the field that is the input of the model.

    Raises:
        ValueError: if ``labeled_weight`` or ``temperature`` is out of range.

    >>> model = SemiSupervisedVAE((4,), 3, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian")
    >>> [turn.player for turn in SemiSupervised(model, 0.1, inputs="x").turns(0)]
    ['model']
    """

    better: Mapping[str, str] = {"accuracy": "higher", "cross_entropy": "lower", "elbo": "higher"}

    def __init__(
        self,
        model: SemiSupervisedVAE | StackedVAE,
        labeled_weight: float,
        classification: float = 0.1,
        relaxation: Relaxation = "enumerate",
        temperature: float = 0.5,
        first_rounds: int = 0,
        codes: Codes = "mean",
        inputs: str = "image",
    ):
        super().__init__()
        if not 0 < labeled_weight <= 1:
            raise ValueError(f"labeled_weight={labeled_weight} must be greater than 0 and at most 1")
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be greater than 0")
        self.whole = model
        self.labeled_weight, self.classification, self.inputs = labeled_weight, classification, inputs
        self.relaxation, self.temperature = relaxation, temperature
        self.first_rounds, self.codes = first_rounds, codes

    @property
    def model(self) -> nn.Module:
        return self.whole

    @property
    def first(self) -> VAE | None:
        """The first of two stacked models, which computes codes; None for a single model."""
        return self.whole.first if isinstance(self.whole, StackedVAE) else None

    @property
    def labeling(self) -> SemiSupervisedVAE:
        """The model with labels."""
        return self.whole.second if isinstance(self.whole, StackedVAE) else self.whole

    def players(self) -> dict[str, nn.Module]:
        if self.first is None:
            return {"model": self.labeling}
        return {"first": self.first, "second": self.labeling}

    def turns(self, round: int) -> list[Turn]:
        if self.first is None:
            return [Descend("model", self.fit)]
        return [Descend("first", self.fit_first) if round < self.first_rounds else Descend("second", self.fit)]

    def fit_first(self, batch: Batch) -> Terms:
        """The two terms of the negative ELBO of the first model."""
        assert self.first is not None
        unlabeled = batch.part("unlabeled")
        x = unlabeled[self.inputs]
        output = self.first(x, self.noise((self.first.latent,), batch=unlabeled)[None])
        return {"reconstruction": self.first.autoencoder.reconstruction(x, output)[0], "kl": output.kl().sum(1)}

    def fit(self, batch: Batch) -> Terms:
        """The weighted negative ELBOs of unlabeled and labeled examples, and the weighted cross-entropy."""
        unlabeled, labeled = batch.part("unlabeled"), batch.part("labeled")
        n = len(unlabeled)
        without_label = self._without_label(unlabeled)
        x, labels = self._codes(labeled), labeled["label"]
        noise = self.noise((self.labeling.latent,), batch=labeled)
        costs = self.labeling(x, noise, one_hot(labels, self.labeling.classes, x))
        with_label = costs.reconstruction + costs.kl + math.log(self.labeling.classes)
        label_loss = cross_entropy(costs.logits, labels)
        return {
            "unlabeled": (1 - self.labeled_weight) * without_label,
            "labeled": self.labeled_weight * per_example(with_label, n),
            "cross_entropy": self.classification * per_example(label_loss, n),
        }

    def scores(self, batch: Batch) -> Terms:
        """Accuracy and cross-entropy of the classifier, and the bound of log p(x), computed without the label."""
        x, labels = batch[self.inputs], batch["label"]
        codes = x if self.first is None else self.first.encode(x)
        costs = self.labeling(codes, self.noise((self.labeling.latent,)))
        return {
            "accuracy": accuracies(costs.logits, labels),
            "cross_entropy": cross_entropy(costs.logits, labels),
            "elbo": -unlabeled_cost(costs) if self.first is None else self._bound_of_both(self.first, x),
        }

    def _bound_of_both(self, first: VAE, x: Tensor) -> Tensor:
        """log p(x | z) - log q(z | x) for a sample z of the first model, plus the bound of the second model for z."""
        output = first(x, self.noise((first.latent,))[None])
        costs = self.labeling(output.z[0], self.noise((self.labeling.latent,)))
        return -first.autoencoder.reconstruction(x, output)[0] - output.log_q[0] - unlabeled_cost(costs)

    def _without_label(self, batch: Batch) -> Tensor:
        x = self._codes(batch)
        noise = self.noise((self.labeling.latent,), batch=batch)
        if self.relaxation == "enumerate":
            return unlabeled_cost(self.labeling(x, noise))
        uniform = self.noise((self.labeling.classes,), uniform=True, batch=batch)
        tiny = torch.finfo(uniform.dtype).tiny
        gumbel = -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()
        costs = self.labeling(x, noise, gumbel=gumbel, temperature=self.temperature)
        q = costs.logits.log_softmax(1)
        return costs.reconstruction + costs.kl + (q.exp() * q).sum(1) + math.log(self.labeling.classes)

    def _codes(self, batch: Batch) -> Tensor:
        """The examples, or their codes from the first model."""
        x = batch[self.inputs]
        if self.first is None:
            return x
        with torch.no_grad():
            posterior = self.first.posterior(x)
            if self.codes == "mean":
                return posterior.mean
            return posterior.draw(self.noise((self.first.latent,), batch=batch)[None])[0][0]


def unlabeled_cost(costs: Costs) -> Tensor:
    r"""The negative ELBO of each unlabeled example, in nats, for uniform p(y).

    .. math:: U(x) = \sum_y q(y \mid x) \, (L(x, y) + \log q(y \mid x))

    Args:
        costs: logits, reconstruction and KL divergence for all labels.

    >>> unlabeled_cost(Costs(torch.zeros(1, 2), torch.tensor([[3.0, 5.0]]), torch.zeros(1, 2)))
    tensor([4.])
    """
    q = costs.logits.log_softmax(1)
    prior = math.log(costs.logits.shape[1])
    return (q.exp() * (costs.reconstruction + costs.kl + prior + q)).sum(1)
