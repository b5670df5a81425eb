"""Σ p has trivial optima and a vanishing scale, Σ log p has neither (notes, 2.1).

A model of all 512 black and white pictures of 3×3 pixels gives each its own probability, so that nothing but the
objective decides what it learns. Shown to it are the 14 pictures made of bars: of whole rows, or of whole columns. Once
all are as frequent, once one of them comes twice. It is trained by Adam, which does not mind the scale of a gradient,
until Σ p or Σ log p moves no more. A picture is forgotten if its probability is less than a tenth of its frequency.

The scale is measured on pictures of 4 to 784 pixels that are independent of each other: the norm of the gradient of
both objectives before training, in float32, on random pictures. Three seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.losses.variational import bernoulli_log_prob
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OBJECTIVES: tuple[Literal["sum of p", "sum of log p"], ...] = ("sum of p", "sum of log p")
CASES = {"all as frequent": 1, "one comes twice": 2}
PICTURES = 512
SIDES = (2, 4, 8, 16, 28)
FORGOTTEN = 0.1  # of its frequency: a picture with a lower probability
NEAR = 0.99  # of the best value that an objective can have: then it is at its optimum
RIGHT = 0.05  # relative distance of a probability from its frequency
SMALL = 1e-6  # times the first gradient: with such a one plain descent would stand still


class Catalogue(nn.Module):
    """A probability for each picture there can be."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(PICTURES))

    def log_prob(self, x: Tensor) -> Tensor:
        """Of pictures, given by number."""
        return self.logits.log_softmax(0)[x]


class Raise(Task):
    """The catalogue descends on minus p, or minus log p, of each picture that it is shown."""

    def __init__(self, catalogue: Catalogue, logarithm: bool):
        super().__init__()
        self.catalogue, self.logarithm = catalogue, logarithm

    def players(self) -> dict[str, nn.Module]:
        return {"catalogue": self.catalogue}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("catalogue", self.fit)]

    def fit(self, batch: Batch) -> Terms:
        """Minus the objective."""
        log_prob = self.catalogue.log_prob(batch["x"])
        return {"minus": -(log_prob if self.logarithm else log_prob.exp())}


def bars() -> list[int]:
    """Numbers of the pictures that are whole rows or whole columns, the first pixel being the highest bit.

    >>> len(bars()), format(bars()[1], "09b")
    (14, '000000111')
    """
    rows = {sum(0b111 << (3 * place) for place in range(3) if which >> place & 1) for which in range(8)}
    columns = {sum(0b001001001 << place for place in range(3) if which >> place & 1) for which in range(8)}
    return sorted(rows | columns)


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Probabilities that each objective ends with, and the gradients' norms against the number of pixels."""
    seeds, rounds = range(seed, seed + (1 if quick else 3)), 1500 if quick else 4000
    runs = [(case, objective, own) for case in CASES for objective in OBJECTIVES for own in seeds]
    found: Numbers = {case: {objective: [] for objective in OBJECTIVES} for case in CASES}
    for done, (case, objective, own) in enumerate(runs):
        tell("catalogues", done, len(runs))
        found[case][objective].append(learnt(objective, CASES[case], rounds, own))
    sides = SIDES[:3] if quick else SIDES
    gradients = {o: [[gradient(o, side, own) for side in sides] for own in seeds] for o in OBJECTIVES}
    return {"bars": len(bars()), "runs": found, "pixels": [side**2 for side in sides], "gradients": gradients}


def learnt(objective: str, twice: int, rounds: int, seed: int) -> list[float]:
    """Probability of each picture that was shown, the one that came more often first."""
    shown = bars()
    often = Part({"x": torch.tensor([shown[0]] * (twice - 1) + shown)})
    catalogue = from_seed(Catalogue, seed)
    task, descent = Raise(catalogue, objective == "sum of log p"), OptimizerSettings(optimizer="adam", lr=0.05)
    for _ in Trainer(task, descent, Shuffled(often, "full", seed), rounds, seed):
        pass
    with torch.no_grad():
        return catalogue.log_prob(torch.tensor(shown)).double().exp().tolist()


def gradient(objective: str, side: int, seed: int) -> float:
    """Norm of the objective's gradient by the log-odds of each pixel, mean over 64 pictures of noise."""
    odds = torch.zeros(side**2, requires_grad=True)
    source = generator("pictures", seed)
    pictures: Float[Tensor, "n d"] = (torch.rand(64, side**2, generator=source) < 0.3).float()
    log_prob = bernoulli_log_prob(pictures, odds.expand(64, -1))
    value = (log_prob if objective == "sum of log p" else log_prob.exp()).mean()
    return float(torch.autograd.grad(value, odds)[0].norm())


def forgotten(probabilities: list[float], twice: int) -> int:
    """How many pictures have less than a tenth of their frequency."""
    return sum(p < FORGOTTEN * f for p, f in zip(probabilities, _frequencies(twice), strict=True))


def _frequencies(twice: int) -> list[float]:
    total = len(bars()) + twice - 1
    return [twice / total] + [1 / total] * (len(bars()) - 1)


def reached(probabilities: list[float], twice: int) -> float:
    """Σ p as a share of the best that any probabilities can make of it, which is the largest frequency."""
    frequencies = _frequencies(twice)
    return sum(p * f for p, f in zip(probabilities, frequencies, strict=True)) / max(frequencies)


def judge(numbers: Numbers) -> Verdict:
    """At its optimum Σ p forgets pictures and Σ log p none; the gradient of the one vanishes with size."""
    lost = {
        (case, objective): [forgotten(run, CASES[case]) for run in numbers["runs"][case][objective]]
        for case in CASES
        for objective in OBJECTIVES
    }
    at_optimum = all(reached(run, CASES[case]) > NEAR for case in CASES for run in numbers["runs"][case]["sum of p"])
    off = max(
        abs(p / f - 1)
        for case in CASES
        for run in numbers["runs"][case]["sum of log p"]
        for p, f in zip(run, _frequencies(CASES[case]), strict=True)
    )
    first, last = ([run[place] for run in numbers["gradients"]["sum of p"]] for place in (0, -1))
    shrinks = max(b / a for a, b in zip(first, last, strict=True))
    grows = min(run[-1] / run[0] for run in numbers["gradients"]["sum of log p"])
    alike, twice = (lost[case, "sum of p"] for case in CASES)
    reason = (
        f"At its optimum Σ p has forgotten {_range(alike)} of {numbers['bars']} pictures when all are as frequent, and "
        f"{_range(twice)} when one comes twice; Σ log p none, and its probabilities are the frequencies within "
        f"{off:.1%}. From {numbers['pixels'][0]} to {numbers['pixels'][-1]} pixels the gradient of Σ p shrinks to "
        f"{f'{shrinks:.0e} of itself' if shrinks else '0 in float32'}, that of Σ log p grows {grows:.1f} times."
    )
    remembered = not any(sum(lost[case, "sum of log p"]) for case in CASES) and off < RIGHT
    if not at_optimum or not remembered or min(twice) == 0 or shrinks > SMALL or grows < 1:
        return Verdict("does not hold", reason)
    if min(alike) == 0:
        return Verdict(
            "holds with limits",
            f"{reason} Where all are as frequent, every way to share out the probability among them is an optimum.",
        )
    return Verdict("holds", reason)


def _range(values: list[int]) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def table(numbers: Numbers) -> Table:
    """What each objective ends with, and its gradient by size."""
    rows: Table = [("what", *OBJECTIVES)]
    for case, twice in CASES.items():
        runs = [numbers["runs"][case][objective] for objective in OBJECTIVES]
        rows.append((f"forgotten, {case}", *(_range([forgotten(run, twice) for run in some]) for some in runs)))
        rows.append((f"smallest probability, {case}", *(f"{min(min(run) for run in some):.1e}" for some in runs)))
    for place, pixels in enumerate(numbers["pixels"]):
        columns = ([run[place] for run in numbers["gradients"][objective]] for objective in OBJECTIVES)
        rows.append((f"gradient, {pixels} pixels", *(spread(column, ".1e") for column in columns)))
    return rows


def draw(numbers: Numbers) -> Figure:
    """Probabilities of the first seed, largest first, and gradients against size."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels, quiet

    figure, (left, middle, right) = panels(3, height=2.3)
    for axes, (case, twice) in zip((left, middle), CASES.items(), strict=True):
        for number, objective in enumerate(OBJECTIVES):
            values = sorted(numbers["runs"][case][objective][0], reverse=True)
            places = [place + 0.4 * number for place in range(len(values))]
            axes.bar(places, values, 0.4, color=colors()[number], label=objective)
        wanted = sorted(_frequencies(twice), reverse=True)
        axes.step(
            [*(p - 0.3 for p in range(len(wanted) + 1))], [*wanted, wanted[-1]], where="post", color=quiet(), lw=0.8
        )
        axes.set(title=case, xlabel="pictures, most probable first", ylim=(0, 1), xticks=[])
    left.set(ylabel="probability after training")
    left.legend()
    middle.annotate("line: frequency", (0.97, 0.9), xycoords="axes fraction", ha="right", fontsize=7, color=quiet())
    for number, objective in enumerate(OBJECTIVES):
        shown = [[value or None for value in run] for run in numbers["gradients"][objective]]
        length = min(sum(value is not None for value in run) for run in shown)
        line(right, numbers["pixels"][:length], [run[:length] for run in shown], number, objective)
    logarithmic(right.yaxis)
    logarithmic(right.xaxis, numbers["pixels"])
    if any(run[-1] == 0 for run in numbers["gradients"]["sum of p"]):
        right.annotate(
            "then 0 in float32", (0.97, 0.5), xycoords="axes fraction", ha="right", fontsize=7, color=quiet()
        )
    right.set(title="gradient at the start", xlabel="pixels", ylabel="norm")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
