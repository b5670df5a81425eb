"""Learning from few labels and many examples: the labeled and the unlabeled bound in one game."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.losses.classification import cross_entropy
from danlu.losses.per_example import per_example
from danlu.metrics.classification import correct
from danlu.models.latent.semi_supervised import Costs, SemiSupervisedVAE
from danlu.models.latent.stacked import StackedVAE
from danlu.models.latent.vae import VAE
from danlu.nn.one_hot import one_hot
from danlu.tasks.task import Descend, Task, Terms, Turn

Relaxation = Literal["enumerate", "gumbel"]
Codes = Literal["mean", "draw"]


class SemiSupervised(Task):
    r"""A semi-supervised autoencoder descends on the bounds of what is labeled and of what is not.

    .. math:: \frac1N \Big( \sum_\text{labeled} L(x, y) + \sum_\text{unlabeled} U(x) \Big)
        + \alpha \, \frac1{N_l} \sum_\text{labeled} -\log q(y \mid x)

    in nats per example: Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models",
    2014, equations 8 and 9, divided by the number N of examples; their weight 0.1 N is α = 0.1 here. A batch has
    two parts, ``labeled`` and ``unlabeled``.

    Of a stacked model the first half of the game is the first model's, which raises its own bound on the unlabeled
    part; in the second half it rests, and the second model learns from its codes: their means, or draws of them, as the
    paper has it.

    Args:
        model: what learns.
        labeled_share: share of the examples that have labels.
        classification: α, in nats of the bound for a nat of cross-entropy.
        relaxation: enumerate every label, or draw one from the Gumbel-softmax distribution.
        temperature: of those draws.
        first_rounds: rounds in which the first of two stacked models learns.
        codes: what the second model learns from, mean or draw.
        inputs: name of the field that the model sees.

    Raises:
        ValueError: if a number is out of range.

    >>> model = SemiSupervisedVAE((4,), 3, latent=2, hidden=(8,), judges=(8,), likelihood="gaussian")
    >>> [turn.player for turn in SemiSupervised(model, 0.1, inputs="x").turns(0)]
    ['model']
    """

    better: ClassVar = {"accuracy": "higher", "cross_entropy": "lower", "elbo": "higher"}

    def __init__(
        self,
        model: SemiSupervisedVAE | StackedVAE,
        labeled_share: float,
        classification: float = 0.1,
        relaxation: Relaxation = "enumerate",
        temperature: float = 0.5,
        first_rounds: int = 0,
        codes: Codes = "mean",
        inputs: str = "image",
    ):
        super().__init__()
        if not 0 < labeled_share <= 1:
            raise ValueError(f"labeled_share={labeled_share} must be above 0 and at most 1")
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be greater than 0")
        self.whole = model
        self.labeled_share, self.classification, self.inputs = labeled_share, classification, inputs
        self.relaxation, self.temperature = relaxation, temperature
        self.first_rounds, self.codes = first_rounds, codes

    @property
    def model(self) -> nn.Module:
        return self.whole

    @property
    def first(self) -> VAE | None:
        """The model that makes codes, if there are two."""
        return self.whole.first if isinstance(self.whole, StackedVAE) else None

    @property
    def labeling(self) -> SemiSupervisedVAE:
        """The model that knows labels."""
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
        """Minus the bound of the first model, in its parts."""
        assert self.first is not None
        unlabeled = batch.part("unlabeled")
        x = unlabeled[self.inputs]
        through = self.first(x, self.noise((self.first.latent,), batch=unlabeled)[None])
        rate = through.posterior.divergence()
        assert rate is not None
        return {"reconstruction": self.first.autoencoder.distortion(x, through)[0], "divergence": rate.sum(1)}

    def fit(self, batch: Batch) -> Terms:
        """Both bounds at their shares, and the cross-entropy of the classifier at its price."""
        unlabeled, labeled = batch.part("unlabeled"), batch.part("labeled")
        n = len(unlabeled)
        without = self._without_label(unlabeled)
        x, labels = self._codes(labeled), labeled["label"]
        noise = self.noise((self.labeling.latent,), batch=labeled)
        costs = self.labeling(x, noise, one_hot(labels, self.labeling.classes, x))
        with_label = costs.distortion + costs.rate + math.log(self.labeling.classes)
        wrong = cross_entropy(costs.logits, labels)
        return {
            "unlabeled": (1 - self.labeled_share) * without,
            "labeled": self.labeled_share * per_example(with_label, n),
            "cross_entropy": self.classification * per_example(wrong, n),
        }

    def scores(self, batch: Batch) -> Terms:
        """Accuracy and cross-entropy of the classifier, and the bound of log p(x), which knows no label."""
        x, labels = batch[self.inputs], batch["label"]
        codes = x if self.first is None else self.first.encode(x)
        costs = self.labeling(codes, self.noise((self.labeling.latent,)))
        return {
            "accuracy": correct(costs.logits, labels).float(),
            "cross_entropy": cross_entropy(costs.logits, labels),
            "elbo": -unlabeled_cost(costs) if self.first is None else self._bound_of_both(self.first, x),
        }

    def _bound_of_both(self, first: VAE, x: Tensor) -> Tensor:
        """Of a code z that the first model draws log p(x | z) - log q(z | x), and the second one's bound of it."""
        through = first(x, self.noise((first.latent,))[None])
        costs = self.labeling(through.z[0], self.noise((self.labeling.latent,)))
        return -first.autoencoder.distortion(x, through)[0] - through.log_q[0] - unlabeled_cost(costs)

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
        return costs.distortion + costs.rate + (q.exp() * q).sum(1) + math.log(self.labeling.classes)

    def _codes(self, batch: Batch) -> Tensor:
        """The examples, or the first model's codes for them."""
        x = batch[self.inputs]
        if self.first is None:
            return x
        with torch.no_grad():
            posterior = self.first.posterior(x)
            if self.codes == "mean":
                return posterior.mean
            return posterior.draw(self.noise((self.first.latent,), batch=batch)[None])[0][0]


def unlabeled_cost(costs: Costs) -> Tensor:
    r""":math:`U(x) = \sum_y q(y \mid x) (L(x, y) + \log q(y \mid x))` of each example in nats, for equal p(y).

    >>> unlabeled_cost(Costs(torch.zeros(1, 2), torch.tensor([[3.0, 5.0]]), torch.zeros(1, 2)))
    tensor([4.])
    """
    q = costs.logits.log_softmax(1)
    prior = math.log(costs.logits.shape[1])
    return (q.exp() * (costs.distortion + costs.rate + prior + q)).sum(1)
