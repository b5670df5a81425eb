"""Boltzmann machine. Ackley, Hinton and Sejnowski, "A learning algorithm for Boltzmann machines", 1985."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import pad

from danlu.data.base.effects import Needs
from danlu.models.energy.boltzmann.annealing import Annealed, annealed_chains, traced_chains
from danlu.models.energy.boltzmann.learning import contrast, hidden_fields, joint_energy
from danlu.models.energy.boltzmann.masks import CouplingsName, coupling_mask
from danlu.models.energy.boltzmann.pairs import PairCouplings
from danlu.models.energy.boltzmann.path import BoltzmannPath
from danlu.models.energy.boltzmann.sums import log_sum_out
from danlu.models.energy.boltzmann.sweeps import GibbsSweeps
from danlu.models.energy.data_moments import DataMoments
from danlu.models.energy.energy_model import Draw, EnergyModel, draw_from
from danlu.models.energy.enumeration import LARGEST
from danlu.models.energy.normalizer import LogNormalizer, estimated, exactly, temperatures
from danlu.models.energy.signs import check_signs
from danlu.models.energy.unit_values import check_example_shape, check_shape, kept
from danlu.nn.dense import check_width
from danlu.sampling.mcmc.annealed import annealed_importance_sampling

SWEEPS = 1000
"""default number of sweeps of a sample"""
AVERAGED = 200
"""default number of sweeps of the chains whose conditional means are averaged"""
MEAN_FIELD = 1000
"""largest number of updates of the means of hidden units that have couplings among themselves"""


class BoltzmannMachine(EnergyModel):
    r"""Boltzmann machine: visible units v and hidden units h with the values −1 and 1, and couplings of any pairs.

    .. math:: p(s) = \tfrac 1 Z e^{-E(s)}, \quad E(s) = -\sum_{i < j} W_{ij} s_i s_j - \sum_i b_i s_i, \quad s = (v, h)

    The parameters are the couplings of each pair once, and the biases, so the gradient of the log-likelihood of a
    coupling is the difference of two correlations without a factor, that of the data and that of the model:

    .. math:: \frac{\partial \log p(v)}{\partial W_{ij}} =
        \mathbb{E}_{h \sim p(h \mid v)} s_i s_j - \mathbb{E}_{s \sim p} s_i s_j

    Ackley, Hinton and Sejnowski, "A learning algorithm for Boltzmann machines", 1985, equation 5, with other units.
    Without hidden units, they are independent given the visible ones ("restricted", "semi-restricted", "neighbors"), or
    few, the energy of an example is exact.

    Args:
        shape: shape of an example.
        hidden: number of hidden units; 0 for none.
        couplings: pairs that are coupled. all; semi-restricted: all but pairs of hidden units; restricted: only pairs
            of a visible and a hidden unit; neighbors: semi-restricted, with visible pairs only within a distance.
        radius: for neighbors, the largest distance between coupled values of an example, 1 for the next ones.
        clamped_sweeps: Gibbs sweeps over hidden units that have couplings among themselves, with an example clamped.
        weight_std: standard deviation of the initial couplings, which are normal.

    Raises:
        ValueError: if an argument is out of range.

    >>> model = BoltzmannMachine((2, 2), hidden=3)
    >>> x = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    >>> model.energy(x).shape, model.log_normalizer().kind
    (torch.Size([1]), 'exact')
    >>> model.sample(5, sweeps=10).shape
    torch.Size([5, 2, 2])
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("radius", ("couplings",), ("neighbors",)),
        Needs("clamped_sweeps", ("couplings",), ("all",)),
    )

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int = 32,
        couplings: CouplingsName = "all",
        radius: float = 1.0,
        clamped_sweeps: int = 5,
        weight_std: float = 0.01,
    ):
        super().__init__()
        check_example_shape(shape)
        self.shape, self.visible, self.hidden = tuple(shape), math.prod(shape), hidden
        _check_arguments(hidden, radius, weight_std)
        self.state_shape = (self.visible + hidden,)
        check_width("clamped_sweeps", clamped_sweeps)
        self.clamped_sweeps = clamped_sweeps
        self.pairs = PairCouplings(coupling_mask(couplings, self.shape, hidden, radius), self.visible, weight_std)
        self.bias = nn.Parameter(torch.zeros(self.visible + hidden))
        self.moments = DataMoments((self.visible,))

    @property
    def lacks(self) -> frozenset[str]:
        """The verbs for which too many hidden units have couplings among themselves."""
        return frozenset() if self._is_summable else frozenset({"energy", "log_prob"})

    @property
    def capabilities(self) -> frozenset[str]:
        given = super().capabilities | {"binary_values", "noise_level", "sweeps", "chain_trace"}
        given |= {"filters"} if self.hidden else set()
        return given - ({"normalizer"} if self.lacks else set())

    @property
    def binary_values(self) -> tuple[float, float]:
        """The two values of a unit."""
        return -1.0, 1.0

    @property
    def mask(self) -> Bool[Tensor, "units units"]:
        """Which units are coupled; visible units come first. It is saved with the model."""
        return self.pairs.mask

    def set_mask(self, mask: Bool[Tensor, "units units"]) -> None:
        """Choose the pairs of units that are coupled. Couplings that are new get random initial values.

        Args:
            mask: True for each coupled pair, symmetric, with False on the diagonal; visible units come first.

        Raises:
            ValueError: if it is not such a tensor.
        """
        self.pairs.set_mask(mask)

    @property
    def couplings(self) -> Float[Tensor, "units units"]:
        """The couplings W, symmetric, with zero diagonal."""
        return self.pairs.matrix()

    def set_couplings(self, couplings: Float[Tensor, "units units"]) -> None:
        """Use given couplings; those of pairs that the mask excludes must be 0.

        Args:
            couplings: W, symmetric, with zero diagonal; visible units come first.

        Raises:
            ValueError: if they are not such a matrix.
        """
        self.pairs.set_matrix(couplings)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n hidden"]:
        """The fields of the hidden units from the visible ones.

        Args:
            x: the examples.

        Raises:
            ValueError: if the shape is wrong.
        """
        check_shape(x, self.shape)
        return self._hidden_fields(x.flatten(1), self.couplings)

    def energy(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The free energy of each example: −log of the sum of exp(−E) over all values of the hidden units.

        Args:
            x: the examples, values −1 and 1.

        Raises:
            ValueError: if a value is not possible, the shape is wrong, or too many hidden units have couplings among
                themselves.
        """
        v, over = self._flat(x), self.pairs.structure.over_hidden
        if not self._is_summable:
            raise ValueError(
                f"the energy of an example is a sum over hidden units. {self.hidden} of them have couplings among "
                f"themselves, and at most {LARGEST} can be enumerated; joint_energy(s), sample, inpaint and denoise "
                f"need no sum, and with couplings='semi-restricted' or 'restricted' the sum is a product"
            )
        return -log_sum_out(self.couplings, self.bias, v, over)

    free_energy = energy

    def joint_energy(self, s: Float[Tensor, "n units"]) -> Float[Tensor, "n"]:
        """The energy of visible and hidden units together.

        Args:
            s: values −1 and 1 of all units, visible ones first.

        Raises:
            ValueError: if a value is not possible, or the shape is wrong.
        """
        check_shape(s, self.state_shape, "state")
        check_signs(s, "state")
        return joint_energy(s, self.pairs.upper(), self.bias)

    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n hidden"]:
        """The mean of each hidden unit, given the example; the mean-field one for hidden units that are coupled.

        Args:
            x: the examples.

        Raises:
            ValueError: as ``joint_energy``.
        """
        v, couplings = self._flat(x), self.couplings
        fields, between = self._hidden_fields(v, couplings), couplings[self.visible :, self.visible :]
        mean = fields.tanh()
        for _ in range(0 if self.pairs.structure.hidden_independent else MEAN_FIELD):
            target = torch.addmm(fields, mean, between).to(fields.dtype).tanh()
            change = (target - mean) / 2  # a half, because the whole can oscillate
            mean = mean + change
            if bool((change.abs() < torch.finfo(mean.dtype).eps).all()):
                break
        return mean

    def reconstruct(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The mean of each visible unit, given the other visible ones and the means of the hidden ones (``encode``).

        Args:
            x: the examples.

        Raises:
            ValueError: as ``joint_energy``.
        """
        s = torch.cat([x.flatten(1), self.encode(x)], 1)
        fields = torch.addmm(self.bias[: self.visible], s, self.couplings[:, : self.visible])
        return fields.to(self.bias.dtype).tanh().view_as(x)

    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        v = self._flat(x)
        first = not self.moments.count
        self.moments.add((v + 1) / 2)
        if first:
            with torch.no_grad():
                self.bias[: self.visible] = self._base_bias()[: self.visible]

    def initial_state(self, draw: Draw, *leading: int) -> Shaped[Tensor, "n *state"]:
        return torch.copysign(self.bias.new_ones(()), draw((*leading, *self.state_shape), True) - 0.5)

    def contrast(
        self, x: Float[Tensor, "n *shape"], state: Shaped[Tensor, "n *state"] | None, steps: int, draw: Draw
    ) -> tuple[Float[Tensor, "n"], Shaped[Tensor, "n *state"]]:
        """Move all units of one chain for each example; the surrogate of E(x) − E(v) is a difference of joint energies.

        Independent hidden units enter with their exact means given the example, and the last block of a sweep with its
        means given all others, which lowers the variance; the energy is linear in each unit. Hidden units that are
        coupled are drawn by Gibbs sweeps with the example clamped.

        Args:
            x: the examples.
            state: values of all units of the chains.
            steps: number of sweeps.
            draw: source of the random numbers.

        Raises:
            ValueError: if the shape is wrong.
        """
        check_shape(x, self.shape)
        return contrast(self.pairs, self.bias, x.flatten(1), state, steps, self.clamped_sweeps, draw)

    def sample(
        self, n: int, sweeps: int = SWEEPS, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Draw examples by Gibbs sampling.

        The chains start at independent units with the means of the data. In the first half of the sweeps their inverse
        temperature rises from 0, which is this distribution, to 1, the machine.

        Args:
            n: number of examples.
            sweeps: number of sweeps over all units.
            generator: source of the random numbers.

        Raises:
            ValueError: if ``sweeps`` is not positive.
        """
        none = self.bias.new_zeros(n, self.visible)
        return self._annealed(none, sweeps, generator).states.unflatten(1, self.shape)

    def inpaint(
        self,
        x: Float[Tensor, "n *shape"],
        mask: Shaped[Tensor, "*mask"],
        sweeps: int = AVERAGED,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Fill in the entries where the mask is 0, by Gibbs sampling with the other ones clamped.

        Each is the most probable value of its unit, from the average of its conditional means in the second half of the
        sweeps.

        Args:
            x: the examples; entries where the mask is 0 have no influence.
            mask: 1 for entries that are kept, 0 for missing ones; it broadcasts with x.
            sweeps: number of sweeps, which start as in ``sample``.
            generator: source of the random numbers.

        Raises:
            ValueError: if a kept value is not possible, or the shape is wrong.
        """
        keep = kept(mask, x)
        v = self._flat(torch.where(keep, x, 1.0))
        evidence = torch.where(keep.flatten(1), v * torch.inf, 0.0)
        return self._most_probable(evidence, sweeps, generator).view_as(x)

    def denoise(
        self,
        x: Float[Tensor, "n *shape"],
        noise: float = 0.1,
        sweeps: int = AVERAGED,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """The most probable value of each unit before noise, given the noisy example.

        Args:
            x: the examples.
            noise: probability with which a value of x has the wrong sign.
            sweeps: number of sweeps, as for ``inpaint``.
            generator: source of the random numbers.

        Raises:
            ValueError: if a value is not possible, or the noise is out of range.
        """
        if not 0 < noise < 0.5:
            raise ValueError(f"noise={noise} is the probability of a wrong value and must be between 0 and 0.5")
        evidence = self._flat(x) * (math.log((1 - noise) / noise) / 2)
        return self._most_probable(evidence, sweeps, generator).view_as(x)

    def _most_probable(self, evidence: Tensor, sweeps: int, generator: torch.Generator | None) -> Tensor:
        """The value of each visible unit with the larger average probability."""
        mean = self._annealed(evidence, sweeps, generator).means
        return torch.copysign(torch.ones_like(mean), mean)

    def _annealed(self, evidence: Tensor, sweeps: int, generator: torch.Generator | None) -> Annealed:
        """Visible units of annealed chains; the evidence is added to their fields, (n, visible)."""
        gibbs = GibbsSweeps(self.couplings, self.pairs.structure.blocks)
        draw, evidence = draw_from(generator, self.bias, len(evidence)), pad(evidence, (0, self.hidden))
        end = annealed_chains(gibbs, self._base_bias(), self.bias, evidence, sweeps, draw)
        return Annealed(*(values[:, : self.visible] for values in end))

    def filters(self) -> Float[Tensor, "hidden *shape"]:
        """The couplings of each hidden unit with the visible ones."""
        return self.couplings[self.visible :, : self.visible].unflatten(1, self.shape)

    @torch.no_grad()
    def chain_trace(
        self, n: int, steps: Sequence[int], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n shown *shape"]:
        """Chains at inverse temperature 1 from independent units with the means of the data: conditional means.

        Args:
            n: number of chains.
            steps: numbers of sweeps after which the mean of each unit, when it was drawn, is shown. After 0 sweeps, it
                is the state at the start.
            generator: source of the random numbers.

        Raises:
            ValueError: if there are no numbers of steps, or one is negative.
        """
        if min(steps, default=-1) < 0:
            raise ValueError(f"steps={list(steps)} must be at least one number, none of them negative")
        gibbs, draw = GibbsSweeps(self.couplings, self.pairs.structure.blocks), draw_from(generator, self.bias, n)
        shown = traced_chains(
            gibbs, self._base_bias(), self.bias, self.bias.new_ones(n, *self.state_shape), steps, draw
        )
        return shown[:, :, : self.visible].unflatten(2, self.shape)

    def compute_log_normalizer(self, chains: int, betas: int, seed: int) -> LogNormalizer:
        structure, couplings, over = self.pairs.structure, self.couplings, self.pairs.structure.over_all
        if len(over.enumerated) <= LARGEST:
            bias = self.bias.double()
            return exactly(log_sum_out(couplings.double(), bias, bias.new_zeros(1, 0), over))
        path = BoltzmannPath(couplings, self.bias, self._base_bias(), structure.blocks)
        estimate = annealed_importance_sampling(
            path.base, path.log_density, path.kernel, temperatures(betas), chains, seed
        )
        return estimated(estimate)

    def _base_bias(self) -> Float[Tensor, "units"]:
        """Biases of independent units with the means of the data; 0 for hidden units."""
        visible = self.moments.probability().logit() / 2
        return pad(visible.to(self.bias.dtype), (0, self.hidden))

    @property
    def _is_summable(self) -> bool:
        """Whether the sum over the hidden units is computed."""
        return len(self.pairs.structure.over_hidden.enumerated) <= LARGEST

    def _hidden_fields(self, v: Tensor, couplings: Tensor) -> Float[Tensor, "n hidden"]:
        """The fields of the hidden units from the visible ones, without those from each other."""
        return hidden_fields(v, couplings, self.bias)

    def _flat(self, x: Tensor) -> Float[Tensor, "n visible"]:
        """The values of each example in a row, after a check."""
        check_shape(x, self.shape)
        v = x.flatten(1)
        check_signs(v)
        return v


def _check_arguments(hidden: int, radius: float, weight_std: float) -> None:
    """Raise a ValueError if an argument is out of range."""
    if not isinstance(hidden, int) or hidden < 0:
        raise ValueError(f"hidden={hidden} must be an integer that is at least 0")
    for name, number in (("radius", radius), ("weight_std", weight_std)):
        if not 0 <= number < math.inf:
            raise ValueError(f"{name}={number} must be a finite number that is at least 0")
