"""When the critic wins, the generator's gradient vanishes (notes, 2.2.3.3).

Generator and critic play on the digits for a while. Then the generator stands still, and a new critic learns alone
until it wins. On the way is measured which share of held-out and generated pictures it tells right, and how long a
gradient the generator would get from it: by log(1 − D), the value of the game that the notes write down; by −log D,
which Goodfellow et al. (2014, section 3) train with for this very reason; by the features of the critic (Salimans et
al., 2016, section 3.1); and, from a critic that learns the Wasserstein distance with the gradient penalty, by its
score. Arjovsky and Bottou, "Towards principled methods for training generative adversarial networks", 2017, have such
curves. Three seeds.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import Alone, from_seed, spread
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE = (1, 8, 8)
BEFORE = 300  # rounds that both have played
MEASURED = (0, 10, 30, 100, 300, 1000)  # rounds of the critic alone
BATCH = 128
JUDGED = 500  # pictures of either kind by which accuracy and gradient are measured


class Cost(NamedTuple):
    """What a generator could pay, and the critic that goes with it."""

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
WON = 0.99  # of the pictures told right: then the critic has won
VANISHED, KEPT = 0.01, 0.1  # of the longest gradient: below the one it has vanished, above the other it has not


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Accuracy and trust of each critic, and the gradient of each cost, by seed and round."""
    seeds, rounds = (range(seed, seed + 1), MEASURED[:4]) if quick else (range(seed, seed + 3), MEASURED)
    runs: list[tuple[int, Loss]] = [(own, critic) for own in seeds for critic in CRITICS]
    accuracy: Numbers = {critic: [] for critic in CRITICS}
    trust: list[list[float]] = []
    gradients: Numbers = {name: [] for name in COSTS}
    for done, (own, critic) in enumerate(runs):
        tell("critics", done, len(runs))
        found = _learn(played(30 if quick else BEFORE, own), critic, rounds, own)
        accuracy[critic].append([at["accuracy"] for at in found])
        if critic == "minimax":
            trust.append([at["trust"] for at in found])
        for name in found[0]["gradients"]:
            gradients[name].append([at["gradients"][name] for at in found])
    return {"rounds": list(rounds), "accuracy": accuracy, "trust": trust, "gradients": gradients}


def played(rounds: int, seed: int) -> MLPGenerator:
    """A generator that has learned a little."""
    make = partial(MLPGenerator, SHAPE, classes=0, range=(0.0, 1.0), latent=16, hidden=(128, 128))
    game = Adversarial(cast(MLPGenerator, from_seed(make, seed)), _critic(seed))
    descent = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    for _ in Trainer(game, descent, Shuffled(digits().train, BATCH, seed), rounds, seed):
        pass
    return cast(MLPGenerator, game.generator)


def _critic(seed: int) -> MLPCritic:
    return cast(MLPCritic, from_seed(partial(MLPCritic, SHAPE, classes=0, hidden=(128, 128)), seed))


def _learn(generator: MLPGenerator, loss: Loss, rounds: tuple[int, ...], seed: int) -> list[Numbers]:
    """What a critic that learns alone is worth after so many rounds."""
    game = Adversarial(generator, _critic(seed + 1000), loss, CRITICS[loss])
    part = digits().train
    descent = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    trainer = Trainer(Alone(game, "critic"), descent, Shuffled(part, BATCH, seed), rounds[-1], seed)
    found = [_worth(game, part, seed)]
    for report in trainer:
        if report.round in rounds:
            found.append(_worth(game, part, seed))
    return found


def _worth(game: Adversarial, part: Part, seed: int) -> Numbers:
    """How right the critic is, how much it trusts generated pictures, and the gradients that come of it."""
    real = digits().test["image"]
    with torch.no_grad():
        fake = game.generator.sample(len(real), generator=generator_of("judged", seed))
        of_real, of_fake = (game.critic(game.generator.seen(x)) for x in (real, fake))
    # a Wasserstein critic's score has no zero of its own
    between = 0.0 if game.loss == "minimax" else float(of_real.mean() + of_fake.mean()) / 2
    costs = {name: cost for name, cost in COSTS.items() if cost.critic == game.loss}
    return {
        "accuracy": float((of_real > between).double().mean() + (of_fake < between).double().mean()) / 2,
        "trust": float(of_fake.double().sigmoid().mean()),
        "gradients": {name: gradient(game, cost, part, seed) for name, cost in costs.items()},
    }


def gradient(game: Adversarial, cost: Cost, part: Part, seed: int) -> float:
    """Norm of the gradient by all weights of the generator; the players of the game are left as they are."""
    players = deepcopy(game.generator).requires_grad_(), deepcopy(game.critic)
    asked = Alone(Adversarial(*players, cost.generator, cost.techniques), "generator")
    (report,) = Trainer(asked, OptimizerSettings(optimizer="sgd", lr=1e-9), Shuffled(part, JUDGED, seed), 1, seed)
    return float(report.moves[0].norm)


def left(run: list[float]) -> float:
    """The last gradient as a share of the longest."""
    return run[-1] / max(run)


def judge(numbers: Numbers) -> Verdict:
    """Once the critic has won, the gradient has vanished for the game's own value; and for the other costs?"""
    won = min(run[-1] for runs in numbers["accuracy"].values() for run in runs)
    shares = {name: [left(run) for run in runs] for name, runs in numbers["gradients"].items()}
    trust = max(run[-1] for run in numbers["trust"])
    said = "; ".join(f"{name} {min(share):.2g} to {max(share):.2g}" for name, share in shares.items())
    reason = (
        f"In the end critics tell at least {won:.1%} right and take a generated picture for real with a probability of "
        f"{trust:.0e}. Of its longest gradient each cost then has: {said}."
    )
    if won < WON or max(shares[MINIMAX]) > VANISHED:
        return Verdict("does not hold", reason)
    kept = [name for name, share in shares.items() if min(share) >= KEPT]
    if not kept:
        return Verdict("holds", reason)
    return Verdict(
        "holds with limits",
        f"{reason} It vanishes for the cost that the notes write, log(1 − D); not for {' nor '.join(kept)}"
        f"{'. GANs are trained with −log D, whose gradient grows' if NON_SATURATING in kept else ''}.",
    )


def table(numbers: Numbers) -> Table:
    """Accuracy, trust and gradients by rounds of the critic alone."""
    rows: Table = [("critic alone for", *(f"{rounds} rounds" for rounds in numbers["rounds"]))]
    names = {"minimax": "told right, critic", "wasserstein": "told right, Wasserstein critic"}
    found = [(names[critic], runs, ".3f") for critic, runs in numbers["accuracy"].items()]
    found.append(("D of generated pictures", numbers["trust"], ".1e"))
    found += [(f"gradient, {name}", runs, ".1e") for name, runs in numbers["gradients"].items()]
    for name, runs, form in found:
        rows.append((name, *(spread(column, form) for column in zip(*runs, strict=True))))
    return rows


def draw(numbers: Numbers) -> Figure:
    """Accuracy of the critics, and the gradients as shares of their longest, against rounds."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels

    figure, (first, right) = panels(2, height=2.5, width_ratios=(1, 1.6))
    rounds = [max(1, rounds) for rounds in numbers["rounds"]]
    for number, critic in ((0, "minimax"), (3, "wasserstein")):
        line(first, rounds, [[100 * value for value in run] for run in numbers["accuracy"][critic]], number, critic)
    first.set(title="The critic wins …", ylabel="told right, %", ylim=(0, 103))
    for number, (name, runs) in enumerate(numbers["gradients"].items()):
        line(right, rounds, [[value / max(run) for value in run] for run in runs], number, name)
    logarithmic(right.yaxis)
    right.set(title="… and the generator's gradient", ylabel="of its longest")
    for axes in (first, right):
        logarithmic(axes.xaxis, rounds)
        axes.set_xticklabels([str(rounds) for rounds in numbers["rounds"]])
        axes.set_xlabel("rounds of the critic alone")
    legend_above(figure, right, columns=2)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
