"""Points in the plane: two-dimensional toy data on which the behavior of a model is easy to see.

The points of each data set are independent samples of a distribution, which is defined by a function of this module;
``ring`` and ``grid`` also have an exact density. Points are drawn in float64 and rounded to float32, which removes
differences between machines in the last bits of cosines and logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.split import check_parts, stratified_split
from danlu.data.base.split_settings import Split, part_fractions
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.rng.keys import generator as generator_of
from danlu.storage.access import Access

POINTS = 10_000
MAX_POINTS = 10_000_000
MOONS_NOISE = 0.1
CIRCLES_NOISE, CIRCLES_FACTOR = 0.08, 0.5
RING_MODES, RING_RADIUS, RING_DEVIATION = 8, 2.0, 0.02
GRID_SIDE, GRID_STEP, GRID_DEVIATION = 5, 2.0, 0.05
PINWHEEL_ARMS, PINWHEEL_RATE, PINWHEEL_DEVIATIONS = 5, 0.25, (0.3, 0.1)

Points = tuple[Float[Tensor, "n 2"], Int[Tensor, "n"]]


def sample_moons(n: int, generator: torch.Generator) -> Points:
    r"""Two interleaving half circles of radius 1, with normal noise of standard deviation 0.1.

    .. math:: (\cos t, \sin t) \;\text{or}\; (1 - \cos t, \tfrac12 - \sin t), \qquad t \sim U(0, \pi)

    The curves are those of scikit-learn's ``make_moons``, but with random instead of evenly spaced t; the noise is
    that of FFJORD's toy data (Grathwohl et al., 2019).

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: 0 for the upper half circle, 1 for the lower one.

    >>> x, label = sample_moons(4, torch.Generator().manual_seed(0))
    >>> x.shape, label.shape
    (torch.Size([4, 2]), torch.Size([4]))
    """
    label = torch.randint(2, (n,), generator=generator)
    t = math.pi * _uniform(n, generator)
    upper = _pairs(t.cos(), t.sin())
    lower = _pairs(1 - t.cos(), 0.5 - t.sin())
    return _noisy(torch.where(label[:, None] == 0, upper, lower), MOONS_NOISE, generator), label


def sample_circles(n: int, generator: torch.Generator) -> Points:
    r"""Two concentric circles of radius 1 and 0.5, with normal noise of standard deviation 0.08.

    The curves are those of scikit-learn's ``make_circles`` with ``factor=0.5``, but with random
    angles; factor and noise are those of FFJORD's toy data (Grathwohl et al., 2019).

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: 0 for the outer circle, 1 for the inner one.
    """
    label = torch.randint(2, (n,), generator=generator)
    angle = 2 * math.pi * _uniform(n, generator)
    radius = torch.where(label == 0, 1.0, CIRCLES_FACTOR)[:, None]
    return _noisy(radius * _pairs(angle.cos(), angle.sin()), CIRCLES_NOISE, generator), label


def sample_spirals(n: int, generator: torch.Generator) -> Points:
    r"""Two spirals of one and a half turns, rotated by 180 degrees against each other.

    .. math:: x = \pm \tfrac13 (-t \cos t + u, \; t \sin t + v) + 0.1 \, \epsilon, \qquad
        t = 3 \pi \sqrt{w}, \quad u, v \sim U(0, \tfrac12), \; w \sim U(0, 1), \; \epsilon \sim N(0, I)

    "2spirals" of FFJORD's toy data (Grathwohl et al., 2019).

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: 0 for the arm with the sign +, 1 for the other one.
    """
    label = torch.randint(2, (n,), generator=generator)
    t = 3 * math.pi * _uniform(n, generator).sqrt()
    arm = _pairs(-t * t.cos(), t * t.sin()) + 0.5 * _uniform((n, 2), generator)
    return _noisy((1 - 2 * label[:, None]) * arm / 3, 0.1, generator), label


def sample_checkerboard(n: int, generator: torch.Generator) -> Points:
    """Uniform distribution over the eight dark squares of a 4×4 board on [-4, 4]; the side of a square is 2.

    The square in column i and row j, counted from 0 at the bottom left, is dark if i + j is even: "checkerboard" of
    FFJORD's toy data (Grathwohl et al., 2019).

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: the number of the square, 2 i for the lower and 2 i + 1 for the upper one of column i.
    """
    label = torch.randint(8, (n,), generator=generator)
    column = label // 2
    row = 2 * (label % 2) + column % 2
    corner = (2 * torch.stack([column, row], dim=1) - 4).float()
    x = (corner + 2 * _uniform((n, 2), generator)).float()
    below_border = (corner + 2).nextafter(corner)  # rounding up could reach the border of the next square
    return torch.minimum(x, below_border), label


def sample_pinwheel(n: int, generator: torch.Generator) -> Points:
    r"""Five bent arms: Gaussians with standard deviations 0.3 and 0.1 around (1, 0), rotated more at larger radii.

    .. math:: x = 2 R(-\alpha) f, \qquad f \sim N((1, 0), \operatorname{diag}(0.3^2, 0.1^2)), \quad
        \alpha = \tfrac{2 \pi k}{5} + \tfrac14 e^{f_1}

    where R(a) is the counter-clockwise rotation by a, and k is the number of the arm. Johnson et al., "Composing
    graphical models with neural networks for structured representations and fast inference", 2016, with the parameters
    of FFJORD's toy data (Grathwohl et al., 2019).

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: the number k of the arm.
    """
    label = torch.randint(PINWHEEL_ARMS, (n,), generator=generator)
    deviations = torch.tensor(PINWHEEL_DEVIATIONS, dtype=torch.float64)
    radial, tangential = (_normal((n, 2), generator) * deviations + torch.tensor([1.0, 0.0])).unbind(1)
    angle = 2 * math.pi * label / PINWHEEL_ARMS + PINWHEEL_RATE * radial.exp()
    cos, sin = angle.cos(), angle.sin()
    return (2 * _pairs(radial * cos + tangential * sin, tangential * cos - radial * sin)).float(), label


def ring_centers(dtype: torch.dtype = torch.float32) -> Float[Tensor, "8 2"]:
    """Centers of the eight Gaussians of ``ring``: evenly spaced on a circle of radius 2, counter-clockwise from (2, 0).

    >>> ring_centers()[2].allclose(torch.tensor([0.0, 2.0]), atol=1e-6)
    True
    """
    angle = 2 * math.pi * torch.arange(RING_MODES, dtype=torch.float64) / RING_MODES
    return RING_RADIUS * _pairs(angle.cos(), angle.sin()).to(dtype)


def grid_centers(dtype: torch.dtype = torch.float32) -> Float[Tensor, "25 2"]:
    """Centers of the 25 Gaussians of ``grid``: -4, -2, 0, 2, 4 on both axes; the second coordinate varies fastest.

    >>> grid_centers()[[0, 1, 5]]
    tensor([[-4., -4.],
            [-4., -2.],
            [-2., -4.]])
    """
    axis = GRID_STEP * (torch.arange(GRID_SIDE, dtype=dtype) - GRID_SIDE // 2)
    return torch.cartesian_prod(axis, axis)


def sample_ring(n: int, generator: torch.Generator) -> Points:
    """Eight Gaussians of standard deviation 0.02, evenly spaced on a circle of radius 2.

    Metz et al., "Unrolled generative adversarial networks", 2017, section 3.1.

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: the number of the Gaussian in ``ring_centers``.
    """
    return _sample_mixture(n, ring_centers(torch.float64), RING_DEVIATION, generator)


def sample_grid(n: int, generator: torch.Generator) -> Points:
    """25 Gaussians of standard deviation 0.05 on a 5×5 grid with spacing 2.

    Dumoulin et al., "Adversarially learned inference", 2017, and Srivastava et al., "VEEGAN", 2017, use such a grid;
    the parameters are those of Lin et al., "PacGAN", 2018, section 4.1.

    Args:
        n: number of points.
        generator: source of the random numbers.

    Returns:
        Points, and labels: the number of the Gaussian in ``grid_centers``.
    """
    return _sample_mixture(n, grid_centers(torch.float64), GRID_DEVIATION, generator)


def ring_log_prob(x: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    r"""Log-density of ``ring`` in nats: 8 centers c, standard deviation :math:`\sigma = 0.02`.

    .. math:: \log \tfrac18 \sum_c \frac{1}{2 \pi \sigma^2} \exp\left(-\frac{\lVert x - c \rVert^2}{2 \sigma^2}\right)

    >>> ring_log_prob(torch.tensor([[2.0, 0.0]]))  # log(1 / (8 · 2π · 0.02²))
    tensor([3.9067])
    """
    return _mixture_log_prob(x, ring_centers(torch.float64), RING_DEVIATION)


def grid_log_prob(x: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    """Log-density of ``grid`` in nats: as for ``ring``, with 25 centers and standard deviation 0.05.

    >>> grid_log_prob(torch.tensor([[0.0, 4.0]]))
    tensor([0.9347])
    """
    return _mixture_log_prob(x, grid_centers(torch.float64), GRID_DEVIATION)


def _sample_mixture(n: int, centers: Float[Tensor, "k 2"], deviation: float, generator: torch.Generator) -> Points:
    label = torch.randint(len(centers), (n,), generator=generator)
    return _noisy(centers[label], deviation, generator), label


def _mixture_log_prob(x: Float[Tensor, "*n 2"], centers: Float[Tensor, "k 2"], deviation: float) -> Float[Tensor, "*n"]:
    squares = (x.unsqueeze(-2) - centers.to(x)).square().sum(-1)  # (*n, k)
    return (-squares / (2 * deviation**2)).logsumexp(-1) - math.log(len(centers) * 2 * math.pi * deviation**2)


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _pairs(x: Float[Tensor, "n"], y: Float[Tensor, "n"]) -> Float[Tensor, "n 2"]:
    return torch.stack([x, y], dim=1)


def _noisy(x: Float[Tensor, "n 2"], deviation: float, generator: torch.Generator) -> Float[Tensor, "n 2"]:
    return (x + deviation * _normal((len(x), 2), generator)).float()


def number_of_points(name: str, argument: str) -> int:
    """The number of points in the argument of a data set.

    Raises:
        UsageError: if it is no such number.
    """
    if not argument:
        return POINTS
    if not (argument.isascii() and argument.isdigit()) or not 1 <= int(argument[:10]) <= MAX_POINTS:
        raise UsageError(
            f"{name}:{argument}: the argument must be a number of points from 1 to {MAX_POINTS:,}, for example "
            f"{name}:5000; the default is {POINTS:,}"
        )
    return int(argument)


def _loader(
    name: str, sample: Callable[[int, torch.Generator], Points], class_names: tuple[str, ...]
) -> Callable[..., DataSet]:
    def load(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
        n = number_of_points(name, argument)
        x, label = sample(n, generator_of(name, split.seed))
        fractions = part_fractions(split)
        cuts = stratified_split(label, fractions, split.seed)
        check_parts(f"{name}:{n}", map(len, cuts), fractions)
        train, validation, test = (Part({"x": x[cut], "label": label[cut]}) for cut in cuts)
        low, high = x.aminmax()
        value_range = (low.item(), high.item())
        info = TableInfo((2,), len(class_names), class_names, range=value_range, columns=("x", "y"))
        return DataSet(name, info, train, validation, test)

    load.__name__ = load.__qualname__ = name
    load.__doc__ = f"""{(sample.__doc__ or "").splitlines()[0]}

    Points are drawn by ``{sample.__name__}``; the split is stratified. ``x`` is (n, 2), ``label`` is (n,).

    Args:
        argument: total number of points; {POINTS} by default.
        split: fractions of the parts, and the seed of the split and of the points.
        access: not needed.

    Raises:
        UsageError: if the argument is not such a number, or a part would be empty.
    """
    return load


moons = _loader("moons", sample_moons, ("upper", "lower"))
circles = _loader("circles", sample_circles, ("outer", "inner"))
ring = _loader("ring", sample_ring, tuple(map(str, range(RING_MODES))))
grid = _loader("grid", sample_grid, tuple(map(str, range(GRID_SIDE**2))))
spirals = _loader("spirals", sample_spirals, ("0", "1"))
checkerboard = _loader("checkerboard", sample_checkerboard, tuple(map(str, range(8))))
pinwheel = _loader("pinwheel", sample_pinwheel, tuple(map(str, range(PINWHEEL_ARMS))))
