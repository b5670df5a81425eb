"""Sections of a report on a model that predicts a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.report.section import Section, Table, figure
from danlu.data.base.dataset import DataInfo, Part
from danlu.data.base.number_target import NumberTarget
from danlu.data.tables.info import TableInfo
from danlu.evaluation.subject import Subject
from danlu.metrics.regression import regression_scores

MOST_WRONG = 12
COLUMNS = 6


def regression_sections(subject: Subject, evidence: Mapping[str, Any]) -> list[Section]:
    """Predicted against true numbers, residuals, baselines, and the worst predictions; none without predictions."""
    number = subject.info.target
    if "predicted" not in evidence or number is None:
        return []
    outputs, target = evidence["predicted"].detach().cpu().double(), evidence["target"].cpu().double()
    finite = outputs.isfinite().all(1)
    count = int((~finite).sum())
    left_out = f" {count:,} examples with outputs that are not finite are left out." if count else ""
    if not bool(finite.any()):
        return []
    index = finite.nonzero().flatten()
    outputs, target = outputs[index], target[index]
    predicted = outputs[:, 0]
    caption = (
        f"Predicted against true {number.name} for the {len(target):,} examples of the {subject.part} part, "
        f"and below it the residuals: true minus predicted number. Points on the dashed lines have no error."
    )
    values = {"predicted": predicted, "target": target, "target_name": number.name}
    return [
        Section("Predicted and true numbers", caption + left_out, figure("residuals", **values)),
        Section(
            "Compared with a constant",
            "The model beside constant predictions: the mean and the median of the training part. A useful model has "
            "smaller errors than both.",
            table=baselines(predicted, target, number),
        ),
        Section(
            "Largest errors",
            f"The examples of the {subject.part} part with the largest errors, the largest first.",
            table=largest_errors(outputs, target, index, subject.examples, subject.info),
        ),
    ]


def baselines(predicted: Tensor, target: Tensor, number: NumberTarget) -> Table:
    """Scores of the model and of two constants.

    >>> table = baselines(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), NumberTarget("y", 2.0, 1.0, 2.0))
    >>> table[1]
    ('model', '0.5', '0.5', '0.7071')
    """
    rows: Table = [("prediction", "R²", "mean absolute error", "root mean squared error")]
    constants = {f"mean {number.shift:.5g}": number.shift, f"median {number.median:.5g}": number.median}
    for name, values in {"model": predicted, **{k: target * 0 + v for k, v in constants.items()}}.items():
        scores = regression_scores(values, target)
        rows.append((name, *(f"{scores[key]:.4g}" for key in ("r2", "mae", "rmse"))))
    return rows


def largest_errors(outputs: Tensor, target: Tensor, index: Tensor, examples: Part, info: DataInfo) -> Table:
    """True and predicted number of the examples with the largest errors, and the first columns of rows."""
    errors = (target - outputs[:, 0]).abs()
    deviation = ("standard deviation",) if outputs.shape[1] == 2 else ()
    columns = info.columns[:COLUMNS] if isinstance(info, TableInfo) else ()
    rows: Table = [("example", "true", "predicted", *deviation, "error", *(short(name, 20) for name in columns))]
    for k in errors.argsort(descending=True, stable=True)[:MOST_WRONG].tolist():
        numbers = [float(target[k]), *outputs[k].tolist(), float(target[k] - outputs[k, 0])]
        if columns and isinstance(info, TableInfo):
            x = examples[info.inputs][int(index[k])].cpu().double()[: len(columns)].tolist()
            units = zip(info.shift, info.scale, strict=True) if info.shift else ((0.0, 1.0) for _ in columns)
            numbers += [value * scale + shift for value, (shift, scale) in zip(x, units, strict=False)]
        rows.append((f"{int(index[k]):,}", *(f"{number:.4g}" for number in numbers)))
    return rows
