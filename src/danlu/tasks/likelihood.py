"""Maximum likelihood: one player, one turn, the negative log-likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import DataInfo
from danlu.data.base.density import bits_per_dimension, dequantize, fixed_noise, log_volume
from danlu.tasks.elbo import GIVEN_LABEL
from danlu.tasks.task import Descend, Task, Terms, Turn, Update
from danlu.verbs import can, has, method, verbs_of

EXACT, DEQUANTIZED = "log_prob", "dequantized_log_prob"
"""names of the scores: the log-likelihood, and its lower bound by dequantization"""


def is_dequantized(model: nn.Module, info: DataInfo) -> bool:
    """Whether discrete examples get noise because the model has a density."""
    return has(model, "density") and info.spacing is not None


def log_likelihood(
    model: nn.Module,
    x: Float[Tensor, "n *shape"],
    noise: Float[Tensor, "n *shape"] | None,
    info: DataInfo,
    labels: Int[Tensor, "n"] | None = None,
) -> Float[Tensor, "n"]:
    """The log-likelihood of each example in nats and in the units of the user's files, or its lower bound.

    Args:
        model: a model with the verb ``log_prob``.
        x: the examples.
        noise: uniform random numbers from [0, 1) for ``dequantize``; None if there is no dequantization.
        info: the description of the examples.
        labels: the class of each example, for a class-conditional model; without labels, the classes are summed.
    """
    given = {} if labels is None else {"labels": labels}
    if noise is not None:
        x = with_noise(model, x, noise, info)
    nats = method(model, "log_prob")(x, **given)
    return nats + log_volume(info) if has(model, "density") else nats


def with_noise(
    model: nn.Module, x: Float[Tensor, "n *shape"], uniform: Float[Tensor, "n *shape"], info: DataInfo
) -> Float[Tensor, "n *shape"]:
    """Discrete examples with noise that fills the gaps: above each value, or around it if the model declares that.

    Args:
        model: the model, with the capability ``centered_noise`` if the noise is to have the mean 0.
        x: the examples.
        uniform: random numbers from [0, 1).
        info: the description of the examples, with discrete values.
    """
    return dequantize(x, uniform - 0.5 if has(model, "centered_noise") else uniform, info)


class Likelihood(Task):
    r"""Trains a model with the verb ``log_prob`` by maximum likelihood.

    .. math:: -\log p(x) \qquad \text{or} \qquad -\log p(x \mid y)

    in nats per example; the second for a class-conditional model, with y the field ``label`` of the batch. Images have
    discrete values. If the model has a density, uniform noise is added to them (``danlu.data.dequantize``), and the
    score is a lower bound of the log-likelihood of the discrete values, ``dequantized_log_prob``. Otherwise the score
    is ``log_prob``. All values are in the units of the user's files.

    Args:
        model: a model with the verb ``log_prob``.
        info: the description of the examples.

    Raises:
        ValueError: if the model has no verb ``log_prob``, or its normalizer is not known in closed form.

    >>> from danlu.data.tables.info import TableInfo
    >>> from danlu.models import MLP
    >>> Likelihood(MLP((2,), 3), TableInfo((2,)))
    Traceback (most recent call last):
    ValueError: maximum likelihood needs a model with the verb log_prob; MLP has: classify
    """

    def __init__(self, model: nn.Module, info: DataInfo):
        super().__init__()
        if not can(model, "log_prob"):
            verbs = ", ".join(verbs_of(model)) or "none"
            raise ValueError(
                f"maximum likelihood needs a model with the verb log_prob; {type(model).__name__} has: {verbs}"
            )
        if has(model, "normalizer"):
            raise ValueError(
                f"the gradient of the log-likelihood of {type(model).__name__} needs samples of the model; use "
                f"danlu.tasks.Contrastive"
            )
        self.distribution, self.info = model, info
        bits = {"bits_per_dimension": "lower"} if info.spacing is not None else {}
        directions = {DEQUANTIZED if is_dequantized(model, info) else EXACT: "higher", **bits}
        suffix = GIVEN_LABEL if has(model, "class_conditional") else ""
        self.better: Mapping[str, str] = {name + suffix: direction for name, direction in directions.items()}

    @property
    def model(self) -> nn.Module:
        return self.distribution

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.distribution}

    def turns(self, round: int) -> list[Turn]:
        if round == 0 and has(self.model, "data_initialization"):
            return [Update(self.initialize, fresh=True), Descend("model", self.fit, fresh=False)]
        return [Descend("model", self.fit)]

    def initialize(self, batch: Batch) -> None:
        """Set the parameters of the model whose initial values depend on data, from the first batch."""
        cast(Any, self.model).initialize(self._dequantized(batch), self._labels(batch))

    def fit(self, batch: Batch) -> Terms:
        """The negative log-likelihood of each example, or its upper bound from one draw of the noise."""
        nats = log_likelihood(self.model, batch[self.info.inputs], self._fill(batch), self.info, self._labels(batch))
        return {"negative_log_likelihood": -nats}

    def scores(self, batch: Batch) -> Terms:
        """The log-likelihood or its lower bound, and for discrete values bits per dimension.

        A conditional model gets the label, and the names of the scores say so. The noise of an example is fixed.
        """
        x = batch[self.info.inputs]
        noise = fixed_noise(x, batch.numbers) if is_dequantized(self.model, self.info) else None
        nats = log_likelihood(self.model, x, noise, self.info, self._labels(batch))
        return dict(zip(self.better, (nats, bits_per_dimension(nats, x[0].numel())), strict=False))

    def _fill(self, batch: Batch) -> Tensor | None:
        """Uniform noise for the gaps between discrete values; None if there are no gaps to fill."""
        shape = tuple(batch[self.info.inputs].shape[1:])
        return self.noise(shape, uniform=True) if is_dequantized(self.model, self.info) else None

    def _dequantized(self, batch: Batch) -> Tensor:
        x, noise = batch[self.info.inputs], self._fill(batch)
        return x if noise is None else with_noise(self.distribution, x, noise, self.info)

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if has(self.model, "class_conditional") else None
