"""Contrastive learning of energy-based models: the energy of the data falls, that of the model's samples rises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, in_order
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.data.base.density import fixed_noise, log_volume
from danlu.models.energy.energy_model import EnergyModel
from danlu.models.energy.normalizer import LogNormalizer
from danlu.tasks.likelihood import DEQUANTIZED, EXACT, is_dequantized, with_noise
from danlu.tasks.task import Descend, Task, Terms, Turn, Update
from danlu.verbs import can, has, method

ESTIMATE, ERROR, UNRELIABLE = "_estimate", "_error", "_unreliable"
"""ends of the names of an estimated log-likelihood, of its standard error, and of an estimate without one"""
CHAINS_EFFECTIVE = "effective_chains"
"""name of the effective number of chains of annealed importance sampling"""

OBSERVED = 100
"""number of rounds whose examples enter the statistics of the data"""
SCORED = 10_000
"""largest number of examples whose log-likelihood is computed in an evaluation"""
EVALUATION_BETAS = 300
"""inverse temperatures of the estimate of the log-likelihood during training"""
BATCH = 500
"""number of examples in a pass of an evaluation"""
LAG, LEAST_LAG = 1.0, 20.0
"""difference of the energies of chains and data, in nats for each value of an example and at least, above which the
chains do not follow the model"""


class Chains(NamedTuple):
    """The Markov chains whose states stand for the model in the gradient.

    Attributes:
        start: "persistent": a chain continues where it ended in the round before (Tieleman, "Training restricted
            Boltzmann machines using approximations to the likelihood gradient", 2008). "data": it starts at an example
            of the batch (contrastive divergence; Hinton, "Training products of experts by minimizing contrastive
            divergence", 2002).
        steps: number of steps in a round.
        slots: number of persistent chains for each row of the batch; in a round one of them, chosen at random, moves
            (a replay buffer; Du and Mordatch, "Implicit generation and modeling with energy-based models", 2019).
        restart: probability with which a persistent chain starts anew in a round.
    """

    start: Literal["persistent", "data"] = "persistent"
    steps: int = 1
    slots: int = 1
    restart: float = 0.0


PERSISTENT = Chains()


class Contrastive(Task):
    r"""Trains an energy-based model along the gradient of its log-likelihood, with samples of Markov chains.

    .. math:: \nabla E(x) - \nabla E(x'), \quad x' \sim p

    The term ``contrast`` of an example is a difference of energies with this gradient. Its value is not the loss: if it
    is near 0, data and chains have the same energy. Each row of the batch has its own chains.

    Args:
        model: the model.
        info: the description of the examples. Noise is added to discrete values if the model has a density, as in
            ``Likelihood``.
        rows: number of examples of a batch.
        chains: the chains.
        likelihood: compute the log-likelihood at each evaluation.

    Raises:
        ValueError: if a number is out of range, or a setting has no effect.

    >>> from danlu.data.tables.info import TableInfo
    >>> from danlu.models.energy.rbm.machine import RBM
    >>> task = Contrastive(RBM((4,), hidden=3), TableInfo((4,)), rows=10)
    >>> [type(turn).__name__ for turn in task.turns(0)], [type(turn).__name__ for turn in task.turns(1000)]
    (['Update', 'Descend'], ['Descend'])
    """

    chains: Tensor
    better: Mapping[str, str] = {
        EXACT: "higher",
        EXACT + ESTIMATE: "higher",
        DEQUANTIZED: "higher",
        DEQUANTIZED + ESTIMATE: "higher",
        "squared_error": "lower",
    }

    def __init__(
        self,
        model: EnergyModel,
        info: DataInfo,
        rows: int,
        chains: Chains = PERSISTENT,
        likelihood: bool = True,
    ):
        super().__init__()
        _check(chains)
        self.energy_model, self.info, self.rule, self.likelihood = model, info, chains, likelihood
        if chains.start == "persistent":
            like = next(model.parameters())
            self.register_rows("chains", like.new_zeros(rows, chains.slots, *model.state_shape))

    @property
    def model(self) -> nn.Module:
        return self.energy_model

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.energy_model}

    def turns(self, round: int) -> list[Turn]:
        if round < OBSERVED:
            return [Update(partial(self.observe, round=round), fresh=True), Descend("model", self.fit, fresh=False)]
        return [Descend("model", self.fit)]

    def observe(self, batch: Batch, round: int) -> None:
        """Add the batch to the statistics of the data; in round 0 also start the chains."""
        self.energy_model.observe(self._examples(batch))
        if round == 0 and self.rule.start == "persistent":
            self.chains[:] = self.energy_model.initial_state(self._draw, self.rule.slots)

    def fit(self, batch: Batch) -> Terms:
        """The surrogate of each example, after steps of the chains."""
        x = self._examples(batch)
        if self.rule.start == "data":
            return {"contrast": self.energy_model.contrast(x, None, self.rule.steps, self._draw)[0]}
        rows = torch.arange(batch.rows.start, batch.rows.stop, device=x.device)
        slots = self._slots(rows)
        states = self._restarted(self.chains[rows, slots])
        terms, states = self.energy_model.contrast(x, states, self.rule.steps, self._draw)
        self.chains[rows, slots] = states.to(self.chains.dtype)
        return {"contrast": terms}

    def scores(self, batch: Batch) -> Terms:
        """Mean squared error of the reconstruction, if the model reconstructs."""
        if not can(self.energy_model, "reconstruct"):
            return {}
        x = batch[self.info.inputs]
        return {"squared_error": (method(self.energy_model, "reconstruct")(x) - x).square().flatten(1).mean(1)}

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """The mean log-likelihood of at most ``SCORED`` examples; see ``normalizer_scores``."""
        if not self.likelihood or not can(self.energy_model, "log_prob") or not len(part):
            return {}
        like, info = next(self.energy_model.parameters()), self.info
        noisy, nats = is_dequantized(self.energy_model, info), []
        volume = log_volume(info) if has(self.energy_model, "density") else 0.0
        log_z = self.energy_model.log_normalizer(betas=EVALUATION_BETAS)
        for batch in in_order(spread_over(part, SCORED), BATCH, like.device, like.dtype):
            x = batch[info.inputs]
            x = with_noise(self.energy_model, x, fixed_noise(x, batch.numbers), info) if noisy else x
            nats.append(volume - self.energy_model.energy(x).double() - log_z.value)
        name = DEQUANTIZED if noisy else EXACT
        return normalizer_scores(name, float(torch.cat(nats).mean().detach()), log_z)

    def diagnose_terms(self, terms: Mapping[str, float]) -> str | None:
        """Detect chains that do not follow the model: their energy is far above that of the data."""
        lag, values = -terms.get("model/contrast", 0.0), math.prod(self.energy_model.shape)
        if not lag > max(LEAST_LAG, LAG * values):
            return None
        return (
            f"The chains do not follow the model: the energy of the data is {lag:.3g} nats below that of the chains. "
            f"{self.energy_model.remedy}."
        )

    def _examples(self, batch: Batch) -> Tensor:
        """The examples, with noise between discrete values if the model has a density."""
        x = batch[self.info.inputs]
        if not is_dequantized(self.energy_model, self.info):
            return x
        return with_noise(self.energy_model, x, self.noise(tuple(x.shape[1:]), uniform=True), self.info)

    def _draw(self, shape: tuple[int, ...], uniform: bool) -> Tensor:
        return self.noise(shape, uniform)

    def _slots(self, rows: Tensor) -> Tensor:
        """The chain of each row that moves."""
        if self.rule.slots == 1:
            return torch.zeros_like(rows)
        return (self.noise((), uniform=True) * self.rule.slots).long().clamp_(max=self.rule.slots - 1)

    def _restarted(self, states: Tensor) -> Tensor:
        """The states, of which some start anew."""
        if not self.rule.restart:
            return states
        new = self.noise((), uniform=True) < self.rule.restart
        fresh = self.energy_model.initial_state(self._draw)
        return torch.where(new.view(-1, *[1] * (states.dim() - 1)), fresh.to(states.dtype), states)


def _check(chains: Chains) -> None:
    """Raise a ValueError if a number is out of range, or a setting has no effect."""
    for name, number in (("steps", chains.steps), ("slots", chains.slots)):
        if number < 1:
            raise ValueError(f"{name}={number} must be at least 1")
    if not 0 <= chains.restart <= 1:
        raise ValueError(f"restart={chains.restart} must be from 0 to 1")
    if chains.start == "data" and (chains.slots > 1 or chains.restart):
        raise ValueError("slots and restart apply to persistent chains; leave them out with start='data'")


def normalizer_scores(name: str, nats: float, log_z: LogNormalizer) -> dict[str, float]:
    """The scores of a log-likelihood whose normalizer may be an estimate; their names tell.

    An exact one is ``name``. An estimate is ``name_estimate``, with its standard error ``name_error`` and the effective
    number of chains. An estimate that is unreliable is ``name_unreliable``, without an error.

    Args:
        name: name of the log-likelihood.
        nats: mean log-likelihood.
        log_z: the normalizer.

    >>> from danlu.models.energy.normalizer import LogNormalizer
    >>> normalizer_scores("log_prob", -3.5, LogNormalizer(1.0, "estimate", 0.25, 80.0, 100))
    {'log_prob_estimate': -3.5, 'log_prob_error': 0.25, 'effective_chains': 80.0}
    """
    if log_z.kind == "exact":
        return {name: nats}
    size = log_z.effective_sample_size
    chains = {} if size is None else {CHAINS_EFFECTIVE: size}  # none for an integral on a grid
    if log_z.standard_error is None:
        return {name + UNRELIABLE: nats, **chains}
    return {name + ESTIMATE: nats, name + ERROR: log_z.standard_error, **chains}
