"""With a near-optimal critic, the generator's gradient vanishes (notes, 2.2.3.3).

Generator and critic are first trained together on the digits. The generator is then frozen, and a new critic is trained
alone. During this training the experiment measures the critic's accuracy on held-out and generated images, and the norm
of the gradient that the generator would receive with four losses: log(1 − D), the objective in the notes; −log D, which
Goodfellow et al. (2014, section 3) use for this reason; feature matching (Salimans et al., 2016, section 3.1); and the
score of a Wasserstein critic with gradient penalty. Arjovsky and Bottou, "Towards principled methods for training
generative adversarial networks", 2017, show similar curves. Three seeds.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import SinglePlayer, from_seed, spread
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
CRITICS: dict[Loss, Techniques] = {"minimax": PLAIN, "wasserstein": PENALIZED}
NEAR_OPTIMAL = 0.99  # a critic with at least this accuracy counts as near-optimal
VANISHED, KEPT = 0.01, 0.1  # relative to the largest gradient: vanished if below the first, kept if above the second


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Accuracy of each critic, D of generated images, and the gradient of each loss, by seed and round."""
    seeds, rounds = (range(seed, seed + 1), MEASURED[:4]) if quick else (range(seed, seed + 3), MEASURED)
    runs: list[tuple[int, Loss]] = [(run_seed, critic) for run_seed in seeds for critic in CRITICS]
    accuracy: Numbers = {critic: [] for critic in CRITICS}
    fake_probability: list[list[float]] = []
    gradients: Numbers = {name: [] for name in COSTS}
    for done, (run_seed, critic) in enumerate(runs):
        progress("critics", done, len(runs))
        results = _learn(trained_generator(30 if quick else BEFORE, run_seed), critic, rounds, run_seed)
        accuracy[critic].append([record["accuracy"] for record in results])
        if critic == "minimax":
            fake_probability.append([record["trust"] for record in results])
        for name in results[0]["gradients"]:
            gradients[name].append([record["gradients"][name] for record in results])
    return {"rounds": list(rounds), "accuracy": accuracy, "trust": fake_probability, "gradients": gradients}


def trained_generator(rounds: int, seed: int) -> MLPGenerator:
    """A generator after a short joint training."""
    make = partial(MLPGenerator, SHAPE, classes=0, range=(0.0, 1.0), latent=16, hidden=(128, 128))
    task = Adversarial(cast(MLPGenerator, from_seed(make, seed)), _critic(seed))
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    for _ in Trainer(task, settings, Shuffled(digits().train, BATCH, seed), rounds, seed):
        pass
    return cast(MLPGenerator, task.generator)


def _critic(seed: int) -> MLPCritic:
    return cast(MLPCritic, from_seed(partial(MLPCritic, SHAPE, classes=0, hidden=(128, 128)), seed))


def _learn(generator: MLPGenerator, loss: Loss, rounds: tuple[int, ...], seed: int) -> list[Numbers]:
    """Train a critic alone and measure it after the given rounds."""
    task = Adversarial(generator, _critic(seed + 1000), loss, CRITICS[loss])
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
    return float(report.steps[0].norm)


def final_fraction(run: list[float]) -> float:
    """The final gradient relative to the largest one."""
    return run[-1] / max(run)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if the gradient has vanished for every loss; limits if it has only for log(1 − D)."""
    accuracy = min(run[-1] for runs in numbers["accuracy"].values() for run in runs)
    fractions = {name: [final_fraction(run) for run in runs] for name, runs in numbers["gradients"].items()}
    fake_probability = max(run[-1] for run in numbers["trust"])
    fractions_text = "; ".join(f"{name} {min(values):.2g} to {max(values):.2g}" for name, values in fractions.items())
    reason = (
        f"Critics that are trained alone reach an accuracy of at least {accuracy:.1%}, and D of generated images is "
        f"{fake_probability:.0e}. The gradient of each loss is then, relative to its largest value: {fractions_text}."
    )
    if accuracy < NEAR_OPTIMAL or max(fractions[MINIMAX]) > VANISHED:
        return Verdict("does not hold", reason)
    kept = [name for name, fraction in fractions.items() if min(fraction) >= KEPT]
    if not kept:
        return Verdict("holds", reason)
    return Verdict(
        "holds with limits",
        f"{reason} It vanishes for log(1 − D), the loss in the notes, but not for {' or '.join(kept)}"
        f"{'. GANs are usually trained with −log D, whose gradient grows' if NON_SATURATING in kept else ''}.",
    )


def table(numbers: Numbers) -> Table:
    """Accuracy, D of generated images and gradients by rounds of training the critic alone."""
    rows: Table = [("critic trained alone for", *(f"{rounds} rounds" for rounds in numbers["rounds"]))]
    names = {"minimax": "accuracy, critic", "wasserstein": "accuracy, Wasserstein critic"}
    results = [(names[critic], runs, ".3f") for critic, runs in numbers["accuracy"].items()]
    results.append(("D of generated images", numbers["trust"], ".1e"))
    results += [(f"gradient, {name}", runs, ".1e") for name, runs in numbers["gradients"].items()]
    for name, runs, form in results:
        rows.append((name, *(spread(column, form) for column in zip(*runs, strict=True))))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Accuracy of the critics and relative gradients by rounds."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels

    figure, (first, right) = panels(2, height=2.5, width_ratios=(1, 1.6))
    rounds = [max(1, rounds) for rounds in numbers["rounds"]]
    for number, critic in ((0, "minimax"), (3, "wasserstein")):
        line(first, rounds, [[100 * value for value in run] for run in numbers["accuracy"][critic]], number, critic)
    first.set(title="Critic", ylabel="accuracy, %", ylim=(0, 103))
    for number, (name, runs) in enumerate(numbers["gradients"].items()):
        line(right, rounds, [[value / max(run) for value in run] for run in runs], number, name)
    logarithmic(right.yaxis)
    right.set(title="Generator gradient", ylabel="relative to its largest value")
    for axes in (first, right):
        logarithmic(axes.xaxis, rounds)
        axes.set_xticklabels([str(rounds) for rounds in numbers["rounds"]])
        axes.set_xlabel("rounds of training the critic alone")
    legend_above(figure, right, columns=2)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
