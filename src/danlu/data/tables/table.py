"""Data sets from the user's tables: rows of numbers in a file, with or without a class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from danlu.data.base.dataset import DataInfo, DataSet, Part
from danlu.data.base.number_target import NumberTarget, fitted_target
from danlu.data.base.split import check_parts, refuse_seed_without_split, refuse_unused_split, stratified_split
from danlu.data.base.split_settings import Split
from danlu.data.tables.fields import check_name, is_number, number
from danlu.data.tables.identifiers import KNOWN, identifies_rows, stored_error
from danlu.data.tables.info import TableInfo
from danlu.data.tables.open_file import refuse_unused_encoding
from danlu.data.tables.settings import Table
from danlu.data.tables.table_file import Block
from danlu.data.tables.table_rows import Rows, read_rows
from danlu.data.tables.target import is_numeric
from danlu.errors import UsageError, nearest
from danlu.storage.access import Access

FEWEST_ROWS = 3
_ROWS_AT_ONCE = 1 << 13
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def read_table(
    argument: str = "", table: Table = Table(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    r"""The rows of a CSV or Parquet file: ``x`` is (n, columns), ``label`` or ``target`` (n,) if there is a target.

    The first line of a CSV file has the names of the columns. Fields are separated by commas, semicolons or tabs.
    The text is UTF-8 unless ``table.encoding`` names another encoding. An empty field, NA, N/A, NaN, null, none and
    ? stand for a missing number; a class is missing if its field is empty. The values of the target become labels
    in sorted order, numerically if all are integers. A numeric target (``table.target_kind``,
    ``target.is_numeric``) is standardized with mean and standard deviation of the training rows. If ``table`` names
    no file for the validation or the test part, the part is split off at random, stratified by class. Shift and
    scale are computed from the training rows, and so are the means that replace missing numbers with
    ``table.missing="mean"``; ``standardize`` applies them to further rows.

    Without ``table.columns``, row numbers and row names are no inputs: the index columns of pandas in a Parquet file,
    and a first column without a name whose values are different integers or texts. A column that pandas named
    ``Unnamed: 0``, because it had no name, is treated alike. A note names the columns that are left out.

    Args:
        argument: path of the file, relative to the current folder.
        table: how the file is read.
        split: fractions and seed of the parts that do not have their own file.
        access: has the progress callback.

    Raises:
        UsageError: if a file is not valid; the message has its path and line.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "flowers.csv")
    >>> _ = file.write_text("length,width,kind\n" + "1,5,rose\n3,5,tulip\n" * 10)
    >>> data = read_table(str(file), Table(target="kind"))
    >>> data.info.class_names, data.info.columns, data.info.shift
    (('rose', 'tulip'), ('length', 'width'), (2.0, 5.0))
    >>> data.train["x"][0], data.train["label"][0]
    (tensor([1., 0.]), tensor(1))
    """
    access = access or Access()
    if not argument:
        raise UsageError("the data set table needs the path of a file, for example table:measurements.csv")
    if table.validation_file is not None:
        refuse_unused_split(split, "validation", "the validation rows are in table.validation_file")
    if table.test_file is not None:
        refuse_unused_split(split, "test", "the test rows are in table.test_file")
    refuse_seed_without_split(split, _split_off(split, table))
    rows = read_rows(argument, table, None, access)
    files = [rows.file]
    if len(rows) < FEWEST_ROWS:
        raise UsageError(f"{argument} has {len(rows)} usable rows, and at least {FEWEST_ROWS} are needed")
    number_name = table.target if _numeric(rows, table) else None
    if number_name is not None:
        rows = _with_known_target(rows, table)
    class_names = () if number_name else _class_names(rows, table.target)
    parts = _split(rows, class_names, split, table, number_name)
    for k, name in ((1, table.validation_file), (2, table.test_file)):
        if name is not None:
            further = read_rows(name, table, rows.columns, access)
            if number_name is not None:
                further = _with_known_target(further, table)
            parts[k] = _all(further, class_names, number_name)
            files.append(parts[k].rows.file)
    refuse_unused_encoding(files, table.encoding, "table.encoding")
    info = _fit(parts, class_names, table)
    train, validation, test = (_part(rows, info) for rows in parts)
    ranges = [part["x"].aminmax() for part in (train, validation, test) if len(part)]
    info = replace(info, range=(min(low.item() for low, _ in ranges), max(high.item() for _, high in ranges)))
    return DataSet(
        f"table:{Path(argument).name}",
        info,
        train,
        validation,
        test,
        _notes(parts, table),
        identifiers=_identifiers(parts, info, [train, validation, test]),
    )


def standardize(info: DataInfo, rows: Tensor | ArrayLike) -> Float[Tensor, "n d"]:
    """Convert rows to inputs of a model: fill, shift and scale them like the training rows of the model.

    Args:
        info: properties of the table that the model was trained on.
        rows: (n, d), numbers of the columns ``info.columns`` in this order and in the units of the file.

    Returns:
        A tensor of float32 on the CPU.

    Raises:
        UsageError: if the model does not take rows of a table, the number of columns differs, a number is infinite, or
            a number is missing (NaN) and the model was not trained with ``missing="mean"``.

    >>> info = TableInfo((2,), columns=("length", "width"), shift=(2.0, 5.0), scale=(0.5, 1.0))
    >>> standardize(info, [[3.0, 5.0]])
    tensor([[2., 0.]])
    """
    if not isinstance(info, TableInfo):
        raise UsageError(f"this model takes {info.kind} of shape {info.shape}, not rows of a table")
    values = rows.detach().cpu().double().numpy() if isinstance(rows, Tensor) else np.asarray(rows, dtype=np.float64)
    if values.ndim != 2 or values.shape[1:] != info.shape:
        raise UsageError(
            f"rows must have shape (n, {info.shape[0]}), got {tuple(values.shape)}; the columns of this model are "
            f"{', '.join(info.columns)}"
        )
    if info.fill:
        values = np.where(np.isnan(values), np.array(info.fill), values)
    scaled = _scaled(info, values)
    for row, column in np.argwhere(~np.isfinite(scaled))[:1]:
        raise UsageError(f"row {row}, column {info.columns[column]!r}: {values[row, column]} is not a finite number")
    return torch.from_numpy(scaled)


@dataclass(frozen=True)
class _PartRows:
    """The rows of one part, and their labels or values if there is a target."""

    rows: Rows
    index: Int64[np.ndarray, "n"]
    labels: Int[Tensor, "n"] | None
    values: Float64[np.ndarray, "n"] | None = None


def _numeric(rows: Rows, table: Table) -> bool:
    """Whether the target is a number."""
    if table.target is None:
        if table.target_kind != "auto":
            raise UsageError(
                f"table.target_kind={table.target_kind} has no effect without table.target",
                settings=("table.target_kind",),
            )
        return False
    if table.target_kind == "auto":
        names = [rows.names[number] for number in np.unique(rows.block.classes)]
        return is_numeric(names, len(rows))
    return table.target_kind == "number"


def _as_numbers(names: Sequence[str]) -> Float64[np.ndarray, "n"]:
    """The numbers that these texts stand for; NaN for others and for the texts of missing numbers."""
    return np.array([number(name) if is_number(name) else np.nan for name in names])


def _with_known_target(rows: Rows, table: Table) -> Rows:
    """The rows whose numeric target is given: a missing one is an error, or with missing=drop the row is left out."""
    missing = np.array([is_number(name) and np.isnan(number(name)) for name in rows.names])[rows.block.classes]
    if not missing.any():
        return rows
    if table.missing != "drop":
        row = int(np.flatnonzero(missing)[0])
        raise UsageError(
            f"{rows.at(row)}: column {table.target!r}: missing number; table.missing=drop leaves out such rows",
            settings=("table.missing=drop",),
        )
    block = Block(*(values[~missing] for values in rows.block))
    return replace(rows, block=block, left_out=rows.left_out + int(missing.sum()))


def _values(rows: Rows, target: str) -> Float64[np.ndarray, "n"]:
    """The numbers of the target.

    Raises:
        UsageError: if a value is not a finite number.
    """
    values = _as_numbers(rows.names)[rows.block.classes]
    for row in np.flatnonzero(~np.isfinite(values))[:1]:
        raise UsageError(
            f"{rows.at(int(row))}: column {target!r}: {rows.names[rows.block.classes[row]]!r} is not a finite number, "
            f"and the target is numeric; table.target_kind=classes takes it as a class",
            settings=("table.target_kind=classes",),
        )
    return values


def _class_names(rows: Rows, target: str | None) -> tuple[str, ...]:
    """Names of the classes that occur, in the order of their labels; empty without a target."""
    if target is None:
        return ()
    names = [rows.names[number] for number in np.unique(rows.block.classes)]
    what = f"{rows.file.path}: column {target!r}"
    check_name(f"{what}: a class", max(map(len, names)))
    if len(names) == 1:
        raise UsageError(
            f"{what} has the same value {names[0]!r} in all {len(rows)} rows; a target needs at least two classes"
        )
    if len(names) == len(rows):
        raise UsageError(
            f"{what} has a different value in each of the {len(rows)} rows; a class must occur more than once"
        )
    if all(map(_INTEGER.fullmatch, names)):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _all(rows: Rows, class_names: tuple[str, ...], target: str | None = None) -> _PartRows:
    """All rows of a file as one part."""
    index = np.arange(len(rows))
    if target is not None:
        return _PartRows(rows, index, None, _values(rows, target))
    if not class_names:
        return _PartRows(rows, index, None)
    label_of = {name: label for label, name in enumerate(class_names)}
    labels = np.array([label_of.get(name, -1) for name in rows.names])[rows.block.classes]
    for row in np.flatnonzero(labels < 0)[:1]:
        name = rows.names[rows.block.classes[row]]
        raise UsageError(
            f"{rows.at(int(row))}: class {name!r} does not occur in the training rows; {nearest(name, class_names)}"
        )
    return _PartRows(rows, index, torch.from_numpy(labels))


def _split_off(split: Split, page: Table) -> tuple[float, float]:
    """The fractions of the validation and the test part; 0 for a part that has its own file."""
    return 0.0 if page.validation_file else split.validation, 0.0 if page.test_file else split.test


def _split(rows: Rows, class_names: tuple[str, ...], split: Split, page: Table, target: str | None) -> list[_PartRows]:
    """The parts of one file: train, validation, test. A part that has its own file gets no rows."""
    validation, test = _split_off(split, page)
    whole = _all(rows, class_names, target)
    labels, values = whole.labels, whole.values
    strata = torch.zeros(len(rows), dtype=torch.int64) if labels is None else labels
    fractions = 1 - validation - test, validation, test
    cuts = stratified_split(strata, fractions, split.seed)
    parts = [
        _PartRows(
            rows, cut.numpy(), None if labels is None else labels[cut], None if values is None else values[cut.numpy()]
        )
        for cut in cuts
    ]
    check_parts(str(rows.file.path), (len(cut) for cut in cuts), fractions)
    for label, name in enumerate(class_names):
        if not (parts[0].labels == label).any():
            count = int((labels == label).sum())
            raise UsageError(
                f"{rows.file.path}: class {name!r} has {count} of {len(rows)} rows, and none in the training part; "
                f"add rows of this class, or reduce split.validation and split.test",
                settings=("split.validation", "split.test"),
            )
    return parts


def _fit(parts: list[_PartRows], class_names: tuple[str, ...], page: Table) -> TableInfo:
    """The properties of the table, computed from the training rows. Fills missing numbers in all parts."""
    train, columns = parts[0], parts[0].rows.columns
    fill: tuple[float, ...] = ()
    if page.missing == "mean":
        fill = tuple(_mean(train, column) for column in range(len(columns)))
        for numbers in {id(part.rows): part.rows.block.numbers for part in parts}.values():
            for column, mean in zip(numbers.T, fill, strict=True):
                column[np.isnan(column)] = mean
    fitted = (
        [_shift_and_scale(column[train.index]) for column in train.rows.block.numbers.T] if page.standardize else []
    )
    shift, scale = (tuple(values) for values in zip(*fitted, strict=True)) if fitted else ((), ())
    return TableInfo(
        (len(columns),),
        len(class_names),
        class_names,
        columns=columns,
        shift=shift,
        scale=scale,
        fill=fill,
        target=_fitted_target(train, page.target),
    )


def _fitted_target(train: _PartRows, name: str | None) -> NumberTarget | None:
    """The properties of a numeric target on the training rows; None without one."""
    if train.values is None or name is None:
        return None
    return fitted_target(name, train.values, str(train.rows.file.path))


def _mean(train: _PartRows, column: int) -> float:
    values = train.rows.block.numbers[train.index, column]
    values = values[~np.isnan(values)]
    if not len(values):
        name = train.rows.columns[column]
        raise UsageError(
            f"{train.rows.file.path}: column {name!r} has no numbers in the training rows; "
            f"remove it from table.columns",
            settings=("table.columns",),
        )
    return float(values.mean())


def _shift_and_scale(values: Float64[np.ndarray, "n"]) -> tuple[float, float]:
    """Mean and standard deviation; the value and 1 if all values are equal."""
    if values.min() == values.max():
        return float(values[0]), 1.0
    shift = values.mean()
    centered = values - shift
    largest = np.abs(centered).max()  # scaled first, because squares of very small numbers underflow to 0
    return float(shift), float(largest * np.sqrt(np.square(centered / largest).mean())) or 1.0


def _scaled(info: TableInfo, values: Float64[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    with np.errstate(over="ignore", invalid="ignore"):
        if info.shift:
            values = (values - np.array(info.shift)) / np.array(info.scale)
        return values.astype(np.float32)


def _part(part: _PartRows, info: TableInfo) -> Part:
    """The tensors of a part."""
    tensor = torch.empty(len(part.index), *info.shape)
    x = tensor.numpy()
    for start in range(0, len(x), _ROWS_AT_ONCE):
        index = part.index[start : start + _ROWS_AT_ONCE]
        x[start : start + len(index)] = _scaled(info, part.rows.block.numbers[index])
    for row, column in np.argwhere(~np.isfinite(x))[:1]:
        raise UsageError(
            f"{part.rows.at(int(part.index[row]))}: column {info.columns[column]!r}: the standardized number exceeds "
            f"the range of float32, because it is very far from the training rows"
        )
    if part.values is not None and info.target is not None:
        values = (part.values - info.target.shift) / info.target.scale
        return Part({"x": tensor, "target": torch.from_numpy(values.astype(np.float32))})
    if part.labels is None:
        return Part({"x": tensor})
    return Part({"x": tensor, "label": part.labels})


def _identifiers(parts: list[_PartRows], info: TableInfo, tensors: list[Part]) -> tuple[str, ...]:
    """The columns whose numbers identify the rows, of those that are not exact enough as float32 to see it there."""
    count = len(info.columns)
    shift, scale = np.array(info.shift or (0.0,) * count), np.array(info.scale or (1.0,) * count)
    largest = np.max([part["x"].abs().amax(0).double().numpy() for part in tensors if len(part)], axis=0)
    error = stored_error(largest, scale, np.abs(shift) + scale * largest)
    return tuple(
        info.columns[column]
        for column in np.flatnonzero(error >= KNOWN / 2)
        if identifies_rows([part.rows.block.numbers[part.index, column] for part in parts if len(part.index)])
    )


def _notes(parts: list[_PartRows], page: Table) -> tuple[str, ...]:
    """Notes on the columns and on the missing values of each file."""
    notes = []
    if parts[0].values is not None and page.target_kind == "auto":
        notes.append(
            f"the target {page.target!r} is a number, because of its values; table.target_kind=classes makes each "
            f"value a class"
        )
    for rows in {id(part.rows): part.rows for part in parts}.values():
        name = rows.file.path.name
        if rows.index:
            no_name = " (the first one, which has no name)"
            names = ", ".join(f"{column!r}{no_name * (column == rows.file.unnamed)}" for column in rows.index)
            columns = f"column{'s' * (len(rows.index) > 1)} {names}"
            notes.append(f"{columns} of {name} left out as row numbers or names; table.columns chooses the inputs")
        if rows.left_out:
            notes.append(f"{_with_unit(rows.left_out, 'row')} of {name} with missing numbers or classes left out")
        if rows.missing:
            notes.append(
                f"{_with_unit(rows.missing, 'missing number')} of {name} filled in with the mean of the training rows"
            )
    return tuple(notes)


def _with_unit(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
