"""Σ p has trivial optima and a vanishing scale, Σ log p has neither (notes, 2.1).

The model has one free probability for each of the 512 binary images of 3×3 pixels, so only the objective decides what
it learns. The data are the 14 images that consist of full rows or of full columns. In one case all images are equally
frequent, in the other one image occurs twice. Adam, which is insensitive to the scale of the gradient, maximizes Σ p
or Σ log p until the objective no longer changes. An image is forgotten if its probability is less than a tenth of its
frequency.

The scale is measured with independent pixels on random images of 4 to 784 pixels: the norm of the gradient of both
objectives before training, in float64. Float32 ends at 10⁻⁴⁵.
"""

from __future__ import annotations

from math import log10
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number
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
SUM, LOG = OBJECTIVES
EQUAL, TWICE = CASES
ROUNDS = 1200


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
    run_seeds, rounds = seeds(seed, 2 if quick else 5), 500 if quick else ROUNDS
    runs = [(case, objective, run_seed) for case in CASES for objective in OBJECTIVES for run_seed in run_seeds]
    results: Numbers = {case: {objective: [] for objective in OBJECTIVES} for case in CASES}
    for done, (case, objective, run_seed) in enumerate(runs):
        progress("models", done, len(runs))
        results[case][objective].append(train(objective, CASES[case], rounds, run_seed))
    sides = SIDES[:3] if quick else SIDES
    gradients = {o: [[gradient(o, side, run_seed) for side in sides] for run_seed in run_seeds] for o in OBJECTIVES}
    arms = {
        objective: {
            **{
                f"forgotten, {CASE_NAMES[case]}": [float(forgotten(run, copies)) for run in results[case][objective]]
                for case, copies in CASES.items()
            },
            "distance from the optimum": [
                max(_from_optimum(objective, results[case][objective][k], CASES[case]) for case in CASES)
                for k in range(len(run_seeds))
            ],
            "decades lost": [log10(run[0] / run[-1]) for run in gradients[objective]],
        }
        for objective in OBJECTIVES
    }
    one_image = [1.0] + [0.0] * (len(bars()) - 1)
    arms[SUM]["value with one image alone"] = [min(reached(one_image, copies) for copies in CASES.values())] * len(
        run_seeds
    )
    return {
        "arms": arms,
        "bars": len(bars()),
        "runs": results,
        "pixels": [side**2 for side in sides],
        "gradients": gradients,
    }


def _from_optimum(objective: str, probabilities: list[float], copies: int) -> float:
    """How far the probabilities are from the optimum: 1 − Σ p over its largest value, or the largest relative error."""
    if objective == SUM:
        return 1 - reached(probabilities, copies)
    return max(abs(p / f - 1) for p, f in zip(probabilities, _frequencies(copies), strict=True))


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
    odds = torch.zeros(side**2, dtype=torch.float64, requires_grad=True)
    source = generator("pictures", seed)
    images: Float[Tensor, "n d"] = (torch.rand(64, side**2, generator=source) < 0.3).double()
    log_prob = bernoulli_log_prob(images, odds.expand(64, -1))
    value = (log_prob if objective == "sum of log p" else log_prob.exp()).mean()
    found = torch.autograd.grad(value, odds)[0]
    scale = found.abs().max()  # squares of values around 10⁻²³⁶ are 0
    return float((found / scale).norm() * scale)


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


FORGETS = {
    case: Comparison(  # half of the 14 images: fewer than that would not be "a few images only"
        f"at its optimum Σ p has forgotten images that Σ log p has not ({CASE_NAMES[case]})",
        SUM, LOG, f"forgotten, {CASE_NAMES[case]}", 7.0,
    )
    for case in CASES
}  # fmt: skip
REMEMBERS = Comparison("Σ log p forgets no image", LOG, 1.0, f"forgotten, {CASE_NAMES[TWICE]}", 1.0, lower=True)
VANISHES = Comparison(  # float32 has 7 digits
    "the gradient of Σ p loses more decades with the number of pixels", SUM, LOG, "decades lost", 7.0
)
TRIVIAL = Comparison(  # as a fraction of the largest possible value
    "a model that remembers one image alone is at the optimum of Σ p", SUM, 0.0, "value with one image alone", 0.99
)
CRITERIA = Criteria(
    clauses=(TRIVIAL, FORGETS[TWICE], REMEMBERS, VANISHES),
    gates=(
        Comparison("Σ p is at its optimum", SUM, 0.02, "distance from the optimum", 0.01, lower=True),
        Comparison("Σ log p is at its optimum", LOG, 0.1, "distance from the optimum", 0.05, lower=True),
    ),
    limits=(FORGETS[EQUAL],),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """What is forgotten, and the scale of the gradient."""
    arms = numbers["arms"]
    lost = {
        (case, objective): mean_and_range(arms[objective][f"forgotten, {CASE_NAMES[case]}"], 2)
        for case in CASES
        for objective in OBJECTIVES
    }
    text = (
        f"If one image occurs twice, Σ p has forgotten {lost[TWICE, SUM]} of {numbers['bars']} images at its optimum, "
        f"and Σ log p {lost[TWICE, LOG]}."
    )
    decades = [number(fmean(arms[objective]["decades lost"]), 2) for objective in OBJECTIVES]
    first, last = numbers["pixels"][0], numbers["pixels"][-1]
    text += (
        f" From {first} to {last} pixels the gradient of Σ p loses {decades[0]} decades, that of Σ log p {decades[1]}."
    )
    text += judgment.not_shown(*CRITERIA.clauses)
    if not judgment.supported(FORGETS[EQUAL].clause):
        text += (
            " If all images are equally frequent, every distribution over them is an optimum of Σ p: one image alone "
            f"is, too, but training forgets {lost[EQUAL, SUM]}."
        )
    return text


def table(numbers: Numbers) -> Table:
    """Final probabilities by objective, and gradients by number of pixels."""
    rows: Table = [("quantity", *OBJECTIVES)]
    for measure_name in numbers["arms"][LOG]:
        rows.append((measure_name, *(mean_and_range(numbers["arms"][o][measure_name]) for o in OBJECTIVES)))
    for index, pixels in enumerate(numbers["pixels"]):
        columns = ([run[index] for run in numbers["gradients"][objective]] for objective in OBJECTIVES)
        rows.append((f"gradient, {pixels} pixels", *(mean_and_range(column, 2) for column in columns)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Sorted probabilities of the first seed, and gradients against the k of pixels."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.3)
    for axes, (case, copies) in zip((left, middle), CASES.items(), strict=True):
        for k, objective in enumerate(OBJECTIVES):
            values = sorted(numbers["runs"][case][objective][0], reverse=True)
            positions = [index + 0.4 * k for index in range(len(values))]
            axes.bar(positions, values, 0.4, color=colors()[k], label=objective)
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
    for k, objective in enumerate(OBJECTIVES):
        line(right, numbers["pixels"], numbers["gradients"][objective], k, objective)
    logarithmic(right.yaxis, (1e-200, 1e-150, 1e-100, 1e-50, 1))
    logarithmic(right.xaxis, numbers["pixels"])
    right.set(title="gradient at the start", xlabel="pixels", ylabel="norm")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A model with a free probability for each image is trained to its optimum with both objectives, on 14 images. "
        "The scale of both gradients before training is measured for images of up to 784 pixels."
    ),
    caption=(
        "Left and middle: the probabilities of the 14 training images after training, sorted, with both objectives; "
        "the line is their frequency. Right: the gradient before training against the number of pixels; both axes are "
        "logarithmic. Lines are means over seeds, bands the range."
    ),
)
