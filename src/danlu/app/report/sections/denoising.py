"""The section of a report on denoising and completion by an energy-based model."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.report.section import Section, Table, figure
from danlu.app.report.sections.model_views import ACROSS, interleave_rows
from danlu.data.base.dataset import DataInfo, spread_over
from danlu.evaluation.subject import Subject
from danlu.rng.keys import generator, seeded
from danlu.verbs import can, has

EXAMPLES = 100
"""number of examples of the errors"""
WRONG, DEVIATION = 0.1, 0.2
"""probability of a wrong value of two; standard deviation of other noise as a fraction of the range of the data"""
AVERAGED = 10_000
"""number of training examples whose mean is filled in"""


class Task(NamedTuple):
    """Examples with noise, and how they are compared.

    Attributes:
        x: the examples.
        values: the two values, if there are only two.
        level: the amount of noise, as ``denoise`` takes it.
        noisy: the examples with noise.
        known: 1 for the values that are kept in a completion, 0 for the missing ones; it broadcasts with x.
        mean: the training mean, or the more frequent of two values.
    """

    x: Tensor
    values: tuple[float, float] | None
    level: float
    noisy: Tensor
    known: Tensor
    mean: Tensor


def denoising(subject: Subject) -> list[Section]:
    """Noisy and denoised examples, incomplete and completed ones, and their errors; none if the model takes no noise.

    Args:
        subject: the model and the examples.
    """
    model, info = subject.model, subject.info
    if not has(model, "noise_level") or not len(subject.examples):
        return []
    task = _task(subject)
    given = "report", subject.part
    with torch.no_grad(), seeded(*given, "denoise", device=task.x.device):
        denoised = model.denoise(task.noisy, noise=task.level)
    completed = None
    if can(model, "inpaint") and bool((task.known == 0).any()):
        with torch.no_grad(), seeded(*given, "inpaint", device=task.x.device):
            hidden = torch.where(task.known.bool(), task.x, 0.0)
            completed = model.inpaint(hidden, task.known.expand_as(task.x))
    noise = (
        f"normal noise with a standard deviation of {task.level:.3g}"
        if task.values is None
        else f"{100 * WRONG:.0f} % wrong values"
    )
    half = "the lower half" if info.image_size is not None else "the second half of the columns"
    caption = f"Examples of the {subject.part} part with {noise}, and denoised by the model"
    caption += f"; {half} hidden, and completed." if completed is not None else "."
    pictures = _pictures(task, denoised, completed, info) if info.viewable else None
    unit = "mean squared error" if task.values is None else "fraction of wrong values"
    errors = f"The table has the {unit} over {len(task.x):,} examples"
    errors += "; for completions, over the hidden values." if completed is not None else "."
    table = _errors(task, denoised, completed)
    return [Section("Denoising and completion", f"{caption} {errors}", pictures, table)]


def _task(subject: Subject) -> Task:
    """The examples on the device of the model, with noise that is always the same."""
    model, info = subject.model, subject.info
    parameter = next(model.parameters())
    x = spread_over(subject.examples, EXAMPLES)[info.inputs].to(parameter.device, parameter.dtype)
    train = spread_over(subject.data.train, AVERAGED)[info.inputs].to(x)
    (low, high), middle = info.range, sum(info.range) / 2
    values = model.binary_values if has(model, "binary_values") else None
    random = generator("report", subject.part, "noise", device=x.device)
    level = WRONG if values is not None else DEVIATION * (high - low)
    mean = train.mean(0)
    if values is not None:
        low, high = values
        x, mean = (torch.where(one >= middle, high, low).to(x.dtype) for one in (x, mean))
        wrong = torch.rand(x.shape, generator=random, device=x.device, dtype=x.dtype) < WRONG
        noisy = torch.where(wrong, low + high - x, x)
    else:
        noisy = x + level * torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype)
    return Task(x, values, level, noisy, _known(x), mean)


def _known(x: Float[Tensor, "n *shape"]) -> Float[Tensor, "1 *shape"]:
    """0 in the second half of the rows of an image, or of the columns of a table; 1 elsewhere."""
    known = torch.ones_like(x[:1])
    along = x.dim() - 2 if x.dim() > 2 else 1
    known.narrow(along, x.shape[along] - x.shape[along] // 2, x.shape[along] // 2).zero_()
    return known


def _errors(task: Task, denoised: Tensor, completed: Tensor | None) -> Table:
    rows: Table = [("", "error"), ("with noise", _error(task, task.noisy)), ("denoised", _error(task, denoised))]
    if completed is not None:
        mean = task.mean.expand_as(task.x)
        fill = "the training mean" if task.values is None else "the more frequent value of the training part"
        rows += [
            ("completed", _error(task, completed, task.known)),
            (f"filled in with {fill}", _error(task, mean, task.known)),
        ]
    return rows


def _error(task: Task, y: Tensor, known: Tensor | None = None) -> str:
    """The error of an output, over all values or over those that are not known."""
    errors = (y.double() - task.x.double()).square() if task.values is None else (y != task.x).double()
    counted = torch.ones_like(errors) if known is None else (1 - known.double()).expand_as(errors)
    mean = float((errors * counted).sum() / counted.sum())
    return f"{mean:.4g}" if task.values is None else f"{100 * mean:.1f} %"


def _pictures(task: Task, denoised: Tensor, completed: Tensor | None, info: DataInfo) -> Any:
    lines = {"original": task.x, "with noise": task.noisy, "denoised": denoised}
    if completed is not None:
        gray = torch.full_like(task.x, sum(info.range) / 2)
        lines |= {"half hidden": torch.where(task.known.bool(), task.x, gray), "completed": completed}
    shown = [line[:: max(1, len(task.x) // ACROSS)][:ACROSS].float().cpu() for line in lines.values()]
    images = interleave_rows(*shown)
    return figure("gallery", images=images, columns=len(shown[0]), value_range=info.range, rows=tuple(lines))
