"""Σ p has trivial optima and a vanishing scale, Σ log p has neither (notes, 2.1).

The model has one free probability for each of the 512 binary images of 3×3 pixels, so only the objective decides what
it learns. The data are the 14 images that consist of full rows or of full columns. In one case all images are equally
frequent, in the other one image occurs twice. Adam, which is insensitive to the scale of the gradient, maximizes Σ p
or Σ log p until the objective no longer changes. An image is forgotten if its probability is less than a tenth of its
frequency.

The scale is measured with independent pixels on random images of 4 to 784 pixels: the norm of the gradient of both
objectives before training, in float32. Three seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.losses.variational import bernoulli_log_prob
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OBJECTIVES: tuple[Literal["sum of p", "sum of log p"], ...] = ("sum of p", "sum of log p")
CASES = {"all as frequent": 1, "one comes twice": 2}  # number of copies of one image
CASE_NAMES = {"all as frequent": "all equally frequent", "one comes twice": "one occurs twice"}
IMAGES = 512
SIDES = (2, 4, 8, 16, 28)
FORGOTTEN = 0.1  # an image is forgotten if its probability is below this fraction of its frequency
NEAR = 0.99  # an objective is at its optimum if it reaches this fraction of its best value
RIGHT = 0.05  # allowed relative difference between a probability and its frequency
SMALL = 1e-6  # a gradient that shrinks to this fraction has vanished


class CategoricalModel(nn.Module):
    """A categorical model with one probability for each possible image."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(IMAGES))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probabilities of images, given by their numbers."""
        return self.logits.log_softmax(0)[x]


class MaximizeSum(Task):
    """Maximize the sum of p or of log p over the examples."""

    def __init__(self, model: CategoricalModel, logarithm: bool):
        super().__init__()
        self.categorical, self.logarithm = model, logarithm

    def players(self) -> dict[str, nn.Module]:
        return {"categorical": self.categorical}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("categorical", self.fit)]

    def fit(self, batch: Batch) -> Terms:
        """Minus the objective."""
        log_prob = self.categorical.log_prob(batch["x"])
        return {"negative_objective": -(log_prob if self.logarithm else log_prob.exp())}


def bars() -> list[int]:
    """Numbers of the images that consist of full rows or full columns; the first pixel is the highest bit.

    >>> len(bars()), format(bars()[1], "09b")
    (14, '000000111')
    """
    rows = {sum(0b111 << (3 * row) for row in range(3) if subset >> row & 1) for subset in range(8)}
    columns = {sum(0b001001001 << column for column in range(3) if subset >> column & 1) for subset in range(8)}
    return sorted(rows | columns)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Final probabilities for each objective, and gradient norms by number of pixels."""
    seeds, rounds = range(seed, seed + (1 if quick else 3)), 1500 if quick else 4000
    runs = [(case, objective, run_seed) for case in CASES for objective in OBJECTIVES for run_seed in seeds]
    results: Numbers = {case: {objective: [] for objective in OBJECTIVES} for case in CASES}
    for done, (case, objective, run_seed) in enumerate(runs):
        progress("models", done, len(runs))
        results[case][objective].append(train(objective, CASES[case], rounds, run_seed))
    sides = SIDES[:3] if quick else SIDES
    gradients = {o: [[gradient(o, side, run_seed) for side in sides] for run_seed in seeds] for o in OBJECTIVES}
    return {"bars": len(bars()), "runs": results, "pixels": [side**2 for side in sides], "gradients": gradients}


def train(objective: str, copies: int, rounds: int, seed: int) -> list[float]:
    """Train a model and return the probability of each training image; the one that may occur twice comes first."""
    shown = bars()
    training_part = Part({"x": torch.tensor([shown[0]] * (copies - 1) + shown)})
    model = from_seed(CategoricalModel, seed)
    task, settings = MaximizeSum(model, objective == "sum of log p"), OptimizerSettings(optimizer="adam", lr=0.05)
    for _ in Trainer(task, settings, Shuffled(training_part, "full", seed), rounds, seed):
        pass
    with torch.no_grad():
        return model.log_prob(torch.tensor(shown)).double().exp().tolist()


def gradient(objective: str, side: int, seed: int) -> float:
    """Norm of the objective's gradient with respect to the pixel log-odds, for the mean over 64 random images."""
    odds = torch.zeros(side**2, requires_grad=True)
    source = generator("pictures", seed)
    images: Float[Tensor, "n d"] = (torch.rand(64, side**2, generator=source) < 0.3).float()
    log_prob = bernoulli_log_prob(images, odds.expand(64, -1))
    value = (log_prob if objective == "sum of log p" else log_prob.exp()).mean()
    return float(torch.autograd.grad(value, odds)[0].norm())


def forgotten(probabilities: list[float], copies: int) -> int:
    """The number of images whose probability is less than a tenth of their frequency."""
    return sum(p < FORGOTTEN * f for p, f in zip(probabilities, _frequencies(copies), strict=True))


def _frequencies(copies: int) -> list[float]:
    total = len(bars()) + copies - 1
    return [copies / total] + [1 / total] * (len(bars()) - 1)


def reached(probabilities: list[float], copies: int) -> float:
    """Σ p as a fraction of its largest possible value, which is the largest frequency."""
    frequencies = _frequencies(copies)
    return sum(p * f for p, f in zip(probabilities, frequencies, strict=True)) / max(frequencies)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if at the optimum only Σ p forgets images, and only its gradient vanishes with the number of pixels."""
    lost = {
        (case, objective): [forgotten(run, CASES[case]) for run in numbers["runs"][case][objective]]
        for case in CASES
        for objective in OBJECTIVES
    }
    at_optimum = all(reached(run, CASES[case]) > NEAR for case in CASES for run in numbers["runs"][case]["sum of p"])
    largest_error = max(
        abs(p / f - 1)
        for case in CASES
        for run in numbers["runs"][case]["sum of log p"]
        for p, f in zip(run, _frequencies(CASES[case]), strict=True)
    )
    first, last = ([run[index] for run in numbers["gradients"]["sum of p"]] for index in (0, -1))
    shrinks = max(b / a for a, b in zip(first, last, strict=True))
    grows = min(run[-1] / run[0] for run in numbers["gradients"]["sum of log p"])
    forgotten_equal, forgotten_twice = (lost[case, "sum of p"] for case in CASES)
    reason = (
        f"At its optimum Σ p has forgotten {_range(forgotten_equal)} of {numbers['bars']} images if all are equally "
        f"frequent, and {_range(forgotten_twice)} if one occurs twice. Σ log p forgets none; its probabilities equal "
        f"the frequencies to within {largest_error:.1%}. From {numbers['pixels'][0]} to {numbers['pixels'][-1]} pixels "
        f"the gradient of Σ p shrinks to {f'{shrinks:.0e} of its size' if shrinks else '0 in float32'}; that of Σ log "
        f"p grows {grows:.1f} times."
    )
    fits = not any(sum(lost[case, "sum of log p"]) for case in CASES) and largest_error < RIGHT
    if not at_optimum or not fits or min(forgotten_twice) == 0 or shrinks > SMALL or grows < 1:
        return Verdict("does not hold", reason)
    if min(forgotten_equal) == 0:
        return Verdict(
            "holds with limits",
            f"{reason} If all images are equally frequent, every distribution over them is an optimum of Σ p.",
        )
    return Verdict("holds", reason)


def _range(values: list[int]) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def table(numbers: Numbers) -> Table:
    """Final probabilities by objective, and gradients by number of pixels."""
    rows: Table = [("quantity", *OBJECTIVES)]
    for case, copies in CASES.items():
        runs = [numbers["runs"][case][objective] for objective in OBJECTIVES]
        rows.append(
            (f"forgotten, {CASE_NAMES[case]}", *(_range([forgotten(run, copies) for run in column]) for column in runs))
        )
        rows.append((f"smallest probability, {CASE_NAMES[case]}", *(f"{min(map(min, column)):.1e}" for column in runs)))
    for index, pixels in enumerate(numbers["pixels"]):
        columns = ([run[index] for run in numbers["gradients"][objective]] for objective in OBJECTIVES)
        rows.append((f"gradient, {pixels} pixels", *(spread(column, ".1e") for column in columns)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Sorted probabilities of the first seed, and gradients against the number of pixels."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.3)
    for axes, (case, copies) in zip((left, middle), CASES.items(), strict=True):
        for number, objective in enumerate(OBJECTIVES):
            values = sorted(numbers["runs"][case][objective][0], reverse=True)
            positions = [index + 0.4 * number for index in range(len(values))]
            axes.bar(positions, values, 0.4, color=colors()[number], label=objective)
        expected = sorted(_frequencies(copies), reverse=True)
        axes.step(
            [*(p - 0.3 for p in range(len(expected) + 1))],
            [*expected, expected[-1]],
            where="post",
            color=secondary_color(),
            lw=0.8,
        )
        axes.set(title=CASE_NAMES[case], xlabel="images by probability", ylim=(0, 1), xticks=[])
    left.set(ylabel="probability after training")
    left.legend()
    middle.annotate(
        "line: frequency", (0.97, 0.9), xycoords="axes fraction", ha="right", fontsize=7, color=secondary_color()
    )
    for number, objective in enumerate(OBJECTIVES):
        shown = [[value or None for value in run] for run in numbers["gradients"][objective]]
        length = min(sum(value is not None for value in run) for run in shown)
        line(right, numbers["pixels"][:length], [run[:length] for run in shown], number, objective)
    logarithmic(right.yaxis)
    logarithmic(right.xaxis, numbers["pixels"])
    if any(run[-1] == 0 for run in numbers["gradients"]["sum of p"]):
        right.annotate(
            "larger images: 0 in float32",
            (0.97, 0.5),
            xycoords="axes fraction",
            ha="right",
            fontsize=7,
            color=secondary_color(),
        )
    right.set(title="gradient before training", xlabel="pixels", ylabel="norm")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
