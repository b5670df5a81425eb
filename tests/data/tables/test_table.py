"""Tables of the user's own: values, labels, parts and standardization by hand; and what a broken file is told."""

import bz2
import csv
import gzip
import json
import lzma
import math
import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from danlu.data import Split, read_table, standardize
from danlu.data.images.info import ImageInfo
from danlu.data.kinds import info_from_json
from danlu.data.tables import csv_file
from danlu.data.tables import table as table_room
from danlu.data.tables.info import TableInfo
from danlu.data.tables.settings import Table
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.storage import Access

ROWS = [(5.1, 3.5, "rose"), (4.9, 3.0, "tulip"), (6.2, 2.0, "rose"), (5.0, 1.5, "tulip"), (7.5, 2.25, "rose")] * 4


def written(folder, content, name="t.csv"):
    """A file with this text, or these bytes."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def flowers(folder, name="t.csv", delimiter=","):
    """A small table with a class."""
    lines = [("length", "width", "kind"), *ROWS]
    return written(folder, "".join(delimiter.join(map(str, line)) + "\n" for line in lines), name)


WHOLE = {"validation": 0, "test": 0}
"""a split that trains on all"""


def loaded(path, access=None, split=None, **page):
    """The data set of a file."""
    return read_table(str(path), Table.model_validate(page), Split.model_validate(split or {}), access)


def all_rows(data):
    """The rows of all parts."""
    return torch.cat([data.part(name)["x"] for name in ("train", "validation", "test")])


def refused(path, message, **page):
    """That a file is refused in one line that matches."""
    with pytest.raises(UsageError, match=message) as caught:
        loaded(path, **page)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def numbers(rows):
    """Rows as a sorted list, for a comparison without order."""
    return sorted(map(tuple, rows.tolist()))


# --- values, labels and parts -----------------------------------------------------------------------------------------


def test_the_values_and_labels_are_those_of_the_file(tmp_path):
    data = loaded(flowers(tmp_path), target="kind", standardize=False)
    parts = [data.part(name) for name in ("train", "validation", "test")]
    found = [(*x, y) for part in parts for x, y in zip(part["x"].tolist(), part["label"].tolist(), strict=True)]
    float32 = [(float(np.float32(a)), float(np.float32(b)), int(kind == "tulip")) for a, b, kind in ROWS]
    assert sorted(found) == sorted(float32)
    assert [len(part) for part in parts] == [14, 2, 4]
    for part in parts:
        assert (part["x"].dtype, part["label"].dtype) == (torch.float32, torch.int64)
    assert data.info == TableInfo(
        (2,),
        2,
        ("rose", "tulip"),
        (float(np.float32(1.5)), float(np.float32(7.5))),
        columns=("length", "width"),
    )
    assert (data.name, data.notes) == ("table:t.csv", ())


def test_every_class_is_shared_out_alike_and_by_seed(tmp_path):
    path = written(tmp_path, "x,k\n" + "".join(f"{i},{'abb'[i % 3]}\n" for i in range(300)))
    first, again, other = (loaded(path, split={"seed": seed}, target="k", standardize=False) for seed in (0, 0, 1))
    for name, fraction in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert first.part(name)["label"].bincount().tolist() == pytest.approx([100 * fraction, 200 * fraction], abs=1)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert sorted(all_rows(other).flatten().tolist()) == list(range(300))


def test_fractions_of_the_split_are_kept_without_a_target(tmp_path):
    path = written(tmp_path, "a\n" + "".join(f"{i}\n" for i in range(40)))
    data = loaded(path, split={"validation": 0.25, "test": 0.5})
    assert [len(data.part(name)) for name in ("train", "validation", "test")] == [10, 10, 20]
    assert list(data.train.fields) == ["x"]
    assert (data.info.classes, data.info.class_names) == (0, ())


def test_a_part_that_nobody_wants_may_be_empty(tmp_path):
    data = loaded(flowers(tmp_path), split=WHOLE, target="kind")
    assert [len(data.part(name)) for name in ("train", "validation", "test")] == [20, 0, 0]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),  # by value
        (["10", "9", "x"], ("10", "9", "x")),  # one is no integer, so as text
        (["b", "B", "ä"], ("B", "b", "ä")),
        (["1.0", "0.0"], ("0.0", "1.0")),
        (["True", "False"], ("False", "True")),
        (["NA", "none"], ("NA", "none")),  # a class may have such a name
    ],
)
def test_labels_follow_the_sorted_classes(tmp_path, values, order):
    path = written(tmp_path, "y,x\n" + "".join(f"{value},{k}\n" for _ in range(10) for k, value in enumerate(values)))
    data = loaded(path, target="y", standardize=False)
    assert data.info.class_names == order
    assert [values[int(k)] for k in data.train["x"][:, 0]] == [order[label] for label in data.train["label"]]


def test_columns_are_a_choice_in_the_order_asked_for(tmp_path):
    path = written(tmp_path, "a,name,b,c\n" + "".join(f"{i},who,{10 * i},{100 * i}\n" for i in range(1, 11)))
    data = loaded(path, columns=["c", "a"], standardize=False)
    assert data.info.columns == ("c", "a")
    assert numbers(all_rows(data)) == [(100.0 * i, i) for i in range(1, 11)]


def test_the_page_may_name_files_for_validation_and_test(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flowers(tmp_path)
    written(
        tmp_path, "kind,more,width,length\ntulip,u,1,2\nrose,v,3,4\n", "check.csv"
    )  # another order, one column more
    written(tmp_path, "length,width,kind\n9,8,rose\n", "exam.csv")
    page = {"target": "kind", "standardize": False}
    both = loaded("t.csv", **page, validation_file="check.csv", test_file="exam.csv")
    assert len(both.train) == 20
    assert (both.validation["x"].tolist(), both.validation["label"].tolist()) == ([[2, 1], [4, 3]], [1, 0])
    assert (both.test["x"].tolist(), both.test["label"].tolist()) == ([[9, 8]], [0])
    assert both.info.range == (1, 9)
    exam = loaded("t.csv", **page, test_file="exam.csv")
    assert [len(exam.part(name)) for name in ("train", "validation", "test")] == [18, 2, 1]
    check = loaded("t.csv", **page, validation_file="check.csv")
    assert [len(check.part(name)) for name in ("train", "validation", "test")] == [16, 2, 4]


# --- how a file may be written ----------------------------------------------------------------------------------------

CLEAN = "a,b,k\n1.5,-2,u\n1e3,.25,v\n+7,3.,u\n0,0,v\n" + "1,1,u\n2,2,v\n" * 3
SAME = {
    "semicolons": CLEAN.replace(",", ";"),
    "tabs": CLEAN.replace(",", "\t"),
    "a byte-order mark": "\ufeff" + CLEAN,
    "lines of Windows": CLEAN.replace("\n", "\r\n"),
    "lines of old Macs": CLEAN.replace("\n", "\r"),
    "no last line end": CLEAN.rstrip("\n"),
    "empty lines": "\n" + CLEAN.replace("\n", "\n\n") + "\n",
    "spaces": CLEAN.replace(",", ", "),
    "spaces and quotes": '"' + CLEAN.replace(",", '", "').replace("\n", '"\n"').removesuffix('"'),
    "everything quoted": "".join(",".join(f'"{c}"' for c in line.split(",")) + "\n" for line in CLEAN.splitlines()),
    "one quoted": CLEAN.replace("u", '"u"', 1),
    "quoted header": CLEAN.replace("a,b,k", '"a","b","k"', 1),
}


@pytest.mark.parametrize("how", SAME)
def test_a_table_is_the_same_however_it_is_written(tmp_path, how):
    expected = loaded(written(tmp_path, CLEAN, "clean.csv"), target="k", split=WHOLE)
    found = loaded(written(tmp_path, SAME[how]), target="k", split=WHOLE)
    assert found.info == expected.info
    assert found.fingerprint() == expected.fingerprint()


def test_names_and_classes_may_hold_anything_when_quoted(tmp_path):
    rows = [('height, "real"\n(cm)', "k;ind"), *[(i, ("tu,lip", 'ro"se', "two\nlines")[i % 3]) for i in range(12)]]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    data = loaded(tmp_path / "t.csv", target="k;ind", standardize=False, split=WHOLE)
    assert data.info.columns == ('height, "real"\n(cm)',)
    assert data.info.class_names == ('ro"se', "tu,lip", "two\nlines")
    assert sorted(all_rows(data).flatten().tolist()) == list(range(12))


@pytest.mark.parametrize("text", ["width, cm;height, cm\n1;2\n3;4\n5;6\n", "a b;c\td\n1;2\n3;4\n5;6\n"])
def test_the_delimiter_is_the_one_that_the_first_row_agrees_with(tmp_path, text):
    assert len(loaded(written(tmp_path, text), split=WHOLE).info.columns) == 2


def test_line_ends_of_unicode_do_not_end_a_line(tmp_path):
    path = written(tmp_path, "x,k\n" + "1,a\u2028b\n2,c\x0cd\n3,e\x85f\n" * 4)
    assert loaded(path, target="k", split=WHOLE).info.class_names == ("a\u2028b", "c\x0cd", "e\x85f")


def in_small_pieces(monkeypatch, size):
    monkeypatch.setattr(csv_file, "PIECE", size)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_pieces_make_no_difference(tmp_path, monkeypatch, size):
    """Values, labels and the numbers of lines are those of the file read at once, with quoted line ends too."""
    text = "x,k,y\n" + "".join(f'{i},"the{i % 2}\nkind",{-i}\n{i + 100},plain_{i % 2},\n' for i in range(20))
    path, page = written(tmp_path, text), {"target": "k", "missing": "drop", "standardize": False}
    whole = loaded(path, **page)
    late = written(tmp_path, text + "1,a\n", "late.csv")
    in_small_pieces(monkeypatch, size)
    assert loaded(path, **page).fingerprint() == whole.fingerprint()
    assert len(all_rows(whole)) == 20
    refused(late, r"late.csv, line 62: 2 fields", **page)  # 1 for the header, 3 for each of the 20 pairs


@pytest.mark.parametrize("quote", ["", '"'])
def test_numbers_are_read_to_the_last_bit(tmp_path, monkeypatch, quote):
    """By numpy's parser and, where there are quotes, by Python's; and turned into tensors some rows at a time."""
    monkeypatch.setattr(table_room, "_ROWS_AT_ONCE", 64)
    generator = np.random.default_rng(0)
    values = generator.standard_normal(300) * 10.0 ** generator.integers(-30, 30, 300)
    path = written(
        tmp_path,
        f"x,{quote}k{quote}\n" + "".join(f"{v},{quote}{i % 2}{quote}\n" for i, v in enumerate(values.tolist())),
    )
    found = loaded(path, target="k", standardize=False, split=WHOLE).train["x"]
    assert torch.equal(found[:, 0], torch.from_numpy(values).float())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1, 1000])
def test_empty_lines_of_a_single_column_are_no_rows(tmp_path, monkeypatch, size):
    in_small_pieces(monkeypatch, size)
    path = written(tmp_path, "a\n\n\n1\n\n2\n3\n\n\n")
    assert loaded(path, standardize=False, split=WHOLE).train["x"].tolist() == [[1], [2], [3]]


def test_progress_is_told_in_bytes(tmp_path, monkeypatch):
    in_small_pieces(monkeypatch, 32)
    path, told = flowers(tmp_path), []
    loaded(path, Access(progress=lambda *progress: told.append(progress)), target="kind")
    size = path.stat().st_size
    assert {(what, total) for what, _, total in told} == {("reading t.csv", size)}
    done = [done for _, done, _ in told]
    assert len(done) > 5
    assert (done, done[-1]) == (sorted(done), size)


# --- standardization --------------------------------------------------------------------------------------------------


def three_files(folder, validation="5,5\n", test="5,5\n"):
    """A training file whose columns have mean 3, 10 and deviation √2, 0; files for the others."""
    written(folder, "a,b\n1,10\n2,10\n3,10\n4,10\n5,10\n", "train.csv")
    written(folder, "a,b\n" + validation, "validation.csv")
    written(folder, "a,b\n" + test, "test.csv")
    page = {"validation_file": str(folder / "validation.csv"), "test_file": str(folder / "test.csv")}
    return folder / "train.csv", page


def test_columns_get_mean_0_and_deviation_1_by_hand(tmp_path):
    path, page = three_files(tmp_path, test="3,11\n")
    data = loaded(path, **page)
    assert data.info.shift == (3.0, 10.0)
    assert data.info.scale == pytest.approx((math.sqrt(2), 1.0), rel=1e-15)
    expected = torch.tensor([[-2.0, 0], [-1, 0], [0, 0], [1, 0], [2, 0]]) / math.sqrt(2)
    torch.testing.assert_close(data.train["x"], expected)
    torch.testing.assert_close(data.validation["x"], torch.tensor([[math.sqrt(2), -5.0]]))
    torch.testing.assert_close(data.test["x"], torch.tensor([[0.0, 1.0]]))
    assert data.info.range == pytest.approx((-5.0, math.sqrt(2)))


def test_only_training_rows_decide_shift_and_scale(tmp_path):
    path, page = three_files(tmp_path)
    expected = loaded(path, **page).info
    path, page = three_files(tmp_path, validation="1e9,-7\n" * 50, test="-1e9,1e6\n")
    found = loaded(path, **page)
    assert (found.info.shift, found.info.scale) == (expected.shift, expected.scale)
    torch.testing.assert_close(found.test["x"], torch.tensor([[(-1e9 - 3) / math.sqrt(2), 1e6 - 10]]))


def test_rows_of_one_file_that_are_not_for_training_decide_nothing(tmp_path):
    """The file of a split is written again with other numbers in the rows of validation and test."""
    values = [float(i * i) for i in range(30)]
    write = lambda: written(tmp_path, "a\n" + "".join(f"{v}\n" for v in values))  # noqa: E731
    first = loaded(write())
    raw = loaded(tmp_path / "t.csv", standardize=False)
    trained = raw.train["x"].flatten().tolist()
    assert first.info.shift == pytest.approx((np.mean(trained),))
    assert first.info.scale == pytest.approx((np.std(trained),))
    values = [v if v in trained else v + 1e6 for v in values]
    second = loaded(write())
    assert (second.info.shift, second.info.scale) == (first.info.shift, first.info.scale)
    assert torch.equal(second.train["x"], first.train["x"])
    assert second.test["x"].min() > first.test["x"].max()


@pytest.mark.parametrize("factor", [1.0, 1e-200, 1e-30, 1e30])
def test_very_small_and_very_large_numbers_are_standardized(tmp_path, factor):
    path = written(tmp_path, "a,b\n" + "".join(f"{value * factor!r},{0.1 * factor!r}\n" for value in (-1.0, 1.0) * 5))
    x = loaded(path, split=WHOLE).train["x"]
    torch.testing.assert_close(x, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).repeat(5, 1))


def test_a_constant_column_is_exactly_0(tmp_path):
    """The mean of three times 0.1 is not 0.1."""
    path = written(tmp_path, "a\n0.1\n0.1\n0.1\n")
    assert loaded(path, split=WHOLE).train["x"].eq(0).all()


def test_a_large_offset_does_not_cost_the_digits(tmp_path):
    """Seconds since 1970, a second apart, are all one number in float32, and are not when standardized."""
    path = written(tmp_path, "t\n" + "".join(f"{1_700_000_000 + i}\n" for i in range(3)))
    x = loaded(path, split=WHOLE).train["x"]
    torch.testing.assert_close(x[:, 0], torch.tensor([-1.0, 0.0, 1.0]) * math.sqrt(1.5))


def test_new_rows_are_standardized_as_the_loader_does(tmp_path):
    path, page = three_files(tmp_path, test="7,3\n-1,4\n")
    data = loaded(path, **page)
    raw = [[7.0, 3.0], [-1.0, 4.0]]
    for rows in (raw, np.array(raw), np.array(raw, np.float32), torch.tensor(raw), torch.tensor(raw).bfloat16()):
        assert torch.equal(standardize(data.info, rows), data.test["x"])
    assert standardize(data.info, np.empty((0, 2))).shape == (0, 2)
    assert torch.equal(standardize(loaded(path, standardize=False, **page).info, raw), torch.tensor(raw))
    assert torch.equal(standardize(info_from_json(data.info.to_json()), raw), data.test["x"])


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0, 3.0]], r"rows must have shape \(n, 2\), got \(1, 3\); the columns of this model are a, b"),
        ([1.0, 2.0], r"rows must have shape \(n, 2\), got \(2,\)"),
        ([[1.0, 2.0], [3.0, math.nan]], r"row 1, column 'b': nan is not a finite number"),
        ([[math.inf, 2.0]], r"row 0, column 'a': inf is not a finite number"),
        ([[1e300, 2.0]], r"row 0, column 'a': 1e\+300 is not a finite number"),
    ],
)
def test_new_rows_that_do_not_fit_are_refused(rows, message):
    info = TableInfo((2,), columns=("a", "b"), shift=(0.0, 1.0), scale=(1.0, 2.0))
    with pytest.raises(UsageError, match=message):
        standardize(info, rows)


def test_images_are_not_rows_of_a_table():
    with pytest.raises(UsageError, match=r"this model takes images of shape \(1, 8, 8\), not rows of a table"):
        standardize(ImageInfo((1, 8, 8)), [[1.0]])


# --- missing numbers --------------------------------------------------------------------------------------------------


@pytest.mark.unchecked
@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "nan", "NULL", "None", "?", '""'])
def test_missing_numbers_are_refused_left_out_or_filled_in(tmp_path, word):
    text = f"a,b,k\n1,2,u\n3,{word},v\n5,4,u\n7,6,v\n9,{word},u\n"
    path, page = written(tmp_path, text), {"target": "k", "standardize": False}
    page["validation_file"] = page["test_file"] = str(written(tmp_path, f"a,b,k\n0,{word},u\n0,8,v\n", "other.csv"))
    refused(
        path,
        r"t.csv, line 3: column 'b': missing number; table.missing=drop .* table.missing=mean",
        **page,
    )
    dropped = loaded(path, **page, missing="drop")
    assert dropped.train["x"].tolist() == [[1, 2], [5, 4], [7, 6]]
    assert dropped.train["label"].tolist() == [0, 0, 1]
    assert dropped.test["x"].tolist() == [[0, 8]]
    assert dropped.notes[0] == "2 rows of t.csv with missing numbers or classes left out"
    assert dropped.notes[1] == "1 row of other.csv with missing numbers or classes left out"
    filled = loaded(path, **page, missing="mean")
    assert filled.train["x"].tolist() == [[1, 2], [3, 4], [5, 4], [7, 6], [9, 4]]  # (2 + 4 + 6) / 3
    assert filled.test["x"].tolist() == [[0, 4], [0, 8]]
    assert filled.notes[0] == "2 missing numbers of t.csv filled in with the mean of the training rows"


def test_filled_numbers_are_0_after_standardizing(tmp_path):
    path = written(tmp_path, "a\n1\n3\n\n5\nNA\n")
    data = loaded(path, missing="mean", split=WHOLE)
    deviation = math.sqrt((4 + 0 + 4 + 0) / 4)  # the filled row counts
    torch.testing.assert_close(data.train["x"][:, 0], torch.tensor([-2, 0, 2, 0]) / deviation)


def test_means_are_those_of_the_training_rows(tmp_path):
    text = "a,b\n" + "".join(f"{i},{'' if i % 3 == 0 else i * i}\n" for i in range(30))
    data = loaded(written(tmp_path, text), missing="mean", standardize=False)
    known = [a * a for a, _ in data.train["x"].tolist() if a % 3]
    for name in ("train", "validation", "test"):
        gaps = [b for a, b in data.part(name)["x"].tolist() if a % 3 == 0]
        assert gaps == pytest.approx([np.mean(known)] * len(gaps), rel=1e-6)


def test_a_row_without_a_class_can_only_be_left_out(tmp_path):
    path = written(tmp_path, "a,k\n1,u\n2, \n3,v\n4,u\n")
    for missing in ("refuse", "mean"):
        refused(
            path,
            r"line 3: column 'k': missing class; table.missing=drop leaves out such rows$",
            target="k",
            missing=missing,
        )
    data = loaded(path, target="k", missing="drop", standardize=False, split=WHOLE)
    assert numbers(data.train["x"]) == [(1,), (3,), (4,)]
    assert len(data.notes) == 1


def test_a_missing_number_in_a_column_that_is_not_used_is_nothing(tmp_path):
    assert loaded(written(tmp_path, "a,b\n" + "1,\n2,x\n" * 10), columns=["a"]).notes == ()


# --- broken files -----------------------------------------------------------------------------------------------------

GOOD = "a,b,k\n" + "1,2,u\n3,4,v\n" * 5  # 11 lines
BROKEN = {
    "empty": (b"", "t.csv is empty; the first line of a table must have the names of the columns"),
    "blank": (b"\n \n\n", "t.csv is empty"),
    "a byte-order mark alone": (b"\xef\xbb\xbf", "t.csv is empty"),
    "header alone": (b"a,b\n", "t.csv has no usable rows"),
    "two rows": (b"a,b\n1,2\n3,4\n", "t.csv has 2 usable rows, and at least 3 are needed"),
    "no header": (b"1,2\n3,4\n5,6\n", "t.csv, line 1 has only numbers; the first line of a table must have the names"),
    "no header after blank lines": (b"\n\n1,2\n3,4\n", "t.csv, line 3 has only numbers"),
    "name twice": (b"a,b,a\n1,2,3\n", "t.csv, line 1: columns 1 and 3 have the same name 'a'"),
    "name twice but for spaces": (b"a,b,a \n1,2,3\n", "line 1: columns 1 and 3 have the same name 'a'"),
    "no name": (b"b,,a\n1,1,2\n", "t.csv, line 1: column 2 has no name; add a name, or remove the column from the"),
    "measurements without a name": (b",a\n1.5,2\n2,3\n3,4\n", "line 1: column 1 has no name and does not number"),
    "repeated numbers without a name": (b",a\n1,2\n2,3\n1,4\n", "line 1: column 1 has no name and does not number"),
    "row numbers alone": (b",k\n1,u\n2,v\n3,u\n4,v\n", "no columns besides the target and row numbers or names; a"),
    "short row": (GOOD + "1,2\n", "t.csv, line 12: 2 fields, expected 3 as in the header"),
    "long row": (GOOD + "1,2,u,5\n", "t.csv, line 12: 4 fields, expected 3 as in the header"),
    "short row, text elsewhere": ("a,k\n1,u\n1\n", "line 3: 1 fields, expected 2 as in the header"),
    "word": (GOOD + "1,two,u\n", "t.csv, line 12: column 'b': 'two' is not a number; set table.columns to "
             r"the numeric columns \(a\)$"),
    "decimal comma": ("a;b;k\n1;2;u\n1,5;2;v\n", "line 3: column 'a': '1,5' is not a number"),
    "underscore": (GOOD + "1_000,2,u\n", "line 12: column 'a': '1_000' is not a number"),
    "digits of another script": (GOOD + "１,2,u\n", "line 12: column 'a': '１' is not a number"),
    "hexadecimal": (GOOD + "0x10,2,u\n", "line 12: column 'a': '0x10' is not a number"),
    "long word": (GOOD + "x" * 99 + ",2,u\n", "line 12: column 'a': 'x{40}…' is not a number"),
    "infinity": (GOOD + "1,inf,u\n", "t.csv, line 12: column 'b': inf exceeds the range of float32, 3.4e"),
    "minus infinity, quoted": (GOOD + '1,"-Infinity",u\n', "line 12: column 'b': -inf exceeds the range of float32"),
    "too large": (GOOD + "1,1e39,u\n", r"line 12: column 'b': 1e\+39 exceeds the range of float32"),
    "far too large": (GOOD + "1,1e999,u\n", "line 12: column 'b': inf exceeds the range of float32"),
    "not UTF-8": (GOOD.encode() + b"1,2,\xe9\n", "t.csv, line 12: byte 70 of the file is 0xe9, which is not valid "
                  "UTF-8; save the table as CSV in UTF-8"),
    "not UTF-8 after a mark": (b"\xef\xbb\xbfa\n1\n\xff\n", "line 3: byte 7 of the file is 0xff"),
    "NUL": (GOOD.encode() + b"1,2,\0\n", "t.csv, line 12: byte 70 of the file is NUL, which is not text; save"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "t.csv is text in UTF-16; save the table as CSV in UTF-8"),
    "UTF-16, low bytes first": ("a,b\n1,2\n".encode("utf-16-le"), "t.csv is text in UTF-16; save the table"),
    "UTF-16, high bytes first": ("a,b\n1,2\n".encode("utf-16-be"), "t.csv is text in UTF-16; save the table"),
    "gzip": (gzip.compress(GOOD.encode()), "t.csv is a gzip archive; decompress it first"),
    "bzip2": (bz2.compress(GOOD.encode()), "t.csv is a bzip2 archive; decompress it first"),
    "xz": (lzma.compress(GOOD.encode()), "t.csv is an xz archive; decompress it first"),
    "spreadsheet": (b"PK\x03\x04\x14\0\6\0", "t.csv is a ZIP archive; decompress it first, or save it as CSV if it"),
    "web page": ("\n<!DOCTYPE html>\n<html><table>", "t.csv is a web page; download the file that the page shows or"),
    "pointer": ("version https://git-lfs.github.com/spec/v1\noid", "t.csv is a Git LFS pointer; .*git lfs pull"),
    "bars": (GOOD.replace(",", "|"), r"t.csv, line 1: the delimiter seems to be '\|'; it must be a comma"),
    "spaces": (GOOD.replace(",", " "), "t.csv, line 1: the delimiter seems to be ' '"),
    "decimal commas": ("a;b\n1,5;2\n", "line 2: column 'a': '1,5' is not a number: the decimal separator must"),
    "commas at the ends": (GOOD.replace("\n", ",\n"), "t.csv, line 1: no column name after the last ','"),
    "commas at the ends of rows": ("a,b\n1,2,\n", "t.csv, line 2: 3 fields, expected 2 as in the header; remove"),
    "a last column without a name": ("a,b,\n1,2,3\n", "t.csv, line 1: column 3 has no name; add a name"),
    "open quote": (GOOD + '1,2,"u\n3,4,v\n', "t.csv, line 12: unexpected end of data; check for an unclosed quote"),
    "text after a quote": (GOOD + '1,2,"u"x\n', "t.csv, line 12: .* expected after .*; check for an unclosed quote"),
    "huge quoted field": (GOOD + '1,2,"' + "u" * 200_000 + '"\n', "t.csv, line 12: field larger than field limit"),
    "one class": ("a,b,k\n" + "1,2,u\n" * 9, "t.csv: column 'k' has the same value 'u' in all 9 rows; a target needs"),
    "a class for each row": ("a,b,k\n1,2,u\n1,2,v\n1,2,w\n", "t.csv: column 'k' has a different value in each of"),
}  # fmt: skip


@pytest.mark.unchecked
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path, how):
    content, message = BROKEN[how]
    target = "k" if b"k\n" in (content if isinstance(content, bytes) else content.encode()) else None
    refused(written(tmp_path, content), message, target=target)


@pytest.mark.parametrize("size", [1, 40])
def test_places_are_right_beyond_the_first_piece(tmp_path, monkeypatch, size):
    in_small_pieces(monkeypatch, size)
    for how in ("short row", "word", "infinity", "not UTF-8", "NUL", "text after a quote", "not UTF-8 after a mark"):
        test_a_broken_file_is_refused_with_its_line(tmp_path, how)


def test_a_long_class_is_read_and_a_very_long_line_is_not(tmp_path, monkeypatch):
    text = "a,k\n" + f"1,{'u' * 1_000}\n2,v\n" * 4
    assert loaded(written(tmp_path, text), target="k", split=WHOLE).info.class_names == ("u" * 1_000, "v")
    monkeypatch.setattr(csv_file, "PIECE", 10)
    monkeypatch.setattr(csv_file, "LONGEST_LINE", 500)
    refused(tmp_path / "t.csv", "line 2 is longer than 500 bytes; this does not look like a table", target="k")


def test_a_class_that_training_gets_none_of_is_named(tmp_path):
    """There is such a class if the training part has fewer rows than there are classes, and only then."""
    path, split = written(tmp_path, "a,k\n" + "1,u\n2,v\n" * 9 + "5,w\n"), {"validation": 0.1, "test": 0.6}
    assert 2 in loaded(path, target="k", split=split).train["label"]
    path = written(tmp_path, "a,k\n" + "1,u\n" * 4 + "2,v\n3,w\n4,x\n")
    with pytest.raises(UsageError, match=r"t.csv: class '[vwx]' has 1 of 7 rows, and none in the training part; add"):
        loaded(path, target="k", split=split)


def test_a_part_that_gets_no_row_is_named(tmp_path):
    refused(
        written(tmp_path, "a\n1\n2\n3\n"), "the validation part would be empty .a fraction of 0.1 of 3 examples.; add"
    )


@pytest.mark.unchecked
def test_what_is_not_a_file_is_refused(tmp_path):
    refused(tmp_path / "no.csv", "no.csv does not exist; give the path of a CSV or Parquet file")
    refused(tmp_path, "is a folder; give the path of a CSV or Parquet file")
    with pytest.raises(
        UsageError, match=r"the data set table needs the path of a file, for example table:measurements.csv"
    ):
        read_table()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", "is not a file")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = flowers(tmp_path)
    monkeypatch.setattr(os, "open", closed)
    refused(path, "t.csv cannot be read: Permission denied")


def test_a_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    flowers(tmp_path)
    assert len(loaded("~/t.csv", target="kind").train) == 14


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"target": "knd"}, r"t.csv, line 1: unknown column 'knd'; did you mean 'kind'\?"),
        ({"columns": ["lenght"]}, r"t.csv, line 1: unknown column 'lenght'; did you mean 'length'\?"),
        ({"columns": ["zzz"]}, "unknown column 'zzz'; available: kind, length, width"),
        ({}, "line 2: column 'kind': 'rose' is not a number; set table.columns to the numeric columns "
             r"\(length, width\), or set table.target to 'kind'"),
        ({"target": "kind", "columns": []}, "line 1: no columns besides the target"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_used_are_named(tmp_path, page, message):
    refused(flowers(tmp_path), message, **page)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["length", "kind"], "'kind' is the target, so it cannot be an input; remove it from table.columns"),
        (["length", "length"], "table.columns contains 'length' 2 times"),
    ],
)
def test_columns_named_wrongly_are_refused(tmp_path, columns, message):
    with pytest.raises(UsageError, match=message):
        loaded(flowers(tmp_path), target="kind", columns=columns)


def test_advice_names_the_settings(tmp_path):
    path = written(tmp_path, "my length,b c,d\n1,x,2\n" * 1 + "1,x,2\n" * 3)
    message = r"set table.columns to the numeric columns \(my length, d\), or set table.target to 'b c'$"
    with pytest.raises(UsageError, match=message) as caught:
        loaded(path)
    assert caught.value.settings == ("table.columns", "table.target=b c")


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("length,kind\n1,rose\n", r"other.csv, line 1: unknown column 'width'; available: kind, length"),
        ("length,width\n1,2\n", r"other.csv, line 1: unknown column 'kind'; available"),
        (
            "length,width,kind\n1,2,rose\n1,2,lily\n",
            r"other.csv, line 3: class 'lily' does not occur in the training rows; available: rose",
        ),
        (
            "length,width,kind\n1,2,rose\n1,2,tulipp\n",
            r"line 3: class 'tulipp' does not occur in the training rows; did you mean 'tulip'",
        ),
        ("length,width,kind\n", r"other.csv has no usable rows"),
        ("length,width,kind\n1,x,rose\n", r"other.csv, line 2: column 'width': 'x' is not a number"),
        ("length,width,kind\n1,,rose\n", r"other.csv, line 2: column 'width': missing number"),
    ],
)
def test_other_files_must_fit_the_training_rows(tmp_path, part, text, message):
    other = written(tmp_path, text, "other.csv")
    with pytest.raises(UsageError, match=message):
        loaded(flowers(tmp_path), target="kind", **{f"{part}_file": str(other)})


def test_a_column_without_numbers_in_the_training_rows_has_no_mean(tmp_path):
    path = written(tmp_path, "a,b\n" + "1,\n" * 12)
    refused(path, "column 'b' has no numbers in the training rows; remove it from table.columns", missing="mean")


def test_a_table_of_gaps_alone_has_no_rows(tmp_path):
    refused(written(tmp_path, "a,b\n" + "1,\n" * 12), "no usable rows; 12 have missing values", missing="drop")


def test_a_number_that_overflows_when_standardized_is_named(tmp_path):
    path, page = three_files(tmp_path, test="1,1\n1,2\n")
    written(tmp_path, "a,b\n1e-40,1\n2e-40,2\n3e-40,3\n", "train.csv")
    with pytest.raises(
        UsageError, match=r"validation.csv, line 2: column 'a': the standardized number exceeds the range of float32"
    ):
        loaded(path, **page)


def test_a_header_may_have_the_signs_that_part_no_fields(tmp_path):
    assert loaded(written(tmp_path, "|a| in m\n" + "1\n2\n" * 6)).info.columns == ("|a| in m",)
    assert loaded(written(tmp_path, "a b;c|d\n" + "1;2\n3;4\n" * 6)).info.columns == ("a b", "c|d")


def test_of_many_columns_the_first_are_named(tmp_path):
    many = [f"column{number}" for number in range(3000)]
    path = written(tmp_path, ",".join(many) + "\n" + (",".join(["1"] * 3000) + "\n") * 3)
    with pytest.raises(UsageError, match=r"unknown column 'zzz'; available: .* and 2,950 more") as caught:
        loaded(path, target="zzz")
    assert len(str(caught.value)) < 1000


@pytest.mark.unchecked
def test_a_fraction_that_nothing_is_split_by_is_refused(tmp_path):
    path, page = three_files(tmp_path)
    for part in ("validation", "test"):
        with pytest.raises(
            UsageError, match=rf"split.{part} has no effect: the {part} rows are in table.{part}_file; leave"
        ):
            loaded(path, split={part: 0.3}, **page)
    assert len(loaded(path, **page).train) > 0


@pytest.mark.unchecked
def test_a_seed_that_nothing_is_split_by_is_refused(tmp_path):
    path, page = three_files(tmp_path)
    message = "split.seed has no effect: no part is split off at random; leave it out$"
    for files, fractions in (
        (("validation_file", "test_file"), {}),
        (("validation_file",), {"test": 0}),
        (("test_file",), {"validation": 0}),
        ((), WHOLE),
    ):
        with pytest.raises(UsageError, match=message):
            loaded(path, split={"seed": 7, **fractions}, **{name: page[name] for name in files})
    assert len(loaded(path, split={"seed": 7, "validation": 0.2}, test_file=page["test_file"]).validation) == 1


# --- encodings --------------------------------------------------------------------------------------------------------

LETTERS = "größe,k\n" + "1,é\n2,ü\n3,é\n" * 4


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ISO-8859-15", "mac_roman", "utf-8", "utf8", "UTF-8-SIG"])
@pytest.mark.parametrize("size", [1, 1000])
def test_an_encoding_that_is_named_is_read(tmp_path, monkeypatch, encoding, size):
    in_small_pieces(monkeypatch, size)
    page = {"target": "k", "split": WHOLE}
    expected = loaded(written(tmp_path, LETTERS, "utf-8.csv"), **page)
    found = loaded(written(tmp_path, LETTERS.encode(encoding)), encoding=encoding, **page)
    assert found.info == expected.info
    assert found.info.columns == ("größe",)
    assert found.fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "big5", "euc-kr"])
def test_letters_of_several_bytes_are_not_cut(tmp_path, monkeypatch, encoding):
    """Some of their second bytes are those of letters and brackets of ASCII."""
    in_small_pieces(monkeypatch, 3)
    text = "x,k\n" + "1,ソ\n2,表十\n" * 6 if encoding == "shift_jis" else "x,k\n" + "1,中\n2,文字\n" * 6
    found = loaded(written(tmp_path, text.encode(encoding)), encoding=encoding, target="k", split=WHOLE)
    assert set(found.info.class_names) == {line.split(",")[1] for line in text.splitlines()[1:]}


@pytest.mark.unchecked
def test_what_is_not_of_the_encoding_is_refused_with_its_place(tmp_path):
    latin = written(tmp_path, LETTERS.encode("latin-1"))
    refused(
        latin,
        r"t.csv, line 1: byte 2 of the file is 0xf6, which is not valid UTF-8; save the table as CSV in UTF-8, or "
        r"set table.encoding, for example to latin-1$",
    )
    refused(
        written(tmp_path, "x,k\n1,\x81\n".encode("latin-1")),
        r"t.csv, line 2: byte 6 of the file is 0x81, which is not valid cp1252; save the table as CSV in UTF-8$",
        encoding="cp1252",
    )
    refused(
        written(tmp_path, b"\xef\xbb\xbf" + LETTERS.encode()),
        r"t.csv begins with a UTF-8 byte-order mark, so its encoding is not latin-1$",
        encoding="latin-1",
    )
    refused(written(tmp_path, b"a\n\0\n"), r"byte 2 of the file is NUL, which is not text", encoding="latin-1")


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("latin-l", r"unknown encoding 'latin-l'; did you mean 'latin-1'\?"),
        ("utf-9", r"unknown encoding 'utf-9'; did you mean 'utf-8'\?"),
        ("", r"unknown encoding ''; common encodings: utf-8, latin-1, cp1252"),
        ("os", r"unknown encoding 'os'; common encodings: utf-8"),
        ("a\0b", r"unknown encoding 'a\\x00b'"),
        *((name, f"encoding '{name}' does not contain ASCII") for name in ("utf-16", "utf-7", "cp037")),
        *((name, f"encoding '{name}' does not contain") for name in ("base64", "rot13", "unicode_escape")),
        *((name, f"encoding '{name}' does not contain") for name in ("iso2022_jp", "hz")),
    ],
)
def test_what_is_no_encoding_of_a_table_is_refused(tmp_path, encoding, message):
    with pytest.raises(UsageError, match=message):
        loaded(flowers(tmp_path), target="kind", encoding=encoding)


# --- what stays with a model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaled", [True, False])
def test_the_means_for_missing_numbers_stay_with_the_model(tmp_path, scaled):
    """A row with a gap is what the same row with the training mean is; a model that knows none refuses it."""
    path = written(tmp_path, "a,b,k\n1,10,u\n3,,v\n5,40,u\n,10,v\n2,16,u\n4,24,v\n")
    page = {"target": "k", "split": WHOLE, "standardize": scaled}
    info = info_from_json(loaded(path, missing="mean", **page).info.to_json())
    assert info.fill == (3.0, 20.0)
    gaps = [[math.nan, 7.0], [2.0, math.nan], [math.nan, math.nan]]
    whole = [[3.0, 7.0], [2.0, 20.0], [3.0, 20.0]]
    assert torch.equal(standardize(info, gaps), standardize(info, whole))
    known = loaded(path, missing="drop", **page).info
    assert known.fill == ()
    with pytest.raises(UsageError, match="row 0, column 'a': nan is not a finite number"):
        standardize(known, gaps)


def test_a_model_that_was_written_before_there_were_means_is_read():
    values = TableInfo((1,), columns=("a",)).to_json()
    del values["fill"]
    assert info_from_json(values).fill == ()


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_grows_by_a_few_times_the_numbers_alone(tmp_path):
    """Python's objects and numpy's arrays, as tracemalloc counts them; a list of all fields would take 15 times x."""
    import tracemalloc

    line = ",".join(["0.12345"] * 10) + "\n"
    path = written(tmp_path, ",".join(f"c{i}" for i in range(10)) + "\n" + line * 100_000)
    loaded(path)  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        loaded(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * 100_000 * 10 * 4


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_without_pyarrow_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = written(tmp_path, b"PAR1....PAR1", "t.parquet")
    refused(
        path, "t.parquet: reading Parquet files needs the package pyarrow; install it with pip install pyarrow, or save"
    )


class _Column:
    """As much of a column of pyarrow as is used."""

    type = "plain"

    def __init__(self, values):
        self.values = values

    def cast(self, kind, safe):
        assert (kind, safe) == ("float64", False)
        return self

    def to_numpy(self, zero_copy_only):
        assert not zero_copy_only
        return np.array([np.nan if value is None else value for value in self.values], dtype=np.float64)

    def to_pylist(self):
        return list(self.values)


def _stand_in(columns, kinds, properties, batch_rows=4):
    """Modules that read these columns, whatever the file says."""
    rows = len(next(iter(columns.values())))

    class ParquetFile:
        schema_arrow = SimpleNamespace(
            names=list(columns), field=lambda name: SimpleNamespace(type=kinds[name]), metadata=properties
        )
        metadata = SimpleNamespace(num_rows=rows, num_columns=0, num_row_groups=0, row_group=None)

        def __init__(self, path, read_dictionary=()):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def iter_batches(self, batch_size, columns: list):
            for start in range(0, rows, batch_rows):
                some = {name: _Column(_all[name][start : start + batch_rows]) for name in columns}
                yield SimpleNamespace(num_rows=min(batch_rows, rows - start), column=some.__getitem__)

    _all = columns
    arrow, parquet = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
    names = {"is_floating": "double", "is_integer": "int64", "is_boolean": "bool", "is_decimal": "decimal128(5, 2)"}
    names |= {"is_nested": "list", "is_string": "string", "is_large_string": "", "is_binary": "", "is_dictionary": ""}
    types = {name: (lambda kind, known=known: kind == known) for name, known in names.items()}
    arrow.types, parquet.ParquetFile = SimpleNamespace(**types), ParquetFile
    return {"pyarrow": arrow, "pyarrow.parquet": parquet}


COLUMNS = {
    "a": [float(i) for i in range(12)],
    "b": [None if i == 9 else 2 * i for i in range(12)],
    "k": ["vu"[i % 2] for i in range(12)],
}
KINDS = {"a": "double", "b": "int64", "k": "string"}


@pytest.fixture(params=["a stand-in", "pyarrow"])
def parquet(request, tmp_path, monkeypatch):
    """A function that writes columns as a Parquet file: really where pyarrow is installed, else for a stand-in."""

    def write(columns, kinds=KINDS, properties=None):
        path = tmp_path / "t.parquet"
        if request.param == "pyarrow":
            arrow = pytest.importorskip("pyarrow")
            types = {"double": arrow.float64(), "int64": arrow.int64(), "string": arrow.string()}
            arrays = {name: arrow.array(values, types[kinds[name]]) for name, values in columns.items()}
            pytest.importorskip("pyarrow.parquet").write_table(
                arrow.table(arrays).replace_schema_metadata(properties), path, row_group_size=5
            )
        else:
            path.write_bytes(b"PAR1")
            for name, module in _stand_in(columns, kinds, properties).items():
                monkeypatch.setitem(sys.modules, name, module)
        return path

    return write


def test_parquet_is_read_as_csv_is(parquet, tmp_path):
    lines = [("a", "b", "k"), *zip(*COLUMNS.values(), strict=True)]
    same = "".join(",".join("" if cell is None else str(cell) for cell in line) + "\n" for line in lines)
    page = {"target": "k", "missing": "mean"}
    expected, found = loaded(written(tmp_path, same), **page), loaded(parquet(COLUMNS), **page)
    assert found.info == expected.info
    assert found.fingerprint() == expected.fingerprint()
    assert found.info.class_names == ("u", "v")


INDEXES = {
    "a name": (["row"], ("row",)),
    "no name": (["__index_level_0__"], ("__index_level_0__",)),
    "two levels": (["row", "__index_level_0__"], ("row", "__index_level_0__")),
    "a range": ([{"kind": "range", "name": None, "start": 0, "stop": 12, "step": 1}], ()),
}


@pytest.mark.parametrize(("listed", "left_out"), INDEXES.values(), ids=INDEXES)
def test_the_index_of_pandas_is_no_input(parquet, listed, left_out):
    """It is named in a note, and is read if it is chosen."""
    properties = {b"pandas": json.dumps({"index_columns": listed, "columns": []}).encode()}
    index = {name: [float(i) for i in range(12)] for name in left_out}
    kinds = {**KINDS, "row": "double", "__index_level_0__": "double"}
    path = parquet({**index, **COLUMNS}, kinds, properties)
    data = loaded(path, target="k", missing="mean")
    assert data.info.columns == ("a", "b")
    notes = [note for note in data.notes if LEFT_OUT in note]
    assert [all(repr(name) in note for name in left_out) for note in notes] == [True] * bool(left_out)
    if left_out:
        chosen = loaded(path, target="k", columns=(left_out[0], "a"))
        assert chosen.info.columns == (left_out[0], "a")
        assert not chosen.notes


LEFT_OUT = "left out as row numbers or names; table.columns chooses the inputs"
NO_NAME = "column 'Unnamed: 0' (the first one, which has no name)"
"""how a note names a first column without a name"""


@pytest.mark.parametrize(
    "numbers",
    [range(20), range(1, 21), [*range(19, -1, -1)], [7 * i for i in range(20)], [f"car {i}, blue" for i in range(20)]],
    ids=lambda values: f"{values[0]} to {values[-1]}",
)
@pytest.mark.parametrize("name", ["", '""', "Unnamed: 0"])
def test_row_numbers_and_names_without_a_name_are_no_input(tmp_path, name, numbers):
    """As pandas and R write them, also after rows were shuffled or left out."""
    lines = "".join(f'"{number}",{length},{kind}\n' for number, (length, _, kind) in zip(numbers, ROWS, strict=True))
    path = written(tmp_path, f"{name},length,kind\n{lines}")
    data = loaded(path, target="kind", split=WHOLE)
    assert data.info.columns == ("length",)
    same = loaded(flowers(tmp_path, "f.csv"), target="kind", columns=("length",), split=WHOLE)
    assert torch.equal(data.train["x"], same.train["x"])
    column = "column 'Unnamed: 0'" if name == "Unnamed: 0" else NO_NAME
    assert data.notes == (f"{column} of t.csv {LEFT_OUT}",)
    if isinstance(numbers[0], int):
        chosen = loaded(path, target="kind", columns=("Unnamed: 0", "length"), split=WHOLE)
        assert chosen.info.columns == ("Unnamed: 0", "length")
        assert not chosen.notes


def indexed(folder, index, size=60, name=""):
    """A table of measurements with a class, after a column of that name with these values."""
    rows = "".join(f"{index[i]},{i % 7}.5,{'uv'[i % 2]}\n" for i in range(size))
    return written(folder, f"{name},a,k\n{rows}")


@pytest.mark.parametrize("missing", ["refuse", "drop", "mean"])
@pytest.mark.parametrize("blank", [range(0, 60, 2), [0], [59]], ids=["every second", "the first", "the last"])
@pytest.mark.parametrize("texts", [False, True])
def test_missing_row_numbers_change_nothing(tmp_path, missing, blank, texts):
    """The column is left out, so no measurement is incomplete."""
    index = ["NA" if i in (0, 2) and i in blank else "" if i in blank else f"{'car ' * texts}{i}" for i in range(60)]
    data = loaded(indexed(tmp_path, index), target="k", missing=missing, split=WHOLE)
    assert data.info.columns == ("a",)
    assert len(data.train) == 60
    assert data.notes == (f"{NO_NAME} of t.csv {LEFT_OUT}",)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "index",
    [[*range(59), 0], [*range(59), 0.5], [*map(str, range(58)), "NaN", "7.25"], ["car"] * 60, [""] * 60],
    ids=["a repeated number", "a fraction", "a fraction after gaps", "a repeated text", "nothing"],
)
def test_other_values_without_a_name_are_refused(tmp_path, monkeypatch, index, size):
    in_small_pieces(monkeypatch, size)
    message = (
        r"t.csv, line 1: column 1 has no name and does not number or name the rows: its values are not different "
        r"integers or texts; add a name, remove the column from the file, or choose the inputs with table.columns$"
    )
    refused(indexed(tmp_path, index), message, target="k")
    assert loaded(tmp_path / "t.csv", target="k", columns=["a"]).info.columns == ("a",)


def test_a_column_that_is_named_as_pandas_does_is_an_input_if_it_has_measurements(tmp_path):
    """It has a name, so no message says that it has none."""
    data = loaded(indexed(tmp_path, [i % 9 for i in range(60)], name="Unnamed: 0"), target="k", split=WHOLE)
    assert data.info.columns == ("Unnamed: 0", "a")
    assert data.notes == ()
    path = indexed(tmp_path, ["car"] * 60, name="Unnamed: 0")
    refused(
        path, r"t.csv, line 2: column 'Unnamed: 0': 'car' is not a number; set table.columns to .*\(a\)$", target="k"
    )
    path = indexed(tmp_path, [*range(59), ""], name="Unnamed: 1")
    refused(path, "line 61: column 'Unnamed: 1': missing number; table.missing=drop", target="k")


@pytest.mark.parametrize("size", [1, 200, 1000])
@pytest.mark.parametrize("index", [range(60), [f"car {i}" for i in range(60)]], ids=["numbers", "names"])
def test_row_names_are_decided_while_the_rows_are_read(tmp_path, monkeypatch, index, size):
    """The file is read once: no position is reported twice."""
    in_small_pieces(monkeypatch, size)
    path, told = indexed(tmp_path, index), []
    loaded(path, Access(progress=lambda _, done, total: told.append(done)), target="k")
    assert told == sorted(set(told))
    assert told[-1] == path.stat().st_size


@pytest.mark.parametrize("size", [1, 200, 1000])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("place", [1, 59])
def test_a_named_column_whose_values_repeat_early_or_late_is_an_input(tmp_path, monkeypatch, place, quote, size):
    """All rows are there, also those before the repeated number."""
    in_small_pieces(monkeypatch, size)
    index = [*range(100, 160)]
    index[place] = 100
    path = indexed(tmp_path, [f"{quote}{i}{quote}" for i in index], name="Unnamed: 0")
    data = loaded(path, target="k", split=WHOLE, standardize=False)
    assert data.info.columns == ("Unnamed: 0", "a")
    assert data.train["x"].tolist() == [[float(i), k % 7 + 0.5] for k, i in enumerate(index)]


def test_of_several_columns_without_names_those_that_repeat_are_inputs(tmp_path):
    rows = "".join(f"{i},{i % 5},r{i},{i % 7}.5,{'uv'[i % 2]}\n" for i in range(20))
    data = loaded(written(tmp_path, f",Unnamed: 0.1,Unnamed: 0,a,k\n{rows}"), target="k", split=WHOLE)
    assert data.info.columns == ("Unnamed: 0.1", "a")
    assert len(data.notes) == 1


@pytest.mark.parametrize("values", ["1.5\n1.5\n2.5\n", "1.5,u\n1.5,v\n2.5,u\n2.5,v\n"])
def test_a_column_that_pandas_named_can_be_the_only_input(tmp_path, values):
    target = "k" if "u" in values else None
    path = written(tmp_path, f"Unnamed: 0{',k' * bool(target)}\n{values}")
    assert loaded(path, target=target, split=WHOLE).info.columns == ("Unnamed: 0",)


def test_a_table_that_was_written_twice_is_read(tmp_path):
    """Each time that pandas writes a table, its row numbers become one more column."""
    rows = "".join(f"{i},{i},{i},{i % 7}.5,{'uv'[i % 2]}\n" for i in range(20))
    path = written(tmp_path, f",Unnamed: 0.1,Unnamed: 0,a,k\n{rows}")
    data = loaded(path, target="k")
    assert data.info.columns == ("a",)
    first = NO_NAME.replace(": 0", ": 0.2")
    assert data.notes == (f"{first.replace('column', 'columns')}, 'Unnamed: 0.1', 'Unnamed: 0' of t.csv {LEFT_OUT}",)
    assert loaded(path, columns=["Unnamed: 0.2"], target="k").info.columns == ("Unnamed: 0.2",)


def test_the_target_can_be_the_first_column_without_a_name(tmp_path):
    path = written(tmp_path, ",a\n" + "".join(f"{'uv'[i % 2]},{i}.5\n" for i in range(20)))
    data = loaded(path, target="Unnamed: 0")
    assert (data.info.columns, data.info.class_names, data.notes) == (("a",), ("u", "v"), ())


def test_text_elsewhere_is_not_answered_with_the_row_numbers(tmp_path):
    path = written(tmp_path, ",a,b,k\n" + "".join(f"{i},{i}.5,x,{'uv'[i % 2]}\n" for i in range(20)))
    refused(
        path, r"line 2: column 'b': 'x' is not a number; set table.columns to the numeric columns \(a\)$", target="k"
    )


@pytest.mark.parametrize("numbers", ["5.1,3.5", "1,2", "0,2", "0,1.0"])
def test_a_row_of_numbers_after_an_empty_field_is_no_header(tmp_path, numbers):
    path = written(tmp_path, f",{numbers}\n" + "".join(f"{i},{i}.5,{i % 3}\n" for i in range(20)))
    refused(path, "t.csv, line 1 has only numbers; the first line of a table must have the names of the columns$")


@pytest.mark.parametrize("names", ["NA,none", "?,null", "na,1st"])
def test_words_for_missing_numbers_may_be_names(tmp_path, names):
    path = written(tmp_path, f"{names},class\n" + "".join(f"{i}.5,{i % 3},{'uv'[i % 2]}\n" for i in range(20)))
    assert loaded(path, target="class").info.columns == tuple(names.split(","))


@pytest.mark.parametrize("row", ["NA,1", "?,2.5"])
def test_a_row_of_numbers_of_which_some_are_missing_is_no_header(tmp_path, row):
    path = written(tmp_path, f"{row}\n" + "".join(f"{i}.5,{i % 3}\n" for i in range(20)))
    refused(path, "t.csv, line 1 has only numbers; the first line of a table must have the names of the columns$")


def test_the_numbers_that_pandas_writes_for_columns_without_names_are_a_header(tmp_path):
    path = written(tmp_path, ",0,1,2\n" + "".join(f"{i},{i}.5,{i % 3},{i % 4}\n" for i in range(20)))
    assert loaded(path).info.columns == ("0", "1", "2")


def test_a_column_that_pandas_named_and_the_index_are_no_inputs_of_parquet(parquet):
    properties = {b"pandas": json.dumps({"index_columns": ["row"], "columns": []}).encode()}
    kinds = {**KINDS, "row": "double", "Unnamed: 0": "int64"}
    numbers = [None, *range(1, 12)]
    path = parquet({"Unnamed: 0": numbers, **COLUMNS, "row": [float(i) for i in range(12)]}, kinds, properties)
    data = loaded(path, target="k", missing="mean")
    assert data.info.columns == ("a", "b")
    assert data.notes[0] == f"columns 'row', 'Unnamed: 0' of t.parquet {LEFT_OUT}"
    refused(path, r"column 'k' has type string, .*numeric columns \(a, b\), or set")


def test_parquet_columns_can_have_numbers_as_names(parquet):
    """They are never a row of numbers, because the file stores names apart."""
    path = parquet(
        {"0": [float(i % 5) for i in range(12)], "1": [i % 4 for i in range(12)]}, {"0": "double", "1": "int64"}
    )
    assert loaded(path).info.columns == ("0", "1")


@pytest.mark.unchecked
def test_parquet_is_refused_with_its_row(parquet):
    path = parquet(COLUMNS)
    refused(path, r"t.parquet, row 10: column 'b': missing number", target="k")
    refused(
        path,
        r"t.parquet: column 'k' has type string, which is not numeric; .*table.columns .*.a, b., or set table.target",
    )
    refused(path, r"t.parquet: unknown column 'kk'; did you mean 'k'\?", target="kk")
    refused(
        parquet({**COLUMNS, "k": [*"uvuvuv", None, *"vuvuv"]}),
        r"row 7: column 'k': missing class",
        target="k",
        columns=["a"],
    )
    refused(
        parquet({**COLUMNS, "a": [math.inf] * 12}),
        r"row 1: column 'a': inf exceeds the range of float32",
        target="k",
        columns=["a"],
    )


def test_a_class_that_is_no_number_is_missing(parquet):
    path = parquet(
        {"a": [float(n) for n in range(12)], "k": [0.0, 1.0] * 5 + [math.nan, None]}, {"a": "double", "k": "double"}
    )
    refused(
        path,
        "t.parquet, row 11: column 'k': missing class; table.missing=drop leaves out such rows",
        target="k",
    )
    data = loaded(path, target="k", missing="drop", split=WHOLE)
    assert (data.info.class_names, len(data.train)) == (("0.0", "1.0"), 10)
    assert data.notes == ("2 rows of t.parquet with missing numbers or classes left out",)


def test_a_damaged_parquet_file_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    refused(written(tmp_path, b"PAR1 and no more PAR1", "t.parquet"), "t.parquet cannot be read as Parquet: ")


def test_the_kinds_of_columns_that_parquet_has(tmp_path):
    """Numbers of every kind, with gaps; classes as text, as a dictionary of texts and as numbers."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from decimal import Decimal

    columns = {
        "float": arrow.array([0.5, None, 2.5, 3.5], arrow.float32()),
        "int": arrow.array([1, 2, None, 4], arrow.int8()),
        "bool": arrow.array([True, False, None, True]),
        "decimal": arrow.array([Decimal("1.25"), None, Decimal("3.50"), Decimal("4.75")], arrow.decimal128(5, 2)),
        "text": arrow.array(["u", "v", "u", "v"]),
        "dictionary": arrow.array(["v", "u", "v", "u"]).dictionary_encode(),
        "number": arrow.array([10, 9, 9, 10]),
    }
    path = tmp_path / "t.parquet"
    parquet.write_table(arrow.table(columns), path)
    page = {"columns": ["float", "int", "bool", "decimal"], "missing": "mean", "standardize": False, "split": WHOLE}
    data = loaded(path, target="text", **page)
    expected = [[0.5, 1, 1, 1.25], [6.5 / 3, 2, 0, 9.5 / 3], [2.5, 7 / 3, 2 / 3, 3.5], [3.5, 4, 1, 4.75]]
    torch.testing.assert_close(data.train["x"], torch.tensor(expected))
    assert data.train["label"].tolist() == [0, 1, 0, 1]
    assert loaded(path, target="dictionary", **page).train["label"].tolist() == [1, 0, 1, 0]
    by_number = loaded(path, target="number", **page)
    assert (by_number.info.class_names, by_number.train["label"].tolist()) == (("9", "10"), [1, 0, 0, 1])


def test_a_parquet_file_with_damaged_rows_is_named(tmp_path):
    """The description at the end of the file is whole; the first bytes of the column are not."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    parquet.write_table(arrow.table({"a": [float(n) for n in range(40)]}), path, compression="snappy")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    refused(path, "t.parquet cannot be read as Parquet: ", columns=["a"])


def test_paths_of_the_other_files_become_absolute_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = {"validation_file": "a/check.csv", "test_file": None, "columns": ["x"]}
    settings = TableData(data="table:t.csv", table=table).with_absolute_paths()
    assert (settings.data, settings.table.columns) == (f"table:{tmp_path / 't.csv'}", ("x",))
    assert (settings.table.validation_file, settings.table.test_file) == (str(tmp_path / "a" / "check.csv"), None)


def test_the_fingerprint_shows_another_unit_although_standardized_values_are_the_same(tmp_path):
    rows = "".join(f"{{0}},{k % 3},{'uv'[k % 2]}\n" for k in range(60))
    fingerprints = set()
    for name, low, high in (("a", 5, 7), ("b", 6, 7), ("a2", 5, 7)):
        text = "x,y,k\n" + "".join(row.format(high if k % 4 else low) for k, row in enumerate(rows.splitlines(True)))
        path = written(tmp_path, text, f"{name}.csv")
        fingerprints.add(read_table(str(path), Table(target="k"), Split()).fingerprint())
    assert len(fingerprints) == 2


def test_a_check_that_fails_early_does_not_decide_on_columns_that_were_empty_so_far(tmp_path):
    """The first column names the rows, although all its values are in the last quarter of the file."""
    rows, empty = 90_000, 70_000
    names = ("" if row < empty else str(row) for row in range(rows))
    lines = (f"{name},{row % 7 + 0.5},{row % 5}" for row, name in enumerate(names))
    path = tmp_path / "t.csv"
    path.write_text("\n".join([",Unnamed: 0,a", *lines]) + "\n")
    data = read_table(str(path))
    assert data.info.columns == ("Unnamed: 0", "a")
    assert sum(map(len, (data.train, data.validation, data.test))) == rows
