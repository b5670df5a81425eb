"""A student IAF learns the density of a teacher MAF and generates in one pass (notes, 2.1.2.7).

An autoregressive flow is trained fast and generates slowly, value by value; an inverse one generates fast and is
trained slowly. In the notes, an IAF therefore learns from a trained MAF and not from the data. Here a MAF is trained on
the digits by maximum likelihood, and a student minimizes its KL divergence from this teacher with its own samples, as
in van den Oord et al., "Parallel WaveNet", 2018, section 4. The notes let the teacher compute the latents of the
student; it can only score the student's samples, which is what is done here.

The student is compared with a flow without dependence between pixels: the same distillation, with a learned shift and
scale for each pixel. Three measures say how close a student is to its teacher: its KL divergence from the teacher,
which is minimized; that of the teacher from the student, which is large if the student leaves out a region; and the
difference of both log-likelihoods of test digits. All are per pixel. A tenth of a bit per pixel is a small difference:
it is a twentieth of the teacher's negative log-likelihood.

Times are processor times. The arms of a comparison alternate, and each time is the median of several. danlu computes
the slow directions without a pass for each value, with every weight used once, so the slow arms are fast
implementations, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled, in_order
from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seed_of, seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.flows.base import Flow
from danlu.models.flows.iaf import IAF
from danlu.models.flows.maf import MAF
from danlu.nn.transforms.act_norm import ActNorm
from danlu.rng.keys import generator
from danlu.tasks.distillation import Distillation
from danlu.tasks.likelihood import Likelihood
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEACHER, STUDENT, INDEPENDENT = "teacher", "student", "independent pixels"
DISTILLED, FROM_DATA = "student, distillation", "student, likelihood"
OF_TEACHER = "teacher, likelihood"
PIXELS = 64
SMALL: dict[str, Any] = {"blocks": 2, "hidden": (128,), "levels": 17}
TEACHER_ROUNDS, ROUNDS, BATCH = 300, 600, 64
MEASURED = (0, 10, 30, 100, 300)  # rounds of the student
LOG_2 = math.log(2)
LEAST = 1e-6  # nats per pixel: an estimate of 0 can be negative, and the criteria compare by ratios
RATES = {STUDENT: 3e-3, INDEPENDENT: 3e-2}  # a shift of a pixel alone needs larger steps than a network
DRAWS = 1000
GENERATED, REPEATS, STEPS = 200, 7, 5
"""images for a time of sampling, number of times, and rounds for a time of a step"""
SHOWN = 10


class Trained(NamedTuple):
    """A teacher and what was distilled from it.

    Attributes:
        models: by arm.
        curve: for each measured round, the divergence of the student from the teacher in nats.
    """

    models: dict[str, Flow]
    curve: list[float]


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Divergences, likelihoods and times by arm and seed; images of the first seed."""
    run_seeds = seeds(seed, 4 if quick else 5)  # times vary, and two seeds have wide intervals
    teacher_rounds, rounds = (30, 20) if quick else (TEACHER_ROUNDS, ROUNDS)
    arms: dict[str, dict[str, list[float]]] = {}
    curves: list[list[float]] = []
    images: Images = {}
    runs = [(run_seed, teacher_rounds, rounds) for run_seed in run_seeds]
    for found, curve, drawn in run_each(measure_pair, runs, progress, "pairs of teacher and student"):
        for arm, measures in found.items():
            for name, value in measures.items():
                arms.setdefault(arm, {}).setdefault(name, []).append(value)
        curves.append(curve)
        images = images or drawn
    return {"arms": arms, "rounds": measured_rounds(rounds), "curves": curves, "images": images}


def measured_rounds(rounds: int) -> list[int]:
    """The rounds after which the divergence is measured.

    >>> measured_rounds(20)
    [0, 10, 20]
    """
    return [round for round in MEASURED if round < rounds] + [rounds]


Images = dict[str, list[list[list[float]]]]
Measured = tuple[dict[str, dict[str, float]], list[float], Images]


def measure_pair(seed: int, teacher_rounds: int, rounds: int) -> Measured:
    """One teacher and its students: measures by arm, the curve of the student, and images."""
    trained = learn(seed, teacher_rounds, rounds)
    models, x = trained.models, digits().test["image"]
    found: dict[str, dict[str, float]] = {}
    likelihoods = {arm: log_likelihood(model, x) / PIXELS for arm, model in models.items()}
    found[TEACHER] = {"log-likelihood": likelihoods[TEACHER]}
    for arm in (STUDENT, INDEPENDENT):
        kl, gap = max(divergence(models, arm) / PIXELS, LEAST), likelihoods[TEACHER] - likelihoods[arm]
        found[arm] = {
            "KL": kl,
            "KL, bits": kl / LOG_2,
            "reverse KL": max(reverse(models, arm, seed) / PIXELS, LEAST),
            "log-likelihood": likelihoods[arm],
            "gap, bits": gap / LOG_2,
        }
    for arm, seconds in alternating({arm: partial(sampling, models, arm) for arm in (TEACHER, STUDENT)}).items():
        found[arm]["sampling"] = seconds / GENERATED
    steps = {arm: stepping(models, arm, seed) for arm in (OF_TEACHER, FROM_DATA, DISTILLED)}
    for arm, seconds in alternating(steps).items():
        found[arm] = {"step": seconds / STEPS}
    return found, trained.curve, {arm: drawn_images(models[arm], seed) for arm in (TEACHER, STUDENT)}


def learn(seed: int, teacher_rounds: int, rounds: int) -> Trained:
    """A teacher, and its students."""
    models: dict[str, Flow] = {TEACHER: make(TEACHER, seed)}
    for _ in trainer(models, OF_TEACHER, seed, teacher_rounds):
        pass
    models[TEACHER].eval()
    curve = []
    for arm in (STUDENT, INDEPENDENT):
        models[arm] = make(arm, seed)
        steps = trainer({TEACHER: models[TEACHER], STUDENT: models[arm]}, DISTILLED, seed, rounds, RATES[arm])
        points = [divergence(models, arm) / PIXELS]
        points += [divergence(models, arm) / PIXELS for report in steps if report.round in measured_rounds(rounds)]
        curve = curve or points
        models[arm].eval()
    return Trained(models, curve)


def make(arm: str, seed: int) -> Flow:
    """The untrained model of an arm."""
    shape = (1, 8, 8)
    kinds: Mapping[str, Callable[[], Any]] = {
        TEACHER: partial(MAF, shape, **SMALL),
        STUDENT: partial(IAF, shape, batch_norm=False, **SMALL),
        INDEPENDENT: partial(Flow, shape, ActNorm(PIXELS), levels=17, alpha=1e-6),
    }
    return cast(Flow, from_seed(kinds[arm], seed_of(arm, seed)))


def trainer(models: Mapping[str, Flow], arm: str, seed: int, rounds: int, lr: float = 3e-3) -> Trainer:
    """The trainer of an arm: distillation, or maximum likelihood of the teacher or the student."""
    data = digits()
    stream = Shuffled(data.train, BATCH, seed)
    if arm == DISTILLED:
        task = Distillation(models[TEACHER], models[STUDENT], data.info)
    else:
        task = Likelihood(models[TEACHER if arm == OF_TEACHER else STUDENT], data.info)
    return Trainer(task, OptimizerSettings(lr=lr, schedule="cosine", grad_clip=20.0), stream, rounds, seed)


def divergence(models: Mapping[str, Flow], arm: str) -> float:
    """KL(arm ‖ teacher) in nats, from samples of the arm."""
    data = digits()
    return Distillation(models[TEACHER], models[arm], data.info).divergence(data.test, DRAWS).mean


@torch.no_grad()
def reverse(models: Mapping[str, Flow], arm: str, seed: int) -> float:
    """KL(teacher ‖ arm) in nats, from samples of the teacher."""
    z = torch.randn(DRAWS, PIXELS, generator=generator("teacher samples", seed))
    logits, log_p = models[TEACHER].decode_unbounded(z)
    return float((log_p - models[arm].log_prob_unbounded(logits)).double().mean())


@torch.no_grad()
def log_likelihood(model: Flow, x: Tensor) -> float:
    """The mean lower bound of log p(x) in nats."""
    task = Likelihood(model.eval(), digits().info)
    (first, *_) = task.better
    scores = [task.scores(batch)[first] for batch in in_order(Part({"image": x}), 500)]
    return float(torch.cat(scores).double().mean())


@torch.no_grad()
def sampling(models: Mapping[str, Flow], arm: str) -> None:
    """Generate images with the model of an arm."""
    models[arm].sample(GENERATED, generator=generator("times"))


def stepping(models: Mapping[str, Flow], arm: str, seed: int) -> Callable[[], None]:
    """A function that takes steps of training with copies of the models."""
    copies = {name: deepcopy(model).requires_grad_() for name, model in models.items()}
    steps = iter(trainer(copies, arm, seed, STEPS * (REPEATS + 1)))

    def step() -> None:
        for _ in range(STEPS):
            next(steps)

    return step


def alternating(functions: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """The median processor time of each function, called in turn; the first call of each is not counted."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS + 1):
        for name, function in functions.items():
            begun = time.process_time()
            function()
            times[name].append(time.process_time() - begun)
    return {name: median(values[1:]) for name, values in times.items()}


@torch.no_grad()
def drawn_images(model: Flow, seed: int) -> list[list[list[float]]]:
    """Some images as nested lists."""
    return model.sample(SHOWN, generator=generator("shown", seed))[:, 0].tolist()


SMALL_DIFFERENCE = 0.1  # bits per pixel


def _small(clause: str, measure: str) -> Comparison:
    """The measure of the student is at most a tenth of a bit."""
    return Comparison(clause, STUDENT, 2 * SMALL_DIFFERENCE, measure, SMALL_DIFFERENCE, lower=True)


DIFFERS = Comparison(
    "a flow without dependence between pixels is far from the teacher", INDEPENDENT, 0.0, "KL, bits", SMALL_DIFFERENCE
)
SLOW = Comparison(
    "maximum likelihood takes longer for the student than for the teacher",
    OF_TEACHER, FROM_DATA, "step", 1.5, lower=True, ratio=True,
)  # fmt: skip
NEAR = _small("the student is within a tenth of a bit per pixel of the teacher", "KL, bits")
# half: most of the dependence between pixels is learned
CLOSE = Comparison(
    "the student is less than half as far from the teacher as independent pixels are",
    STUDENT, INDEPENDENT, "KL", 2.0, lower=True, ratio=True,
)  # fmt: skip
# half: less would hardly be worth a second model
FAST = Comparison(
    "the student generates in less than half the time", STUDENT, TEACHER, "sampling", 2.0, lower=True, ratio=True
)
# the same factor as in the gate: what maximum likelihood costs more is saved
STEP = Comparison(
    "a step of distillation takes less time than one of maximum likelihood of the student",
    DISTILLED, FROM_DATA, "step", 1.5, lower=True, ratio=True,
)  # fmt: skip
COVERS = Comparison(
    "in the other direction, too, the divergence is less than half of that of independent pixels",
    STUDENT, INDEPENDENT, "reverse KL", 2.0, lower=True, ratio=True,
)  # fmt: skip
LIKELY = _small("the log-likelihood of test digits is within a tenth of a bit per pixel, too", "gap, bits")
CRITERIA = Criteria(clauses=(NEAR, CLOSE, FAST, STEP), gates=(DIFFERS, SLOW), limits=(COVERS, LIKELY))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The divergence, and the factors of both times."""
    arms = numbers["arms"]
    kl = fmean(arms[STUDENT]["KL"])
    faster, shorter = (
        number(fmean(a / b for a, b in zip(arms[slow][name], arms[fast][name], strict=True)), 2)
        for slow, fast, name in ((TEACHER, STUDENT, "sampling"), (FROM_DATA, DISTILLED, "step"))
    )
    text = (
        f"The student differs from its teacher by {number(kl, 2)} nats per pixel. It generates {faster} times as fast, "
        f"and a step of distillation is {shorter} times as fast as one of maximum likelihood of the student."
    )
    return text + judgment.not_shown(NEAR, CLOSE, FAST, STEP, COVERS, LIKELY)


def table(numbers: Numbers) -> Table:
    """Divergences and log-likelihoods in nats per pixel, and times in milliseconds, by arm."""
    columns = ("KL", "reverse KL", "log-likelihood", "sampling", "step")
    rows: Table = [(
        "model", "KL from teacher", "KL of teacher", "log-likelihood, test", "ms per image", "ms per step"
    )]  # fmt: skip
    for arm, measures in numbers["arms"].items():
        factors = {"sampling": 1000.0, "step": 1000.0}
        cells = ([factors.get(name, 1.0) * value for value in measures.get(name, ())] for name in columns)
        rows.append((arm, *(mean_and_range(values) if values else "–" for values in cells)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The divergence during training, the times, and images of teacher and student."""
    from danlu.experiments.harness.plots import colors, image_grid, line, logarithmic, panels

    figure, (left, middle, right) = panels(3, height=2.4, width_ratios=(1.2, 1.3, 1.2))
    arms = numbers["arms"]
    rounds = [max(1, round) for round in numbers["rounds"]]
    line(left, rounds, numbers["curves"], 0, "student")
    left.set_ylim(bottom=0.2 * min(map(min, numbers["curves"])))  # space for the legend
    left.axhline(fmean(arms[INDEPENDENT]["KL"]), color=colors()[1], linestyle="--", label=INDEPENDENT)
    logarithmic(left.xaxis)
    logarithmic(left.yaxis)
    left.set(title="KL from the teacher", xlabel="rounds", ylabel="nats per pixel")
    left.legend(loc="lower left", fontsize=7)
    bars = {
        "image of the teacher": 1000 * fmean(arms[TEACHER]["sampling"]),
        "image of the student": 1000 * fmean(arms[STUDENT]["sampling"]),
        "step: likelihood, teacher": 1000 * fmean(arms[OF_TEACHER]["step"]),
        "step: likelihood, student": 1000 * fmean(arms[FROM_DATA]["step"]),
        "step: distillation": 1000 * fmean(arms[DISTILLED]["step"]),
    }
    middle.barh(list(bars), list(bars.values()), color=[colors()[k] for k in (1, 0, 1, 0, 0)])
    middle.invert_yaxis()
    logarithmic(middle.xaxis)
    middle.set(title="processor time", xlabel="milliseconds")
    drawn = torch.tensor([numbers["images"][arm] for arm in (TEACHER, STUDENT)]).flatten(0, 1)
    image_grid(right, drawn.numpy(), SHOWN // 2)
    right.set(title="images", xlabel="2 rows of the teacher,\n2 rows of the student")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A MAF is trained on the digits; an IAF and a flow without dependence between pixels learn its density from "
        "their own samples. Divergences from the teacher are measured, and processor times of sampling and of steps of "
        "training."
    ),
    caption=(
        "Left: KL divergence of the student from its teacher during training; the dashed line is a flow without "
        "dependence between pixels after the same training. Middle: processor time of one image and of one step. "
        "Right: images of one teacher and of its student."
    ),
)
