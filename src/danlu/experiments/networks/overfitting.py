"""L2, augmentation, dropout and early stopping reduce the generalization gap (notes, 1.3).

A convolutional network is trained on 200 digits until it fits them almost perfectly. The same training is repeated with
each remedy alone, with all of them together, and with an augmentation that is not valid for digits: horizontal and
vertical flips, which the notes also name. All other digits are the test set. The gap is the test cross-entropy minus
the training cross-entropy, both in evaluation mode.

Every network uses the same 200 labels. Early stopping takes its validation part out of them, as in the notes: it trains
on 160 and stops by the loss on 40. The strengths of the other remedies are chosen by the loss on the same 40, after
training on the same 160; then the network is trained on all 200 with the chosen strength.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from danlu.data.base.dataset import Part
from danlu.data.base.split import stratified_split
from danlu.data.base.split_settings import Split
from danlu.data.datasets.digits import digits
from danlu.data.images.settings import Augment
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.classify.cnn import CNN
from danlu.nn.state_dict import load_tensors, named_tensors
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer
from danlu.training.validation import Best, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES, HELD_OUT, DIGITS = 200, 40, 1797
ROUNDS = 400
EVERY = 20  # rounds between evaluations on the validation part
PATIENCE = 5
NAMES = L2, AUGMENTATION, DROPOUT, STOPPING = "L2", "augmentation", "dropout", "early stopping"
NOTHING, ALL, FLIPS = "no remedy", "all four", "flips"
FEWER = f"no remedy, {EXAMPLES - HELD_OUT} digits"
ARMS = (NOTHING, FEWER, *NAMES, ALL, FLIPS)
QUANTITIES = ("training loss", "test loss", "gap", "test error", "rounds")
REMAINING = "remaining gap"  # as a fraction of the gap without remedies


class Remedy(NamedTuple):
    """Settings that reduce overfitting."""

    l2: float = 0.0
    augment: Augment | None = None
    dropout: float = 0.0
    patience: int | None = None


def class_preserving(amount: float) -> Augment:
    """An augmentation that keeps the class: small rotations, shifts, zooms and noise."""
    return Augment(
        rotate=10 * amount, translate=0.1 * amount, scale=(1 - 0.1 * amount, 1 + 0.1 * amount), noise=0.05 * amount
    )


STRENGTHS: dict[str, dict[str, Remedy]] = {
    L2: {f"{l2:g}": Remedy(l2=l2) for l2 in (3e-3, 1e-2)},
    AUGMENTATION: {f"±{10 * amount:g}°": Remedy(augment=class_preserving(amount)) for amount in (1.0, 0.5)},
    DROPOUT: {f"{p:g}": Remedy(dropout=p) for p in (0.5, 0.2)},
}


class Labels(NamedTuple):
    """The 200 digits of one seed, their division for choices, and all other digits."""

    all: Part
    training: Part
    held_out: Part
    test: Part


def labels(seed: int) -> Labels:
    """The digits of one seed."""
    data = digits(split=Split(seed=seed, validation=0.0, test=1 - EXAMPLES / DIGITS))
    kept = HELD_OUT / EXAMPLES
    training, held_out = (data.train.take(r) for r in stratified_split(data.train["label"], (1 - kept, kept), seed))
    return Labels(data.train, training, held_out, data.test)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Losses, gap and error by remedy and seed; strengths; loss curves of the first seed without remedies."""
    run_seeds = seeds(seed, 2 if quick else 6)
    rounds = EVERY if quick else ROUNDS
    arms: Numbers = {name: {quantity: [] for quantity in QUANTITIES} for name in ARMS}
    strengths: Numbers = {name: [] for name in STRENGTHS}
    runs = [(run_seed, rounds, 1 if quick else 2) for run_seed in run_seeds]
    for results, chosen in run_each(measure_remedies, runs, progress, "seeds"):
        for name, strength in chosen.items():
            strengths[name].append(strength)
        for name, values in results.items():
            for quantity, value in values.items():
                arms[name][quantity].append(value)
    for measures in arms.values():
        measures[REMAINING] = [gap / whole for gap, whole in zip(measures["gap"], arms[NOTHING]["gap"], strict=True)]
    return {"arms": arms, "strengths": strengths, "curve": _curve(run_seeds[0], rounds)}


def measure_remedies(seed: int, rounds: int, choices: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """The results of all arms with one seed, and the chosen strengths."""
    of = labels(seed)
    chosen = {
        name: strongest(dict(list(remedies.items())[:choices]), of, rounds, seed)
        for name, remedies in STRENGTHS.items()
    }
    results: dict[str, dict[str, float]] = {}
    for name, remedy in _remedies({name: remedy for name, (_, remedy) in chosen.items()}).items():
        part = of.training if remedy.patience or name == FEWER else of.all
        results[name] = learn(remedy, part, of, rounds, seed)
    return results, {name: strength for name, (strength, _) in chosen.items()}


def _remedies(chosen: dict[str, Remedy]) -> dict[str, Remedy]:
    together = Remedy(chosen[L2].l2, chosen[AUGMENTATION].augment, chosen[DROPOUT].dropout, PATIENCE)
    rest = {STOPPING: Remedy(patience=PATIENCE), ALL: together, FLIPS: Remedy(augment=Augment(flip="both"))}
    return {NOTHING: Remedy(), FEWER: Remedy(), **chosen, **rest}


def strongest(remedies: dict[str, Remedy], of: Labels, rounds: int, seed: int) -> tuple[str, Remedy]:
    """The strength with the lowest loss on the held-out digits, after training on the others of the 200."""
    if len(remedies) == 1:
        return next(iter(remedies.items()))
    losses: dict[str, float] = {}
    for name, remedy in remedies.items():
        trainer = _trainer(remedy, of.training, rounds, seed)
        for _ in trainer:
            pass
        losses[name] = evaluate(trainer, of.held_out)["cross_entropy"]
    best = min(losses, key=losses.__getitem__)
    return best, remedies[best]


def _trainer(remedy: Remedy, part: Part, rounds: int, seed: int) -> Trainer:
    network = from_seed(lambda: CNN((1, 8, 8), 10, (16, 32), hidden=(64,), dropout=remedy.dropout), seed)
    settings = OptimizerSettings(optimizer="momentum", lr=0.05, l2=remedy.l2, schedule="cosine")
    return classification_trainer(network, part, settings, rounds, 32, seed, remedy.augment)


def learn(remedy: Remedy, part: Part, of: Labels, rounds: int, seed: int) -> dict[str, float]:
    """Train one network on a part; early stopping keeps the weights of the best round on the held-out digits."""
    trainer = _trainer(remedy, part, rounds, seed)
    best = Best("cross_entropy", higher=False, patience=remedy.patience)
    best_tensors = named_tensors(trainer.task)
    for report in trainer:
        if remedy.patience and report.round % EVERY == 0:
            if best.update(report.round, evaluate(trainer, of.held_out)["cross_entropy"]):
                best_tensors = {name: value.clone() for name, value in named_tensors(trainer.task).items()}
            if best.exhausted:
                break
    load_tensors(trainer.task, best_tensors, "the best round")
    training, test = evaluate(trainer, part)["cross_entropy"], evaluate(trainer, of.test)
    values = (training, test["cross_entropy"], test["cross_entropy"] - training, 1 - test["accuracy"])
    return dict(zip(QUANTITIES, (*values, best.round or rounds), strict=True))


def _curve(seed: int, rounds: int) -> Numbers:
    """Cross-entropies during training without remedies."""
    of = labels(seed)
    trainer = _trainer(Remedy(), of.all, rounds, seed)
    curve: Numbers = {"round": [], "training": [], "test": []}
    for report in trainer:
        if report.round % EVERY == 0:
            curve["round"].append(report.round)
            for name, part in (("training", of.all), ("test", of.test)):
                curve[name].append(evaluate(trainer, part)["cross_entropy"])
    return curve


# a tenth: less would not be called an effective remedy
def _less_gap(name: str) -> Comparison:
    return Comparison(f"the gap is smaller with {name}", name, NOTHING, REMAINING, 0.1, lower=True)


def _less(name: str, measure: str) -> Comparison:
    return Comparison(f"the {measure} is lower with {name}", name, NOTHING, measure, 10 / 9, lower=True, ratio=True)


LESS_GAP = {name: _less_gap(name) for name in NAMES}
LESS_LOSS = {name: _less(name, "test loss") for name in NAMES}
LESS_ERROR = {name: _less(name, "test error") for name in NAMES}
VALID = _less(FLIPS, "test loss")
CRITERIA = Criteria(
    clauses=tuple(LESS_GAP.values()),
    gates=(
        Comparison("the network fits the 200 digits", NOTHING, 0.06, "training loss", 0.05, lower=True),
        # ten times the training loss that counts as a fit
        Comparison("the test loss without remedies is much larger", NOTHING, 0.0, "gap", 0.1),
    ),
    limits=(*LESS_LOSS.values(), *LESS_ERROR.values(), VALID),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """How much of the gap remains with each remedy; where test loss and error are not lower; flips."""
    arms = numbers["arms"]
    left = {name: fmean(arms[name][REMAINING]) for name in NAMES}
    best = min(left, key=left.__getitem__)
    works = [name for name, one in LESS_GAP.items() if judgment.supported(one.clause)]
    text = (
        f"The gap between test and training loss is {number(fmean(arms[NOTHING]['gap']), 2)} nats without remedies and "
        f"{number(left[best], 2)} times that with the best one, {best}."
    )
    text += judgment.not_shown(*LESS_GAP.values())
    for quantity, group in (("test loss", LESS_LOSS), ("test error", LESS_ERROR)):
        missing = [name for name in works if not judgment.supported(group[name].clause)]
        if missing:
            text += f" With {_or(missing)} the {quantity} is not shown to be lower."
    if STOPPING not in works:
        gaps = [number(fmean(arms[name]["gap"]), 2) for name in (FEWER, STOPPING)]
        text += (
            f" Early stopping cannot train on the {HELD_OUT} digits that it validates with; on the other "
            f"{EXAMPLES - HELD_OUT} it changes the gap from {gaps[0]} to {gaps[1]} nats."
        )
    if not judgment.supported(VALID.clause):
        errors = [f"{100 * fmean(arms[name]['test error']):.1f} %" for name in (NOTHING, FLIPS)]
        text += (
            f" Flips, which the notes also name, change the class of some digits: the test error is {errors[1]} with "
            f"them and {errors[0]} without."
        )
    return text


def _or(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def table(numbers: Numbers) -> Table:
    """Losses, gap, error and rounds by remedy; the strengths that were chosen."""
    rows: Table = [("remedy", *QUANTITIES, "strengths")]
    for name, measures in numbers["arms"].items():
        strengths = ", ".join(sorted(set(numbers["strengths"].get(name, ["–"]))))
        rows.append((name, *(mean_and_range(measures[quantity], 2) for quantity in QUANTITIES), strengths))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Loss curves of one seed without remedies; losses and test error with each remedy."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.7, width_ratios=(1, 1.2, 0.8))
    curve = numbers["curve"]
    left.plot(curve["round"], curve["training"], color=colors()[0], label="training")
    left.plot(curve["round"], curve["test"], color=colors()[1], linestyle="dashed", label="test")
    left.grid(True, axis="y")
    highest = 2 * max(curve["test"][len(curve["test"]) // 2 :])
    left.set(title="no remedy, one seed", xlabel="round", ylabel="cross-entropy, nats", ylim=(0, highest))
    left.legend(loc="upper right")
    names = list(numbers["arms"])
    for row, name in enumerate(names):
        measures = numbers["arms"][name]
        ends = [fmean(measures[quantity]) for quantity in ("training loss", "test loss")]
        middle.plot(ends, [row, row], color=secondary_color(), linewidth=2, alpha=0.5)
        for number_, quantity in enumerate(("training loss", "test loss")):
            values = measures[quantity]
            middle.plot(values, [row] * len(values), "oD"[number_], color=colors()[number_], markersize=2.5)
        errors = [100 * value for value in measures["test error"]]
        right.plot(errors, [row] * len(errors), "D", color=colors()[1], markersize=2.5, alpha=0.6)
        right.plot(fmean(errors), row, "|", color=secondary_color(), markersize=11)
    for axes in (middle, right):
        axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlim=(0, None))
        axes.grid(True, axis="x")
    right.set_yticklabels([])
    middle.set(title="losses after training", xlabel="cross-entropy, nats")
    right.set(title="test error", xlabel="%")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"A small convolutional network is trained on {EXAMPLES} digits without a remedy, with each remedy alone, and "
        f"with all of them. {HELD_OUT} of these digits choose the strengths and the end of early stopping, so every "
        "network has the same labels; all other digits are the test set."
    ),
    caption=(
        "Left: training and test loss without remedies. Middle: training loss (circles) and test loss (diamonds) after "
        "training, one point per seed; the bar from mean to mean is the gap. Right: test error, vertical line: mean. "
        "A remedy that works has a shorter bar, and its diamonds farther to the left."
    ),
)
