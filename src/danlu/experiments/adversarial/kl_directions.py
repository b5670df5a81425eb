"""Inclusive KL covers modes, exclusive KL selects one, and JSD behaves like exclusive KL (notes, 2.2.3.2).

The data are a one-dimensional mixture of two Gaussians with weights 60% and 40%, 2 to 10 standard deviations apart. One
Gaussian, and then a mixture of two, which can represent the data exactly, are fitted by gradient descent on each
divergence, computed by numerical integration. The best of four initializations counts, so the result is the optimum of
the divergence. The experiment measures the probability of the fit on the side of the smaller mode, relative to that
mode.

The notes explain mode collapse in GANs with this effect. The mixture of two tests this: a divergence that inherently
loses modes would lose them here too. (Goodfellow, "NIPS 2016 tutorial: Generative adversarial networks", section 3.2.5,
argues that the divergence is not the cause.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, distributions, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.densities import divergence, jensen_shannon, mixture
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEPARATIONS: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 10)  # distance of the modes, in standard deviations
WEIGHTS = [0.6, 0.4]
DIVERGENCES = {
    "inclusive KL(p‖q)": lambda p, q, x: divergence(p, q, x),
    "exclusive KL(q‖p)": lambda p, q, x: divergence(q, p, x),
    "JSD": jensen_shannon,
}
INCLUSIVE, EXCLUSIVE, JSD = DIVERGENCES
STYLES = ("-", "-", (0, (4, 2)))  # line styles; the lines may overlap
CAPACITIES = {"one Gaussian": 1, "two Gaussians": 2}
POINTS = torch.linspace(-25, 25, 1001, dtype=torch.float64)
SHOWN = (4, 6, 10)
COVERED, LOST = 0.5, 0.1  # fractions of the smaller mode's probability: covered from the first, lost below the second


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
    """The fraction of the smaller mode for each best fit, and the densities of some fits."""
    separations, rounds = (SEPARATIONS[::3], 60) if quick else (SEPARATIONS, 700)
    log_p = torch.stack([data(s).log_prob(POINTS) for s in separations])
    runs = [(capacity, name) for capacity in CAPACITIES for name in DIVERGENCES]
    covered: Numbers = {capacity: {} for capacity in CAPACITIES}
    curves: Numbers = {}
    for done, (capacity, name) in enumerate(runs):
        progress("fits", done, len(runs))
        fits, best = fitted(log_p, separations, CAPACITIES[capacity], name, rounds, seed)
        pick = torch.arange(len(separations)), best
        with torch.no_grad():
            theirs = torch.tensor([float(data(s).cdf(torch.zeros(()).double())) for s in separations])
            covered[capacity][name] = (fits.right()[pick] / (1 - theirs)).tolist()
            if capacity == "one Gaussian":
                curves[name] = fits.log_prob(POINTS)[pick].exp()
    shown = [s for s in SHOWN if s in separations] or [separations[0], separations[-1]]
    visible = POINTS.abs() <= 9
    rows = [list(separations).index(s) for s in shown]
    return {
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
    log_p: Float[Tensor, "s points"], separations: tuple[int, ...], capacity: int, name: str, rounds: int, seed: int
) -> tuple[Fits, Tensor]:
    """Fit mixtures by a divergence. Returns the fits and the index of the best initialization per separation.

    The initializations are at the larger mode, at the smaller mode, in the middle, and in the middle with a large
    deviation. Several components start slightly apart; identical components would stay identical.
    """
    half = torch.tensor(separations, dtype=torch.float64) / 2
    means = torch.stack([-half, half, torch.zeros_like(half), torch.zeros_like(half)], dim=1)
    deviations = torch.stack([*[torch.ones_like(half)] * 3, half + 1], dim=1)
    nudge = torch.randn(*means.shape, capacity, generator=generator("starts", seed), dtype=torch.float64)
    fits = Fits(means[..., None] + 0.3 * nudge, deviations[..., None].expand_as(nudge))
    task = MinimizeDivergence(fits, log_p, name)
    settings = OptimizerSettings(optimizer="adam", lr=0.1, schedule="cosine")
    no_data = Shuffled(Part({"x": torch.zeros(1)}), 1)  # an integral needs no examples
    for _ in Trainer(task, settings, no_data, rounds, seed, runtime=Runtime(precision="float64")):
        pass
    with torch.no_grad():
        return fits, task.distances().argmin(dim=1)


def lost_from(separations: list[int], fractions: list[float]) -> int | None:
    """The separation from which the smaller mode is lost, or None if it never is."""
    lost = [fraction < LOST for fraction in fractions]
    return next((s for index, s in enumerate(separations) if all(lost[index:])), None)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if one Gaussian always covers by inclusive KL and loses a mode by exclusive KL and JSD alike."""
    separations, one = numbers["separations"], numbers["covered"]["one Gaussian"]
    two = numbers["covered"]["two Gaussians"]
    exclusive, jsd = (lost_from(separations, one[name]) for name in (EXCLUSIVE, JSD))
    smallest = min(one[INCLUSIVE])
    where = [f"from a separation of {s} standard deviations" if s else "at no separation" for s in (exclusive, jsd)]
    reason = (
        f"One Gaussian fitted to two modes loses the smaller mode with exclusive KL {where[0]}, with JSD {where[1]}. "
        f"With inclusive KL its probability there is always at smallest {smallest:.2f} times that of the mode."
    )
    if exclusive is None or jsd is None or smallest < COVERED:
        return Verdict("does not hold", reason)
    limits = []
    if jsd > exclusive:
        limits.append(" Between these separations JSD covers both modes, like inclusive KL.")
    if min(two[JSD]) >= COVERED:
        also = " (and with exclusive KL)" if min(two[EXCLUSIVE]) >= COVERED else ""
        limits.append(
            f" Two Gaussians fitted with JSD{also} cover both modes at every separation: a mode is lost because the "
            "model lacks capacity, not because of the divergence, whose minimum is the data distribution. The "
            "divergence does not explain why a GAN with sufficient capacity drops modes."
        )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Fraction of the smaller mode by separation."""
    rows: Table = [("fit", "divergence", *(f"separation {s}" for s in numbers["separations"]))]
    for capacity, results in numbers["covered"].items():
        rows += [(capacity, name, *(f"{value:.2f}" for value in values)) for name, values in results.items()]
    return rows


def plot(numbers: Numbers) -> Figure:
    """Fits of one Gaussian at some separations; the fraction of the smaller mode by separation."""
    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, panels, secondary_color

    figure, axes = panels(len(numbers["shown"]) + 2, height=2.4, width_ratios=[1] * len(numbers["shown"]) + [1.3] * 2)
    *images, left, right = axes
    for index, (panel, separation) in enumerate(zip(images, numbers["shown"], strict=True)):
        panel.fill_between(numbers["x"], numbers["p"][index], color=secondary_color(), alpha=0.25, linewidth=0)
        for number, name in enumerate(DIVERGENCES):
            panel.plot(numbers["x"], numbers["fits"][name][index], color=colors()[number], linestyle=STYLES[number])
        panel.set(title=f"separation {separation}", yticks=[], xticks=(-5, 0, 5), xlabel="x")
        panel.spines["left"].set_visible(False)
    images[0].set_ylabel("density (gray: data)")
    for panel, (capacity, results) in zip((left, right), numbers["covered"].items(), strict=True):
        for number, (name, fractions) in enumerate(results.items()):
            look = {"color": colors()[number], "linestyle": STYLES[number], "marker": MARKERS[number]}
            panel.plot(numbers["separations"], fractions, label=name, markersize=5 - 1.2 * number, **look)
        panel.set(title=capacity, xlabel="separation, standard deviations", ylim=(-0.05, 1.3), yticks=(0, 0.5, 1))
        panel.grid(True, axis="y")
    left.set_ylabel("fraction of the smaller mode")
    legend_above(figure, left)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
