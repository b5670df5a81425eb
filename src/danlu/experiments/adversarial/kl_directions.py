"""Inclusive KL covers modes, exclusive KL picks one, JSD is like the exclusive (notes, 2.2.3.2).

The data are two Gaussians on a line, 60 % and 40 % of them, from 2 to 10 deviations apart. Fitted to them, by descent
on each divergence as an integral, is one Gaussian; and then a mixture of two, which can be the data. Of four starts the
best end counts, so that what is seen is the optimum of the divergence and not the way to it. Measured is how much of
the smaller mode's probability the fit has on that mode's side.

The notes go on that a GAN collapses because of this. The mixture of two is there for that: a divergence that lost modes
by its nature would lose them here too. (Goodfellow, "NIPS 2016 tutorial: Generative adversarial networks", section
3.2.5, has the argument that it does not.)
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
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEPARATIONS: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 10)  # of the modes, in deviations
WEIGHTS = [0.6, 0.4]
DIVERGENCES = {
    "inclusive KL(p‖q)": lambda p, q, x: divergence(p, q, x),
    "exclusive KL(q‖p)": lambda p, q, x: divergence(q, p, x),
    "JSD": jensen_shannon,
}
INCLUSIVE, EXCLUSIVE, JSD = DIVERGENCES
STYLES = ("-", "-", (0, (4, 2)))  # of their lines, which may lie on each other
ROOMS = {"one Gaussian": 1, "two Gaussians": 2}
POINTS = torch.linspace(-25, 25, 1001, dtype=torch.float64)
SHOWN = (4, 6, 10)
COVERED, LOST = 0.5, 0.1  # of the smaller mode's probability: from where a fit covers it, below where it has lost it


class Fits(nn.Module):
    """A mixture of Gaussians for each separation and each start.

    Args:
        means: where their Gaussians begin.
        deviations: how wide they begin.
    """

    def __init__(self, means: Float[Tensor, "s starts k"], deviations: Float[Tensor, "s starts k"]):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros_like(means))
        self.means = nn.Parameter(means.clone())
        self.spreads = nn.Parameter(deviations.log())

    def parts(self, x: Float[Tensor, "points"]) -> Float[Tensor, "s starts k points"]:
        """Log of weight times density of each Gaussian."""
        away = (x - self.means[..., None]) / self.spreads.exp()[..., None]
        scale = self.weights.log_softmax(-1) - self.spreads - math.log(2 * math.pi) / 2
        return scale[..., None] - away.square() / 2

    def log_prob(self, x: Float[Tensor, "points"]) -> Float[Tensor, "s starts points"]:
        """Log-density."""
        return self.parts(x).logsumexp(-2)

    def right(self) -> Float[Tensor, "s starts"]:
        """Probability above 0."""
        each = torch.special.ndtr(self.means / self.spreads.exp())
        return (self.weights.softmax(-1) * each).sum(-1)


class Approach(Task):
    """Fits descend on a divergence from the data; none of them feels another.

    Args:
        fits: what moves.
        log_p: log-density of the data at the points, for each separation.
        name: of the divergence.
    """

    def __init__(self, fits: Fits, log_p: Float[Tensor, "s points"], name: str):
        super().__init__()
        self.fits, self.name = fits, name
        self.register_buffer("log_p", log_p)

    def players(self) -> dict[str, nn.Module]:
        return {"fits": self.fits}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("fits", self.apart)]

    def distances(self) -> Float[Tensor, "s starts"]:
        """The divergence of each fit."""
        return DIVERGENCES[self.name](self.get_buffer("log_p")[:, None], self.fits.log_prob(POINTS), POINTS)

    def apart(self, batch: Batch) -> Terms:
        """The divergence, summed over fits."""
        return {"divergence": per_example(self.distances().sum(), len(batch))}


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """How much of the smaller mode each best fit has, and some of the fits as curves."""
    separations, rounds = (SEPARATIONS[::3], 60) if quick else (SEPARATIONS, 700)
    log_p = torch.stack([data(s).log_prob(POINTS) for s in separations])
    runs = [(room, name) for room in ROOMS for name in DIVERGENCES]
    covered: Numbers = {room: {} for room in ROOMS}
    curves: Numbers = {}
    for done, (room, name) in enumerate(runs):
        tell("fits", done, len(runs))
        fits, best = fitted(log_p, separations, ROOMS[room], name, rounds, seed)
        pick = torch.arange(len(separations)), best
        with torch.no_grad():
            theirs = torch.tensor([float(data(s).cdf(torch.zeros(()).double())) for s in separations])
            covered[room][name] = (fits.right()[pick] / (1 - theirs)).tolist()
            if room == "one Gaussian":
                curves[name] = fits.log_prob(POINTS)[pick].exp()
    shown = [s for s in SHOWN if s in separations] or [separations[0], separations[-1]]
    seen = POINTS.abs() <= 9
    places = [list(separations).index(s) for s in shown]
    return {
        "separations": list(separations),
        "covered": covered,
        "x": POINTS[seen].tolist(),
        "shown": shown,
        "p": log_p[places][:, seen].exp().tolist(),
        "fits": {name: curve[places][:, seen].tolist() for name, curve in curves.items()},
    }


def data(separation: float) -> distributions.MixtureSameFamily:
    """The two modes."""
    return mixture(WEIGHTS, [-separation / 2, separation / 2], [1.0, 1.0])


def fitted(
    log_p: Float[Tensor, "s points"], separations: tuple[int, ...], room: int, name: str, rounds: int, seed: int
) -> tuple[Fits, Tensor]:
    """Fits of this many Gaussians by a divergence, and which start ended best at each separation.

    They start on the larger mode, on the smaller, in the middle, and wide in the middle; several Gaussians a little
    apart, or nothing would ever part them.
    """
    half = torch.tensor(separations, dtype=torch.float64) / 2
    means = torch.stack([-half, half, torch.zeros_like(half), torch.zeros_like(half)], dim=1)
    deviations = torch.stack([*[torch.ones_like(half)] * 3, half + 1], dim=1)
    nudge = torch.randn(*means.shape, room, generator=generator("starts", seed), dtype=torch.float64)
    fits = Fits(means[..., None] + 0.3 * nudge, deviations[..., None].expand_as(nudge))
    task = Approach(fits, log_p, name)
    descent = OptimizerSettings(optimizer="adam", lr=0.1, schedule="cosine")
    nothing = Shuffled(Part({"x": torch.zeros(1)}), 1)  # an integral needs no examples
    for _ in Trainer(task, descent, nothing, rounds, seed, runtime=Runtime(precision="float64")):
        pass
    with torch.no_grad():
        return fits, task.distances().argmin(dim=1)


def lost_from(separations: list[int], shares: list[float]) -> int | None:
    """From which separation on the smaller mode is lost, or None if it never is."""
    lost = [share < LOST for share in shares]
    return next((s for place, s in enumerate(separations) if all(lost[place:])), None)


def judge(numbers: Numbers) -> Verdict:
    """One Gaussian: inclusive covers always, exclusive and JSD lose a mode from somewhere on; what of two?"""
    separations, one = numbers["separations"], numbers["covered"]["one Gaussian"]
    two = numbers["covered"]["two Gaussians"]
    exclusive, jsd = (lost_from(separations, one[name]) for name in (EXCLUSIVE, JSD))
    least = min(one[INCLUSIVE])
    where = [f"from {s} deviations on" if s else "at no separation" for s in (exclusive, jsd)]
    reason = (
        f"One Gaussian fitted to two modes loses the smaller one by exclusive KL {where[0]}, by JSD {where[1]}; by "
        f"inclusive KL the fit always has at least {least:.2f} times that mode's probability there."
    )
    if exclusive is None or jsd is None or least < COVERED:
        return Verdict("does not hold", reason)
    limits = []
    if jsd > exclusive:
        limits.append(" In between JSD covers, as the inclusive does.")
    if min(two[JSD]) >= COVERED:
        also = " and by exclusive KL too" if min(two[EXCLUSIVE]) >= COVERED else ""
        limits.append(
            f" Two Gaussians by JSD{also} cover both modes at every separation: a mode is lost where the model has no "
            "room for it, and not by the divergence, whose minimum is the data. So this is not why a GAN that has the "
            "room drops modes."
        )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Share of the smaller mode by separation."""
    rows: Table = [("fit", "divergence", *(f"{s} deviations" for s in numbers["separations"]))]
    for room, found in numbers["covered"].items():
        rows += [(room, name, *(f"{share:.2f}" for share in shares)) for name, shares in found.items()]
    return rows


def draw(numbers: Numbers) -> Figure:
    """The fits of one Gaussian at some separations; the share of the smaller mode against separation."""
    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, panels, quiet

    figure, axes = panels(len(numbers["shown"]) + 2, height=2.4, width_ratios=[1] * len(numbers["shown"]) + [1.3] * 2)
    *pictures, left, right = axes
    for place, (picture, separation) in enumerate(zip(pictures, numbers["shown"], strict=True)):
        picture.fill_between(numbers["x"], numbers["p"][place], color=quiet(), alpha=0.25, linewidth=0)
        for number, name in enumerate(DIVERGENCES):
            picture.plot(numbers["x"], numbers["fits"][name][place], color=colors()[number], linestyle=STYLES[number])
        picture.set(title=f"{separation} apart", yticks=[], xticks=(-5, 0, 5), xlabel="x")
        picture.spines["left"].set_visible(False)
    pictures[0].set_ylabel("data gray, fits of one Gaussian")
    for panel, (room, found) in zip((left, right), numbers["covered"].items(), strict=True):
        for number, (name, shares) in enumerate(found.items()):
            look = {"color": colors()[number], "linestyle": STYLES[number], "marker": MARKERS[number]}
            panel.plot(numbers["separations"], shares, label=name, markersize=5 - 1.2 * number, **look)
        panel.set(title=room, xlabel="deviations apart", ylim=(-0.05, 1.3), yticks=(0, 0.5, 1))
        panel.grid(True, axis="y")
    left.set_ylabel("share of smaller mode")
    legend_above(figure, left)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
