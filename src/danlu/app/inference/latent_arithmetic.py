"""Latent arithmetic: sums and differences of averaged latents of samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.files.outputs import ImageGrid, check_grid_size, find_destination, write
from danlu.app.inference.apply import Generated
from danlu.app.inference.latents import DEFAULT_SAMPLES, check_class, decode_latents, need_latents, select_latents
from danlu.app.inference.load import load_without_seeding
from danlu.errors import UsageError
from danlu.nn.memory_format import place
from danlu.rng.keys import generator
from danlu.training.runtime import DeviceName, pick_device

NEIGHBORS = 8
"""variations of a result; together they form a 3×3 square"""
_AVERAGE = r"\d+(?:\s*,\s*\d+)*"
_SUM = re.compile(rf"\s*[+-]?\s*{_AVERAGE}(?:\s*[+-]\s*{_AVERAGE})*\s*")


class Term(NamedTuple):
    """The average of several latents, added (sign 1) or subtracted (-1)."""

    sign: int
    numbers: tuple[int, ...]


def terms_of(expression: str) -> list[Term]:
    """Parse the terms of a sum.

    >>> terms_of("3,5 - 1 + 2")
    [Term(sign=1, numbers=(3, 5)), Term(sign=-1, numbers=(1,)), Term(sign=1, numbers=(2,))]

    Raises:
        UsageError: if the expression is not a sum of averages.
    """
    text = expression.replace("\N{MINUS SIGN}", "-")
    if not _SUM.fullmatch(text):
        raise UsageError(
            f"{expression!r} is not a sum of samples: write numbers of samples joined by + and -; comma-separated "
            f"numbers are averaged: 3,5,8 - 1,4,9 + 2,6,7"
        )
    terms = re.findall(rf"([+-]?)\s*({_AVERAGE})", text)
    return [Term(-1 if sign == "-" else 1, tuple(map(int, numbers.split(",")))) for sign, numbers in terms]


def arithmetic(
    run: str | Path,
    expression: str,
    *,
    around: float = 0.0,
    n: int = DEFAULT_SAMPLES,
    label: str | int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
) -> Generated:
    """Add and subtract latents of samples, and write the decoded result.

    ``3,5,8 - 1,4,9 + 2,6,7`` takes the average latent of samples 3, 5 and 8, subtracts that of 1, 4 and 9, and adds
    that of 2, 6 and 7 (Radford, Metz and Chintala, 2016, section 6.3.2: averages of three are more stable than single
    latents). An image grid has one column per term, with its samples and below them the decoded average. The result is
    at the right; with ``around``, it is in the middle of its neighbors after an empty column. The other forms have the
    result, followed by its neighbors.

    Args:
        run: a run folder, or a model folder; the model must have latents.
        expression: the sum; the numbers are those of ``sample`` with the same seed, counted from 0.
        around: scale of uniform noise on the latent of the result, for eight neighbors that are shown around it; 0.25
            in the paper.
        n: how many samples ``sample`` generated.
        label: name or number of the class of all samples, for class-conditional models.
        out: as for ``sample``; by default arithmetic.png, arithmetic.csv or arithmetic.wav.
        seed: random seed of the samples.
        overwrite: replace existing files.
        device: the device.

    Raises:
        UsageError: if the model has no latents, the expression is not valid, or the output exists.
    """
    if not 0 <= around < float("inf"):
        raise UsageError(f"around must be a finite number of at least 0, got {around}", settings=("around",))
    terms = terms_of(expression)
    model = place(need_latents(load_without_seeding(run)), pick_device(device)[0])
    label = check_class(model, label)
    destination = find_destination(out, run, "arithmetic", model.info, overwrite)
    check_grid_size(destination, (len(terms) + 4) * (1 + max(len(term.numbers) for term in terms)))
    codes = select_latents(model, [number for term in terms for number in term.numbers], n, seed)
    averages = torch.stack([torch.stack([codes[number] for number in term.numbers]).mean(0) for term in terms])
    signs = averages.new_tensor([term.sign for term in terms])
    result = torch.einsum("t,t...->...", signs, averages)[None]
    results = decode_latents(model, torch.cat([result, _neighbors(result, around, seed)]), label)
    if destination.form != "grid":
        return Generated(results, write(destination, results, model.info))
    single = dict(zip(codes, decode_latents(model, torch.stack([*codes.values()]), label), strict=True))
    cells = _cells(terms, single, decode_latents(model, averages, label), results)
    return Generated(results, write(destination, results, model.info, _grid_of(cells, model.info.range[1])))


def _neighbors(code: Float[Tensor, "1 ..."], scale: float, seed: int) -> Float[Tensor, "k ..."]:
    """Latents near a latent: uniform noise from -scale to scale is added."""
    if not scale:
        return code[:0]
    source = generator("around", seed, device=code.device)
    noise = torch.rand(NEIGHBORS, *code.shape[1:], generator=source, device=code.device, dtype=code.dtype)
    return code + scale * (2 * noise - 1)


Cells = dict[tuple[int, int], tuple[Tensor, str]]
"""an image and the text above it, by row and column"""


def _cells(terms: Sequence[Term], single: dict[int, Tensor], averages: Tensor, results: Tensor) -> Cells:
    """The samples of each term above their average; the result is in the row of the averages."""
    line = max(1, *(len(term.numbers) if len(term.numbers) > 1 else 0 for term in terms))
    cells: Cells = {}
    for column, (term, average) in enumerate(zip(terms, averages, strict=True)):
        sign = "-" if term.sign < 0 else "+" if column else ""
        if len(term.numbers) == 1:
            cells[line, column] = average, f"{sign} {term.numbers[0]}".strip()
            continue
        cells[line, column] = average, sign or "mean"
        for row, number in enumerate(term.numbers, start=line - len(term.numbers)):
            cells[row, column] = single[number], str(number)
    if len(results) == 1:
        cells[line, len(terms)] = results[0], "="
        return cells
    left = len(terms) + 1  # an empty column separates the neighbors from the samples of the last term
    cells[line, left + 1] = results[0], "="
    around = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    for (row, column), x in zip(around, results[1:], strict=True):
        cells[line - 1 + row, left + column] = x, ""
    return cells


def _grid_of(cells: Cells, white: float) -> ImageGrid:
    """An image grid of the cells; empty cells are white."""
    rows, columns = zip(*cells, strict=True)
    across = range(max(columns) + 1)
    blank = torch.full_like(next(iter(cells.values()))[0], white), ""
    all_cells = [cells.get((row, column), blank) for row in range(min(rows), max(rows) + 1) for column in across]
    images, heads = zip(*all_cells, strict=True)
    return ImageGrid(torch.stack(images), len(across), heads)
