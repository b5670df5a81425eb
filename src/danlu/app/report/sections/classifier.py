"""The parts of a report that are about a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from danlu.app.report.section import Section, Table
from danlu.data.base.dataset import DataInfo
from danlu.metrics.classification import calibration, confusion_matrix
from danlu.metrics.robustness import Robustness
from danlu.metrics.temperature import cooled

MOST_WRONG = 24


class Judged(NamedTuple):
    """What a classifier said of a part of the data, from which its sections are made.

    Attributes:
        part: name of the part.
        probabilities: of each class, (n, classes).
        labels: the right classes.
        images: the examples, if they are pictures.
        temperature: at which the validation part is likeliest, if there is such a part.
        shifted: accuracy on shifted pictures.
        noisy: accuracy on noisy pictures.
        strained: how many pictures were shifted and made noisy.
    """

    part: str
    probabilities: Float[Tensor, "n classes"]
    labels: Int[Tensor, "n"]
    images: Float[Tensor, "n c h w"] | None = None
    temperature: float | None = None
    shifted: Robustness | None = None
    noisy: Robustness | None = None
    strained: int = 0


def classification_sections(judged: Judged, info: DataInfo) -> list[Section]:
    """What a classifier gets right and wrong on a part of the data.

    Args:
        judged: what it said.
        info: names of the classes, range of the values.

    >>> info = DataInfo("table", shape=(4,), classes=2, class_names=("cat", "dog"))
    >>> sections = classification_sections(Judged("test", torch.tensor([[0.9, 0.1]]), torch.tensor([0])), info)
    >>> [section.title for section in sections]
    ['Confusion', 'Classes', 'Calibration']
    """
    from danlu.app.report.figures import classifier as figures

    part, names = judged.part, info.label_names
    probabilities, labels, images = judged.probabilities.detach().cpu(), judged.labels.cpu(), judged.images
    matrix = confusion_matrix(probabilities.argmax(dim=1), labels, len(names))
    sections = [
        Section(
            "Confusion",
            f"How often each class was taken for each other, over the {len(labels):,} examples of the {part} part. "
            f"Color is the share of the row: blue where the guess is right, vermilion where it is wrong.",
            figures.confusion(matrix, names),
        ),
        Section("Classes", f"Each class by itself, on the {part} part.", table=per_class(matrix, names)),
        _calibration(probabilities, labels, judged.temperature, part),
    ]
    if judged.shifted is not None and judged.noisy is not None:
        caption = (
            f"Accuracy on {judged.strained:,} pictures of the {part} part that were shifted to each of the four sides, "
            f"and under normal noise on every value; the model was not told."
        )
        sections.append(Section("Robustness", caption, figures.robustness(judged.shifted, judged.noisy)))
    if images is not None and images.shape[1] in (1, 3):
        sections.append(_most_wrong(probabilities, labels, images, info, part))
    return sections


def _calibration(probabilities: Tensor, labels: Tensor, temperature: float | None, part: str) -> Section:
    from danlu.app.report.figures import classifier as figures

    caption = (
        f"Whether the probabilities of the guesses can be believed, on the {part} part: on the dashed line, "
        f"guesses are as often right as they are sure. Light bars are 95\u00a0% intervals."
    )
    before, after = calibration(probabilities, labels), None
    if temperature is not None:
        after = calibration(cooled(probabilities, temperature), labels)
        caption += (
            f" Rings are the probabilities at the temperature {temperature:.3g}, at which the validation part is "
            f"likeliest; above 1 the model is too sure."
        )
    return Section("Calibration", caption, figures.reliability(before, after))


def per_class(matrix: Int[Tensor, "k k"], names: Sequence[str]) -> Table:
    r"""Examples, precision, recall and F1 of each class, below the names of the columns.

    .. math:: P = \frac{m_{kk}}{\sum_i m_{ik}}, \qquad R = \frac{m_{kk}}{\sum_j m_{kj}}, \qquad F_1 = \frac{2PR}{P + R}

    A ratio without a denominator is a dash: the precision of a class that was never guessed is not 0 but unknown.

    Args:
        matrix: counts; rows are true classes, columns guesses.
        names: of the classes.

    >>> per_class(torch.tensor([[3, 1], [0, 0]]), ("cat", "dog"))[1:]
    [('cat', '4', '1.000', '0.750', '0.857'), ('dog', '0', '0.000', '–', '0.000')]
    """
    right, guessed, there = matrix.diagonal().tolist(), matrix.sum(dim=0).tolist(), matrix.sum(dim=1).tolist()
    rows: Table = [("class", "examples", "precision", "recall", "F1")]
    for name, hits, guesses, examples in zip(names, right, guessed, there, strict=True):
        ratios = (_ratio(hits, guesses), _ratio(hits, examples), _ratio(2 * hits, guesses + examples))
        rows.append((name, f"{examples:,}", *ratios))
    return rows


def _ratio(above: int, below: int) -> str:
    return f"{above / below:.3f}" if below else "–"


def surest_mistakes(
    probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], most: int = MOST_WRONG
) -> tuple[Int[Tensor, "k"], bool]:
    """The wrong guesses with the highest probability; if none is wrong, the right ones with the lowest.

    Args:
        probabilities: of each class.
        labels: the right classes.
        most: how many at most.

    Returns:
        The numbers of the examples in this order, and whether they are wrong.

    >>> surest_mistakes(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), torch.tensor([0, 0, 0]))
    (tensor([2, 1]), True)
    """
    sureness, guesses = probabilities.max(dim=1)
    wrong = (guesses != labels).nonzero().flatten()
    if len(wrong):
        return wrong[sureness[wrong].argsort(descending=True, stable=True)[:most]], True
    return sureness.argsort(stable=True)[:most], False


def _most_wrong(probabilities: Tensor, labels: Tensor, images: Tensor, info: DataInfo, part: str) -> Section:
    from danlu.app.report.figures import classifier as figures

    chosen, wrong = surest_mistakes(probabilities, labels)
    sureness, guesses = probabilities[chosen].max(dim=1)
    picture = figures.most_wrong(
        images[chosen.to(images.device)], labels[chosen], guesses, sureness, info.label_names, info.range
    )
    if not wrong:
        caption = f"No example of the {part} part is wrong. These are the right ones that the model was least sure of."
        return Section("Least sure", caption, picture)
    mistakes = int((probabilities.argmax(dim=1) != labels).sum())
    shown = "all of them" if mistakes == len(chosen) else f"the {len(chosen)} surest of them"
    caption = (
        f"{mistakes:,} of the {len(labels):,} examples of the {part} part are wrong; {shown}, surest first: "
        f"true class → guess, and the probability that the model gave the guess."
    )
    return Section("Most wrong", caption, picture)
