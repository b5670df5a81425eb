"""Deep energy-based model: any network is an energy. Du and Mordatch, "Implicit generation and modeling with
energy-based models", 2019; Nijkamp et al., "On the anatomy of MCMC-based maximum likelihood learning of energy-based
models", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.base import FromData
from danlu.models.energy.deep.annealing import Path, annealed_log_z
from danlu.models.energy.deep.chains import Energy, SamplerName, Steps, move
from danlu.models.energy.deep.networks import energy_network
from danlu.models.energy.deep.quadrature import grid_log_z
from danlu.models.energy.deep.spaces import Box, Plane, Space
from danlu.models.energy.energy_model import Draw, EnergyModel, draw_from
from danlu.models.energy.normalizer import LogNormalizer
from danlu.models.energy.unit_values import check_example_shape, check_finite, check_shape, kept
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width

SWEEPS = 500
"""default number of steps of the chains of a sample"""


class DeepEnergy(EnergyModel):
    r"""A density whose energy is a network f, on top of a base distribution q that makes it normalizable.

    .. math:: p(x) = \tfrac 1 Z e^{-f(u)} q(u), \qquad u = (x - m) / s

    Rows are real numbers: m and s are mean and standard deviation of each column, q is N(0, I), and E(x) = f(u) +
    ‖u‖²/2. Pixels of images have levels, and noise fills the gap to the next one: u is from −1 to 1, q is uniform, and
    E(x) = f(u). The gradient of the log-likelihood needs samples of the model, from chains with Langevin steps in u:

    .. math:: u' = u - \tfrac{\varepsilon^2}{2} \nabla E + \sigma \xi, \qquad \xi \sim N(0, I)

    With the sampler "mala" each step is accepted or rejected, so that the chains have the density of the model, and
    σ = ε. With "langevin" every step is accepted. Then σ can differ from ε, as in Du and Mordatch and in most work on
    images: the chains have the temperature (σ / ε)², and p is not their density. In images, chains are reflected at the
    smallest and at the largest value.

    ``log_normalizer`` integrates rows with one or two columns on a grid. For others, it is an estimate by annealed
    importance sampling. ``energy``, ``log_prob`` and ``log_normalizer`` are in nats, and Z is the integral over x.

    Args:
        shape: shape of an example.
        range: the smallest and the largest level of images; None for rows.
        levels: number of levels of images.
        hidden: width of each fully connected layer of the network.
        channels: channels of each convolution before them, for images. The first one keeps the size, and the others
            halve it while height and width are more than 4.
        activation: activation function after each layer. A smooth one gives a smooth density.
        network: in Python, another network: a model from examples (n, \*shape), in coordinates u, to (n,) or (n, 1).
        sampler: "mala" or "langevin".
        step_size: ε, in units of u: standard deviations of a column, or half of the range of images.
        noise: σ of "langevin", in units of u; None means ε.
        gradient_clip: largest absolute value of an entry of the gradient in a step; None for no limit. With "mala" the
            chains keep the density of the model, and do not stop where the energy is steep.
        regularization: α of the penalty :math:`\alpha (f(u)^2 + f(u')^2)` of the energies of data and chains (Du and
            Mordatch, 2019).

    Raises:
        ValueError: if a number is out of range, or has no effect.

    >>> model = DeepEnergy((2,), None, hidden=(16,))
    >>> model.energy(torch.zeros(3, 2)).shape, model.sample(5, sweeps=10).shape
    (torch.Size([3]), torch.Size([5, 2]))
    >>> model.log_normalizer().kind
    'estimate'
    """

    betas = (2_000,)  # steps of a network take much longer than those of an RBM
    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("noise", ("sampler",), ("langevin",)),
        Needs("activation", ("hidden", "channels")),
    )

    def __init__(
        self,
        shape: Sequence[int],
        range: Sequence[float] | None,
        levels: Annotated[int, FromData] = 256,
        hidden: Sequence[int] = (64, 64, 64),
        channels: Sequence[int] = (),
        activation: Activation = "gelu",
        network: nn.Module | None = None,
        sampler: SamplerName = "mala",
        step_size: float = 0.2,
        noise: float | None = None,
        gradient_clip: float | None = 10.0,
        regularization: float = 0.0,
    ):
        super().__init__()
        check_example_shape(shape)
        self.shape = self.state_shape = tuple(shape)
        self.steps = Steps(sampler, step_size, noise, gradient_clip)
        self.steps.check()
        if not 0 <= regularization < math.inf:
            raise ValueError(f"regularization={regularization} must be a finite number that is at least 0")
        self.regularization = regularization
        self.space: Space = Plane(self.shape) if range is None else Box(range, levels)
        self.network = energy_network(self.shape, hidden, channels, activation) if network is None else network

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"density", "sweeps", "noise_level", "chain_trace"}

    @property
    def remedy(self) -> str:
        if isinstance(self.space, Plane) or self.steps.sampler == "langevin":
            return "Use a smaller lr or model.step_size, or more steps of the chains (steps)"
        return (
            "For images, the defaults are not suited; these settings are stable on digits: model.sampler=langevin, "
            "model.step_size=4.5, model.noise=0.005, model.gradient_clip=0.03, model.regularization=0.1, restart=0.05, "
            "steps=30, lr=3e-4"
        )

    def forward(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The output f of the network.

        Args:
            u: coordinates of examples.
        """
        output = self.network(u)
        if output.shape not in ((len(u),), (len(u), 1)):
            raise ValueError(f"the network has the output shape {tuple(output.shape)}; it must be (n,) or (n, 1)")
        return output.view(len(u))

    def energy(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The energy of each example.

        Args:
            x: the examples.

        Raises:
            ValueError: if a value is not finite or not in the range of images, or the shape is wrong.
        """
        check_shape(x, self.shape)
        self.space.check(x)
        return self._energy(self.space.encode(x))

    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        check_finite(x)
        self.space.observe(x)

    @torch.no_grad()
    def initial_state(self, draw: Draw, *leading: int) -> Shaped[Tensor, "n *state"]:
        return self.space.decode(self._base_sample(draw, *leading))

    def contrast(
        self, x: Float[Tensor, "n *shape"], state: Shaped[Tensor, "n *state"] | None, steps: int, draw: Draw
    ) -> tuple[Float[Tensor, "n"], Shaped[Tensor, "n *state"]]:
        """Move one chain for each example, and E(x) − E(x') with the penalty of the energies.

        Args:
            x: the examples.
            state: values of the chains; None starts each chain at its example.
            steps: number of Langevin steps.
            draw: source of the random numbers.

        Raises:
            RunError: if a chain is not finite.
        """
        u = self.space.encode(x)
        start = u if state is None else self.space.encode(state.to(u.dtype))
        moved = self.space.confine(move(self.steps, self._energy, start, steps, draw)[0])
        outputs = self(torch.cat([u, moved]))
        positive, negative = outputs[: len(u)], outputs[len(u) :]
        surrogate = positive - negative + self.space.base_energy(u) - self.space.base_energy(moved)
        if self.regularization:
            surrogate = surrogate + self.regularization * (positive.square() + negative.square())
        return surrogate, self.space.decode(moved)

    @torch.no_grad()
    def sample(
        self, n: int, sweeps: int = SWEEPS, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Draw examples with the sampler of the model.

        The chains start at the base distribution. In the first half of the steps, their inverse temperature rises to 1.

        Args:
            n: number of examples.
            sweeps: number of steps of the chains.
            generator: source of the random numbers.

        Raises:
            ValueError: if ``sweeps`` is not positive.
            RunError: if a chain is not finite.
        """
        check_width("sweeps", sweeps)
        draw = draw_from(generator, next(self.parameters()), n)
        u = move(self.steps, self._energy, self._base_sample(draw), sweeps, draw, anneal=True)[0]
        return self.space.to_example(self.space.decode(self.space.confine(u)), whole=True)

    @torch.no_grad()
    def inpaint(
        self,
        x: Float[Tensor, "n *shape"],
        mask: Shaped[Tensor, "..."],
        sweeps: int = SWEEPS,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Fill in the entries where the mask is 0: means of chains in which the other entries are clamped.

        Args:
            x: the examples; entries where the mask is 0 have no influence.
            mask: 1 for entries that are kept, 0 for missing ones; it broadcasts with x.
            sweeps: number of steps of the chains, which start as in ``sample``; the means are over their second half.
            generator: source of the random numbers.

        Raises:
            ValueError: if a kept value is not finite or not in the range of images, or the shape is wrong.
            RunError: if a chain is not finite.
        """
        check_width("sweeps", sweeps)
        keep = kept(mask, x)
        values = torch.where(keep, x, self.space.center().to(x.dtype))
        self.space.check(values)
        known = self._coordinates(self.space.middle_of_level(values))
        draw = draw_from(generator, next(self.parameters()), len(x))
        energy = lambda u, beta: self._energy(torch.where(keep, known, u), beta)  # noqa: E731
        u = self._mean(energy, self.steps, self._base_sample(draw), sweeps, draw, anneal=True)
        return torch.where(keep, x, u)

    @torch.no_grad()
    def denoise(
        self,
        x: Float[Tensor, "n *shape"],
        noise: float = 0.1,
        sweeps: int = SWEEPS,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """The mean of the examples without noise given those with noise, from chains that start at these.

        Examples without noise have the distribution of the chains: for the sampler "langevin" with σ ≠ ε, that at the
        temperature (σ / ε)².

        Args:
            x: the examples with noise.
            noise: standard deviation of the normal noise, in units of x.
            sweeps: number of steps of the chains; the means are over their second half.
            generator: source of the random numbers.

        Raises:
            ValueError: if a value is not finite, or the noise is out of range.
            RunError: if a chain is not finite.
        """
        check_width("sweeps", sweeps)
        if not 0 < noise < math.inf:
            raise ValueError(f"noise={noise} is a standard deviation and must be a finite number greater than 0")
        observed = self._coordinates(self.space.middle_of_level(x))
        precision = (self.space.scale() / noise).square()
        finer, temperature = self.steps.finer(float(precision.max().rsqrt())), self.steps.temperature
        draw = draw_from(generator, next(self.parameters()), len(x))

        def energy(u: Tensor, beta: float) -> Tensor:
            squares = (self.space.confine(u) - observed).square() * precision
            return self._energy(u, beta) + temperature * squares.flatten(1).sum(1) / 2

        return self._mean(energy, finer, observed, sweeps, draw, anneal=False)

    @torch.no_grad()
    def chain_trace(
        self, n: int, steps: Sequence[int], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n shown *shape"]:
        """Chains at inverse temperature 1 from the base distribution, after several numbers of steps.

        Args:
            n: number of chains.
            steps: numbers of steps after which they are shown.
            generator: source of the random numbers.

        Raises:
            ValueError: if there are no numbers of steps, or one is negative.
            RunError: if a chain is not finite.
        """
        if min(steps, default=-1) < 0:
            raise ValueError(f"steps={list(steps)} must be at least one number, none of them negative")
        draw = draw_from(generator, next(self.parameters()), n)
        u, shown, done = self._base_sample(draw), {}, 0
        for number in sorted(set(steps)):
            if number > done:
                u, done = move(self.steps, self._energy, u, number - done, draw)[0], number
            shown[number] = self.space.to_example(self.space.decode(self.space.confine(u)), whole=True)
        return torch.stack([shown[number] for number in steps], 1)

    def compute_log_normalizer(self, chains: int, betas: int, seed: int) -> LogNormalizer:
        like, values = next(self.parameters()), math.prod(self.shape)
        log_z = None
        if isinstance(self.space, Plane) and values <= 2:
            log_z = grid_log_z(lambda u: self._energy(u.view(-1, *self.shape)), values, like)
        if log_z is None:
            log_z = annealed_log_z(Path(self, self.space, self.shape, like), chains, betas, seed)
        volume = float(self.space.scale().double().expand(self.shape).log().sum())  # of x for one of u
        return replace(log_z, value=log_z.value + volume)

    def _energy(self, u: Tensor, beta: float = 1.0) -> Tensor:
        """The energy at an inverse temperature: that of the base for β = 0."""
        point = self.space.confine(u)
        return self.space.base_energy(point) + beta * self(point)

    def _base_sample(self, draw: Draw, *leading: int) -> Tensor:
        return self.space.base_sample(draw((*leading, *self.shape), self.space.uniform))

    def _mean(self, energy: Energy, steps: Steps, u: Tensor, number: int, draw: Draw, anneal: bool) -> Tensor:
        """The mean of chains in the second half of their steps, as values of examples."""
        mean = move(steps, energy, u, number, draw, anneal, self.space.confine)[1]
        return self.space.to_example(self.space.decode(mean), whole=False)

    def _coordinates(self, x: Tensor) -> Tensor:
        """u of examples, after a check."""
        check_shape(x, self.shape)
        check_finite(x)
        return self.space.encode(x)
