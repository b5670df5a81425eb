"""After noise-contrastive estimation the model's normalizer is close to 1 (notes, 3.4.3.1).

A small LSTM is trained on the thousand most frequent words of Python's manual by noise-contrastive estimation (NCE)
with 100 noise words; Z is assumed to be 1 and never computed. The biases are initialized so that log Z is 2 or −2: a
model that begins at 0 would have little to learn. After training log Z is computed for each of 15 000 contexts of the
held-out text. "Close to 1" means between 1/2 and 2 in nine of ten contexts.

For comparison, a model is trained with ten noise words, from log Z = 0, and one with cross-entropy, which does not
depend on Z, from log Z = 2. Mnih and Teh, "A fast and simple algorithm for training neural probabilistic language
models", 2012, report that Z can be fixed at 1.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor

from danlu.data.base.dataset import Part
from danlu.data.datasets.pydoc import pydoc
from danlu.data.text.settings import Text
from danlu.data.text.token_streams import Lanes, lanes_in_order
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.recurrent.language import LanguageModel
from danlu.tasks.language_modeling import Language, RunningText
from danlu.tasks.noise_contrastive import Noise, NoiseContrastive
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS, WIDTH, LANES, UNROLL, ROUNDS = 1000, 32, 32, 20, 1600
MEASURED = 10  # evaluations during training
FACTOR, MOST = 2.0, 0.9  # Z is close to 1 if it is within this factor of 1 in this fraction of contexts
BINS = [x / 10 for x in range(-30, 41)]
UNIGRAM = "word frequencies"


class Objective(NamedTuple):
    """The training objective and the initial log Z."""

    objective: Literal["nce", "cross-entropy"]
    begin: float = 0.0
    noise: int = 100


HIGH, LOW, FEW, LIKELIHOOD = "NCE, log Z = 2 first", "NCE, log Z = −2 first", "NCE, 10 noise words", "cross-entropy"
OBJECTIVES = {
    HIGH: Objective("nce", 2.0),
    LOW: Objective("nce", -2.0),
    FEW: Objective("nce", noise=10),
    LIKELIHOOD: Objective("cross-entropy", 2.0),
}


def task(objective: Objective, seed: int) -> RunningText:
    """The training task of a new model."""
    make = partial(LanguageModel, WORDS, width=WIDTH, layers=1, initial="orthogonal", forget_bias=1.0)
    model = cast(LanguageModel, from_seed(make, seed))
    if objective.objective == "cross-entropy":
        task: RunningText = Language(model, LANES)
    else:
        task = NoiseContrastive(model, LANES, Noise(objective.noise), objective.objective)
    torch.nn.init.constant_(model.get_parameter("bias"), objective.begin - math.log(WORDS))
    return task


@torch.no_grad()
def normalizers(model: LanguageModel, part: Part) -> tuple[Tensor, float]:
    """log Z after each word of a text, and the mean cross-entropy of the normalized model."""
    state, results, losses = None, [], []
    for batch in lanes_in_order(part, 16, 100):
        features, state = model(batch["token"], None if state is None else state[: len(batch)])
        logits = model.logits(features)
        results.append(logits.logsumexp(2).flatten())
        losses.append(results[-1] - logits.gather(2, batch["target"][..., None]).flatten())
    return torch.cat(results), float(torch.cat(losses).mean())


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """log Z during and after training, by objective and seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    every, times = (2, 2) if quick else (ROUNDS // MEASURED, MEASURED)
    arms: Numbers = {name: {} for name in OBJECTIVES}
    curves: Numbers = {name: [] for name in OBJECTIVES}
    histograms: Numbers = {name: [] for name in OBJECTIVES}
    runs = [(run_seed, name, every, every * times, quick) for run_seed in run_seeds for name in OBJECTIVES]
    for (_, name, *_), run in zip(runs, run_each(measure_model, runs, progress, "models"), strict=True):
        curves[name].append(run.means)
        histograms[name].append(run.histogram)
        for quantity, value in run.values.items():
            arms[name].setdefault(quantity, []).append(value)
    arms[UNIGRAM] = {"cross-entropy": [unigram_loss(*texts(quick))] * len(run_seeds)}
    rounds = [every * index for index in range(times + 1)]
    return {"arms": arms, "curves": curves, "histograms": histograms, "rounds": rounds}


class Run(NamedTuple):
    """The mean log Z during one training, the histogram of log Z after it, and the measures."""

    means: list[float]
    histogram: list[float]
    values: dict[str, float]


def measure_model(seed: int, name: str, every: int, rounds: int, quick: bool) -> Run:
    """Train and evaluate one model."""
    means, log_z, loss = _learn(OBJECTIVES[name], *texts(quick), every, rounds, seed)
    return Run(means, histogram(log_z), {**described(log_z), "cross-entropy": loss})


@lru_cache(maxsize=1)
def texts(quick: bool) -> tuple[Part, Part]:
    """The training text and the held-out text."""
    data = pydoc(text=Text(tokens="words", vocabulary=WORDS))
    return data.train, _beginning(data.test, 500) if quick else data.test


def _learn(
    objective: Objective, part: Part, test: Part, every: int, rounds: int, seed: int
) -> tuple[list[float], Tensor, float]:
    """Train a model. Returns the mean log Z during training on part of the test text, then all values and the loss."""
    stream = Lanes(part, LANES, UNROLL, seed)
    settings = OptimizerSettings(lr=1e-2, schedule="one_cycle", grad_clip=1.0)
    trainer = Trainer(task(objective, seed), settings, stream, rounds, seed)
    model, few = cast(LanguageModel, trainer.task.model), _beginning(test, 2000)
    means = [float(normalizers(model, few)[0].mean())]
    for report in trainer:
        if report.round % every == 0:
            means.append(float(normalizers(model, few)[0].mean()))
    return means, *normalizers(model, test)


def _beginning(part: Part, tokens: int) -> Part:
    return Part({"token": part["token"][:tokens]})


def described(log_z: Tensor) -> dict[str, float]:
    """Mean, standard deviation and mean size of log Z, and the fraction of contexts with Z close to 1."""
    return {
        "mean": float(log_z.mean()),
        "deviation": float(log_z.std()),
        "size": float(log_z.abs().mean()),
        "close": float((log_z.abs() <= math.log(FACTOR)).double().mean()),
    }


def histogram(log_z: Tensor) -> list[float]:
    """The fraction of contexts in each bin; values outside are in the outer bins."""
    inside = log_z.clamp(BINS[0], BINS[-1] - 1e-4)
    counts = torch.histogram(inside.double(), torch.tensor(BINS, dtype=torch.float64)).hist
    return (counts / len(log_z)).tolist()


def unigram_loss(part: Part, test: Part) -> float:
    """The cross-entropy of a model that knows only how frequent each word is; every word is counted once more."""
    counts = torch.bincount(part["token"].long(), minlength=WORDS).double() + 1
    return float(-(counts / counts.sum()).log()[test["token"][1:].long()].mean())


def _close(name: str) -> Comparison:
    clause = f"with '{name}' Z is close to 1 in {100 * MOST:.0f} % of the contexts"
    return Comparison(clause, name, MOST - 0.1, "close", 0.1)


CLOSE = {name: _close(name) for name in (HIGH, LOW)}
NOISE = Comparison(
    "log Z is nearer to 0 with NCE than with cross-entropy from the same beginning",
    HIGH, LIKELIHOOD, "size", 2.0, lower=True, ratio=True,
)  # fmt: skip
ALSO_FEW = _close(FEW)
CRITERIA = Criteria(
    clauses=(*CLOSE.values(), NOISE),
    gates=tuple(
        # half a nat for each word
        Comparison(f"with '{name}' the model learns more than the frequencies of words", name, UNIGRAM,
                   "cross-entropy", 0.5, lower=True)
        for name in (HIGH, LOW, LIKELIHOOD)  # the arms of the clauses
    ),
    limits=(ALSO_FEW,),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Fraction of contexts with Z close to 1; few noise words; cross-entropy."""
    arms = numbers["arms"]
    least = min(fmean(arms[name]["close"]) for name in CLOSE)
    text = f"After NCE with 100 noise words Z is between 1/2 and 2 in at least {percent(least, 1)} of the contexts"
    text += ", whether log Z is 2 or −2 before training."
    text += judgment.not_shown(*CLOSE.values(), NOISE)
    text += (
        f" With cross-entropy from log Z = {number(OBJECTIVES[LIKELIHOOD].begin)} it is in "
        f"{percent(fmean(arms[LIKELIHOOD]['close']))} of them; the mean size of log Z is "
        f"{number(fmean(arms[LIKELIHOOD]['size']), 2)}, with NCE {number(fmean(arms[HIGH]['size']), 2)}."
    )
    failure = _failure_to_learn(arms)
    if judgment.refuted(ALSO_FEW.clause):
        share, mean = fmean(arms[FEW]["close"]), number(fmean(arms[FEW]["mean"]), 2)
        return (
            text
            + failure
            + (
                f" {'Its' if failure else 'With 10 noise words'} Z is not close to 1: it is between 1/2 and 2 in "
                f"{percent(share)} of the contexts, with mean log Z {mean}."
            )
        )
    return text + failure + judgment.not_shown(ALSO_FEW)


def _failure_to_learn(arms: Numbers) -> str:
    """A sentence, after a space, if no model with ten noise words predicts better than the frequencies of words."""
    losses, unigram = (arms[name]["cross-entropy"] for name in (FEW, UNIGRAM))
    if any(loss < other for loss, other in zip(losses, unigram, strict=True)):
        return ""
    return (
        f" With 10 noise words the model does not learn: its cross-entropy is {number(fmean(losses))}, that of the "
        f"frequencies of words {number(fmean(unigram))}."
    )


def table(numbers: Numbers) -> Table:
    """log Z before and after training, its spread over contexts, and the cross-entropy of the normalized model."""
    rows: Table = [("objective", "log Z before", "mean after", "std. dev.", "Z within ½ to 2, %", "cross-entropy")]
    for name in OBJECTIVES:
        values = numbers["arms"][name]
        shares = [100 * share for share in values["close"]]
        columns = (values["mean"], values["deviation"], shares, values["cross-entropy"])
        rows.append((name, number(OBJECTIVES[name].begin), *(mean_and_range(one) for one in columns)))
    return [*rows, (UNIGRAM, "–", "–", "–", "–", mean_and_range(numbers["arms"][UNIGRAM]["cross-entropy"]))]


def plot(numbers: Numbers) -> Figure:
    """Histograms of log Z after training, and its mean during training."""
    from danlu.experiments.harness.plots import colors, legend_above, line, panels, secondary_color

    figure, (left, right) = panels(2, height=2.6)
    styles = ("-", "--", "-.", ":")
    for index, name in enumerate(OBJECTIVES):
        counts = [100 * fmean(column) for column in zip(*numbers["histograms"][name], strict=True)]
        left.stairs(counts, BINS, color=colors()[index], linestyle=styles[index], linewidth=1.2)
        line(right, numbers["rounds"], numbers["curves"][name], index, name, linestyle=styles[index], marker=None)
    left.axvspan(-math.log(FACTOR), math.log(FACTOR), color=secondary_color(), alpha=0.15, linewidth=0)
    right.axhspan(-math.log(FACTOR), math.log(FACTOR), color=secondary_color(), alpha=0.15, linewidth=0)
    for axes in (left, right):
        axes.grid(False)
    left.set(title="log Z after training", xlabel="log Z; gray: Z between ½ and 2", ylabel="contexts, %")
    left.set(xlim=(-2, 4), ylim=(0, None))
    right.set(title="mean log Z during training", xlabel="rounds", xlim=(0, numbers["rounds"][-1]))
    legend_above(figure, right, columns=2)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A small LSTM is trained on words by noise-contrastive estimation from two wrong normalizers, with few noise "
        "words, and by cross-entropy. Then the normalizer Z is computed in every context of a held-out text."
    ),
    caption=(
        "Left: log Z in all contexts of the held-out text after training, mean over seeds; the last bin also has "
        "larger values. Right: its mean during training; lines are means over seeds, bands the range. A model that is "
        "normalized by training ends in the gray band, in which Z is between ½ and 2."
    ),
)
