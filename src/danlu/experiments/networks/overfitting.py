"""L2, augmentation, dropout and early stopping reduce the generalization gap (notes, 1.3).

A convolutional network is trained on 200 digits until it fits them almost perfectly. The same training is repeated with
each remedy alone, with all remedies together, and with an augmentation that is not valid for digits: horizontal and
vertical flips, which the notes also name. The gap is the test cross-entropy minus the training cross-entropy, both
computed in evaluation mode. The strength of each remedy is chosen by the mean validation loss over three separate
splits. Five seeds, each with its own 200 digits.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.split_settings import Split
from danlu.data.datasets.digits import digits
from danlu.data.images.settings import Augment
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import always_less, classification_trainer, from_seed, spread, stratified_subset
from danlu.models.classify.cnn import CNN
from danlu.nn.state_dict import load_tensors, named_tensors
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer
from danlu.training.validation import Best, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 200
EVERY = 20  # rounds between evaluations on the validation part
PATIENCE = 5
CLOSED = 0.1  # a gap is closed if at most this fraction of the gap without remedies remains


class Remedy(NamedTuple):
    """Settings that reduce overfitting."""

    l2: float = 0.0
    augment: Augment | None = None
    dropout: float = 0.0
    patience: int | None = None


def displayed(name: str) -> str:
    """The name of a remedy in tables and figures."""
    return {"nothing": "no remedy", "mirrored": "flips"}.get(name, name)


def class_preserving(amount: float) -> Augment:
    """An augmentation that keeps the class: small rotations, shifts, zooms and noise."""
    return Augment(
        rotate=10 * amount, translate=0.1 * amount, scale=(1 - 0.1 * amount, 1 + 0.1 * amount), noise=0.05 * amount
    )


STRENGTHS: dict[str, list[Remedy]] = {
    "nothing": [Remedy()],
    "L2": [Remedy(l2=l2) for l2 in (1e-4, 1e-3, 1e-2)],
    "augmentation": [Remedy(augment=class_preserving(amount)) for amount in (0.5, 1.0, 2.0)],
    "dropout": [Remedy(dropout=p) for p in (0.2, 0.5, 0.7)],
    "early stopping": [Remedy(patience=PATIENCE)],
    "mirrored": [Remedy(augment=Augment(flip="both"))],
}
CLAIMED = ("L2", "augmentation", "dropout", "early stopping")


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Cross-entropy, accuracy and final round by remedy and seed; loss curves without remedies."""
    seeds = range(seed, seed + (2 if quick else 5))
    rounds = 25 if quick else 500
    selection_seeds = [seed + 1000 + other for other in range(1 if quick else 3)]  # splits for choosing the strengths
    chosen = {name: _strongest(candidates, selection_seeds, rounds) for name, candidates in STRENGTHS.items()}
    combined = Remedy(chosen["L2"].l2, chosen["augmentation"].augment, chosen["dropout"].dropout, PATIENCE)
    remedies = {**chosen, "all four": combined}
    numbers: Numbers = {name: [] for name in remedies}
    for index, (name, remedy) in enumerate(remedies.items()):
        for run_seed in seeds:
            progress("networks", index * len(seeds) + run_seed - seed, len(remedies) * len(seeds))
            numbers[name].append(_learn(remedy, run_seed, rounds))
    strengths = {
        name: f"{getattr(chosen[name], quantity):g}" for name, quantity in (("L2", "l2"), ("dropout", "dropout"))
    }
    rotation = chosen["augmentation"].augment
    strengths["augmentation"] = f"±{rotation.rotate:g}°" if rotation else "none"
    return {"remedies": numbers, "strengths": strengths, "curve": _curve(seed, rounds), "examples": EXAMPLES}


def _strongest(remedies: list[Remedy], seeds: list[int], rounds: int) -> Remedy:
    """The remedy with the lowest mean validation loss over the splits."""
    if len(remedies) == 1:
        return remedies[0]
    return min(remedies, key=lambda r: fmean(_learn(r, seed, rounds)["validation"]["cross_entropy"] for seed in seeds))


def _trainer(remedy: Remedy, seed: int, rounds: int) -> tuple[Trainer, DataSet, Part]:
    data = digits(split=Split(seed=seed))
    part = stratified_subset(data.train, EXAMPLES, seed)
    network = from_seed(lambda: CNN(data.info.shape, 10, (16, 32), hidden=(64,), dropout=remedy.dropout), seed)
    settings = OptimizerSettings(optimizer="adam", lr=5e-3, l2=remedy.l2)
    return classification_trainer(network, part, settings, rounds, 32, seed, remedy.augment), data, part


def _learn(remedy: Remedy, seed: int, rounds: int) -> Numbers:
    """Train one network and return its final scores; with early stopping, those of the best validation round."""
    trainer, data, part = _trainer(remedy, seed, rounds)
    best = Best("cross_entropy", higher=False, patience=remedy.patience)
    best_tensors = named_tensors(trainer.task)
    for report in trainer:
        if remedy.patience and report.round % EVERY == 0:
            if best.update(report.round, evaluate(trainer, data.validation)["cross_entropy"]):
                best_tensors = {name: value.clone() for name, value in named_tensors(trainer.task).items()}
            if best.exhausted:
                break
    load_tensors(trainer.task, best_tensors, "the best round")
    parts = {"train": part, "validation": data.validation, "test": data.test}
    return {
        **{name: evaluate(trainer, examples) for name, examples in parts.items()},
        "round": best.round or rounds,
    }


def _curve(seed: int, rounds: int) -> Numbers:
    """Cross-entropies during training without remedies."""
    trainer, data, part = _trainer(Remedy(), seed, rounds)
    curve: Numbers = {"round": [], "train": [], "test": []}
    for report in trainer:
        if report.round % EVERY == 0:
            curve["round"].append(report.round)
            for name, examples in (("train", part), ("test", data.test)):
                curve[name].append(evaluate(trainer, examples)["cross_entropy"])
    return curve


def gaps(runs: list[Numbers]) -> list[float]:
    """Test minus training cross-entropy of each seed."""
    return [run["test"]["cross_entropy"] - run["train"]["cross_entropy"] for run in runs]


def on_test(runs: list[Numbers], score: str = "cross_entropy") -> list[float]:
    """A test score of each seed."""
    return [run["test"][score] for run in runs]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if each remedy narrows the gap in every seed, to a tenth, and none increases the test loss."""
    runs = numbers["remedies"]
    baseline = runs["nothing"]
    narrows = [name for name in CLAIMED if always_less(gaps(runs[name]), gaps(baseline))]
    helps = [name for name in CLAIMED if always_less(on_test(runs[name]), on_test(baseline))]
    harms = [name for name in CLAIMED if always_less(on_test(baseline), on_test(runs[name]))]
    left = {name: fmean(gaps(runs[name])) / fmean(gaps(baseline)) for name in CLAIMED}
    gap = f"Without remedies the gap is {fmean(gaps(baseline)):.2f} nats. The remaining fraction is " + ", ".join(
        f"{fraction:.0%} with {name}" for name, fraction in left.items()
    )
    test = f". The test loss is lower in every seed with {_and(helps)}."
    accuracy_with_flips, accuracy_without = (fmean(on_test(runs[name], "accuracy")) for name in ("mirrored", "nothing"))
    flip_note = (
        f" Flips, which change the class of some digits, reduce the test accuracy from {accuracy_without:.1%} to "
        f"{accuracy_with_flips:.1%}."
    )
    reason = gap + test + (flip_note if accuracy_with_flips < accuracy_without else "")
    if len(narrows) < len(CLAIMED) / 2:
        return Verdict("does not hold", f"{reason} The gap is narrower in every seed only with {_and(narrows)}.")
    if len(narrows) == len(CLAIMED) and not harms and max(left.values()) <= CLOSED:
        return Verdict("holds", reason)
    limits = [
        " No remedy reduces the gap to a tenth."
        if min(left.values()) > CLOSED
        else " Not all remedies reduce the gap to a tenth."
    ]
    if len(narrows) < len(CLAIMED):
        limits.append(f" The gap is narrower in every seed only with {_and(narrows)}.")
    if harms:
        limits.append(f" With {_and(harms)} the training loss and the test loss are both higher.")
    return Verdict("holds with limits", reason + "".join(limits))


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names or ["none"])


def table(numbers: Numbers) -> Table:
    """Losses, gap and accuracy by remedy."""
    rows: Table = [("remedy", "training loss", "test loss", "gap", "test accuracy", "rounds")]
    for name, runs in numbers["remedies"].items():
        train = [run["train"]["cross_entropy"] for run in runs]
        rounds = fmean(run["round"] for run in runs)
        strength = numbers["strengths"].get(name)
        rows.append(
            (
                f"{name} ({strength})" if strength else displayed(name),
                spread(train),
                spread(on_test(runs)),
                spread(gaps(runs)),
                spread(on_test(runs, "accuracy")),
                f"{rounds:.0f}",
            )
        )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Loss curves of one seed without remedies; final losses with each remedy."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.7, width_ratios=(1, 1.5))
    curve = numbers["curve"]
    left.plot(curve["round"], curve["train"], color=colors()[0], label="training")
    left.plot(curve["round"], curve["test"], color=colors()[1], linestyle="dashed", label="test")
    logarithmic(left.yaxis)
    left.grid(True, axis="y")
    left.set(title="without remedies", xlabel="round", ylabel="cross-entropy, nats")
    left.legend(loc="center right")
    names = list(numbers["remedies"])[::-1]
    for row, name in enumerate(names):
        runs = numbers["remedies"][name]
        for train, test in zip((run["train"]["cross_entropy"] for run in runs), on_test(runs), strict=True):
            right.plot([train, test], [row, row], color=secondary_color(), linewidth=0.5)
            right.plot(train, row, "o", color=colors()[0], markersize=3)
            right.plot(test, row, "D", color=colors()[1], markersize=3)
    right.set_yticks(range(len(names)), [displayed(name) for name in names])
    logarithmic(right.xaxis)
    right.grid(True, axis="x")
    right.set(title="after training, one pair of points per seed", xlabel="cross-entropy, nats")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
