"""JSD is constant on disjoint supports, the Wasserstein distance is not (notes, 2.2.5.1).

The data are uniform on [0, 1]. A generator with a single weight s produces numbers that are uniform on [s, s + 1]. Both
distances are computed as functions of the shift s: the JSD as an integral, the Wasserstein distance between 2000 evenly
spaced numbers of each distribution. Both are also estimated by trained critics: a discriminator, and a Wasserstein
critic with a gradient penalty. The claim concerns the gradient that each critic gives to the generator's weight
(Arjovsky, Chintala and Bottou, "Wasserstein GAN", 2017, example 1).

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
from danlu.experiments.harness.densities import jensen_shannon
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import SinglePlayer, from_seed
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
CONSTANT = 1e-3  # nats: largest deviation from log 2 that the integration grid explains
PROPORTIONAL = 1e-3  # largest allowed deviation of the Wasserstein distance from the shift
RIGHT = 0.1  # largest allowed relative error of a critic's Wasserstein distance
FLAT, STEEP = 0.01, 0.5  # a smaller gradient has vanished, a larger one has not; the exact value is 1


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
    learned = (0.0, 3.0) if quick else LEARNED
    runs: list[tuple[Loss, float]] = [(loss, shift) for loss in TECHNIQUES for shift in learned]
    critics: Numbers = {loss: [] for loss in TECHNIQUES}
    for done, (loss, shift) in enumerate(runs):
        progress("critics", done, len(runs))
        critics[loss].append(evaluate_critic(loss, shift, 100 if quick else 600, seed))
    distances = [float(wasserstein_1d(even_grid(), even_grid() + shift)) for shift in SHIFTS]
    return {
        "shifts": list(SHIFTS),
        "divergence": [divergence(shift) for shift in SHIFTS],
        "distance": distances,
        "learned": list(learned),
        "critics": critics,
    }


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


def verdict(numbers: Numbers) -> Verdict:
    """Holds if for disjoint supports JSD is log 2 without gradient, and the Wasserstein distance follows the shift."""
    apart = [position for position, shift in enumerate(numbers["shifts"]) if shift >= 1]
    jsd_error = max(abs(numbers["divergence"][position] - math.log(2)) for position in apart)
    wasserstein_error = max(abs(w - s) for s, w in zip(numbers["shifts"], numbers["distance"], strict=True))
    beyond_gap = [position for position, shift in enumerate(numbers["learned"]) if shift >= 1 + GAP]
    gradients = {
        loss: [results[position]["gradient"] for position in beyond_gap] for loss, results in numbers["critics"].items()
    }
    flat, steep = max(gradients["minimax"]), min(gradients["wasserstein"])
    estimates = [numbers["critics"]["wasserstein"][position]["distance"] for position in beyond_gap]
    shifts = [numbers["learned"][position] for position in beyond_gap]
    wrong = max(abs(w / s - 1) for s, w in zip(shifts, estimates, strict=True))
    reason = (
        f"For disjoint supports, JSD is log 2 within {jsd_error:.0g} at every gap, and the Wasserstein distance equals "
        f"the shift within {wasserstein_error:.0g}. For gaps of at least {GAP:g}, the discriminator gives the shift a "
        f"gradient of at most {flat:.1g}, the Wasserstein critic one of at least {steep:.2f}; its distance is accurate "
        f"within {wrong:.0%}."
    )
    if jsd_error > CONSTANT or wasserstein_error > PROPORTIONAL:
        return Verdict("does not hold", reason)
    if flat > FLAT or steep < STEEP or wrong > RIGHT:
        return Verdict(
            "holds with limits", f"{reason} The claim holds for the exact distances, but not for these trained critics."
        )
    return Verdict("holds", reason)


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
            learned, [one["distance"] for one in results], "o", color=color, markersize=4, label="by trained critics"
        )
        right.plot(learned, [one["gradient"] for one in results], "o-", color=color, markersize=4)
    middle.set(title="distance", xlabel="shift (above 1: disjoint)")
    right.set(title="gradient for the generator", xlabel="shift (above 1: disjoint)", ylim=(-0.05, None))
    for axes in (middle, right):
        axes.axvspan(1, max(numbers["shifts"]), color=secondary_color(), alpha=0.08, linewidth=0)
        axes.grid(True, axis="y")
    legend_above(figure, middle, columns=4)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
