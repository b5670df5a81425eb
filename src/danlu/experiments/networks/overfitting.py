"""L2, augmentation, dropout and early stopping close the gap (notes, 1.3).

A convolutional network learns 200 digits until it knows them by heart. Then the same again with each remedy by itself,
with all of them, and with an augmentation that is wrong for digits: mirrored and upside down, which the notes name too.
The gap is test minus training cross-entropy, measured without the remedy at work. How strong a remedy is, is chosen by
the mean loss on the validation parts of three splits that are not measured. Five seeds, each with its own 200 digits.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.split import Split
from danlu.data.datasets.digits import digits
from danlu.data.images.augment import Augment
from danlu.data.settings import DataSettings
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import always_less, classifying, from_seed, some_of, spread
from danlu.models.classify.cnn import CNN
from danlu.nn.state_dict import load_tensors, tensors_of
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer
from danlu.training.validation import Best, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 200
EVERY = 20  # rounds between looks at the validation part
PATIENCE = 5
CLOSED = 0.1  # of the gap without remedies: what is left of a gap that is closed


class Remedy(NamedTuple):
    """What is done against overfitting."""

    l2: float = 0.0
    augment: Augment | None = None
    dropout: float = 0.0
    patience: int | None = None


def moved(much: float) -> Augment:
    """Digits that stay what they are: turned, shifted, zoomed a little, with noise on them."""
    return Augment(rotate=10 * much, translate=0.1 * much, scale=(1 - 0.1 * much, 1 + 0.1 * much), noise=0.05 * much)


STRENGTHS: dict[str, list[Remedy]] = {
    "nothing": [Remedy()],
    "L2": [Remedy(l2=l2) for l2 in (1e-4, 1e-3, 1e-2)],
    "augmentation": [Remedy(augment=moved(much)) for much in (0.5, 1.0, 2.0)],
    "dropout": [Remedy(dropout=share) for share in (0.2, 0.5, 0.7)],
    "early stopping": [Remedy(patience=PATIENCE)],
    "mirrored": [Remedy(augment=Augment(flip="both"))],
}
CLAIMED = ("L2", "augmentation", "dropout", "early stopping")


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Cross-entropy, accuracy and round at the end, of each remedy and seed; a curve without any."""
    seeds = range(seed, seed + (2 if quick else 5))
    rounds = 80 if quick else 500
    aside = [seed + 1000 + other for other in range(1 if quick else 3)]  # the splits by which strengths are chosen
    chosen = {name: _strongest(some, aside, rounds) for name, some in STRENGTHS.items()}
    together = Remedy(chosen["L2"].l2, chosen["augmentation"].augment, chosen["dropout"].dropout, PATIENCE)
    remedies = {**chosen, "all four": together}
    numbers: Numbers = {name: [] for name in remedies}
    for place, (name, remedy) in enumerate(remedies.items()):
        for own in seeds:
            tell("networks", place * len(seeds) + own - seed, len(remedies) * len(seeds))
            numbers[name].append(_learn(remedy, own, rounds))
    strengths = {name: f"{getattr(chosen[name], what):g}" for name, what in (("L2", "l2"), ("dropout", "dropout"))}
    turned = chosen["augmentation"].augment
    strengths["augmentation"] = f"±{turned.rotate:g}°" if turned else "none"
    return {"remedies": numbers, "strengths": strengths, "curve": _curve(seed, rounds), "examples": EXAMPLES}


def _strongest(remedies: list[Remedy], seeds: list[int], rounds: int) -> Remedy:
    """The remedy with the lowest mean validation loss over splits."""
    if len(remedies) == 1:
        return remedies[0]
    return min(remedies, key=lambda r: fmean(_learn(r, seed, rounds)["validation"]["cross_entropy"] for seed in seeds))


def _trainer(remedy: Remedy, seed: int, rounds: int) -> tuple[Trainer, DataSet, Part]:
    data = digits(DataSettings(split=Split(seed=seed)))
    part = some_of(data.train, EXAMPLES, seed)
    network = from_seed(lambda: CNN(data.info.shape, 10, (16, 32), hidden=(64,), dropout=remedy.dropout), seed)
    descent = OptimizerSettings(optimizer="adam", lr=5e-3, l2=remedy.l2)
    return classifying(network, part, descent, rounds, 32, seed, remedy.augment), data, part


def _learn(remedy: Remedy, seed: int, rounds: int) -> Numbers:
    """One network: its scores at the end, or where it was best on the validation part if it stops early."""
    trainer, data, part = _trainer(remedy, seed, rounds)
    best = Best("cross_entropy", higher=False, patience=remedy.patience)
    kept = tensors_of(trainer.task)
    for report in trainer:
        if remedy.patience and report.round % EVERY == 0:
            if best.see(report.round, evaluate(trainer, data.validation)["cross_entropy"]):
                kept = {name: value.clone() for name, value in tensors_of(trainer.task).items()}
            if best.exhausted:
                break
    load_tensors(trainer.task, kept, "the best round")
    parts = {"train": part, "validation": data.validation, "test": data.test}
    return {**{name: evaluate(trainer, some) for name, some in parts.items()}, "round": best.round or rounds}


def _curve(seed: int, rounds: int) -> Numbers:
    """Cross-entropies on the way, without any remedy."""
    trainer, data, part = _trainer(Remedy(), seed, rounds)
    curve: Numbers = {"round": [], "train": [], "test": []}
    for report in trainer:
        if report.round % EVERY == 0:
            curve["round"].append(report.round)
            for name, some in (("train", part), ("test", data.test)):
                curve[name].append(evaluate(trainer, some)["cross_entropy"])
    return curve


def gaps(runs: list[Numbers]) -> list[float]:
    """Test minus training cross-entropy of each seed."""
    return [run["test"]["cross_entropy"] - run["train"]["cross_entropy"] for run in runs]


def on_test(runs: list[Numbers], score: str = "cross_entropy") -> list[float]:
    """A score of each seed on the test part."""
    return [run["test"][score] for run in runs]


def judge(numbers: Numbers) -> Verdict:
    """Each remedy narrows the gap in every seed to a tenth, and none makes the test loss worse."""
    runs = numbers["remedies"]
    bare = runs["nothing"]
    narrows = [name for name in CLAIMED if always_less(gaps(runs[name]), gaps(bare))]
    helps = [name for name in CLAIMED if always_less(on_test(runs[name]), on_test(bare))]
    harms = [name for name in CLAIMED if always_less(on_test(bare), on_test(runs[name]))]
    left = {name: fmean(gaps(runs[name])) / fmean(gaps(bare)) for name in CLAIMED}
    gap = f"Without any the gap is {fmean(gaps(bare)):.2f} nats; of it remain " + ", ".join(
        f"{share:.0%} with {name}" for name, share in left.items()
    )
    test = f"; on the test part the loss is lower in every seed with {_and(helps)}."
    flipped, right = (fmean(on_test(runs[name], "accuracy")) for name in ("mirrored", "nothing"))
    beside = f" Mirroring, which changes what a digit is, brings test accuracy from {right:.1%} to {flipped:.1%}."
    reason = gap + test + (beside if flipped < right else "")
    if len(narrows) < len(CLAIMED) / 2:
        return Verdict("does not hold", f"{reason} The gap narrows in every seed only with {_and(narrows)}.")
    if len(narrows) == len(CLAIMED) and not harms and max(left.values()) <= CLOSED:
        return Verdict("holds", reason)
    limits = [" None closes it to a tenth." if min(left.values()) > CLOSED else " Not all close it to a tenth."]
    if len(narrows) < len(CLAIMED):
        limits.append(f" In every seed it narrows only with {_and(narrows)}.")
    if harms:
        limits.append(
            f" {_and(harms).capitalize()} narrows it by making the training loss worse, and the test loss too."
        )
    return Verdict("holds with limits", reason + "".join(limits))


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names or ["none"])


def table(numbers: Numbers) -> Table:
    """Losses, gap and accuracy by remedy."""
    rows: Table = [("against overfitting", "training loss", "test loss", "gap", "test accuracy", "rounds")]
    for name, runs in numbers["remedies"].items():
        train = [run["train"]["cross_entropy"] for run in runs]
        rounds = fmean(run["round"] for run in runs)
        strength = numbers["strengths"].get(name)
        rows.append(
            (
                f"{name} ({strength})" if strength else name,
                spread(train),
                spread(on_test(runs)),
                spread(gaps(runs)),
                spread(on_test(runs, "accuracy")),
                f"{rounds:.0f}",
            )
        )
    return rows


def draw(numbers: Numbers) -> Figure:
    """Losses of one seed while training, without any remedy; the losses at the end for each."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, quiet

    figure, (left, right) = panels(2, height=2.7, width_ratios=(1, 1.5))
    curve = numbers["curve"]
    left.plot(curve["round"], curve["train"], color=colors()[0], label="training")
    left.plot(curve["round"], curve["test"], color=colors()[1], linestyle="dashed", label="test")
    logarithmic(left.yaxis)
    left.grid(True, axis="y")
    left.set(title="against it: nothing", xlabel="round", ylabel="cross-entropy, nats")
    left.legend(loc="center right")
    names = list(numbers["remedies"])[::-1]
    for row, name in enumerate(names):
        runs = numbers["remedies"][name]
        for train, test in zip((run["train"]["cross_entropy"] for run in runs), on_test(runs), strict=True):
            right.plot([train, test], [row, row], color=quiet(), linewidth=0.5)
            right.plot(train, row, "o", color=colors()[0], markersize=3)
            right.plot(test, row, "D", color=colors()[1], markersize=3)
    right.set_yticks(range(len(names)), names)
    logarithmic(right.xaxis)
    right.grid(True, axis="x")
    right.set(title="at the end, a dot for each seed", xlabel="cross-entropy, nats")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
