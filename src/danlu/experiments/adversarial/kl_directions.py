"""Inclusive KL covers modes, exclusive KL selects one, and JSD behaves like exclusive KL (notes, 2.2.3.2).

The data are a one-dimensional mixture of two Gaussians with weights 60% and 40%, 2 to 10 standard deviations apart. One
Gaussian, and then a mixture of two, which can represent the data exactly, are fitted by gradient descent on each
divergence, computed by numerical integration, from five initial values. The measure is the probability of the fit on
the side of the smaller mode, relative to that mode: at the minimum, which is the best of the five fits, and for each
of four fits alone; the fifth begins at both modes. Modes count as separate from 6 standard deviations: the density
between them is then 3% of that of the smaller mode.

The notes explain mode collapse in GANs with this effect. The mixture of two tests this: a divergence whose minimum
loses modes would lose them here, too. The notes say that the effect was introduced before; it was not. (Goodfellow,
"NIPS 2016 tutorial: Generative adversarial networks", section 3.2.5, argues that the divergence is not the cause.)
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, distributions, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.densities import divergence, jensen_shannon, mixture
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEPARATIONS: tuple[int, ...] = (2, 4, 6, 8, 10)  # distance of the modes, in standard deviations
WEIGHTS = [0.6, 0.4]
DIVERGENCES = {
    "inclusive KL(p‖q)": lambda p, q, x: divergence(p, q, x),
    "exclusive KL(q‖p)": lambda p, q, x: divergence(q, p, x),
    "JSD": jensen_shannon,
}
INCLUSIVE, EXCLUSIVE, JSD = DIVERGENCES
STYLES = ("-", "-", (0, (4, 2)))  # line styles; the lines may overlap
CAPACITIES = {"one Gaussian": 1, "two Gaussians": 2}
POINTS = torch.linspace(-25, 25, 501, dtype=torch.float64)
SHOWN = (4, 6, 10)
SEPARATE = 6  # standard deviations
COVERED, LOST = 0.5, 0.1  # fractions of the smaller mode: covered from the first, lost below the second
ROUNDS = 300
STARTS = 4  # initial values that do not use the positions of both modes
ONE, TWO = CAPACITIES


class Fits(nn.Module):
    """A mixture of Gaussians for each separation and each initialization.

    Args:
        means: the initial means.
        deviations: the initial standard deviations.
    """

    def __init__(self, means: Float[Tensor, "s starts k"], deviations: Float[Tensor, "s starts k"]):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros_like(means))
        self.means = nn.Parameter(means.clone())
        self.spreads = nn.Parameter(deviations.log())

    def parts(self, x: Float[Tensor, "points"]) -> Float[Tensor, "s starts k points"]:
        """Log of the weighted density of each component."""
        away = (x - self.means[..., None]) / self.spreads.exp()[..., None]
        scale = self.weights.log_softmax(-1) - self.spreads - math.log(2 * math.pi) / 2
        return scale[..., None] - away.square() / 2

    def log_prob(self, x: Float[Tensor, "points"]) -> Float[Tensor, "s starts points"]:
        """Log-density."""
        return self.parts(x).logsumexp(-2)

    def right(self) -> Float[Tensor, "s starts"]:
        """The probability of values above 0."""
        each = torch.special.ndtr(self.means / self.spreads.exp())
        return (self.weights.softmax(-1) * each).sum(-1)


class MinimizeDivergence(Task):
    """Minimize a divergence from the data for all fits independently.

    Args:
        fits: the mixtures that are trained.
        log_p: log-density of the data at the points, for each separation.
        name: the name of the divergence.
    """

    def __init__(self, fits: Fits, log_p: Float[Tensor, "s points"], name: str):
        super().__init__()
        self.fits, self.name = fits, name
        self.register_buffer("log_p", log_p)

    def players(self) -> dict[str, nn.Module]:
        return {"fits": self.fits}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("fits", self.fit)]

    def distances(self) -> Float[Tensor, "s starts"]:
        """The divergence of each fit."""
        return DIVERGENCES[self.name](self.get_buffer("log_p")[:, None], self.fits.log_prob(POINTS), POINTS)

    def fit(self, batch: Batch) -> Terms:
        """The divergence, summed over fits."""
        return {"divergence": per_example(self.distances().sum(), len(batch))}


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """The fraction of the smaller mode for each fit and seed, at the minimum and alone; the densities of some fits."""
    run_seeds = seeds(seed, 2 if quick else 5)
    separations, rounds = (SEPARATIONS[::2], 40) if quick else (SEPARATIONS, ROUNDS)
    log_p = torch.stack([data(s).log_prob(POINTS) for s in separations])
    runs = [(capacity, name) for capacity in CAPACITIES for name in DIVERGENCES]
    covered: Numbers = {capacity: {} for capacity in CAPACITIES}
    arms: Numbers = {name: {} for name in DIVERGENCES}
    curves: Numbers = {}
    apart = [row for row, s in enumerate(separations) if s >= SEPARATE]
    for done, (capacity, name) in enumerate(runs):
        progress("fits", done, len(runs))
        fits, distances = fitted(log_p, separations, CAPACITIES[capacity], name, rounds, run_seeds)
        best = distances.argmin(dim=2)  # (separations, seeds)
        with torch.no_grad():
            theirs = torch.tensor([float(data(s).cdf(torch.zeros(()).double())) for s in separations])
            fractions = fits.right().view(distances.shape) / (1 - theirs)[:, None, None]
            at_minimum = fractions.gather(2, best[..., None])[..., 0]
            covered[capacity][name] = at_minimum.T.tolist()
            arms[name] |= {
                f"covered, {capacity}": at_minimum[apart].mean(0).tolist(),
                f"least covered, {capacity}": at_minimum.amin(0).tolist(),
                f"fits without the smaller mode, {capacity}": (fractions[apart, :, :STARTS] < LOST)
                .double()
                .mean((0, 2))
                .tolist(),
            }
            if capacity == ONE:
                densities = fits.log_prob(POINTS).exp()
                curves[name] = densities[torch.arange(len(separations)), best[:, 0]]
    shown = [s for s in SHOWN if s in separations] or [separations[0], separations[-1]]
    visible = POINTS.abs() <= 9
    rows = [list(separations).index(s) for s in shown]
    return {
        "arms": arms,
        "separations": list(separations),
        "covered": covered,
        "x": POINTS[visible].tolist(),
        "shown": shown,
        "p": log_p[rows][:, visible].exp().tolist(),
        "fits": {name: curve[rows][:, visible].tolist() for name, curve in curves.items()},
    }


def data(separation: float) -> distributions.MixtureSameFamily:
    """The two-mode data distribution."""
    return mixture(WEIGHTS, [-separation / 2, separation / 2], [1.0, 1.0])


def fitted(
    log_p: Float[Tensor, "s points"],
    separations: tuple[int, ...],
    capacity: int,
    name: str,
    rounds: int,
    run_seeds: list[int],
) -> tuple[Fits, Float[Tensor, "s seeds 5"]]:
    """Fit mixtures by a divergence, all initial values and seeds at once. Returns the fits and their divergences.

    The initial values are at the larger mode, at the smaller mode, in the middle, and in the middle with a large
    deviation, each moved by a random amount. Several components start slightly apart; identical components would stay
    identical. In the last one the components are spread from mode to mode, which finds the minimum.
    """
    half = torch.tensor(separations, dtype=torch.float64) / 2
    means = torch.stack([-half, half, torch.zeros_like(half), torch.zeros_like(half)], dim=1)
    deviations = torch.stack([*[torch.ones_like(half)] * 3, half + 1, torch.ones_like(half)], dim=1)
    spread = half[:, None, None] * (
        torch.linspace(-1, 1, capacity, dtype=torch.float64) if capacity > 1 else torch.ones(1)
    )
    begin = torch.cat([means[..., None].expand(-1, -1, capacity), spread], dim=1)
    nudges = [torch.randn(begin.shape, generator=generator("starts", seed), dtype=torch.float64) for seed in run_seeds]
    starts = torch.cat([begin + 0.3 * nudge for nudge in nudges], dim=1)
    wide = deviations.repeat(1, len(run_seeds))[..., None].expand_as(starts)
    fits = Fits(starts, wide)
    task = MinimizeDivergence(fits, log_p, name)
    settings = OptimizerSettings(optimizer="adam", lr=0.1, schedule="cosine")
    no_data = Shuffled(Part({"x": torch.zeros(1)}), 1)  # an integral needs no examples
    for _ in Trainer(task, settings, no_data, rounds, runtime=Runtime(precision="float64")):
        pass
    with torch.no_grad():
        return fits, task.distances().view(len(separations), len(run_seeds), begin.shape[1])


def lost_from(separations: list[int], fractions: list[float]) -> int | None:
    """The separation from which the smaller mode is lost, or None if it never is."""
    lost = [fraction < LOST for fraction in fractions]
    return next((s for index, s in enumerate(separations) if all(lost[index:])), None)


COVERS = Comparison(
    "one Gaussian covers the smaller mode with inclusive KL", INCLUSIVE, 0.0, f"least covered, {ONE}", COVERED
)
# half of the mode: between covered and lost there are 0.4
SELECTS, ALIKE = (
    Comparison(
        f"one Gaussian covers less of separate modes with {name} than with inclusive KL",
        name, INCLUSIVE, f"covered, {ONE}", COVERED, lower=True,
    )
    for name in (EXCLUSIVE, JSD)
)  # fmt: skip
MINIMUM = Comparison(
    "two Gaussians cover less of separate modes with JSD than with inclusive KL, at the minimum",
    JSD, INCLUSIVE, f"covered, {TWO}", COVERED, lower=True,
)  # fmt: skip
CRITERIA = Criteria(clauses=(COVERS, SELECTS, ALIKE), limits=(MINIMUM,))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """One Gaussian; then whether the divergence alone loses modes."""
    arms = numbers["arms"]
    one = {name: number(fmean(arms[name][f"covered, {ONE}"]), 2) for name in DIVERGENCES}
    text = (
        f"One Gaussian fitted to two separate modes has {one[INCLUSIVE]} of the smaller mode's probability there with "
        f"inclusive KL, {one[EXCLUSIVE]} with exclusive KL and {one[JSD]} with JSD."
    )
    text += judgment.not_shown(COVERS, SELECTS, ALIKE)
    if not judgment.supported(MINIMUM.clause):
        two = number(fmean(arms[JSD][f"covered, {TWO}"]), 2)
        text += (
            f" The divergence itself loses no mode: two Gaussians, which can represent the data, have {two} of the "
            "smaller mode at the minimum of JSD, so the minimum does not explain mode collapse in GANs with enough "
            "capacity."
        )
    share = {name: percent(fmean(arms[name][f"fits without the smaller mode, {TWO}"])) for name in DIVERGENCES}
    text += (
        f" Descent from a single start can end in a local minimum without the smaller mode: {share[JSD]} of the fits "
        f"of two Gaussians with JSD, {share[EXCLUSIVE]} with exclusive KL, {share[INCLUSIVE]} with inclusive KL."
    )
    between = [lost_from(numbers["separations"], numbers["covered"][ONE][name][0]) for name in (EXCLUSIVE, JSD)]
    if None not in between and between[0] != between[1]:
        text += (
            f" The smaller mode is lost from {between[0]} standard deviations with exclusive KL, and only from "
            f"{between[1]} with JSD."
        )
    return text


def table(numbers: Numbers) -> Table:
    """Fraction of the smaller mode by separation."""
    rows: Table = [("fit", "divergence", *(f"separation {s}" for s in numbers["separations"]))]
    for capacity, results in numbers["covered"].items():
        for name, runs in results.items():
            rows.append((capacity, name, *(mean_and_range(column, 2) for column in zip(*runs, strict=True))))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Fits of one Gaussian at some separations; the fraction of the smaller mode by separation."""
    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, panels, secondary_color

    figure, axes = panels(len(numbers["shown"]) + 2, height=2.4, width_ratios=[1] * len(numbers["shown"]) + [1.3] * 2)
    *images, left, right = axes
    for index, (panel, separation) in enumerate(zip(images, numbers["shown"], strict=True)):
        panel.fill_between(numbers["x"], numbers["p"][index], color=secondary_color(), alpha=0.25, linewidth=0)
        for k, name in enumerate(DIVERGENCES):
            panel.plot(numbers["x"], numbers["fits"][name][index], color=colors()[k], linestyle=STYLES[k])
        panel.set(title=f"separation {separation}", yticks=[], xticks=(-5, 0, 5), xlabel="x")
        panel.spines["left"].set_visible(False)
    images[0].set_ylabel("density (gray: data)")
    for panel, (capacity, results) in zip((left, right), numbers["covered"].items(), strict=True):
        for index, (name, runs) in enumerate(results.items()):
            look = {"color": colors()[index], "linestyle": STYLES[index], "marker": MARKERS[index]}
            fractions = [fmean(column) for column in zip(*runs, strict=True)]
            panel.plot(numbers["separations"], fractions, label=name, markersize=5 - 1.2 * index, **look)
        panel.set(title=capacity, xlabel="separation", ylim=(-0.05, 1.3), yticks=(0, 0.5, 1))
        panel.grid(True, axis="y")
    left.set_ylabel("smaller mode covered")
    legend_above(figure, left)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "One Gaussian, and a mixture of two, are fitted to a mixture with two modes by minimizing inclusive KL, "
        "exclusive KL and JSD, from several initial values. The probability that the fit gives to the smaller mode is "
        "measured, at the minimum and for each fit."
    ),
    caption=(
        "Left: the data (gray) and the best fit of one Gaussian by each divergence, for three distances of the modes. "
        "Right: the part of the smaller mode's probability that the best fit has, against the distance of the modes, "
        "for one and for two Gaussians; 1 is covered, 0 is lost."
    ),
)
