"""With a near-optimal critic, the generator's gradient vanishes (notes, 2.2.3.3).

Generator and critic are first trained together on the digits. The generator is then frozen, and a new critic is trained
alone. During this training the experiment measures the critic's accuracy on held-out and generated images, and the norm
of the gradient that the generator would receive with four losses: log(1 − D), the objective in the notes; −log D, which
Goodfellow et al. (2014, section 3) use for this reason; feature matching (Salimans et al., 2016, section 3.1); and the
score of a Wasserstein critic with gradient penalty. Arjovsky and Bottou, "Towards principled methods for training
generative adversarial networks", 2017, show similar curves.

Each gradient is compared with the largest one of the same loss during this training, because the scales of the losses
differ. The first three losses share one critic; the fourth has its own, with the same initial weights, generator,
images and rounds. The notes also say that the critic quickly reaches an accuracy of 100%; whether the critic of the
joint training does is measured, too.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from math import exp
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seed_of, seeds
from danlu.experiments.harness.trainers import SinglePlayer, from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE = (1, 8, 8)
BEFORE = 300  # rounds of joint training
MEASURED = (0, 10, 30, 100, 300, 1000)  # rounds of training the critic alone
BATCH = 128
EVALUATED = 500  # real and generated images, each, for accuracy and gradient


class Cost(NamedTuple):
    """A generator loss and the loss of its critic."""

    critic: Loss
    generator: Loss
    techniques: Techniques = PLAIN


PENALIZED = Techniques(penalty=10.0)
COSTS = {
    "minimax, log(1 − D)": Cost("minimax", "minimax"),
    "non-saturating, −log D": Cost("minimax", "non-saturating"),
    "feature matching": Cost("minimax", "minimax", Techniques(feature_matching="replace")),
    "Wasserstein, penalty": Cost("wasserstein", "wasserstein", PENALIZED),
}
MINIMAX, NON_SATURATING, *_ = COSTS
IN_GAME = "critic of the joint training"
CRITICS: dict[Loss, Techniques] = {"minimax": PLAIN, "wasserstein": PENALIZED}
CHANCE, NEAR_OPTIMAL = 0.5, 0.99  # accuracies
VANISHED = 100.0  # the largest gradient is at least so many times the last one
SMALLEST = 1e-30  # a gradient of 0 counts as this, so that ratios are defined


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Accuracy of each critic, D of generated images, and the gradient of each loss, by seed and round."""
    run_seeds, rounds = (seeds(seed, 2), MEASURED[:4]) if quick else (seeds(seed, 5), MEASURED)
    accuracy: Numbers = {critic: [] for critic in CRITICS}
    fake_probability: list[list[float]] = []
    gradients: Numbers = {name: [] for name in COSTS}
    in_game: list[float] = []
    runs = [(run_seed, 30 if quick else BEFORE, rounds) for run_seed in run_seeds]
    for in_game_accuracy, alone in run_each(measure_critics, runs, progress, "critics"):
        in_game.append(in_game_accuracy)
        for critic, results in alone.items():
            accuracy[critic].append([record["accuracy"] for record in results])
            if critic == "minimax":
                fake_probability.append([record["trust"] for record in results])
            for name in results[0]["gradients"]:
                gradients[name].append([record["gradients"][name] for record in results])
    arms: Numbers = {
        name: {"largest": list(map(max, runs)), "last": [run[-1] for run in runs]} for name, runs in gradients.items()
    }
    arms |= {_alone(critic): {"accuracy": [run[-1] for run in accuracy[critic]]} for critic in CRITICS}
    arms[IN_GAME] = {"accuracy": in_game}
    return {
        "arms": {**arms, **{_largest(name): {"last": arms[name].pop("largest")} for name in COSTS}},
        "rounds": list(rounds),
        "accuracy": accuracy,
        "trust": fake_probability,
        "gradients": gradients,
    }


def measure_critics(seed: int, before: int, rounds: tuple[int, ...]) -> tuple[float, dict[Loss, list[Numbers]]]:
    """The accuracy of the critic of one joint training, and the measurements of each critic that is trained alone."""
    game = trained_game(before, seed)
    in_game = _measurements(game, digits().train, seed)["accuracy"]
    generator = cast(MLPGenerator, game.generator)
    return in_game, {critic: _learn(generator, critic, rounds, seed) for critic in CRITICS}


def _alone(critic: Loss) -> str:
    """The arm of a critic that is trained alone."""
    return f"{critic} critic alone"


def _largest(name: str) -> str:
    """The arm of the largest gradient of a loss."""
    return f"{name}, largest"


def trained_game(rounds: int, seed: int) -> Adversarial:
    """Generator and critic after a short joint training."""
    make = partial(MLPGenerator, SHAPE, classes=0, range=(0.0, 1.0), latent=16, hidden=(128, 128))
    task = Adversarial(cast(MLPGenerator, from_seed(make, seed)), _critic("joint critic", seed))
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    for _ in Trainer(task, settings, Shuffled(digits().train, BATCH, seed), rounds, seed):
        pass
    return task


def _critic(name: str, seed: int) -> MLPCritic:
    make = partial(MLPCritic, SHAPE, classes=0, hidden=(128, 128))
    return cast(MLPCritic, from_seed(make, seed_of(name, seed)))


def _learn(generator: MLPGenerator, loss: Loss, rounds: tuple[int, ...], seed: int) -> list[Numbers]:
    """Train a critic alone and measure it after the given rounds."""
    task = Adversarial(generator, _critic("new critic", seed), loss, CRITICS[loss])
    part = digits().train
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    trainer = Trainer(SinglePlayer(task, "critic"), settings, Shuffled(part, BATCH, seed), rounds[-1], seed)
    results = [_measurements(task, part, seed)]
    for report in trainer:
        if report.round in rounds:
            results.append(_measurements(task, part, seed))
    return results


def _measurements(task: Adversarial, part: Part, seed: int) -> Numbers:
    """Accuracy of the critic, its mean D of generated images, and the generator gradients."""
    real = digits().test["image"]
    with torch.no_grad():
        fake = task.generator.sample(len(real), generator=generator_of("judged", seed))
        real_scores, fake_scores = (task.critic(task.generator.to_critic_range(x)) for x in (real, fake))
    # the score of a Wasserstein critic has an arbitrary offset
    threshold = 0.0 if task.loss == "minimax" else float(real_scores.mean() + fake_scores.mean()) / 2
    costs = {name: cost for name, cost in COSTS.items() if cost.critic == task.loss}
    return {
        "accuracy": float((real_scores > threshold).double().mean() + (fake_scores < threshold).double().mean()) / 2,
        "trust": float(fake_scores.double().sigmoid().mean()),
        "gradients": {name: gradient(task, cost, part, seed) for name, cost in costs.items()},
    }


def gradient(task: Adversarial, cost: Cost, part: Part, seed: int) -> float:
    """Norm of the gradient with respect to all generator weights; the networks are not changed."""
    players = deepcopy(task.generator).requires_grad_(), deepcopy(task.critic)
    single_step = SinglePlayer(Adversarial(*players, cost.generator, cost.techniques), "generator")
    (report,) = Trainer(
        single_step, OptimizerSettings(optimizer="sgd", lr=1e-9), Shuffled(part, EVALUATED, seed), 1, seed
    )
    return max(float(report.steps[0].norm), SMALLEST)


WON = tuple(
    Comparison(f"the {critic} critic that is trained alone is near-optimal", _alone(critic), CHANCE, "accuracy",
               NEAR_OPTIMAL - CHANCE)
    for critic in CRITICS
)  # fmt: skip
# two decades: a tenth would be a small gradient, not one that has vanished
VANISHES = {
    name: Comparison(f"the gradient of {name} vanishes", name, _largest(name), "last", VANISHED, lower=True, ratio=True)
    for name in COSTS
}
WINS_IN_GAME = Comparison(
    "the critic of the joint training is near-optimal", IN_GAME, CHANCE, "accuracy", NEAR_OPTIMAL - CHANCE
)
CRITERIA = Criteria(
    clauses=(VANISHES[MINIMAX],), gates=WON,
    limits=(WINS_IN_GAME, *(one for name, one in VANISHES.items() if name != MINIMAX)),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The gradient of the minimax loss; then the other losses and the critic of the joint training."""
    arms = numbers["arms"]
    left = {name: exp(-judgment.finding(one.clause).interval.mean) for name, one in VANISHES.items()}
    accuracy = fmean(arms[_alone("minimax")]["accuracy"])
    text = (
        f"When the critic has an accuracy of {percent(accuracy, 1)}, the gradient of log(1 − D), the loss in the "
        f"notes, is {number(left[MINIMAX], 2)} of its largest value."
    )
    kept = [name for name in COSTS if name != MINIMAX and not judgment.supported(VANISHES[name].clause)]
    if kept:
        text += " That of other losses does not vanish: "
        text += "; ".join(f"{name} {number(left[name], 2)}" for name in kept) + "."
    if judgment.word == "does not hold":
        text += f" The gradient of log(1 − D) does not vanish: a fall to 1/{VANISHED:.0f} was needed."
    if not judgment.supported(WINS_IN_GAME.clause):
        text += (
            " The critic of the joint training itself is not near-optimal: its accuracy is "
            f"{percent(fmean(arms[IN_GAME]['accuracy']), 1)} after {BEFORE} rounds, in which both networks get equal "
            "updates."
        )
    return text


def table(numbers: Numbers) -> Table:
    """Accuracy, D of generated images and gradients by rounds of training the critic alone."""
    rows: Table = [("critic trained alone for", *(f"{rounds} rounds" for rounds in numbers["rounds"]))]
    names = {"minimax": "accuracy, critic", "wasserstein": "accuracy, Wasserstein critic"}
    results = [(names[critic], runs) for critic, runs in numbers["accuracy"].items()]
    results.append(("D of generated images", numbers["trust"]))
    results += [(f"gradient, {name}", runs) for name, runs in numbers["gradients"].items()]
    for name, runs in results:
        rows.append((name, *(mean_and_range(column, 2) for column in zip(*runs, strict=True))))
    joint = mean_and_range(numbers["arms"][IN_GAME]["accuracy"], 2)
    rows.append(("accuracy, critic of the joint training", joint, *["–"] * (len(numbers["rounds"]) - 1)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Accuracy of the critics and relative gradients by rounds."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels, secondary_color

    figure, (first, right) = panels(2, height=2.5, width_ratios=(1, 1.6))
    rounds = [max(1, rounds) for rounds in numbers["rounds"]]
    for index, critic in ((0, "minimax"), (3, "wasserstein")):
        line(first, rounds, [[100 * value for value in run] for run in numbers["accuracy"][critic]], index, critic)
    first.axhline(100 * NEAR_OPTIMAL, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    first.set(title="Critic", ylabel="accuracy, %", ylim=(0, 103))
    for index, (name, runs) in enumerate(numbers["gradients"].items()):
        line(right, rounds, [[value / max(run) for value in run] for run in runs], index, name)
    right.axhline(1 / VANISHED, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(right.yaxis)
    right.set(title="Generator gradient", ylabel="relative to its largest value")
    for axes in (first, right):
        logarithmic(axes.xaxis, rounds)
        axes.set_xticklabels([str(rounds) for rounds in numbers["rounds"]])
        axes.set_xlabel("rounds of training the critic alone")
    legend_above(figure, right, columns=2)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A generator of digits is trained together with a critic and then frozen, and a new critic is trained alone "
        "against it. During this training the accuracy of the new critic and the norm of the gradient that the "
        "generator would receive are measured, for four losses."
    ),
    caption=(
        "Left: accuracy of the critics on held-out and generated images; dashed: near-optimal. Right: gradient of each "
        "loss on the generator, relative to its largest value; below the dashed line it has vanished. Lines are means, "
        "bands ranges over the seeds."
    ),
)
