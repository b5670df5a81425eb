"""Sections of a report on a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from danlu.app.report.section import Section, Table, figure
from danlu.data.base.dataset import DataInfo
from danlu.evaluation.subject import Subject
from danlu.metrics.classification import calibration, confusion_matrix, predicts
from danlu.metrics.robustness import Robustness
from danlu.metrics.temperature import cooled

MOST_WRONG = 24


class Predictions(NamedTuple):
    """The outputs of a classifier on a part of the data.

    Attributes:
        part: name of the part.
        log_probs: log-probability of each class, (n, classes).
        labels: the true classes, (n,).
        images: the examples, if they are images, (n, c, h, w).
        temperature: as fitted on the validation part, if there is one.
        shifted: accuracy on shifted images.
        noisy: accuracy on noisy images.
        perturbed: number of images that were shifted, and to which noise was added.
    """

    part: str
    log_probs: Float[Tensor, "n classes"]
    labels: Int[Tensor, "n"]
    images: Float[Tensor, "n c h w"] | None = None
    temperature: float | None = None
    shifted: Robustness | None = None
    noisy: Robustness | None = None
    perturbed: int = 0


def classifier_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """The sections on a classifier; none if no probabilities were computed."""
    if "log_probs" not in evidence:
        return []
    info = subject.info
    images = subject.examples[info.inputs] if info.viewable else None
    perturbed = evidence.get("robustness", (None, None, 0))
    log_probs, labels, temperature = evidence["log_probs"], evidence["labels"], evidence.get("temperature")
    predictions = Predictions(subject.part, log_probs, labels, images, temperature, *perturbed)
    return classification_sections(predictions, info)


def classification_sections(predictions: Predictions, info: DataInfo) -> list[Section]:
    """Confusion matrix, scores of each class, calibration, robustness, and the most confident mistakes.

    Args:
        predictions: the outputs of the classifier.
        info: names of the classes, range of the values.

    >>> from danlu.data.tables.info import TableInfo
    >>> info = TableInfo(shape=(4,), classes=2, class_names=("cat", "dog"))
    >>> sections = classification_sections(Predictions("test", torch.tensor([[-0.1, -2.4]]), torch.tensor([0])), info)
    >>> [section.title for section in sections]
    ['Confusion matrix', 'Scores per class', 'Calibration']
    """
    part, names = predictions.part, info.label_names
    log_probs, labels, images = (
        predictions.log_probs.detach().cpu(),
        predictions.labels.cpu(),
        predictions.images,
    )
    predicted = predicts(log_probs)
    left_out = ""
    if not bool(predicted.all()):  # a row with NaN has no prediction
        left_out = f" {int((~predicted).sum()):,} examples with outputs that are not finite are left out."
        log_probs, labels = log_probs[predicted], labels[predicted]
        images = None if images is None else images[predicted.to(images.device)]
    probabilities = log_probs.exp()
    matrix = confusion_matrix(probabilities.argmax(dim=1), labels, len(names))
    sections = [
        Section(
            "Confusion matrix",
            f"Predicted class against true class, over the {len(labels):,} examples of the {part} part. The color is "
            f"the fraction of the row: blue for correct predictions, vermilion for wrong ones.{left_out}",
            figure("confusion", matrix=matrix, class_names=names),
        ),
        Section("Scores per class", f"Scores of each class on the {part} part.", table=per_class(matrix, names)),
        _calibration(log_probs, labels, predictions.temperature, part),
    ]
    if predictions.shifted is not None and predictions.noisy is not None:
        caption = (
            f"Accuracy on {predictions.perturbed:,} images of the {part} part: shifted in each of the four directions, "
            f"and with normal noise added to each value."
        )
        sections.append(
            Section("Robustness", caption, figure("robustness", shifted=predictions.shifted, noisy=predictions.noisy))
        )
    if images is not None and images.shape[1] in (1, 3):
        sections.append(_most_wrong(probabilities, labels, images, info, part))
    return sections


def _calibration(log_probs: Tensor, labels: Tensor, temperature: float | None, part: str) -> Section:
    caption = (
        f"Accuracy against the probability of the prediction, on the {part} part. A calibrated model lies on the "
        f"dashed line. Light bars are 95\u00a0% confidence intervals."
    )
    before, after = calibration(log_probs.exp(), labels), None
    if temperature is not None:
        after = calibration(cooled(log_probs, temperature), labels)
        caption += (
            f" Rings: accuracy after temperature scaling. The temperature {temperature:.3g} was fitted on the "
            f"validation part; above 1 the model is overconfident, below 1 underconfident."
        )
    return Section("Calibration", caption, figure("reliability", calibration=before, after=after))


def per_class(matrix: Int[Tensor, "k k"], names: Sequence[str]) -> Table:
    r"""Examples, precision, recall and F1 of each class, after a row of column names.

    .. math:: P = \frac{m_{kk}}{\sum_i m_{ik}}, \qquad R = \frac{m_{kk}}{\sum_j m_{kj}}, \qquad F_1 = \frac{2PR}{P + R}

    A ratio with denominator 0 is a dash: the precision of a class that was never predicted is unknown, not 0.

    Args:
        matrix: counts; rows are true classes, columns predicted ones.
        names: of the classes.

    >>> per_class(torch.tensor([[3, 1], [0, 0]]), ("cat", "dog"))[1:]
    [('cat', '4', '1.000', '0.750', '0.857'), ('dog', '0', '0.000', '–', '0.000')]
    """
    correct, predicted, true = matrix.diagonal().tolist(), matrix.sum(dim=0).tolist(), matrix.sum(dim=1).tolist()
    rows: Table = [("class", "examples", "precision", "recall", "F1")]
    for name, hits, predictions, examples in zip(names, correct, predicted, true, strict=True):
        ratios = (_ratio(hits, predictions), _ratio(hits, examples), _ratio(2 * hits, predictions + examples))
        rows.append((name, f"{examples:,}", *ratios))
    return rows


def _ratio(above: int, below: int) -> str:
    return f"{above / below:.3f}" if below else "–"


def most_confident_mistakes(
    probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], most: int = MOST_WRONG
) -> tuple[Int[Tensor, "k"], bool]:
    """The misclassified examples with the highest probability; if there are none, the correct ones with the lowest.

    Args:
        probabilities: of each class.
        labels: the true classes.
        most: largest number of examples.

    Returns:
        The indices of the examples in this order, and whether they are misclassified.

    >>> most_confident_mistakes(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), torch.tensor([0, 0, 0]))
    (tensor([2, 1]), True)
    """
    confidence, guesses = probabilities.max(dim=1)
    wrong = (guesses != labels).nonzero().flatten()
    if len(wrong):
        return wrong[confidence[wrong].argsort(descending=True, stable=True)[:most]], True
    return confidence.argsort(stable=True)[:most], False


def _most_wrong(probabilities: Tensor, labels: Tensor, images: Tensor, info: DataInfo, part: str) -> Section:
    chosen, wrong = most_confident_mistakes(probabilities, labels)
    confidence, guesses = probabilities[chosen].max(dim=1)
    gallery = figure(
        "most_wrong",
        images=images[chosen.to(images.device)],
        labels=labels[chosen],
        guesses=guesses,
        probabilities_of_guess=confidence,
        class_names=info.label_names,
        value_range=info.range,
    )
    if not wrong:
        caption = f"All examples of the {part} part are classified correctly. These have the lowest probability."
        return Section("Least confident", caption, gallery)
    mistakes = int((probabilities.argmax(dim=1) != labels).sum())
    shown = "all of them" if mistakes == len(chosen) else f"the {len(chosen)} most confident"
    caption = (
        f"{mistakes:,} of the {len(labels):,} examples of the {part} part are misclassified; {shown}, the most "
        f"confident first: true class → predicted class, and its probability."
    )
    return Section("Most confident mistakes", caption, gallery)
