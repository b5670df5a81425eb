"""JSD is constant on disjoint supports, the Wasserstein distance is not (notes, 2.2.5.1).

The data are uniform on [0, 1], and a generator with a single weight makes numbers uniform on [s, s + 1]. Both distances
are measured exactly against the shift s, the one as an integral and the other between 2000 evenly spread numbers of
each; and as a game sees them: by a critic that has learned to tell the two apart, and by one that has learned the
Wasserstein distance with a gradient penalty. From each the generator's weight gets a gradient, and that is what the
claim is about (Arjovsky, Chintala and Bottou, "Wasserstein GAN", 2017, example 1).

The penalty is one-sided: on a line a slope of −1 and one of 1 are two valleys of (‖∇‖ − 1)², and a critic that begins
in the wrong one stays there. It is large, 100, since the best slope at shift s is 1 + s/(2λ).
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
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import Alone, from_seed
from danlu.losses.adversarial import Loss, fake_cost, real_cost
from danlu.metrics.sample_diversity import wasserstein_1d
from danlu.models.adversarial.base import Generator
from danlu.models.adversarial.mlp import MLPCritic
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
LEARNED = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # shifts at which critics are trained
GAP = 0.5  # from this gap between the intervals on, gradients are judged; a critic of finite slope needs some room
POINTS = 2000
BATCH = 256
TECHNIQUES: dict[Loss, Techniques] = {"minimax": PLAIN, "wasserstein": Techniques(penalty=100.0, one_sided=True)}
CONSTANT = 1e-3  # nats by which an integral on a grid may be off log 2
PROPORTIONAL = 1e-3  # by which the Wasserstein distance may be off the shift
RIGHT = 0.1  # by which part of itself a critic's Wasserstein distance may be off
FLAT, STEEP = 0.01, 0.5  # a gradient by the shift below the one is as good as none; the exact one is 1


class Interval(Generator):
    """Numbers uniform on [s, s + 1]: the distribution function of a normal code, moved by s.

    Args:
        shift: s, its only weight.

    >>> Interval(2.0)(torch.tensor([[0.0]]))
    tensor([[2.5000]], grad_fn=<...>)
    """

    def __init__(self, shift: float):
        super().__init__((1,), classes=0, range=None, latent=1)
        self.shift = nn.Parameter(torch.tensor(shift))

    def made(self, z: Float[Tensor, "n latent"], shares: Tensor | None) -> Float[Tensor, "n 1"]:
        """The numbers of codes."""
        return self.shift + torch.special.ndtr(z)


def evenly() -> Float[Tensor, "n"]:
    """Numbers evenly spread over [0, 1]."""
    return (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Both distances at each shift, and what critics make of some."""
    learned = (0.0, 3.0) if quick else LEARNED
    runs: list[tuple[Loss, float]] = [(loss, shift) for loss in TECHNIQUES for shift in learned]
    critics: Numbers = {loss: [] for loss in TECHNIQUES}
    for done, (loss, shift) in enumerate(runs):
        tell("critics", done, len(runs))
        critics[loss].append(judged(loss, shift, 100 if quick else 600, seed))
    distances = [float(wasserstein_1d(evenly(), evenly() + shift)) for shift in SHIFTS]
    return {
        "shifts": list(SHIFTS),
        "divergence": [divergence(shift) for shift in SHIFTS],
        "distance": distances,
        "learned": list(learned),
        "critics": critics,
    }


def divergence(shift: float) -> float:
    """The Jensen–Shannon divergence of the two intervals; between any two points of the grid nothing jumps."""
    x = (torch.arange(-1000, 6000, dtype=torch.float64) + 0.5) / 1000
    log_p, log_q = (torch.where((x > a) & (x < a + 1), 0.0, -math.inf).double() for a in (0.0, shift))
    return float(jensen_shannon(log_p, log_q, x))


def judged(loss: Loss, shift: float, rounds: int, seed: int) -> Numbers:
    """The distance that a trained critic sees, and the gradient that the shift gets from it."""
    critic = from_seed(partial(MLPCritic, (1,), classes=0, hidden=(64, 64)), seed)
    game = Adversarial(cast(Interval, Interval(shift)), cast(MLPCritic, critic), loss, TECHNIQUES[loss], inputs="x")
    part = Part({"x": evenly().float()[:, None]})
    descent = OptimizerSettings(optimizer="adam", lr=2e-3, betas=(0.5, 0.999), schedule="cosine")
    for _ in Trainer(Alone(game, "critic"), descent, Shuffled(part, BATCH, seed), rounds, seed):
        pass
    asked = Alone(deepcopy(game).requires_grad_(), "generator")
    (report,) = Trainer(asked, OptimizerSettings(optimizer="sgd", lr=1e-9), Shuffled(part, POINTS, seed), 1, seed)
    return {"distance": seen(game, part["x"], shift), "gradient": float(report.moves[0].norm)}


@torch.no_grad()
def seen(game: Adversarial, x: Float[Tensor, "n 1"], shift: float) -> float:
    """JSD from the value, as (value + log 4) / 2; or the difference of the mean scores."""
    paid = real_cost(game.critic(x), game.loss).mean() + fake_cost(game.critic(x + shift), game.loss).mean()
    value = -float(paid)
    return (value + math.log(4)) / 2 if game.loss == "minimax" else value


def judge(numbers: Numbers) -> Verdict:
    """Apart: JSD is log 2, the Wasserstein distance is the shift; and gradients by critics, none and about one."""
    apart = [place for place, shift in enumerate(numbers["shifts"]) if shift >= 1]
    off = max(abs(numbers["divergence"][place] - math.log(2)) for place in apart)
    bent = max(abs(w - s) for s, w in zip(numbers["shifts"], numbers["distance"], strict=True))
    far = [place for place, shift in enumerate(numbers["learned"]) if shift >= 1 + GAP]
    gradients = {loss: [found[place]["gradient"] for place in far] for loss, found in numbers["critics"].items()}
    flat, steep = max(gradients["minimax"]), min(gradients["wasserstein"])
    estimates = [numbers["critics"]["wasserstein"][place]["distance"] for place in far]
    shifts = [numbers["learned"][place] for place in far]
    wrong = max(abs(w / s - 1) for s, w in zip(shifts, estimates, strict=True))
    reason = (
        f"Apart, JSD is log 2 within {off:.0g} at every gap, and the Wasserstein distance is the shift within "
        f"{bent:.0g}. From gaps of {GAP:g} on, a trained critic gives the shift a gradient of at most {flat:.1g}, one "
        f"with penalty at least {steep:.2f}, and its distance is right within {wrong:.0%}."
    )
    if off > CONSTANT or bent > PROPORTIONAL:
        return Verdict("does not hold", reason)
    if flat > FLAT or steep < STEEP or wrong > RIGHT:
        return Verdict("holds with limits", f"{reason} So it is of the distances, and not of these critics.")
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """Both distances, exact and as critics see them, and the gradients, by shift."""
    rows: Table = [
        ("shift", "JSD", "JSD, critic", "gradient", "Wasserstein", "Wasserstein, critic", "gradient, Wasserstein")
    ]
    for place, shift in enumerate(numbers["shifts"]):
        cells = []
        for exact, loss in (("divergence", "minimax"), ("distance", "wasserstein")):
            cells.append(f"{numbers[exact][place]:.3f}")
            if shift in numbers["learned"]:
                found = numbers["critics"][loss][numbers["learned"].index(shift)]
                cells += [f"{found['distance']:.3f}", f"{found['gradient']:.1e}"]
            else:
                cells += ["", ""]
        rows.append((f"{shift:g}", *cells))
    return rows


def draw(numbers: Numbers) -> Figure:
    """The two intervals; both distances against the shift; the gradients."""
    from danlu.experiments.harness.plots import colors, legend_above, panels, quiet

    figure, (first, middle, right) = panels(3, height=2.4, width_ratios=(1, 1.3, 1.3))
    blue, red = colors()[:2]
    for start, label in ((0.0, "data"), (2.0, "generated")):
        first.fill_between([start, start + 1], [1, 1], color=quiet(), alpha=0.5 - 0.15 * start, linewidth=0)
        first.annotate(label, (start + 0.5, 1.05), ha="center", fontsize=7, color=quiet())
    first.annotate("", (2, 0.5), (0, 0.5), arrowprops={"arrowstyle": "->", "color": quiet(), "linewidth": 0.8})
    first.annotate("shift", (1.5, 0.55), ha="center", fontsize=7, color=quiet())
    first.set(title="two intervals", xlabel="x", ylabel="density", ylim=(0, 1.3), yticks=(0, 1), xticks=(0, 1, 2, 3))
    learned = numbers["learned"]
    looks = (("divergence", "minimax", blue, "Jensen–Shannon"), ("distance", "wasserstein", red, "Wasserstein"))
    for exact, loss, color, label in looks:
        middle.plot(numbers["shifts"], numbers[exact], color=color, label=f"{label}, exact")
        found = numbers["critics"][loss]
        middle.plot(learned, [one["distance"] for one in found], "o", color=color, markersize=4, label="by a critic")
        right.plot(learned, [one["gradient"] for one in found], "o-", color=color, markersize=4)
    middle.set(title="distance", xlabel="shift (above 1: disjoint)")
    right.set(title="gradient for the generator", xlabel="shift (above 1: disjoint)", ylim=(-0.05, None))
    for axes in (middle, right):
        axes.axvspan(1, max(numbers["shifts"]), color=quiet(), alpha=0.08, linewidth=0)
        axes.grid(True, axis="y")
    legend_above(figure, middle, columns=4)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
