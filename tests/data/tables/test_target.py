"""Numeric targets of tables: how they are recognized, standardized, and refused."""

import numpy as np
import pytest
import torch

from danlu.data import read_table
from danlu.data.kinds import info_from_json
from danlu.data.tables.settings import Table
from danlu.data.tables.target import is_numeric
from danlu.errors import UsageError


def file_with(folder, values, name="t.csv"):
    path = folder / name
    path.write_text("a,y\n" + "".join(f"{n % 7}.5,{value}\n" for n, value in enumerate(values)))
    return str(path)


@pytest.mark.parametrize(
    ("names", "rows", "numeric"),
    [
        (["0", "1"], 100, False),
        (["0.0", "1.0"], 100, False),
        (["0.5", "1.0"], 100, True),
        (["1e3", "2.5e-1", "NA"], 100, True),
        (["1.5", "rose"], 100, False),
        (["inf", "1.5"], 100, False),
        (["NA"], 100, False),
        ([str(k) for k in range(21)], 419, True),
        ([str(k) for k in range(21)], 420, False),
        ([str(k) for k in range(20)], 30, False),
        ([str(k) for k in range(5)], 5, True),
    ],
)
def test_a_number_is_told_from_a_class(names, rows, numeric):
    assert is_numeric(names, rows) is numeric


def test_the_target_is_standardized_with_the_training_rows(tmp_path):
    values = np.random.default_rng(0).normal(1e6, 3, 200).round(3)
    data = read_table(file_with(tmp_path, values), Table(target="y"))
    target = data.info.target
    assert (data.info.classes, target.name, "label" in data.train.fields) == (0, "y", False)
    restored = [
        part["target"].double() * target.scale + target.shift for part in (data.train, data.validation, data.test)
    ]
    assert torch.cat(restored).sort().values.numpy() == pytest.approx(np.sort(values), abs=2e-6)
    train = restored[0].numpy()
    assert (target.shift, target.scale) == pytest.approx((train.mean(), train.std()), abs=1e-5)
    assert target.median == pytest.approx(np.median(train), abs=1e-5)
    assert info_from_json(data.info.to_json()) == data.info


def test_the_setting_decides(tmp_path):
    path = file_with(tmp_path, [n % 3 for n in range(60)])
    assert read_table(path, Table(target="y")).info.classes == 3
    assert read_table(path, Table(target="y", target_kind="number")).info.target is not None
    path = file_with(tmp_path, [n % 3 + 0.5 for n in range(60)])
    assert read_table(path, Table(target="y")).info.target is not None
    assert read_table(path, Table(target="y", target_kind="classes")).info.class_names == ("0.5", "1.5", "2.5")


def test_missing_targets_are_left_out_on_request(tmp_path):
    path = file_with(tmp_path, ["NA" if n == 4 else n + 0.5 for n in range(60)])
    with pytest.raises(UsageError, match="line 6: column 'y': missing number"):
        read_table(path, Table(target="y"))
    data = read_table(path, Table(target="y", missing="drop"))
    assert len(data.train) + len(data.validation) + len(data.test) == 59
    assert data.notes == (
        "the target 'y' is a number, because of its values; table.target_kind=classes makes each value a class",
        "1 row of t.csv with missing numbers or classes left out",
    )


@pytest.mark.parametrize(
    ("values", "table", "message"),
    [
        (["1.5", "rose"] * 30, {"target_kind": "number"}, "line 3: column 'y': 'rose' is not a finite number"),
        (["2.5"] * 60, {}, "column 'y' has the same value 2.5 in all training examples"),
        (
            ["1"] * 60,
            {"target": None, "target_kind": "number"},
            "kind=number has no effect without table.target",
        ),
    ],
)
def test_what_cannot_be_a_number_is_refused(tmp_path, values, table, message):
    with pytest.raises(UsageError, match=message):
        read_table(file_with(tmp_path, values), Table(**{"target": "y", **table}))


def test_files_of_other_parts_use_the_numbers_of_the_training_rows(tmp_path):
    test = file_with(tmp_path, [100.0, 200.0], "test.csv")
    data = read_table(file_with(tmp_path, [n + 0.5 for n in range(60)]), Table(target="y", test_file=test))
    values = data.test["target"].double() * data.info.target.scale + data.info.target.shift
    assert values.tolist() == pytest.approx([100, 200], abs=1e-4)
