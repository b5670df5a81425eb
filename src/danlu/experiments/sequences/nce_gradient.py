"""The gradient of noise-contrastive estimation converges to that of maximum likelihood as k grows (notes, 3.4.3.1).

A language model has 50 words, four contexts, and a true next-word distribution for each context. Both gradients, with
respect to all parameters, are exact: the expectation over the data is a sum over 50 words, and so is the expectation
over the noise, because k identical noise words have the expected gradient of k independent ones. The experiment
measures the cosine, the ratio of norms and the distance of the two gradients as functions of k, for unigram and
uniform noise. The notes treat scores as log-probabilities, that is, they assume Z = 1. The scores are therefore
shifted in each context so that Z = 1; as controls, so that log Z = 1, and so that log Z is drawn from N(0, 1) in each
context. The last control is noise that never draws five of the words. Mnih and Teh, "A fast and simple algorithm for
training neural probabilistic language models", 2012, section 3, derive the limit. In float64.
"""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.losses.next_token import noise_contrastive
from danlu.models.recurrent.language import LanguageModel
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS, CONTEXTS, WIDTH = 50, 4, 16
UNSEEN = 5  # words that the poor noise never draws
AMOUNTS = (1, 3, 10, 30, 100, 300, 1000)
SMALLER_K, LARGE_K = 100, 1000  # values of k for the verdict
NEAR = 0.05  # distance relative to the likelihood gradient: a cosine of 0.999 or a difference in length of a twentieth


class Case(NamedTuple):
    """The normalization of the scores, and the noise distribution."""

    log_z: float
    spread: float
    noise: str


CASES = {
    "Z = 1, noise by frequency": Case(0.0, 0.0, "unigram"),
    "Z = 1, uniform noise": Case(0.0, 0.0, "uniform"),
    "log Z = 1": Case(1.0, 0.0, "unigram"),
    "log Z ~ N(0, 1)": Case(0.0, 1.0, "unigram"),
    "noise lacks words": Case(0.0, 0.0, "poor"),
}
CLAIMED = [name for name, case in CASES.items() if case.noise != "poor" and case.log_z == case.spread == 0]
SCALED, UNEVEN, POOR = [name for name in CASES if name not in CLAIMED]


class Language(NamedTuple):
    """A model, contexts of one word each, and the true next-word probabilities."""

    model: LanguageModel
    contexts: Tensor
    truth: Float[Tensor, "contexts words"]

    def noise(self, kind: str) -> Float[Tensor, "words"]:
        """The noise distribution over words."""
        q = torch.full((WORDS,), 1 / WORDS, dtype=torch.float64) if kind == "uniform" else self.truth.mean(0)
        if kind == "poor":
            q = q.index_fill(0, torch.arange(UNSEEN), 0.0)
        return q / q.sum()

    def logits(self) -> Float[Tensor, "contexts words"]:
        """The scores of the model."""
        return self.model.logits(self.model(self.contexts[:, None])[0][:, 0])


def language(seed: int) -> Language:
    """A model at initialization, and true distributions with frequent and rare words that differ between contexts."""
    make = partial(LanguageModel, WORDS, width=WIDTH, layers=1)
    model = cast(LanguageModel, from_seed(make, seed)).double()
    drawn = generator("truth", seed)
    common = 1.5 * torch.randn(WORDS, dtype=torch.float64, generator=drawn)
    run_seed = 1.5 * torch.randn(CONTEXTS, WORDS, dtype=torch.float64, generator=drawn)
    with torch.no_grad():
        model.get_parameter("bias").copy_(common)  # the model knows the word frequencies, but ignores the context
    return Language(model, torch.arange(CONTEXTS), (common + run_seed).softmax(1))


def likelihood(known: Language) -> Tensor:
    """Gradient of the mean cross-entropy of the next word."""
    losses = -known.logits().log_softmax(1)
    return _gradient(known.model, (known.truth * losses).sum(1).mean())


def contrastive(known: Language, q: Float[Tensor, "words"], k: int, log_z: Float[Tensor, "contexts"]) -> Tensor:
    """Gradient of the expected loss of noise-contrastive estimation with k words of noise.

    Args:
        known: the model and the true distributions.
        q: the noise distribution.
        k: number of noise words.
        log_z: target value of log Z in each context.
    """
    logits = known.logits()
    scores = logits + (log_z - logits.logsumexp(1)).detach()[:, None]
    right = torch.arange(WORDS).repeat(len(scores))
    rows = scores.repeat_interleave(WORDS, 0)  # every context with every target word
    weights = (known.truth / len(scores)).flatten()
    total = torch.zeros((), dtype=torch.float64)
    for word in range(WORDS):
        if q[word] > 0:
            noise, log_q = rows[:, word, None].expand(-1, k), q[word].log().expand(k)
            losses = noise_contrastive(scores.flatten(), q[right].log(), noise, log_q)
            total = total + q[word] * (weights * losses).sum()
    return _gradient(known.model, total)


def _gradient(model: LanguageModel, loss: Tensor) -> Tensor:
    results = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([gradient.flatten() for gradient in results])


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Cosine, ratio and distance by case, seed and k."""
    run_seeds = seeds(seed, 1)
    amounts = [k for k in AMOUNTS if k in (1, SMALLER_K, LARGE_K)] if quick else list(AMOUNTS)
    runs: Numbers = {name: [] for name in CASES}
    for index, run_seed in enumerate(run_seeds):
        known = language(run_seed)
        expected = likelihood(known)
        uneven = torch.randn(CONTEXTS, dtype=torch.float64, generator=generator("log Z", run_seed))
        for done, (name, case) in enumerate(CASES.items()):
            progress("gradients", index * len(CASES) + done, len(run_seeds) * len(CASES))
            results = [
                contrastive(known, known.noise(case.noise), k, case.log_z + case.spread * uneven) for k in amounts
            ]
            runs[name].append(
                {
                    "cosine": [float(torch.cosine_similarity(g, expected, dim=0)) for g in results],
                    "ratio": [float(g.norm() / expected.norm()) for g in results],
                    "distance": [float((g - expected).norm() / expected.norm()) for g in results],
                }
            )
    arms = {
        _arm(name, k): {"distance": [run["distance"][amounts.index(k)] for run in results]}
        for name, results in runs.items()
        for k in (SMALLER_K, LARGE_K)
    }
    return {"arms": arms, "k": amounts, "runs": runs}


def _arm(name: str, k: int) -> str:
    return f"{name}, k = {k}"


def _agree(name: str) -> Comparison:
    return Comparison(
        f"the gradients agree with {name}", _arm(name, LARGE_K), NEAR, "distance", 1.01, lower=True, ratio=True
    )


AGREE = {name: _agree(name) for name in CASES}
CONVERGE = {
    name: Comparison(  # the theory gives a factor of 10, for errors in proportion to 1/k
        f"ten times as many noise words bring the gradients nearer with {name}",
        _arm(name, LARGE_K), _arm(name, SMALLER_K), "distance", 3.0, lower=True, ratio=True,
    )
    for name in CLAIMED
}  # fmt: skip
CRITERIA = Criteria(
    clauses=(*(AGREE[name] for name in CLAIMED), *CONVERGE.values()),
    limits=tuple(AGREE[name] for name in (SCALED, UNEVEN, POOR)),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The distances where Z = 1; then the cases in which the gradients differ."""
    few, many = (
        percent(fmean(d for name in CLAIMED for d in numbers["arms"][_arm(name, k)]["distance"]), 2)
        for k in (SMALLER_K, LARGE_K)
    )
    text = (
        f"Where Z = 1, the gradient of noise-contrastive estimation differs from the likelihood gradient by {few} at "
        f"k = {SMALLER_K} and by {many} at k = {LARGE_K}."
    )
    text += judgment.not_shown(*(AGREE[name] for name in CLAIMED), *CONVERGE.values())
    why = {
        SCALED: "Z is not 1",
        UNEVEN: "Z differs between contexts",
        POOR: "the noise never draws some words, which then get no gradient",
    }
    for name, reason in why.items():
        if not judgment.supported(AGREE[name].clause):
            distance = number(fmean(numbers["arms"][_arm(name, LARGE_K)]["distance"]), 2)
            text += f" It does not converge if {reason} (distance {distance})."
    return text


def table(numbers: Numbers) -> Table:
    """Distance, cosine and ratio of norms by case and k."""
    rows: Table = [("scores and noise", "quantity", *(f"k = {k}" for k in numbers["k"]))]
    for name, runs in numbers["runs"].items():
        for quantity in ("distance", "cosine", "ratio"):
            columns = zip(*(run[quantity] for run in runs), strict=True)
            rows.append(
                (name, {"ratio": "ratio of norms"}.get(quantity, quantity), *(mean_and_range(c, 3) for c in columns))
            )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Distance of the gradients and ratio of their norms against k."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.6)
    for k, (name, runs) in enumerate(numbers["runs"].items()):
        line(left, numbers["k"], [run["distance"] for run in runs], k, name)
        line(right, numbers["k"], [run["ratio"] for run in runs], k, name)
    right.axhline(1, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(left.yaxis)
    left.set(title="distance of the two gradients", ylabel="relative to the likelihood gradient")
    right.set(title="ratio of their norms", ylim=(0, None))
    for axes in (left, right):
        logarithmic(axes.xaxis)
        axes.set_xlabel("noise words, k")
    legend_above(figure, left, columns=3)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"Both gradients of a small language model are computed exactly, for 1 to {LARGE_K} noise words. Their "
        "distance is compared for scores with Z = 1, for other scores, and for noise that never draws some words."
    ),
    caption=(
        "Left: distance between the gradient of noise-contrastive estimation and the likelihood gradient, against the "
        "number of noise words k; both axes are logarithmic. Right: the ratio of their lengths; equal lengths are at "
        "the dashed line. Lines are means over seeds, bands the range. Only the cases with Z = 1 and noise over all "
        "words converge."
    ),
    demonstration=True,
)
