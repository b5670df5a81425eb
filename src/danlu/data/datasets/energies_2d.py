r"""Densities in the plane that are given by an energy, :math:`p(z) = e^{-U(z)} / Z`: U₁ to U₄.

They are the test energies of Rezende and Mohamed, "Variational inference with normalizing flows", 2015, table 1. The
integral of exp(−U) over the plane is infinite for U₂, U₃ and U₄, which are periodic or constant in z₁. Here they are
confined to a window: for |z₁| > 4 the energy rises by ½((|z₁| − 4) / 0.4)². This makes them densities, whose
normalization and exact samples are known in closed form.

A sampler or a flow gets such an energy as a function of points; the data sets ``u1`` to ``u4`` have exact samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.split import check_parts, stratified_split
from danlu.data.base.split_settings import Split, part_fractions
from danlu.data.datasets.toy_2d import number_of_points
from danlu.data.tables.info import TableInfo
from danlu.rng.keys import generator as generator_of
from danlu.storage.access import Access

WINDOW, WALL = 4.0, 0.4
"""half the width of the window of z₁, and the width of its walls"""
RING_RADIUS, RING_WIDTH, LOBE_CENTER, LOBE_WIDTH = 2.0, 0.4, 2.0, 0.6
BAND, NARROW_BAND = 0.4, 0.35
"""widths of the bands of U₂ to U₄"""
_LONGEST = 6.0
"""largest radius of a proposal for U₁: ten widths of the ring"""


class Energy2d(NamedTuple):
    """A density in the plane.

    Attributes:
        energy: function of points (n, 2), the energy U (n,).
        log_z: logarithm of the integral of exp(−U) over the plane.
        sample: function of a number of points and a generator, exact samples (n, 2).
    """

    energy: Callable[[Tensor], Tensor]
    log_z: float
    sample: Callable[[int, torch.Generator], Tensor]

    def log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, "n"]:
        """Log-density in nats."""
        return -self.energy(x) - self.log_z


def energy_u1(z: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    r"""A ring of radius 2, cut into a left and a right lobe.

    .. math:: U_1(z) = \frac12 \left( \frac{\lVert z \rVert - 2}{0.4} \right)^2 - \log\left(
        e^{-\frac12 ((z_1 - 2) / 0.6)^2} + e^{-\frac12 ((z_1 + 2) / 0.6)^2} \right)

    >>> energy_u1(torch.tensor([[2.0, 0.0], [0.0, 2.0]])).abs().round(decimals=3)
    tensor([0.0000, 4.8620])
    """
    ring = _half_square((z.norm(dim=-1) - RING_RADIUS) / RING_WIDTH)
    return ring + _either((z[..., 0] - LOBE_CENTER) / LOBE_WIDTH, (z[..., 0] + LOBE_CENTER) / LOBE_WIDTH)


def energy_u2(z: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    r"""A band along a sine, :math:`U_2(z) = \frac12 ((z_2 - w_1) / 0.4)^2`, with :math:`w_1 = \sin(2 \pi z_1 / 4)`.

    As for the next two, the term of the wall at :math:`|z_1| = 4` is added.
    """
    return _wall(z) + _half_square((z[..., 1] - _sine(z)) / BAND)


def energy_u3(z: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    r"""A band along a sine that splits at :math:`z_1 = 1` and joins again.

    .. math:: U_3(z) = -\log\left( e^{-\frac12 ((z_2 - w_1) / 0.35)^2} + e^{-\frac12 ((z_2 - w_1 + w_2) / 0.35)^2}
        \right), \qquad w_2 = 3 e^{-\frac12 ((z_1 - 1) / 0.6)^2}
    """
    y = z[..., 1] - _sine(z)
    return _wall(z) + _either(y / NARROW_BAND, (y + _bump(z)) / NARROW_BAND)


def energy_u4(z: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    r"""A band along a sine that splits at :math:`z_1 = 1`, where one branch steps down.

    .. math:: U_4(z) = -\log\left( e^{-\frac12 ((z_2 - w_1) / 0.4)^2} + e^{-\frac12 ((z_2 - w_1 + w_3) / 0.35)^2}
        \right), \qquad w_3 = 3 \, \sigma((z_1 - 1) / 0.3)
    """
    y = z[..., 1] - _sine(z)
    return _wall(z) + _either(y / BAND, (y + _step(z)) / NARROW_BAND)


def sample_u1(n: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
    """Exact samples of U₁ by rejection: radius and angle of the ring, accepted by the radius and the lobes."""
    accepted, count = [], 0
    while count < n:
        size = 4 * (n - count) + 64
        radius = RING_RADIUS + RING_WIDTH * _normal(size, generator)
        angle = 2 * math.pi * _uniform(size, generator)
        z = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        lobes = -_either((z[:, 0] - LOBE_CENTER) / LOBE_WIDTH, (z[:, 0] + LOBE_CENTER) / LOBE_WIDTH)
        # the area element is proportional to the radius; the sum of both lobes is less than 1.001
        chance = radius.clamp(0, _LONGEST) / _LONGEST * lobes.exp() / 1.001
        accepted.append(z[_uniform(size, generator) < chance])
        count += len(accepted[-1])
    return torch.cat(accepted)[:n].float()


def sample_u2(n: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
    """Exact samples of U₂."""
    return _along(n, generator, lambda z: torch.zeros(len(z)), (BAND, 0.0))


def sample_u3(n: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
    """Exact samples of U₃."""
    return _along(n, generator, _bump, (NARROW_BAND, NARROW_BAND))


def sample_u4(n: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
    """Exact samples of U₄."""
    return _along(n, generator, _step, (BAND, NARROW_BAND))


def _along(
    n: int, generator: torch.Generator, shift: Callable[[Tensor], Tensor], widths: tuple[float, float]
) -> Float[Tensor, "n 2"]:
    """Samples of a band along the sine, and of a second one below it; each is normal in z₂ for any z₁."""
    z = torch.stack([_first(n, generator), torch.zeros(n, dtype=torch.float64)], 1)
    second = _uniform(n, generator) * sum(widths) > widths[0]
    width = torch.where(second, widths[1], widths[0])
    z[:, 1] = _sine(z) - torch.where(second, shift(z), 0.0) + width * _normal(n, generator)
    return z.float()


def _first(n: int, generator: torch.Generator) -> Float[Tensor, "n"]:
    """z₁: uniform in the window, or one half of a normal distribution in one of its walls."""
    walls = WALL * math.sqrt(2 * math.pi)
    inside = WINDOW * (2 * _uniform(n, generator) - 1)
    normal = WALL * _normal(n, generator)
    in_wall = _uniform(n, generator) * (2 * WINDOW + walls) < walls
    return torch.where(in_wall, normal + WINDOW * normal.sign(), inside)


def _log_z(*widths: float) -> float:
    """log Z of bands of these widths in the window: the integral over z₂ is the same for every z₁."""
    root = math.sqrt(2 * math.pi)
    return math.log(sum(widths) * root) + math.log(2 * WINDOW + WALL * root)


def _wall(z: Tensor) -> Tensor:
    return _half_square((z[..., 0].abs() - WINDOW).clamp(min=0) / WALL)


def _sine(z: Tensor) -> Tensor:
    """w₁."""
    return (math.pi / 2 * z[..., 0]).sin()


def _bump(z: Tensor) -> Tensor:
    """w₂."""
    return 3 * (-_half_square((z[..., 0] - 1) / 0.6)).exp()


def _step(z: Tensor) -> Tensor:
    """w₃."""
    return 3 * ((z[..., 0] - 1) / 0.3).sigmoid()


def _half_square(x: Tensor) -> Tensor:
    return 0.5 * x.square()


def _either(a: Tensor, b: Tensor) -> Tensor:
    """The energy of two Gaussians of equal weight, without underflow far from both."""
    return -torch.logaddexp(-_half_square(a), -_half_square(b))


def _uniform(n: int, generator: torch.Generator) -> Float[Tensor, "n"]:
    return torch.rand(n, generator=generator, dtype=torch.float64)


def _normal(n: int, generator: torch.Generator) -> Float[Tensor, "n"]:
    return torch.randn(n, generator=generator, dtype=torch.float64)


U1_LOG_Z = 1.87750
"""log Z of U₁, by numerical integration"""

ENERGIES: dict[str, Energy2d] = {
    "u1": Energy2d(energy_u1, U1_LOG_Z, sample_u1),
    "u2": Energy2d(energy_u2, _log_z(BAND), sample_u2),
    "u3": Energy2d(energy_u3, _log_z(NARROW_BAND, NARROW_BAND), sample_u3),
    "u4": Energy2d(energy_u4, _log_z(BAND, NARROW_BAND), sample_u4),
}
"""the densities by name"""


def _loader(name: str) -> Callable[..., DataSet]:
    def load(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
        n = number_of_points(name, argument)
        x = ENERGIES[name].sample(n, generator_of(name, split.seed))
        fractions = part_fractions(split)
        cuts = stratified_split(torch.zeros(n, dtype=torch.int64), fractions, split.seed)
        check_parts(f"{name}:{n}", map(len, cuts), fractions)
        train, validation, test = (Part({"x": x[cut]}) for cut in cuts)
        low, high = x.aminmax()
        info = TableInfo((2,), range=(low.item(), high.item()), columns=("x", "y"))
        return DataSet(name, info, train, validation, test)

    load.__name__ = load.__qualname__ = name
    load.__doc__ = f"""{(ENERGIES[name].sample.__doc__ or "").splitlines()[0]}

    Args:
        argument: total number of points; 10,000 by default.
        split: fractions of the parts, and the seed of the split and of the points.
        access: not needed.

    Raises:
        UsageError: if the argument is not such a number, or a part would be empty.
    """
    return load


u1, u2, u3, u4 = (_loader(name) for name in ENERGIES)
