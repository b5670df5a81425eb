"""Restricted Boltzmann machine. Smolensky, "Information processing in dynamical systems", 1986; Hinton, "Training
products of experts by minimizing contrastive divergence", 2002.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn
from torch.nn.functional import softplus

from danlu.models.base import FromData
from danlu.models.energy.energy_model import Draw, EnergyModel, draw_from
from danlu.models.energy.enumeration import LARGEST, log_sum_over_states
from danlu.models.energy.normalizer import LogNormalizer, estimated, exactly, temperatures
from danlu.models.energy.rbm.binary_units import BinaryUnits
from danlu.models.energy.rbm.chains import RBMChains
from danlu.models.energy.rbm.gaussian_units import GaussianUnits
from danlu.models.energy.rbm.path import RBMPath
from danlu.models.energy.rbm.visible_units import Evidence, VisibleUnits
from danlu.models.energy.unit_values import check_binary, check_example_shape, check_shape, kept
from danlu.nn.dense import check_width
from danlu.nn.roles import set_role
from danlu.sampling.mcmc.annealed import annealed_importance_sampling

SWEEPS = 1000
"""default number of steps of the chains of a sample"""
AVERAGED = 200
"""default number of steps of the chains whose conditional means are averaged"""


class RBM(EnergyModel):
    r"""Restricted Boltzmann machine: visible units v and binary hidden units h, with couplings only between them.

    .. math:: p(v, h) = \tfrac 1 Z \exp\!\left(f(v) + \phi(v)^\top W h + c^\top h\right), \qquad
        E(v) = -f(v) - \sum_j \log\!\left(1 + e^{c_j + (\phi(v)^\top W)_j}\right)

    E(v) is the free energy, with the hidden units summed out. Binary visible units have the values 0 and 1,
    :math:`f(v) = b^\top v` and φ(v) = v. Gaussian ones are real, with
    :math:`f(v) = -\sum_i (v_i - b_i)^2 / 2\sigma_i^2` and :math:`\phi(v)_i = v_i / \sigma_i^2`, and σ is trained.
    The hidden units are independent given the visible ones, and the other way round, so a step of Gibbs sampling is two
    matrix products.

    Args:
        shape: shape of an example.
        hidden: number of hidden units.
        visible: binary or gaussian.
        weight_std: standard deviation of the initial weights, which are normal; the default is that of Hinton, "A
            practical guide to training restricted Boltzmann machines", 2012.

    Raises:
        ValueError: if a number is out of range.

    >>> model = RBM((2, 2), hidden=3)
    >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> model.energy(x).shape, model.log_normalizer().kind
    (torch.Size([1]), 'exact')
    >>> model.sample(5, sweeps=10).shape
    torch.Size([5, 2, 2])
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int = 128,
        visible: Annotated[Literal["binary", "gaussian"], FromData] = "binary",
        weight_std: float = 0.01,
    ):
        super().__init__()
        check_example_shape(shape)
        self.shape, self.state_shape = tuple(shape), (hidden,)
        check_width("hidden", hidden)
        if visible not in ("binary", "gaussian"):
            raise ValueError(f"visible={visible!r} must be 'binary' or 'gaussian'")
        if not 0 <= weight_std < math.inf:
            raise ValueError(f"weight_std={weight_std} must be a finite number that is at least 0")
        units = math.prod(self.shape)
        self.units: VisibleUnits = BinaryUnits(units) if visible == "binary" else GaussianUnits(units)
        self.weight = nn.Parameter(torch.randn(units, hidden) * weight_std)
        self.bias = nn.Parameter(torch.zeros(hidden))
        set_role(self, "output", "weight")

    @property
    def capabilities(self) -> frozenset[str]:
        values = {"density", "centered_noise"} if isinstance(self.units, GaussianUnits) else {"binary_values"}
        return super().capabilities | values | {"noise_level", "sweeps", "filters", "chain_trace"}

    @property
    def binary_values(self) -> tuple[float, float]:
        """The two values of binary visible units.

        Raises:
            ValueError: if they are Gaussian.
        """
        if isinstance(self.units, GaussianUnits):
            raise ValueError("Gaussian visible units have more than two values")
        return 0.0, 1.0

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n hidden"]:
        """The inputs of the hidden units: log-odds of the value 1."""
        return self.fields(x.flatten(1))

    def energy(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The free energy of each example.

        Args:
            x: the examples.

        Raises:
            ValueError: if a value is not possible, or the shape is wrong.
        """
        v = self._flat(x)
        return -self.units.log_factor(v) - softplus(self.fields(v)).sum(1)

    free_energy = energy

    def joint_energy(self, x: Float[Tensor, "n *shape"], h: Float[Tensor, "n hidden"]) -> Float[Tensor, "n"]:
        """The energy of visible and hidden units together.

        Args:
            x: the examples.
            h: values 0 and 1 of the hidden units.

        Raises:
            ValueError: as ``energy``.
        """
        v = self._flat(x)
        check_binary(h, "state of the hidden units")
        return -self.units.log_factor(v) - (self.fields(v) * h).sum(1)

    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n hidden"]:
        """The probability of each hidden unit, given the example: features for another model.

        Args:
            x: the examples. Values between 0 and 1 of binary units are used as probabilities of 1.

        Raises:
            ValueError: if a value is not possible, or the shape is wrong.
        """
        v = self._rows(x)
        self.units.check_mean(v)
        return self.fields(v).sigmoid()

    def reconstruct(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The mean of the visible units given the probabilities of the hidden ones.

        Args:
            x: the examples, as for ``encode``.

        Raises:
            ValueError: as ``encode``.
        """
        return self.units.mean(self.encode(x) @ self.weight.T).view_as(x)

    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        v = self._flat(x)
        first = not self.units.moments.count
        self.units.moments.add(v)
        if first:
            self.units.initialize(v)

    def initial_state(self, draw: Draw, *leading: int) -> Shaped[Tensor, "n *state"]:
        return (draw((*leading, *self.state_shape), True) < 0.5).to(self.bias.dtype)

    def contrast(
        self, x: Float[Tensor, "n *shape"], state: Shaped[Tensor, "n *state"] | None, steps: int, draw: Draw
    ) -> tuple[Float[Tensor, "n"], Shaped[Tensor, "n *state"]]:
        """Move the hidden units of one chain for each example, and the surrogate of E(x) − E(v).

        The surrogate is the mean energy of visible and hidden units given the visible ones. Its gradient is that of the
        free energy, and it needs the probabilities of the hidden units that also move the chains. For chains that are
        given, examples and chains are in one matrix product.

        Args:
            x: the examples.
            state: values of the hidden units of the chains.
            steps: number of steps; a step draws the visible units, then the hidden ones.
            draw: source of the random numbers.
        """
        data, chains = x.flatten(1), RBMChains(self, draw)
        if state is None:
            energies, probability = self._mean_energy(data)
            v = chains.visible_after(chains.hidden(probability), steps)
            negative, probability = self._mean_energy(v)
            return energies - negative, chains.hidden(probability)
        v = chains.visible_after(state, steps)
        energies, probability = self._mean_energy(torch.cat([data, v]))
        positive, negative = energies.split(len(data))
        return positive - negative, chains.hidden(probability[len(data) :])

    def _mean_energy(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The mean energy of visible and hidden units given v, and the probabilities of the hidden units."""
        fields = self.fields(v)
        probability = fields.detach().sigmoid()
        return -self.units.log_factor(v) - (fields * probability).sum(1), probability

    @torch.no_grad()
    def sample(
        self, n: int, sweeps: int = SWEEPS, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Draw examples by Gibbs sampling.

        The chains start at the base distribution, which has the mean and variance of each value of the data. In the
        first half of the steps their inverse temperature rises from that of the base to that of the model.

        Args:
            n: number of examples.
            sweeps: number of steps of the chains.
            generator: source of the random numbers.

        Raises:
            ValueError: if ``sweeps`` is not positive.
        """
        check_width("sweeps", sweeps)
        v, _ = RBMChains(self, draw_from(generator, self.bias, n)).annealed(n, sweeps)
        return v.unflatten(1, self.shape)

    def inpaint(
        self,
        x: Float[Tensor, "n *shape"],
        mask: Shaped[Tensor, "*mask"],
        sweeps: int = AVERAGED,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Fill in the entries where the mask is 0, by Gibbs sampling with the other ones clamped.

        Each is the most probable value of its unit, or for Gaussian units the mean, estimated from the second half of
        the steps.

        Args:
            x: the examples; entries where the mask is 0 have no influence.
            mask: 1 for entries that are kept, 0 for missing ones; it broadcasts with x.
            sweeps: number of steps of the chains, which start as in ``sample``.
            generator: source of the random numbers.

        Raises:
            ValueError: if a kept value is not possible, or the shape is wrong.
        """
        keep = kept(mask, x)
        values = self._flat(torch.where(keep, x, 0.0))
        known = torch.where(keep.flatten(1), torch.inf, 0.0).to(values.dtype)
        return self._posterior(Evidence(values, known), sweeps, generator).view_as(x)

    def denoise(
        self,
        x: Float[Tensor, "n *shape"],
        noise: float = 0.1,
        sweeps: int = AVERAGED,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """The values without noise: most probable ones, or means of Gaussian units, given the noisy ones.

        Args:
            x: the examples.
            noise: probability that a value of x is wrong, or standard deviation of normal noise for Gaussian units, in
                units of x.
            sweeps: number of steps of the chains, as for ``inpaint``.
            generator: source of the random numbers.

        Raises:
            ValueError: if a value is not possible, or the noise is out of range.
        """
        return self._posterior(self.units.observed(self._flat(x), noise), sweeps, generator).view_as(x)

    @torch.no_grad()
    def _posterior(self, evidence: Evidence, sweeps: int, generator: torch.Generator | None) -> Tensor:
        """The most probable values, or the means of Gaussian units, given evidence."""
        check_width("sweeps", sweeps)
        n = len(evidence.values)
        _, mean = RBMChains(self, draw_from(generator, self.bias, n)).annealed(n, sweeps, evidence)
        return self.units.best(mean)

    def filters(self) -> Float[Tensor, "hidden *shape"]:
        """The weights of each hidden unit: what it adds to the log-odds of a visible unit, or to a Gaussian's mean."""
        return self.weight.T.unflatten(1, self.shape)

    @torch.no_grad()
    def chain_trace(
        self, n: int, steps: Sequence[int], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n shown *shape"]:
        """Chains at inverse temperature 1 from the base distribution: means of the visible units given the hidden ones.

        Args:
            n: number of chains.
            steps: numbers of steps after which they are shown. After 0 steps, it is the state at the start.
            generator: source of the random numbers.

        Raises:
            ValueError: if there are no numbers of steps, or one is negative.
        """
        if min(steps, default=-1) < 0:
            raise ValueError(f"steps={list(steps)} must be at least one number, none of them negative")
        shown = RBMChains(self, draw_from(generator, self.bias, n)).trace(n, steps)
        return shown.unflatten(2, self.shape)

    def compute_log_normalizer(self, chains: int, betas: int, seed: int) -> LogNormalizer:
        visible, hidden = self.weight.shape
        if isinstance(self.units, GaussianUnits):
            visible = LARGEST + 1  # their states cannot be enumerated
        if min(visible, hidden) <= LARGEST:
            return exactly(self._enumerated(visible < hidden))
        path, grid = RBMPath(self), temperatures(betas)
        return estimated(annealed_importance_sampling(path.base, path.log_density, path.kernel, grid, chains, seed))

    def _enumerated(self, over_visible: bool) -> Float64[Tensor, ""]:
        """Log Z as a sum over all states of the visible units, or of the hidden ones."""
        if over_visible:
            weights = lambda v: self.units.log_factor(v) + softplus(self.fields(v)).sum(1)  # noqa: E731
            return log_sum_over_states(weights, len(self.weight), like=self.bias)
        weights = lambda h: h @ self.bias + self.units.log_integral(h @ self.weight.T)  # noqa: E731
        return log_sum_over_states(weights, len(self.bias), like=self.bias)

    def fields(self, v: Float[Tensor, "n v"]) -> Float[Tensor, "n hidden"]:
        """The inputs of the hidden units for rows of visible units, without a check.

        Args:
            v: the visible units.
        """
        # under autocast the product is in bfloat16, in which probabilities near 1 would be rounded to 1
        return torch.addmm(self.bias, self.units.statistic(v), self.weight).to(self.bias.dtype)

    def _flat(self, x: Tensor) -> Float[Tensor, "n v"]:
        """The values of each example in a row, after a check."""
        v = self._rows(x)
        self.units.check(v)
        return v

    def _rows(self, x: Tensor) -> Float[Tensor, "n v"]:
        """The values of each example in a row, after a check of the shape."""
        check_shape(x, self.shape)
        return x.flatten(1) if x.is_floating_point() else x.flatten(1).to(self.bias.dtype)
