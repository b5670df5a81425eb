"""Variational inference: a model is fitted to a density that is known up to a constant, without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.verbs import has, method

FIRST_WEIGHT = 0.01
"""weight of the energy in the first round of an annealing"""


@runtime_checkable
class Reparameterized(Protocol):
    """A model whose samples are differentiable functions of normal noise, with known log-densities."""

    latent: int
    """dimension of the noise"""

    def decode_with_log_prob(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (n, ...) and their log-densities (n,) from noise (n, latent)."""
        ...


class Variational(Task):
    r"""Fits a model q to the density :math:`p(x) = e^{-U(x)} / Z` of an energy U by minimizing the free energy

    .. math:: F = \mathbb E_q[\log q(x) + \beta_t U(x)], \qquad
        F = \mathrm{KL}(q \,\|\, p) - \log Z \;\text{ for }\; \beta_t = 1

    in nats, with samples of q. During an annealing of T rounds :math:`\beta_t` rises linearly from 0.01 to 1, so that q
    finds all modes while the energy is flat. Rezende and Mohamed, "Variational inference with normalizing flows", 2015,
    equations 15 and 20. The examples of a batch are not used in training, only their number.

    The scores are of β = 1: ``free_energy``, or ``kl`` if log Z is known; and ``log_prob``, the mean log-density of
    held-out examples, if they are samples of p: it is at most minus the entropy of p.

    Args:
        model: the model q.
        energy: function of examples, their energies.
        log_z: log Z, if it is known.
        annealing: number of rounds T.
        inputs: name of the batch field with samples of p; None if there are none.

    Raises:
        ValueError: if the model cannot be fitted in this way, or ``annealing`` is negative.

    >>> from danlu.data import ENERGIES
    >>> from danlu.models import PlanarFlow
    >>> task = Variational(PlanarFlow((2,), layers=4), ENERGIES["u1"].energy, annealing=100)
    >>> task.weight_at(0), task.weight_at(50), task.weight_at(200)
    (0.01, 0.505, 1.0)
    """

    def __init__(
        self,
        model: nn.Module,
        energy: Callable[[Tensor], Tensor],
        log_z: float | None = None,
        annealing: int = 0,
        inputs: str | None = "x",
    ):
        super().__init__()
        if not isinstance(model, Reparameterized):
            raise ValueError(
                f"variational inference needs a model with decode_with_log_prob, such as a flow; got "
                f"{type(model).__name__}"
            )
        if has(model, "class_conditional"):
            raise ValueError("an energy has no classes; use a model without classes for variational inference")
        if annealing < 0:
            raise ValueError(f"annealing={annealing} must be at least 0")
        self.distribution, self.energy, self.log_z = model, energy, log_z
        self.annealing, self.inputs = annealing, inputs
        first = {"free_energy" if log_z is None else "kl": "lower"}
        self.better: Mapping[str, str] = first if inputs is None else {**first, "log_prob": "higher"}

    @property
    def model(self) -> nn.Module:
        return self.distribution

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.distribution}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("model", partial(self.fit, round=round))]

    def weight_at(self, round: int) -> float:
        """The weight β of the energy in a round."""
        progress = min(1.0, round / self.annealing) if self.annealing else 1.0
        return FIRST_WEIGHT + (1 - FIRST_WEIGHT) * progress

    def fit(self, batch: Batch, round: int) -> Terms:
        """log q and the weighted energy of samples of q."""
        x, log_prob = self._samples()
        return {"log_q": log_prob, "energy": self.weight_at(round) * self.energy(x)}

    def scores(self, batch: Batch) -> Terms:
        """The free energy or the KL divergence from samples of q, and the log-density of held-out samples of p."""
        x, log_prob = self._samples()
        free_energy = log_prob + self.energy(x)
        first = {"free_energy": free_energy} if self.log_z is None else {"kl": free_energy + self.log_z}
        if self.inputs is None:
            return first
        return {**first, "log_prob": method(self.model, "log_prob")(batch[self.inputs])}

    def _samples(self) -> tuple[Tensor, Tensor]:
        return self.distribution.decode_with_log_prob(self.noise((self.distribution.latent,)))
