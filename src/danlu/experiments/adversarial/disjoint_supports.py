"""JSD is constant on disjoint supports, the Wasserstein distance is not (notes, 2.2.5.1).

The data are uniform on [0, 1]. A generator with a single weight s produces numbers that are uniform on [s, s + 1]. Both
distances are computed as functions of the shift s: the JSD as an integral, the Wasserstein distance between 2000 evenly
spaced numbers of each distribution. The supports are disjoint from s = 1. The measure is the
change from s = 1 to s = 4, relative to the value at s = 1. Both are also estimated by trained critics: a
discriminator, and a Wasserstein critic with a gradient penalty; the gradient that each gives to the generator's weight
follows (Arjovsky, Chintala and Bottou, "Wasserstein GAN", 2017, example 1).

The penalty is one-sided: in one dimension (‖∇‖ − 1)² has two minima, at slopes −1 and 1, and a critic that starts near
the wrong one stays there. Its weight is large, 100, because the optimal slope at shift s is 1 + s/(2λ).
"""

from __future__ import annotations

import math
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.densities import jensen_shannon
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.trainers import SinglePlayer, from_seed
from danlu.experiments.harness.wording import number
from danlu.losses.adversarial import Loss, fake_cost, real_cost
from danlu.metrics.sample_diversity import wasserstein_1d
from danlu.models.adversarial.base import Generator
from danlu.models.adversarial.mlp import MLPCritic
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
LEARNED = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # shifts at which critics are trained
GAP = 0.5  # gradients are evaluated from this gap upward, because the slope of a critic is finite
POINTS = 2000
BATCH = 256
TECHNIQUES: dict[Loss, Techniques] = {"minimax": PLAIN, "wasserstein": Techniques(penalty=100.0, one_sided=True)}
CRITICS: dict[Loss, str] = {"minimax": "JSD", "wasserstein": "Wasserstein"}
JSD, WASSERSTEIN = CRITICS.values()


class Interval(Generator):
    """A generator of numbers uniform on [s, s + 1]: the normal distribution function of the latent, plus s.

    Args:
        shift: the initial value of s, the only weight.

    >>> Interval(2.0)(torch.tensor([[0.0]]))
    tensor([[2.5000]], grad_fn=<...>)
    """

    def __init__(self, shift: float):
        super().__init__((1,), classes=0, range=None, latent=1)
        self.shift = nn.Parameter(torch.tensor(shift))

    def generate(self, z: Float[Tensor, "n latent"], class_weights: Tensor | None) -> Float[Tensor, "n 1"]:
        """The numbers that the latents map to."""
        return self.shift + torch.special.ndtr(z)


def even_grid() -> Float[Tensor, "n"]:
    """Evenly spaced numbers in [0, 1]."""
    return (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Both distances at each shift, and the estimates of trained critics at some shifts."""
    learned = (0.0, 1.5, 4.0) if quick else LEARNED
    runs: list[tuple[Loss, float]] = [(loss, shift) for loss in TECHNIQUES for shift in learned]
    critics: Numbers = {loss: [] for loss in TECHNIQUES}
    for done, (loss, shift) in enumerate(runs):
        progress("critics", done, len(runs))
        critics[loss].append(evaluate_critic(loss, shift, 100 if quick else 600, seed))
    distances = [float(wasserstein_1d(even_grid(), even_grid() + shift)) for shift in SHIFTS]
    divergences = [divergence(shift) for shift in SHIFTS]
    gaps = [place for place, shift in enumerate(learned) if shift >= 1 + GAP]
    arms = {
        name: {
            "change": [relative_change(exact)],
            "gradient": [choose(critics[loss][place]["gradient"] for place in gaps)],
            "estimated change": [critics[loss][gaps[-1]]["distance"] / critics[loss][gaps[0]]["distance"] - 1],
        }
        for (loss, name), exact, choose in zip(CRITICS.items(), (divergences, distances), (max, min), strict=True)
    }
    return {
        "arms": arms,
        "shifts": list(SHIFTS),
        "divergence": divergences,
        "distance": distances,
        "learned": list(learned),
        "critics": critics,
    }


def relative_change(values: list[float]) -> float:
    """The change from the first shift with disjoint supports to the last one, relative to the former."""
    apart = [value for shift, value in zip(SHIFTS, values, strict=True) if shift >= 1]
    return abs(apart[-1] / apart[0] - 1)


def divergence(shift: float) -> float:
    """The Jensen–Shannon divergence of the two uniform distributions, by numerical integration."""
    x = (torch.arange(-1000, 6000, dtype=torch.float64) + 0.5) / 1000
    log_p, log_q = (torch.where((x > a) & (x < a + 1), 0.0, -math.inf).double() for a in (0.0, shift))
    return float(jensen_shannon(log_p, log_q, x))


def evaluate_critic(loss: Loss, shift: float, rounds: int, seed: int) -> Numbers:
    """The distance that a trained critic estimates, and its gradient with respect to the shift."""
    critic = from_seed(partial(MLPCritic, (1,), classes=0, hidden=(64, 64)), seed)
    task = Adversarial(cast(Interval, Interval(shift)), cast(MLPCritic, critic), loss, TECHNIQUES[loss], inputs="x")
    part = Part({"x": even_grid().float()[:, None]})
    settings = OptimizerSettings(optimizer="adam", lr=2e-3, betas=(0.5, 0.999), schedule="cosine")
    for _ in Trainer(SinglePlayer(task, "critic"), settings, Shuffled(part, BATCH, seed), rounds, seed):
        pass
    frozen = SinglePlayer(deepcopy(task).requires_grad_(), "generator")
    (report,) = Trainer(frozen, OptimizerSettings(optimizer="sgd", lr=1e-9), Shuffled(part, POINTS, seed), 1, seed)
    return {"distance": estimated_distance(task, part["x"], shift), "gradient": float(report.steps[0].norm)}


@torch.no_grad()
def estimated_distance(task: Adversarial, x: Float[Tensor, "n 1"], shift: float) -> float:
    """The estimated distance: for the JSD (value + log 4) / 2, for Wasserstein the difference of mean scores."""
    loss = real_cost(task.critic(x), task.loss).mean() + fake_cost(task.critic(x + shift), task.loss).mean()
    value = -float(loss)
    return (value + math.log(4)) / 2 if task.loss == "minimax" else value


CONSTANT = Comparison(  # at most 1 %, which the grid of the integral explains
    "JSD changes by at most 1 % on disjoint supports", JSD, 0.02, "change", 0.01, lower=True
)
FOLLOWS = Comparison(  # the shift becomes four times as large, so the exact change is 3
    "the Wasserstein distance at least doubles on disjoint supports", WASSERSTEIN, 0.0, "change", 1.0
)
STEEPER = Comparison(  # exact: 1 and 0
    "a trained Wasserstein critic gives a larger gradient than a trained discriminator",
    WASSERSTEIN, JSD, "gradient", 0.5,
)  # fmt: skip
ESTIMATED = Comparison(  # the shift increases 2.7-fold between these critics, so the exact change is 1.7
    "a trained Wasserstein critic's distance changes more than a discriminator's",
    WASSERSTEIN, JSD, "estimated change", 0.5,
)  # fmt: skip
CRITERIA = Criteria(clauses=(CONSTANT, FOLLOWS), limits=(STEEPER, ESTIMATED))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The exact distances; then the trained critics."""
    jsd, wasserstein = (numbers["arms"][name] for name in (JSD, WASSERSTEIN))
    shifts = [shift for shift in numbers["shifts"] if shift >= 1]
    text = (
        f"From a shift of {shifts[0]:g} to {shifts[-1]:g}, where the supports are disjoint, JSD changes by "
        f"{_percent(jsd['change'][0])} and the Wasserstein distance by {_percent(wasserstein['change'][0])}."
    )
    gradients = [number(arm["gradient"][0], 2) for arm in (jsd, wasserstein)]
    if judgment.supported(STEEPER.clause):
        text += (
            f" So do trained critics: from a gap of {GAP:g} a discriminator gives the generator a gradient of at most "
            f"{gradients[0]}, a Wasserstein critic one of at least {gradients[1]}."
        )
    else:
        text += (
            f" Trained critics do not show it: the gradients are {gradients[0]} with a discriminator and "
            f"{gradients[1]} with a Wasserstein critic."
        )
    if not judgment.supported(ESTIMATED.clause):
        text += " The distance that the trained Wasserstein critic estimates does not follow the shift."
    return text


def _percent(change: float) -> str:
    return f"{number(100 * change, 2)} %" if change > 1e-6 else "0"


def table(numbers: Numbers) -> Table:
    """Both distances, exact and by trained critics, and the gradients, by shift."""
    rows: Table = [
        (
            "shift",
            "JSD",
            "JSD by a critic",
            "gradient, JSD",
            "Wasserstein",
            "Wasserstein by a critic",
            "gradient, Wasserstein",
        )
    ]
    for position, shift in enumerate(numbers["shifts"]):
        cells = []
        for exact, loss in (("divergence", "minimax"), ("distance", "wasserstein")):
            cells.append(f"{numbers[exact][position]:.3f}")
            if shift in numbers["learned"]:
                results = numbers["critics"][loss][numbers["learned"].index(shift)]
                cells += [f"{results['distance']:.3f}", f"{results['gradient']:.1e}"]
            else:
                cells += ["", ""]
        rows.append((f"{shift:g}", *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The two intervals; both distances against the shift; the gradients."""
    from danlu.experiments.harness.plots import colors, legend_above, panels, secondary_color

    figure, (first, middle, right) = panels(3, height=2.4, width_ratios=(1, 1.3, 1.3))
    blue, red = colors()[:2]
    for start, label in ((0.0, "data"), (2.0, "generated")):
        first.fill_between([start, start + 1], [1, 1], color=secondary_color(), alpha=0.5 - 0.15 * start, linewidth=0)
        first.annotate(label, (start + 0.5, 1.05), ha="center", fontsize=7, color=secondary_color())
    first.annotate(
        "", (2, 0.5), (0, 0.5), arrowprops={"arrowstyle": "->", "color": secondary_color(), "linewidth": 0.8}
    )
    first.annotate("shift", (1.5, 0.55), ha="center", fontsize=7, color=secondary_color())
    first.set(title="two intervals", xlabel="x", ylabel="density", ylim=(0, 1.3), yticks=(0, 1), xticks=(0, 1, 2, 3))
    learned = numbers["learned"]
    looks = (("divergence", "minimax", blue, "Jensen–Shannon"), ("distance", "wasserstein", red, "Wasserstein"))
    for exact, loss, color, label in looks:
        middle.plot(numbers["shifts"], numbers[exact], color=color, label=f"{label}, exact")
        results = numbers["critics"][loss]
        middle.plot(
            learned, [one["distance"] for one in results], "o", color=color, markersize=4, label="trained critics"
        )
        right.plot(learned, [one["gradient"] for one in results], "o-", color=color, markersize=4)
    middle.set(title="distance", xlabel="shift (above 1: disjoint)")
    right.set(title="gradient for the generator", xlabel="shift (above 1: disjoint)", ylim=(-0.05, None))
    for axes in (middle, right):
        axes.axvspan(1, max(numbers["shifts"]), color=secondary_color(), alpha=0.08, linewidth=0)
        axes.grid(True, axis="y")
    legend_above(figure, middle, columns=4)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "One interval is shifted away from another of the same length, and the Jensen–Shannon divergence and the "
        "Wasserstein distance of the two uniform distributions are computed at each shift. A discriminator and a "
        "Wasserstein critic are trained at some shifts, and their gradient for the shift is measured."
    ),
    caption=(
        "Left: the two intervals. Middle: both distances against the shift, exact (lines) and as trained critics "
        "estimate them (dots); in the shaded part the intervals are disjoint. Right: the gradient that each trained "
        "critic gives to the shift."
    ),
    demonstration=True,
)
