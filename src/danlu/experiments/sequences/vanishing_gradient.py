"""An RNN forgets after about 7 steps, an LSTM after about 100 (notes, 3.2.3 and 3.3.2).

The notes state that the gradient of an RNN vanishes after about 7 steps, even if the largest eigenvalue of its
recurrent matrix is 1 at the beginning, and that an LSTM remembers about 100 steps. "About" means within a factor of 2.

A sequence starts with one of eight symbols, more symbols follow, and at a query token the network must name the first
symbol. The networks have 32 units. The RNN has spectral radius 1. The LSTM has the initial forget gate with which it
learns the longest lags: bias 5, almost fully open. An LSTM with bias 1 (Jozefowicz et al., "An empirical exploration of
recurrent network architectures", 2015) is trained as well. The experiment measures

* the gradient of the last state with respect to earlier inputs before training, relative to that with respect to the
  last input, and the first lag at which it is below a hundredth;
* the largest lag that a network learns from sequences of this lag alone. A new network is trained for each lag, and
  each lag is √2 times the one before, until a network fails.

A failure to learn is not a failure to remember. Therefore the RNN is also trained with mixed lags from 1 to 112, after
which recall and gradient are measured again. Bengio, Simard and Frasconi, "Learning long-term dependencies with
gradient descent is difficult", 1994, prove that storing a state robustly makes gradients vanish.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from math import exp, log
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch.nn import functional as F

from danlu.data.base.batch_stream import Shuffled
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.recall_task import TOKENS, AnyLag, sequences
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.recurrent.language import LanguageModel
from danlu.rng.keys import generator, key
from danlu.tasks.language_modeling import Language
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, BATCH = 32, 64
RNN, LSTM, BIAS_1, HALF_OPEN = "RNN", "LSTM, forget bias 5", "LSTM, forget bias 1", "LSTM, PyTorch's weights"
RNN_MIXED = "RNN after mixed lags"
NETWORKS: dict[str, dict[str, Any]] = {
    RNN: {"kind": "rnn", "initial": "radius"},
    LSTM: {"kind": "lstm", "forget_bias": 5.0},
    BIAS_1: {"kind": "lstm", "forget_bias": 1.0},
    HALF_OPEN: {"kind": "lstm"},
}
TRAINED = (RNN, LSTM, BIAS_1)
LAGS = (3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224)
MIXED = 112  # largest lag in training with mixed lags
FAR = 1000  # lag at which the RNN that is trained with mixed lags is tested
ROUNDS, LEARNED = 600, 0.05  # maximum rounds, and mean loss in nats at which training stops
RIGHT = 0.9  # accuracy from which a lag counts as learned; chance is 1/8
OF_RNN, OF_LSTM = 7, 100  # steps claimed by the notes
ABOUT = 2.0  # about 7 steps are 3.5 to 14, about 100 are 50 to 200
VANISHED = 0.01  # relative to the gradient with respect to the last input
LATER = 100  # steps after which gradients are compared
STEPS, BEFORE = 400, 50  # largest lag of the gradients, and steps before, until the state is stationary


class Size(NamedTuple):
    """The lags, the largest number of rounds, the far and the largest mixed lag, and the steps of the gradients."""

    lags: tuple[int, ...]
    rounds: int
    far: int
    most: int
    steps: int


FULL, QUICK = Size(LAGS, ROUNDS, FAR, MIXED, STEPS), Size((2, 4), 10, 20, 8, 60)


def network(name: str, seed: int) -> LanguageModel:
    """A network at initialization."""
    make = partial(LanguageModel, TOKENS, width=WIDTH, layers=1, embedding=0, **NETWORKS[name])
    return cast(LanguageModel, from_seed(make, seed))


def gradients(model: LanguageModel, seed: int, steps: int = STEPS) -> list[float]:
    """Norms of the gradient of the last state, projected on one direction per sequence, by input lag 0, 1, …"""
    tokens = sequences(32, steps + BEFORE, seed)["token"]
    x = F.one_hot(tokens, model.vocabulary).double().requires_grad_()
    towards = torch.randn(len(x), WIDTH, dtype=torch.float64, generator=generator("towards", seed))
    outputs, _ = deepcopy(model.layers).double()(x)
    (by_input,) = torch.autograd.grad((outputs[:, -1] * towards).sum(), x)
    norms = by_input.norm(dim=2).clamp_min(1e-300).log().mean(0).exp().flip(0)[: steps + 1]
    return (norms / norms[0]).tolist()


def vanishing_lag(relative: list[float]) -> int:
    """The first lag at which a gradient has vanished; the number of all lags if it never does."""
    return next((lag for lag, left in enumerate(relative) if left < VANISHED), len(relative))


@torch.no_grad()
def recall(model: LanguageModel, lag: int, seed: int) -> float:
    """Accuracy of recall on test sequences."""
    part = sequences(300, lag, key("test", seed))
    features, _ = model(part["token"])
    return float((model.logits(features[:, -1]).argmax(1) == part["target"][:, -1]).double().mean())


def train(model: LanguageModel, stream: Shuffled | AnyLag, rounds: int, seed: int) -> LanguageModel:
    """Train a network until its loss is low or the rounds are over."""
    late: list[float] = []
    for report in Trainer(Language(model, BATCH), OptimizerSettings(lr=1e-2, grad_clip=1.0), stream, rounds, seed):
        late = [*late[-19:], report.values()["model/cross_entropy"]]
        if len(late) == 20 and fmean(late) < LEARNED:
            break
    return model


def recall_by_lag(name: str, seed: int, lags: tuple[int, ...], rounds: int) -> list[float]:
    """Recall of a network trained on one lag alone, for each lag up to the first that is not learned."""
    results: list[float] = []
    for lag in lags:
        stream = Shuffled(sequences(BATCH * rounds, lag, seed), BATCH, seed)
        results.append(recall(train(network(name, seed), stream, rounds, seed), lag, seed))
        if results[-1] < RIGHT:
            break
    return results


def largest_lag(lags: tuple[int, ...], recalls: list[float]) -> int:
    """The largest lag that is learned from this lag alone; 1 if there is none."""
    return max((lag for lag, accuracy in zip(lags, recalls, strict=False) if accuracy >= RIGHT), default=1)


def factor(steps: float, claimed: float) -> float:
    """The factor, above 1, between a number of steps and the claimed number.

    >>> factor(14, 7), factor(3.5, 7)
    (2.0, 2.0)
    """
    return max(steps, claimed) / min(steps, claimed)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Gradients and recall by network and seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    size = QUICK if quick else FULL
    curves: Numbers = {name: [] for name in (*NETWORKS, RNN_MIXED)}
    recalls: Numbers = {name: [] for name in TRAINED}
    far_recall: list[float] = []
    runs = [(run_seed, name, size) for run_seed in run_seeds for name in (*NETWORKS, RNN_MIXED)]
    for (_, name, _), run in zip(runs, run_each(measure_network, runs, progress, "networks"), strict=True):
        curves[name].append(run.curve)
        if name in TRAINED:
            recalls[name].append(run.recalls)
        if name == RNN_MIXED:
            far_recall += run.recalls
    arms = _arms(size.lags, curves, recalls)
    arms[RNN_MIXED]["recall"] = far_recall
    return {"arms": arms, "far": size.far, "rounds": size.rounds, "curves": curves}


class Run(NamedTuple):
    """The gradients of one network, and its recall: by lag, or at the far lag after mixed ones."""

    curve: list[float]
    recalls: list[float]


def measure_network(seed: int, name: str, size: Size) -> Run:
    """Gradients and recall of one network."""
    if name == RNN_MIXED:
        stream = AnyLag(size.most, BATCH, seed)
        mixed = train(network(RNN, seed), stream, 2 * size.rounds, seed)
        return Run(gradients(mixed, seed, size.steps), [recall(mixed, size.far, seed)])
    recalls = recall_by_lag(name, seed, size.lags, size.rounds) if name in TRAINED else []
    return Run(gradients(network(name, seed), seed, size.steps), recalls)


def _arms(lags: tuple[int, ...], curves: Numbers, recalls: Numbers) -> Numbers:
    """For each network and seed the lag at which the gradient has vanished, and the largest learned lag.

    Both also as factors between them and the claimed number of steps.
    """
    arms: Numbers = {
        name: {
            "gradient": [vanishing_lag(curve) for curve in found],
            "gradient later": [curve[min(LATER, len(curve) - 1)] for curve in found],
        }
        for name, found in curves.items()
    }
    for name, found in recalls.items():
        arms[name]["shortest lag"] = [accuracies[0] for accuracies in found]
        arms[name]["learned"] = [largest_lag(lags, accuracies) for accuracies in found]
    for name, measures in arms.items():
        claimed = OF_RNN if name.startswith(RNN) else OF_LSTM
        for measure in [measure for measure in ("gradient", "learned") if measure in measures]:
            measures[f"{measure}, factor"] = [factor(steps, claimed) for steps in measures[measure]]
    return arms


def _about(name: str, measure: str, words: str, claimed: int) -> Comparison:
    # the mean factor is at most 2, and surely below 4
    clause = f"{words} about {claimed}"
    return Comparison(clause, name, ABOUT**2, f"{measure}, factor", ABOUT, lower=True, ratio=True)


def _longer(name: str, words: str) -> Comparison:
    # numbers of steps within the factor of "about" would not count as different
    return Comparison(words, name, RNN, "learned", ABOUT, ratio=True)


GRADIENT = _about(RNN, "gradient", "the lag at which the gradient of the RNN vanishes is", OF_RNN)
RNN_LEARNS = _about(RNN, "learned", "the largest lag that the RNN learns is", OF_RNN)
LSTM_LEARNS = _about(LSTM, "learned", "the largest lag that the LSTM learns is", OF_LSTM)
# an order of magnitude
LARGER = Comparison(
    f"after {LATER} steps the gradient of the LSTM is larger than that of the RNN", LSTM, RNN, "gradient later", 10.0,
    ratio=True,
)  # fmt: skip
LONGER = _longer(LSTM, "the LSTM learns longer lags than the RNN")
ALSO_BIAS_1 = _longer(BIAS_1, "an LSTM with forget bias 1 learns longer lags than the RNN")
FORGETS = Comparison(
    "an RNN that has learned from mixed lags forgets, too", RNN_MIXED, RIGHT, "recall", RIGHT - 0.5, lower=True
)
CRITERIA = Criteria(
    clauses=(GRADIENT, RNN_LEARNS, LSTM_LEARNS, LARGER, LONGER),
    gates=tuple(
        Comparison(f"the network '{name}' learns the shortest lag", name, 0.5, "shortest lag", RIGHT - 0.5)
        for name in (RNN, LSTM)
    ),
    limits=(FORGETS, ALSO_BIAS_1),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Learned lags; where they are not as claimed; the RNN that remembers."""
    arms = numbers["arms"]
    learned = {name: _lag(arms[name]["learned"]) for name in TRAINED}
    text = (
        f"Within {numbers['rounds']} rounds the RNN learns lags up to {learned[RNN]}, the LSTM up to {learned[LSTM]} "
        f"({LSTM.split(', ')[1]}) or {learned[BIAS_1]} ({BIAS_1.split(', ')[1]})."
    )
    text += judgment.not_shown(RNN_LEARNS, LSTM_LEARNS, LONGER, LARGER, ALSO_BIAS_1)
    if judgment.refuted(GRADIENT.clause):
        lag = _lag(arms[RNN]["gradient"])
        text += f" Before training the gradient of the RNN falls to a hundredth at lag {lag}, not at about {OF_RNN}."
    else:
        text += judgment.not_shown(GRADIENT)
    if judgment.refuted(FORGETS.clause):
        return text + (
            f" The limit is learning, not memory: trained with mixed lags, the RNN recalls "
            f"{percent(fmean(arms[RNN_MIXED]['recall']))} over {numbers['far']:,} steps."
        )
    return text + judgment.not_shown(FORGETS)


def _lag(lags: list[float]) -> str:
    """The geometric mean of lags."""
    return number(exp(fmean(map(log, lags))), 2)


def table(numbers: Numbers) -> Table:
    """Lag of the vanishing gradient, learned lags, and recall after training with mixed lags."""
    steps = len(numbers["curves"][RNN][0]) - 1
    head = ("gradient below a hundredth, lag", "largest learned lag", f"recall over {numbers['far']:,} steps")
    rows: Table = [("network", *head)]
    for name, measures in numbers["arms"].items():
        lags = measures["gradient"]
        vanished = f"above {steps}" if min(lags) > steps else mean_and_range(lags, 2)
        rest = (mean_and_range(measures[one], 2) if one in measures else "–" for one in ("learned", "recall"))
        rows.append((name, vanished, *rest))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Gradients before and after training, and recall against the lag that a network is trained on."""
    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.7)
    for index, (name, found) in enumerate(numbers["curves"].items()):
        mean = [exp(fmean(map(log, column))) for column in zip(*found, strict=True)]
        left.plot(mean, color=colors()[index], linestyle="dashed" if name == RNN_MIXED else "solid", label=name)
    left.axhline(VANISHED, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(left.yaxis)
    left.set(title="gradient of the last state", xlabel="steps back", ylabel="relative to lag 0")
    left.set(xlim=(0, min(100, len(numbers["curves"][RNN][0]))), ylim=(1e-12, 10))
    for index, name in enumerate(TRAINED):
        lags = numbers["arms"][name]["learned"]
        places = [index + 0.12 * (k - (len(lags) - 1) / 2) for k in range(len(lags))]
        right.plot(places, lags, MARKERS[index], color=colors()[index], markersize=4)
    for steps, words, above in ((OF_RNN, "notes: RNN", -10), (OF_LSTM, "notes: LSTM", 3)):
        right.axhline(steps, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
        right.annotate(words, (2.6, steps), (0, above), textcoords="offset points", ha="right", fontsize=7,
                       color=secondary_color())  # fmt: skip
    logarithmic(right.yaxis, (1, 2, 5, 10, 20, 50, 100, 200))
    right.set(title="largest learned lag", ylabel="steps", xlabel="one point per seed", ylim=(0.9, 300))
    names = [name.replace(", ", ",\n") for name in TRAINED]
    right.set(xticks=range(len(names)), xticklabels=names, xlim=(-0.6, 2.6))
    legend_above(figure, left, columns=3)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "An RNN with spectral radius 1 and LSTMs must name the first symbol of a sequence. Measured are the gradient "
        "of the last state with respect to earlier inputs, and the largest distance over which a network learns the "
        "task from sequences of this length alone."
    ),
    caption=(
        "Left: gradient of the last state with respect to the input some steps back, geometric mean over seeds; gray: "
        "a hundredth. Right: the largest lag that a network learns, one point per seed; gray: the numbers of the "
        "notes. If the notes were right, the circles would be on the lower and the squares on the upper gray line."
    ),
)
