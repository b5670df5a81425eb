"""After noise-contrastive estimation the model's normalizer is close to 1 (notes, 3.4.3.1).

A small LSTM is trained on the thousand most frequent words of Python's manual by noise-contrastive estimation with 100
noise words; Z is assumed to be 1 and never computed. After training log Z is computed for each of 15 000 contexts of
the held-out text. The biases are initialized so that log Z is 0, 3 or −3, to test whether training changes it to 0.
For comparison, models are trained with ten noise words, with sampled softmax, and with cross-entropy from log Z = 0
and 3, which does not depend on Z. Mnih and Teh, "A fast and simple algorithm for training neural probabilistic
language models", 2012, report that Z can be fixed at 1. Two seeds.
"""

from __future__ import annotations

import math
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor

from danlu.data.base.dataset import Part
from danlu.data.datasets.pydoc import pydoc
from danlu.data.text.settings import Text
from danlu.data.text.token_streams import Lanes, lanes_in_order
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.models.recurrent.language import LanguageModel
from danlu.tasks.language_modeling import Language, RunningText
from danlu.tasks.noise_contrastive import Noise, NoiseContrastive
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS, WIDTH, LANES, UNROLL, ROUNDS = 1000, 32, 32, 20, 800
MEASURED = 10  # evaluations during training
FACTOR, MOST = 2.0, 0.9  # Z is close to 1 if it is within this factor of 1 in this fraction of contexts
MEAN = 0.1  # nats: and if the mean log Z, the error of a word's score, is at most this far from 0
BINS = [x / 10 for x in range(-40, 61)]


class Objective(NamedTuple):
    """The training objective and the initial log Z."""

    objective: Literal["nce", "sampled", "cross-entropy"]
    begin: float = 0.0
    noise: int = 100


OBJECTIVES = {
    "NCE": Objective("nce"),
    "NCE, begun at 3": Objective("nce", 3.0),
    "NCE, begun at −3": Objective("nce", -3.0),
    "NCE, 10 words of noise": Objective("nce", noise=10),
    "sampled softmax": Objective("sampled"),
    "cross-entropy": Objective("cross-entropy"),
    "cross-entropy, begun at 3": Objective("cross-entropy", 3.0),
}
NCE, HIGH, LOW, FEW, SAMPLED, LIKELIHOOD, AWAY = OBJECTIVES


def displayed(name: str) -> str:
    """The name of an objective in texts, tables and figures.

    >>> displayed("NCE, begun at 3"), displayed("NCE, 10 words of noise")
    ('NCE, initial log Z = 3', 'NCE, 10 noise words')
    """
    return name.replace("begun at", "initial log Z =").replace("words of noise", "noise words")


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
    seeds = range(seed, seed + (1 if quick else 2))
    data = pydoc(text=Text(tokens="words", vocabulary=WORDS))
    every, times = (5, 2) if quick else (ROUNDS // MEASURED, MEASURED)
    test = _beginning(data.test, 500) if quick else data.test
    runs: Numbers = {name: [] for name in OBJECTIVES}
    for done, (name, run_seed) in enumerate((name, run_seed) for name in OBJECTIVES for run_seed in seeds):
        progress("models", done, len(OBJECTIVES) * len(seeds))
        runs[name].append(_learn(OBJECTIVES[name], data.train, test, every, every * times, run_seed))
    return {"rounds": [every * index for index in range(times + 1)], "contexts": len(test) - 1, "runs": runs}


def _learn(objective: Objective, part: Part, test: Part, every: int, rounds: int, seed: int) -> Numbers:
    """Train a model. Measure the mean log Z during training on part of the test text, and all values at the end."""
    stream = Lanes(part, LANES, UNROLL, seed)
    trainer = Trainer(
        task(objective, seed), OptimizerSettings(lr=1e-2, schedule="one_cycle", grad_clip=1.0), stream, rounds, seed
    )
    model, few = cast(LanguageModel, trainer.task.model), _beginning(test, 2000)
    means = [float(normalizers(model, few)[0].mean())]
    for report in trainer:
        if report.round % every == 0:
            means.append(float(normalizers(model, few)[0].mean()))
    log_z, loss = normalizers(model, test)
    return {"means": means, "cross-entropy": loss, **_described(log_z)}


def _beginning(part: Part, tokens: int) -> Part:
    return Part({"token": part["token"][:tokens]})


def _described(log_z: Tensor) -> Numbers:
    """Summary statistics of log Z over all contexts."""
    inside = log_z.clamp(BINS[0], BINS[-1] - 1e-4)
    counts = torch.histogram(inside.double(), torch.tensor(BINS, dtype=torch.float64)).hist
    return {
        "mean": float(log_z.mean()),
        "deviation": float(log_z.std()),
        "close": float((log_z.abs() <= math.log(FACTOR)).double().mean()),
        "histogram": (counts / len(log_z)).tolist(),
    }


def close(runs: list[Numbers]) -> bool:
    """Whether Z is close to 1 in every seed."""
    return all(run["close"] >= MOST and abs(run["mean"]) <= MEAN for run in runs)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if Z is close to 1 after noise-contrastive estimation from every initial value, and only then."""
    runs = numbers["runs"]
    summary = "; ".join(
        f"{displayed(name)} {_range([run['mean'] for run in results])} ± "
        f"{fmean(run['deviation'] for run in results):.2f}, {min(run['close'] for run in results):.0%}"
        for name, results in runs.items()
    )
    reason = (
        f"log Z over {numbers['contexts']} contexts of held-out text: mean ± standard deviation, and fraction with Z "
        f"within a factor {FACTOR:g} of 1: {summary}."
    )
    if not close(runs[NCE]):
        return Verdict("does not hold", reason)
    far = [name for name in (HIGH, LOW, FEW) if not close(runs[name])]
    limits = [f"Z is not close to 1 for: {'; '.join(map(displayed, far))}"] if far else []
    if close(runs[AWAY]):
        limits.append("Cross-entropy also brings Z to 1, so the noise is not the cause")
    drift = max(abs(run["mean"] - run["means"][0]) for name in (LIKELIHOOD, AWAY) for run in runs[name])
    remark = "" if close(runs[AWAY]) else f" With cross-entropy the mean stays within {drift:.2f} of its initial value."
    return Verdict("holds with limits" if limits else "holds", reason + remark + "".join(f" {one}." for one in limits))


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return (low if low == high else f"{low} to {high}").replace("-", "\N{MINUS SIGN}")


def table(numbers: Numbers) -> Table:
    """Initial and final log Z, its spread over contexts, and the cross-entropy of the normalized model."""
    rows: Table = [
        ("objective", "initial log Z", "final mean", "standard deviation", "Z within ½ to 2", "cross-entropy")
    ]
    for name, runs in numbers["runs"].items():
        initial = f"{fmean(run['means'][0] for run in runs):.2f}"
        mean, deviation, loss = (spread([run[key] for run in runs], ".2f")
                                 for key in ("mean", "deviation", "cross-entropy"))  # fmt: skip
        rows.append((displayed(name), initial, mean, deviation, spread([run["close"] for run in runs], ".0%"), loss))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Histograms of the final log Z, and its mean during training."""
    from danlu.experiments.harness.plots import colors, legend_above, line, panels, secondary_color

    figure, (left, right) = panels(2, height=2.6)
    shown = {NCE: "-", HIGH: "--", LOW: ":", LIKELIHOOD: "-", AWAY: "--", SAMPLED: "-"}
    groups = {"nce": 0, "cross-entropy": 1, "sampled": 2}
    for name, style in shown.items():
        color = colors()[groups[OBJECTIVES[name].objective]]
        runs = numbers["runs"][name]
        counts = [fmean(column) for column in zip(*(run["histogram"] for run in runs), strict=True)]
        left.stairs([100 * fraction for fraction in counts], BINS, color=color, linestyle=style, linewidth=1)
        means = [run["means"] for run in runs]
        number = groups[OBJECTIVES[name].objective]
        line(right, numbers["rounds"], means, number, displayed(name), linestyle=style, marker=None)
    for axes, span in ((left, left.axvline), (right, right.axhline)):
        span(0, color=secondary_color(), linewidth=0.6)
        axes.grid(False)
    left.set(title="log Z after training", xlabel="log Z", ylabel="contexts, %", xlim=(-3, 6), ylim=(0, None))
    right.set(title="mean log Z during training", xlabel="rounds", xlim=(0, numbers["rounds"][-1]))
    legend_above(figure, right, columns=3)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
