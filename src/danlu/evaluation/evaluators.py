"""The list of evaluators. Each states whether it applies to a subject, and computes scores and evidence.

``danlu.train`` at the end of a run and ``danlu.evaluate`` both use this list. A new evaluator is two functions and one
line in ``EVALUATORS``. It applies by the verbs and capabilities of the model, never by its class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import spread_over
from danlu.data.base.density import bits_per_dimension
from danlu.evaluation.model_scores import (
    BATCH,
    BOUND_DRAWS,
    BOUND_EXAMPLES,
    bounds,
    calibrated,
    class_log_probs,
    classification_scores,
    log_likelihoods,
    predictions,
    robustness,
    squared_errors,
)
from danlu.evaluation.subject import Evaluation, Subject
from danlu.evaluation.text_scores import reads, text_scores
from danlu.metrics.classification import predicts
from danlu.metrics.temperature import fit_temperature
from danlu.tasks.contrastive import ESTIMATE, UNRELIABLE, normalizer_scores
from danlu.tasks.elbo import GIVEN_LABEL
from danlu.tasks.likelihood import DEQUANTIZED, EXACT, is_dequantized
from danlu.tasks.pattern_storage import recall_scores, stable_fraction
from danlu.tasks.regression import number_scores
from danlu.verbs import can, has


class Evaluator(NamedTuple):
    """One kind of scores.

    Attributes:
        name: name of the kind.
        applies: whether it can evaluate the subject, given the evidence of the previous evaluators.
        compute: adds its scores and its evidence.
    """

    name: str
    applies: Callable[[Subject, Evaluation], bool]
    compute: Callable[[Subject, Evaluation], None]


def evaluate_subject(subject: Subject) -> Evaluation:
    """Scores and evidence of all evaluators that apply, in the order of ``EVALUATORS``."""
    evaluation = Evaluation()
    for evaluator in EVALUATORS:
        if evaluator.applies(subject, evaluation):
            evaluator.compute(subject, evaluation)
    return evaluation


def _classifies(subject: Subject, evaluation: Evaluation) -> bool:
    return can(subject.model, "classify") and "label" in subject.examples.fields and len(subject.examples) > 0


def _classification(subject: Subject, evaluation: Evaluation) -> None:
    """Evidence: ``log_probs`` (n, classes) and ``labels`` (n,), both on the CPU."""
    log_probs = class_log_probs(subject.model, subject.examples, subject.info.inputs, subject.flip)
    labels = subject.examples["label"].cpu()
    evaluation.evidence.update(log_probs=log_probs, labels=labels)
    evaluation.scores.update(classification_scores(log_probs, labels))
    evaluation.count_not_finite(predicts(log_probs))


def _predicts(subject: Subject, evaluation: Evaluation) -> bool:
    return can(subject.model, "predict") and "target" in subject.examples.fields and len(subject.examples) > 0


def _regression(subject: Subject, evaluation: Evaluation) -> None:
    """Evidence: ``predicted`` (n, 1) or (n, 2) with standard deviations, and ``target`` (n,), on the CPU.

    The scores of a constant prediction are the baseline: the mean (RMSE) and the median (MAE) of the training part.
    """
    number = subject.info.target
    assert number is not None, "data with the field target have it"
    predicted = predictions(subject.model, subject.examples, subject.info.inputs, subject.flip)
    target = subject.examples["target"].cpu().double() * number.scale + number.shift
    evaluation.evidence.update(predicted=predicted, target=target)
    evaluation.scores.update(number_scores(predicted, target))
    evaluation.scores["baseline_rmse"] = float((target - number.shift).square().mean().sqrt())
    evaluation.scores["baseline_mae"] = float((target - number.median).abs().mean())
    evaluation.count_not_finite(predicted.isfinite().all(1))


def _reads(subject: Subject, evaluation: Evaluation) -> bool:
    return reads(subject.model, subject.examples)


def _perplexity(subject: Subject, evaluation: Evaluation) -> None:
    evaluation.scores.update(text_scores(subject.model, subject.examples))


def _has_likelihood(subject: Subject, evaluation: Evaluation) -> bool:
    of_examples = can(subject.model, "log_prob") and not has(subject.model, "token_log_probs")
    return of_examples and len(subject.examples) > 0


def _likelihood(subject: Subject, evaluation: Evaluation) -> None:
    model, info, examples = subject.model, subject.info, subject.examples
    name, values = DEQUANTIZED if is_dequantized(model, info) else EXACT, math.prod(info.shape)
    labeled = has(model, "class_conditional") and "label" in examples.fields
    for given_label in (False, True) if labeled else (False,):
        summed = has(model, "class_conditional") and not given_label  # over the classes, one pass for each
        some, suffix = spread_over(examples, BOUND_EXAMPLES) if summed else examples, GIVEN_LABEL * given_label
        nats = log_likelihoods(model, some, info, given_label)
        mean = float(nats.mean())
        scores = {name: mean} if not has(model, "normalizer") else normalizer_scores(name, mean, model.log_normalizer())
        evaluation.scores.update({key + suffix: value for key, value in scores.items()})
        if info.spacing is not None:
            kind = next((end for end in (ESTIMATE, UNRELIABLE) if name + end in scores), "")
            evaluation.scores["bits_per_dimension" + kind + suffix] = float(bits_per_dimension(nats, values).mean())
        evaluation.count_not_finite(nats.isfinite())


def _has_bound(subject: Subject, evaluation: Evaluation) -> bool:
    return can(subject.model, "log_prob_bound") and len(subject.examples) > 0


def _bounds(subject: Subject, evaluation: Evaluation) -> None:
    model, inputs = subject.model, subject.info.inputs
    for draws, examples in ((1, subject.examples), (BOUND_DRAWS, spread_over(subject.examples, BOUND_EXAMPLES))):
        values = bounds(model, examples, inputs, draws)
        evaluation.scores[f"log_prob_bound_{draws}"] = float(values.double().mean())
        evaluation.count_not_finite(values.isfinite())


def _reconstructs(subject: Subject, evaluation: Evaluation) -> bool:
    return can(subject.model, "reconstruct") and len(subject.examples) > 0


def _reconstruction(subject: Subject, evaluation: Evaluation) -> None:
    errors = squared_errors(subject.model, subject.examples, subject.info.inputs)
    evaluation.scores["squared_error"] = float(errors.double().mean())
    evaluation.count_not_finite(errors.isfinite())


def _calibrates(subject: Subject, evaluation: Evaluation) -> bool:
    has_temperature = subject.part == "validation" or subject.temperature is not None
    return "log_probs" in evaluation.evidence and has_temperature and not subject.flip


def _calibration(subject: Subject, evaluation: Evaluation) -> None:
    """Evidence: ``temperature``, fitted on the validation part and applied to the others, which get a score."""
    log_probs, labels = evaluation.evidence["log_probs"], evaluation.evidence["labels"]
    temperature = subject.temperature
    if subject.part == "validation":
        temperature = fit_temperature(log_probs, labels)
    elif temperature is not None:
        evaluation.scores.update(calibrated(log_probs, labels, temperature))
    evaluation.evidence["temperature"] = temperature


def _tests_robustness(subject: Subject, evaluation: Evaluation) -> bool:
    return subject.detailed and subject.info.image_size is not None and "log_probs" in evaluation.evidence


def _robustness(subject: Subject, evaluation: Evaluation) -> None:
    """Evidence: ``robustness``, accuracy under shifts and under noise, and the number of images."""
    evaluation.evidence["robustness"] = robustness(subject.model, subject.examples, subject.info)


def _generates(subject: Subject, evaluation: Evaluation) -> bool:
    return subject.part == "generated" and subject.scorer is not None and can(subject.model, "sample")


def _generation(subject: Subject, evaluation: Evaluation) -> None:
    """Evidence: ``generated``, the examples (n, ...) on the CPU, images clamped to the range of the data."""
    assert subject.scorer is not None
    x = subject.scorer.draw(subject.model, subject.count)
    evaluation.evidence["generated"] = x
    evaluation.scores.update(subject.scorer.all_scores(x))


def _recalls(subject: Subject, evaluation: Evaluation) -> bool:
    return has(subject.model, "recall_trace") and "pattern" in subject.examples.fields and len(subject.examples) > 0


def _recall(subject: Subject, evaluation: Evaluation) -> None:
    """The scores of ``tasks.pattern_storage``, on damaged patterns."""
    inputs, totals = subject.info.inputs, dict[str, float]()
    device = next(subject.model.parameters()).device
    for batch in in_order(subject.examples, BATCH, device):
        for name, values in recall_scores(subject.model, batch[inputs], batch["pattern"]).items():
            totals[name] = totals.get(name, 0.0) + float(values.double().sum())
    evaluation.scores.update({name: total / len(subject.examples) for name, total in totals.items()})
    evaluation.scores["stable_patterns"] = stable_fraction(subject.model)


EVALUATORS: tuple[Evaluator, ...] = (
    Evaluator("classification", _classifies, _classification),
    Evaluator("regression", _predicts, _regression),
    Evaluator("perplexity of a text", _reads, _perplexity),
    Evaluator("log-likelihood", _has_likelihood, _likelihood),
    Evaluator("bounds of the log-likelihood", _has_bound, _bounds),
    Evaluator("reconstruction error", _reconstructs, _reconstruction),
    Evaluator("recall of patterns", _recalls, _recall),
    Evaluator("calibration", _calibrates, _calibration),
    Evaluator("robustness", _tests_robustness, _robustness),
    Evaluator("generated examples", _generates, _generation),
)
