"""What a survey says of a data set against what was put into it."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module

import pytest
import torch

from danlu.data import DataSet, Part, digits, read_table, survey_data_set
from danlu.data.images.info import ImageInfo
from danlu.data.survey.survey import compute_survey
from danlu.data.survey.tables import _identifies_rows
from danlu.data.tables.info import TableInfo
from danlu.data.tables.settings import Table
from danlu.storage import Access

CLASSES = ("cat", "dog")


def made(train: torch.Tensor, validation=None, test=None, labels=None, **info: object) -> DataSet:
    """A table, or images if x has four dimensions."""
    kind = "images" if train.ndim == 4 else "table"
    name = "image" if kind == "images" else "x"
    info_class = ImageInfo if kind == "images" else TableInfo
    parts = []
    for number, x in enumerate((train, validation, test)):
        x = torch.empty(0, *train.shape[1:]) if x is None else x
        label = labels[number] if labels else torch.arange(len(x)) % 2
        parts.append(Part({name: x.to(train.dtype), "label": label}))
    return DataSet("made", info_class(tuple(train.shape[1:]), 2, CLASSES, **info), *parts)  # type: ignore[arg-type]


def test_counts_ranges_mean_and_deviation_are_those_of_the_training_part():
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = compute_survey(made(x, x[:7] + 9, x[:5] - 9, columns=("a", "b", "c")))
    assert found.examples == {"train": 100, "validation": 7, "test": 5}
    assert found.classes == {"train": [50, 50], "validation": [4, 3], "test": [3, 2]}
    for number, channel in enumerate(found.channels):
        column = x[:, number]
        assert channel["name"] == "abc"[number]
        assert (channel["low"], channel["high"]) == (column.min(), column.max())
        assert channel["mean"] == pytest.approx(column.mean().item(), abs=1e-12)
        assert channel["deviation"] == pytest.approx(column.std(correction=0).item(), abs=1e-12)


def test_the_deviation_of_a_channel_is_over_examples_and_pixels():
    image = torch.randint(0, 256, (9000, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = compute_survey(made(image))
    for number, channel in enumerate(found.channels):
        values = image[:, number].double() / 255
        assert channel["mean"] == pytest.approx(values.mean().item(), abs=1e-6)
        assert channel["deviation"] == pytest.approx(values.std(correction=0).item(), abs=1e-6)
    assert [channel["name"] for channel in found.channels] == ["red", "green", "blue"]


@pytest.mark.parametrize(("mean", "deviation"), [(1000.0, 0.1), (-1e6, 1.0), (1e8, 100.0), (0.0, 1e-30), (1e30, 1e25)])
def test_mean_and_deviation_of_float32_columns_far_from_zero(mean, deviation):
    """Against exact rational arithmetic, over several blocks of rows and with an outlier in the first row."""
    source = torch.Generator().manual_seed(0)
    x = (mean + deviation * torch.randn(5000, 1, generator=source, dtype=torch.float64)).float()
    x[0] = mean + 1e3 * deviation
    (channel,) = compute_survey(made(x)).channels
    exact = [Fraction(value) for value in x.flatten().tolist()]
    exact_mean = sum(exact) / len(exact)
    variance = sum((value - exact_mean) ** 2 for value in exact) / len(exact)
    assert channel["mean"] == pytest.approx(float(exact_mean), rel=1e-13)
    assert channel["deviation"] == pytest.approx(math.sqrt(variance), rel=1e-13)


def test_a_column_of_small_numbers_beside_one_of_large_numbers_is_not_constant():
    source = torch.Generator().manual_seed(0)
    x = torch.rand(50, 3, generator=source) * torch.tensor([1e9, 1.0, 1e-9]) + torch.tensor([0.0, 1000.0, 0.0])
    assert compute_survey(made(x)).constant == []


@pytest.mark.parametrize("shape", [(3,), (1, 3, 3), (3, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_examples_that_are_in_two_parts_are_found(shape, dtype):
    source = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (5000, *shape), generator=source).to(dtype).unique(dim=0)
    x = x[torch.randperm(len(x), generator=source)]
    train, validation, test = x[:3000], x[3000:3100], x[3100:3200]
    clean = compute_survey(made(train, validation, test))
    assert clean.repeated == {}
    assert not clean.problems
    validation, test = torch.cat([validation, train[:4]]), torch.cat([test, train[7:8], validation[:2], test[:1]])
    found = compute_survey(made(torch.cat([train, train[:50]]), validation, test))
    assert found.repeated == {
        "train": 50, "test": 1, "train and validation": 4, "train and test": 1, "validation and test": 2,
    }  # fmt: skip
    assert "4 examples are in both train and validation; scores on the latter are too optimistic" in found.problems
    assert "50 of 3,050 examples of the train part repeat an earlier one" in found.problems


def test_columns_and_pixels_that_hardly_vary_are_named():
    x = torch.randn(50, 4)
    x[:, 1] = 3.0
    x[:, 2] = 5.0 + 1e-9 * x[:, 2]
    found = compute_survey(made(x, columns=("a", "still", "nearly", "d")))
    assert found.constant == ["still", "nearly"]
    assert "constant or nearly constant in the training part: still, nearly" in found.problems
    image = torch.rand(50, 1, 2, 3)
    image[:, :, 0, :2] = 0
    assert compute_survey(made(image)).constant == ["2 of 6 pixels"]
    colored = torch.rand(50, 3, 2, 3)
    colored[:, 1] = 0  # no green
    colored[:, :, 1, 2] = 0.5
    assert compute_survey(made(colored)).constant == ["1 of 6 pixels"]


def test_classes_that_are_missing_or_uneven_are_named():
    x = torch.randn(200, 2)
    none = [torch.zeros(200, dtype=torch.long), torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)]
    assert "no training example of class dog" in compute_survey(made(x, labels=none)).problems
    few = [torch.arange(200).eq(7).long(), none[1], none[2]]
    assert "imbalanced classes: 199 training examples of cat, 1 of dog" in compute_survey(made(x, labels=few)).problems


def test_numbers_that_are_not_finite_and_empty_parts_are_named():
    x = torch.randn(20, 2)
    x[3, 1] = torch.nan
    problems = compute_survey(made(x, torch.randn(2, 2), columns=("a", "b"))).problems
    assert problems == ["the test part is empty", "b has values that are not finite"]


def test_of_many_columns_and_classes_the_first_are_named():
    x, names = torch.ones(50, 3000), tuple(f"column{number}" for number in range(3000))
    (problem,) = (
        line
        for line in compute_survey(made(x, columns=names)).problems
        if line.startswith("constant or nearly constant")
    )
    assert problem.endswith(": " + ", ".join(names[:8]) + " and 2,992 more")
    x[3] = torch.inf
    (problem,) = (line for line in compute_survey(made(x, columns=names)).problems if line.endswith("not finite"))
    assert problem == ", ".join(names[:8]) + " and 2,992 more have values that are not finite"


def digest(page):
    """The SHA-256 of a page, by which a change of its file is noticed."""
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()


def test_it_is_kept_by_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    data = digits()
    first = survey_data_set(data, Access())
    (path,) = (tmp_path / "surveys").iterdir()
    page = json.loads(path.read_text())
    assert page.pop("sha256") == digest(page)
    assert page == dataclasses.asdict(first)
    monkeypatch.setattr("danlu.data.survey.survey.compute_survey", lambda data: pytest.fail("it is known"))
    assert survey_data_set(data, Access()) == first
    monkeypatch.undo()
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    for text in ("{}", "[]", "null", json.dumps({**page, "problems": ["changed"], "sha256": digest(page)})):
        path.write_text(text)
        assert survey_data_set(data, Access()) == first


@pytest.mark.parametrize("change", ["format", "version"])
def test_a_survey_of_another_version_is_computed_again(change, tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    data = digits()
    survey_data_set(data, Access())
    (path,) = (tmp_path / "surveys").iterdir()
    page = json.loads(path.read_text())
    del page["sha256"]
    page["problems"] = ["old words"]
    path.write_text(json.dumps({**page, "sha256": digest(page)}))
    assert survey_data_set(data, Access()).problems == ["old words"]
    module = import_module("danlu.data.survey.survey")
    if change == "format":
        monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    else:
        monkeypatch.setattr(module, "version", lambda _: "0.0.0.dev0")
    assert survey_data_set(data, Access()).problems == []
    assert len(list((tmp_path / "surveys").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file"))
    assert survey_data_set(digits(), Access()).examples["test"] == 359


def table(rows: int = 200, **columns: Callable[[torch.Tensor, torch.Generator], torch.Tensor]) -> DataSet:
    """A standardized table of two classes, split at random, with three columns of measurements."""
    source = torch.Generator().manual_seed(0)
    label = torch.randint(0, 2, (rows,), generator=source)
    values = {name: torch.randn(rows, generator=source, dtype=torch.float64) for name in "abc"}
    values |= {name: make(label, source).double() for name, make in columns.items()}
    x = torch.stack(list(values.values()), 1)
    shift, scale = x.mean(0), x.std(0, correction=0)
    cuts = torch.randperm(rows, generator=source).split([rows - rows // 10 - rows // 5, rows // 10, rows // 5])
    parts = [Part({"x": ((x - shift) / scale).float()[c], "label": label[c]}) for c in (c.sort().values for c in cuts)]
    info = TableInfo(
        (x.shape[1],), 2, CLASSES, columns=tuple(values), shift=tuple(shift.tolist()), scale=tuple(scale.tolist())
    )
    return DataSet("made", info, *parts)


ROW = torch.arange(200)
COUNTERS = {
    "from 0": lambda label, source: ROW,
    "from 1": lambda label, source: ROW + 1,
    "large": lambda label, source: 1_000_000 + ROW,
    "with gaps": lambda label, source: ROW + ROW.square(),
    "in another order": lambda label, source: torch.randperm(200, generator=source),
    "in steps of a tenth": lambda label, source: ROW * 0.1,
    "hourly times": lambda label, source: 1_700_000_000 + 3600 * ROW,
    "years": lambda label, source: 1825 + ROW,
    "dense, in another order": lambda label, source: torch.randperm(2000, generator=source)[:200],
    "customer numbers": lambda label, source: 10_000 + torch.randperm(90_000, generator=source)[:200],
    "seven digits": lambda label, source: 1_000_000 + torch.randperm(9_000_000, generator=source)[:200],
}
KEY = (
    "id may number or identify the rows, because the values are different integers or equidistant; if they are no "
    "measurements, choose the inputs with table.columns"
)


@pytest.mark.parametrize("counter", COUNTERS.values(), ids=COUNTERS)
def test_a_column_that_numbers_the_rows_is_named(counter):
    assert compute_survey(table(id=counter)).problems == [KEY]


def test_sixty_customer_numbers_are_enough():
    """But not 40, nor four digits: such a table can have measured integers that are different by chance."""
    numbers = torch.randperm(90_000, generator=torch.Generator().manual_seed(1))
    assert compute_survey(table(60, id=lambda *_: 10_000 + numbers[:60])).problems == [KEY]
    assert compute_survey(table(40, id=lambda *_: 10_000 + numbers[:40])).problems == []
    assert compute_survey(table(60, id=lambda *_: 1_000 + numbers[numbers < 9_000][:60])).problems == []
    one_is_short = torch.cat([torch.tensor([9_999]), 10_000 + numbers[:59]])
    assert compute_survey(table(60, id=lambda *_: one_is_short)).problems == []


@pytest.mark.parametrize("order", ["increasing", "gaps", "shuffled", "shuffled gaps"])
@pytest.mark.parametrize("rows", [1_000_000, 1_100_000, pytest.param(20_000_000, marks=pytest.mark.long)])
def test_rows_of_a_large_table_that_are_numbered_are_found(rows, order):
    """Also where float32 does not resolve all numbers, with the shift and scale of the file."""
    source = torch.Generator().manual_seed(2)
    numbers = torch.arange(rows, dtype=torch.float64)
    if "gaps" in order:
        numbers = (1 + torch.randint(0, 3, (rows,), generator=source)).cumsum(0).double()
    if "shuffled" in order:
        numbers = numbers[torch.randperm(rows, generator=source)]
    measured = torch.randint(0, 4 * rows, (rows,), generator=source).double()
    x = torch.stack([numbers, measured, measured.sort().values, torch.rand(rows, generator=source).double() * rows], 1)
    shift, scale = x.mean(0), x.std(0, correction=0)
    part = Part({"x": ((x - shift) / scale).float()})
    info = TableInfo((4,), columns=tuple("abcd"), shift=tuple(shift.tolist()), scale=tuple(scale.tolist()))
    data = DataSet("made", info, part, part.take(slice(0, 0)), part.take(slice(0, 0)))
    assert [_identifies_rows(data, column) for column in range(4)] == [True, False, False, False]


def test_large_numbers_of_a_narrow_range_are_no_row_numbers():
    """Without standardization float32 rounds them, so that few values are left, which say nothing."""
    source = torch.Generator().manual_seed(3)
    x = (1e9 + 300 * torch.rand(200, 1, generator=source, dtype=torch.float64)).float()
    part = Part({"x": x})
    data = DataSet("made", TableInfo((1,), columns=("a",)), part, part.take(slice(0, 0)), part.take(slice(0, 0)))
    assert not _identifies_rows(data, 0)


def read(folder, name="t.csv", standardize=True, **columns):
    """A table that is read from a file, with one more column of measurements."""
    rows = zip(*columns.values(), torch.randn(len(next(iter(columns.values())))).tolist(), strict=True)
    (folder / name).write_text("".join(",".join(map(str, row)) + "\n" for row in [(*columns, "a"), *rows]))
    return read_table(str(folder / name), Table(standardize=standardize))


def codes(count, digits, seed=0):
    """Different integers with equally many digits, in random order."""
    source = torch.Generator().manual_seed(seed)
    numbers = torch.randint(10 ** (digits - 1), 10**digits, (2 * count,), generator=source).unique()
    return numbers[torch.randperm(len(numbers), generator=source)][:count].tolist()


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("digits", [7, 8, 9, 12, 15])
def test_codes_with_more_digits_than_float32_are_found_in_the_numbers_of_the_file(tmp_path, digits, standardize):
    assert KEY in compute_survey(read(tmp_path, standardize=standardize, id=codes(200, digits))).problems


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("digits", [8, 9, 12])
def test_integers_with_more_digits_than_float32_that_repeat_are_measurements(tmp_path, digits, standardize):
    """The largest number is there ten times, where float32 has the fewest digits; and numbers that have a fraction."""
    amounts = [*codes(3990, digits), *[10**digits - 1] * 10]
    prices = [number + 0.5 for number in codes(4000, digits, seed=1)]
    found = compute_survey(read(tmp_path, standardize=standardize, amount=amounts, price=prices))
    assert not [problem for problem in found.problems if "may number or identify" in problem]


def test_files_that_differ_in_digits_that_float32_does_not_have_have_their_own_surveys(tmp_path, monkeypatch):
    """All numbers are rounded to multiples of 64 by float32, and differ by less in the files."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    different = [600_000_000 + 64 * (k // 2) + k % 2 for k in torch.randperm(200).tolist()]
    repeated = [number - number % 64 for number in different]
    measured = torch.rand(200).tolist()
    sets = []
    for name, numbers in (("a.csv", different), ("b.csv", repeated)):
        rows = "".join(f"{number},{value}\n" for number, value in zip(numbers, measured, strict=True))
        (tmp_path / name).write_text("id,a\n" + rows)
        sets.append(read_table(str(tmp_path / name), Table(standardize=False)))
    assert sets[0].fingerprint() == sets[1].fingerprint()
    found = [[problem for problem in survey_data_set(data).problems if problem == KEY] for data in sets]
    assert found == [[KEY], []]


@pytest.mark.parametrize("values", [(0, 1), (-3.5, 7), (1, 0)])
def test_a_column_that_equals_the_target_is_named(values):
    """It may have other names for the classes."""
    (problem,) = compute_survey(table(copy=lambda label, source: torch.tensor(values)[label])).problems
    assert problem.startswith("the class of every row follows from copy alone, which may be a copy of the target")


def test_measurements_are_neither_row_numbers_nor_the_target():
    """Integers that repeat, increasing numbers with repeats, and a copy of the target with one error."""
    columns = {
        "integers": lambda label, source: torch.randint(0, 300, (200,), generator=source),
        "sorted": lambda label, source: torch.rand(200, generator=source).sort().values,
        "repeated": lambda label, source: ROW // 2,
        "counts": lambda label, source: torch.randperm(200, generator=source).add(3) ** 3,
        "almost": lambda label, source: torch.where(ROW == 7, 1 - label, label),
    }
    assert compute_survey(table(**columns)).problems == []
