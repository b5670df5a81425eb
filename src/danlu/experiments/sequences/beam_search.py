"""Greedy search misses the best sequence, beam search does not (notes, 3.4.3.2).

The example of the notes: after 我爱 comes one of eight two-character words. 苹果 (apple) has probability 0.45;
seven words that begin with 大 have probability 0.55 together. Greedy search and beam search run on this table,
and on a similar table in which the most probable word begins with the third most probable character, so two
beams are not enough. Then a character-level LSTM trained on Python's manual continues prompts from the held-out
text. Over 3 characters, the most probable of all 830 000 continuations is found by a search with one beam for each
prefix; a search has missed the best sequence if its result is less probable. Over 20 characters the most probable
sequence is not known; the searches are compared with the best result of any number of beams. Like the notes, the
experiment considers only probability. All searches use the same models and prompts.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.datasets.pydoc import pydoc
from danlu.data.text.token_streams import Lanes
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.two_character_models import NOTES, TRAP, Words
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.recurrent.language import LanguageModel
from danlu.sampling.decoding.beam_search import beam_search
from danlu.sampling.decoding.generate import SamplingOptions
from danlu.tasks.language_modeling import Language
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENGLISH = ("apple", "elephant", "adult", "aunt", "stool", "army", "rice", "sister")
"""English names of the words, because the fonts of the figure have no Chinese characters"""
BEAMS = (1, 2, 4, 8, 16)
COMPARED = 8  # number of beams for the verdict
PROMPTS, PROMPT, LENGTH, SHORT = 20, 50, 20, 3
ROUNDS = 200
GREEDY, BEAM = "greedy search", "beam search"
SAME = 1e-4  # nats: tolerance for equal log-probabilities


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Results for both tables; log-probabilities with a trained model, by seed, prompt and number of beams."""
    tables = {
        name: {str(beams): Words.of(probabilities).search(beams) for beams in (1, 2, 3)}
        for name, probabilities in (("notes", NOTES), ("trap", TRAP))
    }
    run_seeds, data = seeds(seed, 2 if quick else 5), pydoc()
    beams = (1, 2, COMPARED) if quick else BEAMS
    prompt_tokens = prompts(data.test, 2 if quick else PROMPTS)
    runs = []
    for index, run_seed in enumerate(run_seeds):
        progress("models", index, len(run_seeds))
        runs.append(search_results(train_model(data, 20 if quick else ROUNDS, run_seed), prompt_tokens, beams))
    return {"arms": _arms(tables["notes"], runs), "tables": tables, "beams": list(beams), "runs": runs}


def _arms(table: Numbers, runs: list[Numbers]) -> Numbers:
    """Greedy search and beam search: probability in the table, missed results, and log-probability."""
    return {
        name: {
            "probability in the table": [table["1" if width == 1 else "2"]["probability"]] * len(runs),
            f"missed, {SHORT} characters": [beaten(run, width, "short") for run in runs],
            f"missed, {LENGTH} characters": [beaten(run, width, "long") for run in runs],
            f"log p, {LENGTH} characters": [fmean(run["long"][str(width)]) for run in runs],
            "loss": [run["loss"] for run in runs],
        }
        for name, width in ((GREEDY, 1), (BEAM, COMPARED))
    }


def train_model(data: DataSet, rounds: int, seed: int) -> LanguageModel:
    """Train a character-level model on the text."""
    techniques = {"width": 96, "layers": 1, "embedding": 32, "initial": "orthogonal", "forget_bias": 1.0}
    assert data.tokenizer is not None
    model = cast(LanguageModel, from_seed(partial(LanguageModel, data.tokenizer.vocabulary, **techniques), seed))
    settings = OptimizerSettings(lr=1e-2, schedule="one_cycle", grad_clip=1.0)
    for _ in Trainer(Language(model, 32), settings, Lanes(data.train, 32, 48, seed), rounds, seed):
        pass
    return model.eval()


def prompts(part: Part, count: int) -> Int[Tensor, "n p"]:
    """Prompts at even distances in a text."""
    starts = torch.linspace(0, len(part) - PROMPT, count).long()
    return part["token"][starts[:, None] + torch.arange(PROMPT)].long()


@torch.no_grad()
def search_results(model: LanguageModel, prompt: Int[Tensor, "n p"], beams: tuple[int, ...]) -> Numbers:
    """Log-probabilities of each search result, over all characters and over a few, and the best over a few.

    Returns:
        Lists with one value for each prompt; by number of beams, except for ``best``. ``loss`` is the mean loss on the
        prompts, in nats per character.
    """
    last, state = model.read(prompt)
    results: Numbers = {"long": {}, "short": {}}
    for name, length in (("long", LENGTH), ("short", SHORT)):
        for width in beams:
            if width == 1:
                tokens = model.complete(prompt, length, SamplingOptions(temperature=0.0))[:, prompt.shape[1] :]
            else:
                tokens = beam_search(model.step, last, state, width, length).tokens[:, 0]
            results[name][str(width)] = log_prob(model, prompt, tokens).tolist()
    every = model.vocabulary ** (SHORT - 1)  # number of prefixes: no prefix is discarded before the last character
    best = [beam_search(model.step, last[[row]], state[[row]], every, SHORT).tokens[:, 0] for row in range(len(prompt))]
    loss = -float(model.log_probs(prompt[:, :-1], prompt[:, 1:])[0].mean())
    return {**results, "best": log_prob(model, prompt, torch.cat(best)).tolist(), "loss": loss}


def log_prob(model: LanguageModel, prompt: Int[Tensor, "n p"], tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n"]:
    """Log-probability of the tokens after the prompts, in nats."""
    text = torch.cat([prompt, tokens], 1)
    return model.log_probs(text[:, :-1], text[:, 1:])[0][:, -tokens.shape[1] :].sum(1)


def beaten(run: Numbers, beams: int, by: str) -> float:
    """Fraction of the prompts for which a more probable continuation is known than the search result.

    Args:
        run: the results of one seed.
        beams: number of beams.
        by: ``long`` compares with the best result of any number of beams, ``short`` with the true optimum.
    """
    results = run[by][str(beams)]
    best = run["best"] if by == "short" else [max(column) for column in zip(*run["long"].values(), strict=True)]
    return fmean(known > result + SAME for known, result in zip(best, results, strict=True))


def worse(run: Numbers) -> float:
    """Fraction of the prompts for which more beams give a less probable result than fewer beams."""
    columns = list(zip(*run["long"].values(), strict=True))
    return fmean(any(more < fewer - SAME for fewer, more in pairwise(c)) for c in columns)


IN_TABLE = Comparison(  # a twentieth of the probability of all words
    "beam search finds a more probable word in the table of the notes", BEAM, GREEDY, "probability in the table", 0.05
)
MISSES = Comparison(  # one in ten prompts
    f"greedy search misses the best {SHORT} characters", GREEDY, 0.0, f"missed, {SHORT} characters", 0.1
)
FINDS = Comparison(  # at most one in twenty
    f"beam search misses the best {SHORT} characters rarely", BEAM, 0.1, f"missed, {SHORT} characters", 0.05, lower=True
)
LONGER = Comparison(  # log 1.1 nats: a tenth more probable
    f"beam search finds more probable continuations of {LENGTH} characters",
    BEAM, GREEDY, f"log p, {LENGTH} characters", 0.1,
)  # fmt: skip
BEST_KNOWN = Comparison(
    f"more beams find better results of {LENGTH} characters rarely",
    BEAM, 0.1, f"missed, {LENGTH} characters", 0.05, lower=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(IN_TABLE, MISSES, FINDS, LONGER),
    gates=(  # the entropy of the characters alone is about 3.2 nats
        Comparison("the model has learned the text", BEAM, 3.2, "loss", 0.5, lower=True),
    ),
    limits=(BEST_KNOWN,),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The table; the trained model; longer sequences; the other table."""
    arms, tables = numbers["arms"], numbers["tables"]
    missed = {
        (name, length): percent(fmean(arms[name][f"missed, {length} characters"]))
        for name in arms
        for length in (SHORT, LENGTH)
    }
    words = [tables["notes"][width]["word"] for width in ("1", "2")]
    text = (
        f"In the table of the notes greedy search finds {words[0]} and two beams find {words[1]}; on a trained model "
        f"greedy search misses the best {SHORT} characters for {missed[GREEDY, SHORT]} of the prompts, {COMPARED} "
        f"beams for {missed[BEAM, SHORT]}."
    )
    text += judgment.not_shown(*CRITERIA.clauses)
    if not judgment.supported(BEST_KNOWN.clause):
        text += (
            f" Beam search does not find the best sequence for sure: over {LENGTH} characters the result of {COMPARED} "
            f"beams is beaten for {missed[BEAM, LENGTH]} of the prompts."
        )
    best = max(TRAP, key=TRAP.__getitem__)
    found = [tables["trap"][width]["word"] == best for width in ("2", "3")]
    if found == [False, True]:
        text += (
            " (If the most probable word begins with the third most probable character, two beams miss it, and three "
            "find it.)"
        )
    lower = [worse(run) for run in numbers["runs"]]
    if max(lower) > 0:
        text += f" (For {mean_and_range([100 * x for x in lower], 2)} % of the prompts more beams give a lower result.)"
    return text


def table(numbers: Numbers) -> Table:
    """Log-probability, fraction of prompts with a better result, and words of both tables, by number of beams."""
    rows: Table = [
        (
            "beams",
            f"log p of {LENGTH} characters",
            "better result known",
            f"best {SHORT} characters missed",
            "table 2",
            "table of the notes",
        )
    ]
    for width in numbers["beams"]:
        runs = numbers["runs"]
        mean = mean_and_range([fmean(run["long"][str(width)]) for run in runs])
        fractions = (mean_and_range([beaten(run, width, by) for run in runs], 2) for by in ("long", "short"))
        words = [numbers["tables"][name].get(str(width)) for name in ("trap", "notes")]
        results = (f"{one['word']} {number(one['probability'])}" if one else "" for one in words)
        rows.append((str(width) if width > 1 else "1, greedy", mean, *fractions, *results))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The table of the notes as a tree, gains over greedy search, and fractions of missed results."""
    from danlu.experiments.harness.plots import line, logarithmic, panels

    figure, (tree, left, right) = panels(3, height=2.6, width_ratios=(1.1, 1, 1))
    _tree(tree, numbers["tables"]["notes"])
    beams, runs = numbers["beams"], numbers["runs"]
    gains = [[fmean(run["long"][str(b)]) - fmean(run["long"]["1"]) for b in beams] for run in runs]
    line(left, beams, gains, 0, "gain")
    for k, (by, label) in enumerate((("short", f"best {SHORT} characters"), ("long", f"best known {LENGTH}"))):
        line(right, beams, [[100 * beaten(run, b, by) for b in beams] for run in runs], k, label)
    left.set(title=f"log p of {LENGTH} characters", ylabel="gain over greedy search, nats", ylim=(0, None))
    right.set(title="missed", ylabel="% of prompts", ylim=(0, 128), yticks=range(0, 101, 20))
    right.legend(loc="upper right", fontsize=7)
    for axes in (left, right):
        logarithmic(axes.xaxis, beams)
        axes.set_xlabel("beams (1: greedy)")
    return figure


def _tree(axes: Axes, results: Numbers) -> None:
    """Two bars: probabilities of the first characters, and of the words."""
    from danlu.experiments.harness.plots import colors, secondary_color

    english = dict(zip(NOTES, ENGLISH, strict=True))
    words = sorted(NOTES, key=lambda word: (word[0] == "大", NOTES[word]), reverse=True)
    fraction = sum(NOTES[word] for word in words if word[0] == "大")
    chosen = {results["1"]["word"]: colors()[1], results["2"]["word"]: colors()[0]}
    start = 0.0
    for word in words:
        look = {"color": chosen.get(word, secondary_color()), "alpha": 1.0 if word in chosen else 0.35}
        axes.barh(0, NOTES[word], 0.5, left=start, edgecolor="white", linewidth=0.8, **look)
        axes.text(start + NOTES[word] / 2, -0.32, f"{english[word]} {NOTES[word]:.2f}", rotation=90, ha="center",
                  va="top", fontsize=6.5, color=chosen.get(word, secondary_color()))  # fmt: skip
        start += NOTES[word]
    for left, width, name, color in ((0.0, fraction, "dà", colors()[1]), (fraction, 1 - fraction, "píng", colors()[0])):
        axes.barh(1, width, 0.5, left=left, color=color, edgecolor="white", linewidth=0.8)
        axes.text(left + width / 2, 1.36, f"{name} {width:.2f}", ha="center", fontsize=7, color=color)
    axes.text(0, -2.1, "greedy", fontsize=7, color=colors()[1])
    axes.text(1, -2.1, "two beams", fontsize=7, ha="right", color=colors()[0])
    axes.set(title="after wǒ ài, I love", xlim=(0, 1), ylim=(-2.2, 1.8), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Greedy search and beam search run on the table of the notes, and on language models that are trained on text "
        f"and continue {PROMPTS} prompts. The results are compared with the most probable of all continuations of "
        f"{SHORT} characters, and with each other over {LENGTH} characters."
    ),
    caption=(
        "Left: the probabilities of the first characters (top) and of the words (bottom) in the table of the notes, "
        "with the word that each search finds. Middle: how much more probable the continuations become with more "
        "beams. Right: the part of the prompts for which a search misses the best result. Lines are means over seeds, "
        "bands the range."
    ),
)
