"""The table of scores: for each its name in text, whether higher or lower is better, its unit and its meaning.

The command line, the report and the model card take names and sentences from here. A new score is one line in
``SCORES``.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Better = Literal["higher", "lower", "near 1", ""]


class Score(NamedTuple):
    """A score.

    Attributes:
        label: its name in text.
        better: which values are better; empty if none are.
        meaning: what it is, in one sentence.
        unit: its unit, if it has one.
        whole: whether it is a count, shown without decimals.
    """

    label: str
    better: Better
    meaning: str
    unit: str = ""
    whole: bool = False

    @property
    def direction(self) -> str:
        """Which values are better, in words.

        >>> Score("loss", "lower", "The loss.").direction
        'lower is better'
        """
        return f"{self.better} is better" if self.better else ""


_CROSS_ENTROPY = "The mean negative log-probability of the correct class, or of the next token."
_RELIABILITY = "An estimate of its standard error; NaN if there are too few chains."
SCORES: dict[str, Score] = {
    "accuracy": Score("accuracy", "higher", "The fraction of examples whose predicted class is correct."),
    "top_k": Score("top-k accuracy", "higher", "The fraction of examples whose class is among the k most probable."),
    "cross_entropy": Score("cross-entropy", "lower", _CROSS_ENTROPY, "nats"),
    "calibration_error": Score(
        "calibration error", "lower", "The mean distance between the probability of a prediction and its accuracy."
    ),
    "calibrated_error": Score(
        "calibration error after temperature scaling",
        "lower",
        "The calibration error after division of the log-probabilities by the temperature of the validation part.",
    ),
    "r2": Score("R²", "higher", "One minus the squared error divided by that of the mean; 1 is perfect."),
    "mae": Score("mean absolute error", "lower", "The mean distance between prediction and value, in its unit."),
    "rmse": Score(
        "root mean squared error",
        "lower",
        "The root of the mean squared distance of prediction and value, in its unit.",
    ),
    "baseline_mae": Score(
        "mean absolute error of the baseline", "", "That of a constant prediction, the median of the training part."
    ),
    "baseline_rmse": Score(
        "root mean squared error of the baseline", "", "That of a constant prediction, the mean of the training part."
    ),
    "nll": Score("negative log-density", "lower", "The mean negative log-density of the true number.", "nats"),
    "coverage_95": Score(
        "coverage of 95 % intervals",
        "",
        "The fraction of numbers within the central 95 % interval; 0.95 if calibrated.",
    ),
    "perplexity": Score(
        "perplexity",
        "lower",
        "The exponential of the cross-entropy: the number of equally probable tokens with the same uncertainty.",
    ),
    "bits_per_character": Score(
        "bits per character", "lower", "The negative binary log-likelihood of the text per character.", "bits"
    ),
    "bits_per_byte": Score(
        "bits per byte", "lower", "The negative binary log-likelihood of the text per byte of UTF-8.", "bits"
    ),
    "log_prob": Score("log-likelihood", "higher", "The mean log-likelihood of an example.", "nats"),
    "dequantized_log_prob": Score(
        "lower bound of the log-likelihood (dequantization)",
        "higher",
        "The log-likelihood of examples whose discrete values got uniform noise, a lower bound without the noise.",
        "nats",
    ),
    "log_prob_bound_k": Score(
        "lower bound of the log-likelihood (k draws)",
        "higher",
        "A lower bound of the log-likelihood from k latents of each example; more draws make it tighter.",
        "nats",
    ),
    "negative_log_likelihood": Score(
        "negative log-likelihood", "lower", "The mean negative log-likelihood of an example.", "nats"
    ),
    "bits_per_dimension": Score(
        "bits per dimension", "lower", "The negative binary log-likelihood divided by the number of values.", "bits"
    ),
    "elbo": Score(
        "ELBO", "higher", "The evidence lower bound: minus reconstruction term, minus KL divergence.", "nats"
    ),
    "reconstruction": Score(
        "reconstruction", "lower", "The negative log-likelihood of an example given its latent.", "nats"
    ),
    "kl": Score(
        "kl",
        "lower",
        "A KL divergence: of the posterior from the prior, or of the student from the teacher or the target.",
        "nats",
    ),
    "free_energy": Score(
        "free energy", "lower", "The variational free energy: an upper bound of minus the log-normalizer.", "nats"
    ),
    "squared_error": Score(
        "squared error", "lower", "The mean squared difference between the values of an example and its reconstruction."
    ),
    "active_units": Score(
        "active units",
        "higher",
        "The number of latent units whose posterior mean varies over the examples.",
        whole=True,
    ),
    "overlap": Score("overlap", "higher", "The mean product of the values of stored and recalled pattern; 1 is equal."),
    "recalled": Score("recalled without an error", "higher", "The fraction of damaged patterns recalled exactly."),
    "stable_patterns": Score(
        "stable patterns", "higher", "The fraction of stored patterns whose recall stays at them."
    ),
    "effective_chains": Score(
        "effective chains of the estimate",
        "higher",
        "The number of independent chains that give an estimate of the normalizer with the same variance.",
    ),
    "FID": Score(
        "FID", "lower", "The Fréchet distance between the features of generated and of training examples; 0 is equal."
    ),
    "KID": Score(
        "KID", "lower", "The squared maximum mean discrepancy between features of generated and of training examples."
    ),
    "IS": Score(
        "IS", "higher", "The Inception Score: 1 for examples that a classifier finds alike, up to its classes."
    ),
    "SWD": Score("SWD", "lower", "The sliced Wasserstein distance between generated and training examples."),
    "precision": Score("precision", "higher", "The fraction of generated examples within the region of the data."),
    "recall": Score("recall", "higher", "The fraction of the data within the region of the generated examples."),
    "classes_covered": Score(
        "classes covered",
        "higher",
        "The number of classes that a classifier finds in the generated examples.",
        whole=True,
    ),
    "modes_covered": Score(
        "modes covered",
        "higher",
        "The number of modes of the data near which there are generated examples.",
        whole=True,
    ),
    "good_samples": Score("good samples", "higher", "The fraction of generated examples near a mode of the data."),
    "diversity": Score(
        "diversity", "near 1", "The mean distance between two generated examples, divided by that of the data."
    ),
    "memorization": Score(
        "memorization",
        "near 1",
        "The distance of generated to training examples divided by that of held-out ones; below 1 they are copied.",
    ),
    "not_finite": Score(
        "examples with NaN or infinite outputs", "lower", "The number of such examples; 0 is expected.", whole=True
    ),
}

GIVEN_LABEL = "_given_label"
"""end of the names of the scores of a conditional model that gets the label"""
TEACHER = "teacher_"
"""start of the names of the scores of the teacher of a distillation"""
ESTIMATES = {
    "_estimate": "estimate",
    "_unreliable": "unreliable estimate",
    "_error": "standard error of the estimate",
}
"""ends of the names of a log-likelihood whose normalizer is estimated"""
_NUMBERED = re.compile(r"(top|log_prob_bound)_\d+")


def find_score(name: str) -> Score | None:
    """The score with this name as it is in run.json, with its label; None if the table does not have it.

    >>> find_score("top_5").label, find_score("FID[digits-cnn, 300 vs train]").better
    ('top-5 accuracy', 'lower')
    >>> find_score("teacher_log_prob").label, find_score("elbo_given_label").label
    ('log-likelihood of the teacher', 'ELBO given the label')
    >>> find_score("log_prob_error").better, find_score("fool")
    ('lower', None)
    """
    base, bracket, _ = name.partition("[")
    if bracket:
        found = SCORES.get(base)
        return found and found._replace(label=name)
    if name.endswith(GIVEN_LABEL):
        return _with_label(find_score(name.removesuffix(GIVEN_LABEL)), "{} given the label")
    if name.startswith(TEACHER):
        return _with_label(find_score(name.removeprefix(TEACHER)), "{} of the teacher")
    for end, label in ESTIMATES.items():
        if name.endswith((f"log_prob{end}", f"bits_per_dimension{end}")):
            found = _with_label(find_score(name.removesuffix(end)), f"{{}}, {label}")
            return found and found._replace(better="lower", meaning=_RELIABILITY) if end == "_error" else found
    if numbered := _NUMBERED.fullmatch(name):
        k = name.rpartition("_")[2]
        found = SCORES[f"{numbered[1]}_k"]
        label = found.label.replace("top-k", f"top-{k}").replace("k draws", "1 draw" if k == "1" else f"{k} draws")
        latents = "one latent" if k == "1" else f"{k} latents"
        meaning = found.meaning.replace("the k most", f"the {k} most").replace("k latents", latents)
        return found._replace(label=label, meaning=meaning)
    return SCORES.get(name)


def _with_label(score: Score | None, label: str) -> Score | None:
    return score and score._replace(label=label.format(score.label))
