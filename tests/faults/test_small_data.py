"""Small tables, tokenizers and other data that would take all memory or time."""

import gzip
import json
import os

import numpy as np
import pytest
import torch

from danlu.data.datasets.mnist_cifar import read_cifar, read_idx
from danlu.data.images.decode import Unreadable, decode
from danlu.data.tables import fields, parquet_file
from danlu.data.tables.csv_file import CSVTable
from danlu.data.tables.settings import Table
from danlu.data.tables.table import read_table
from danlu.data.text.text_files import document
from danlu.data.text.tokenizer_files import from_json, learn
from danlu.data.text.tokenizer_files import load as load_tokenizer
from danlu.errors import RunError, UsageError

# Tables


def read(path, **settings):
    return read_table(str(path), Table(**settings))


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize("with_schema", [True, False])
def test_a_parquet_file_that_repeats_a_large_text(parquet, with_schema, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    kind = arrow.DictionaryArray.from_arrays(
        arrow.array([0, 1] * 30_000, arrow.int32()), arrow.array(["a" * 10**7, "b"])
    )
    table = arrow.table({"x": arrow.array([1.0, 2.0, 3.0] * 20_000), "kind": kind})
    parquet.write_table(table, tmp_path / "rows.parquet", compression="zstd", store_schema=with_schema)
    assert (tmp_path / "rows.parquet").stat().st_size < 10_000
    line = r"column 'kind': a class has 10,000,000 characters, and at most 1,000 are allowed"
    with pytest.raises(UsageError, match=line):
        read(tmp_path / "rows.parquet", target="kind")


def test_encoded_and_plain_classes_of_parquet_are_equal(parquet, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    names = ["b", None, "a", "b", "c", "a"] * 20
    plain = arrow.array(names)
    for name, kind in {"plain": plain, "encoded": plain.dictionary_encode(), "binary": plain.cast("binary")}.items():
        table = arrow.table({"x": arrow.array(np.arange(120.0)), "kind": kind})
        parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=50)
    (tmp_path / "rows.csv").write_text("x,kind\n" + "".join(f"{x},{name or ''}\n" for x, name in enumerate(names)))
    expected = read(tmp_path / "rows.csv", target="kind", missing="drop")
    for name in ("plain", "encoded"):
        data = read(tmp_path / f"{name}.parquet", target="kind", missing="drop")
        assert data.info.class_names == expected.info.class_names == ("a", "b", "c")
        assert torch.equal(data.train["label"], expected.train["label"])
    assert read(tmp_path / "binary.parquet", target="kind", missing="drop").info.classes == 3


def test_a_parquet_file_of_more_rows_than_memory(parquet, tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"x": arrow.array(np.zeros(1_000_000))}), tmp_path / "rows.parquet")
    monkeypatch.setattr(fields, "available_memory", lambda: 20_000_000)
    with pytest.raises(UsageError, match=r"1,000,000 rows of 1 columns need 24,000,000 bytes, and 20,000,000 bytes of"):
        read(tmp_path / "rows.parquet")


def test_a_parquet_column_that_is_larger_than_memory_when_it_is_decompressed(parquet, tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"x": arrow.array(np.zeros(1_000_000))})
    parquet.write_table(table, tmp_path / "rows.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "rows.parquet").stat().st_size < 10_000
    monkeypatch.setattr(parquet_file, "available_memory", lambda: 7_000_000)
    with pytest.raises(UsageError, match=r"column 'x' has 8,[0-9,]+ decompressed bytes, and 7,000,000 bytes of"):
        read(tmp_path / "rows.parquet")


def test_a_parquet_target_of_lists(parquet, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"x": arrow.array([1.0, 2.0, 3.0]), "kind": arrow.array([[1], [2], [1]])})
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match=r"column 'kind' has type list<.*>, which has no classes; choose another one"):
        read(tmp_path / "rows.parquet", target="kind")


def test_very_many_columns_take_linear_time(tmp_path):
    path, names = tmp_path / "wide.csv", [f"c{number}" for number in range(200_000)]
    path.write_text(",".join(names) + "\n" + ("1," * 199_999 + "2\n") * 4)
    assert CSVTable(path, lambda *_: None).header == tuple(names)
    path.write_text(",".join([*names, "c3"]) + "\n" + ("1," * 200_000 + "2\n") * 4)
    with pytest.raises(UsageError, match=r"columns 4 and 200001 have the same name 'c3'"):
        read(path)


def test_more_columns_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "COLUMNS", 2)
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(UsageError, match=r"line 1 has 3 columns, and at most 2 are allowed"):
        read(tmp_path / "rows.csv")


def test_very_long_names_of_columns_and_classes(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"a,{'b' * 1001}\n1,2\n")
    with pytest.raises(UsageError, match=r"line 1: the name of column 2 has 1,001 characters, and at most 1,000 are"):
        read(path)
    path.write_text("a,kind\n" + f"1,x\n2,{'y' * 1001}\n" * 10)
    with pytest.raises(UsageError, match=r"column 'kind': a class has 1,001 characters, and at most 1,000 are allowed"):
        read(path, target="kind")


def test_empty_lines_take_no_memory_for_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n" + "\n" * 99_994 + "1,2,3\n")
    assert CSVTable(path, lambda *_: None).most_rows() == (6 + 99_994 + 6) // 3 + 1


def test_an_encoding_for_parquet_files_only(parquet, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"x": arrow.array(np.arange(30.0))}), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("x\n1\n2\n3\n")
    with pytest.raises(UsageError, match=r"table\.encoding has no effect on .*rows\.parquet: it applies to CSV files"):
        read(tmp_path / "rows.parquet", encoding="latin-1")
    assert len(read(tmp_path / "rows.parquet", encoding="latin-1", test_file=str(tmp_path / "rows.csv")).test) == 3


# Tokenizers and other data


@pytest.fixture(scope="module")
def bpe():
    """The content of tokenizer.json of a small BPE tokenizer."""
    return json.loads(learn("bpe", ["low lower lowest " * 9], 260).to_json())


PADDING = {
    "strategy": {"Fixed": 3_000_000_000},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "l",
}
GROWING = {"type": "Replace", "pattern": {"String": "l"}, "content": "l" * 1_000}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"padding": PADDING}, "it has padding, which is not supported"),
        ({"truncation": {"max_length": 1}}, "it has truncation, which is not supported"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [GROWING] * 9}},
            "it has normalizer, which is not supported",
        ),
        ({"decoder": GROWING}, "its decoder is not ByteLevel"),
        ({"post_processor": {"type": "TemplateProcessing"}}, "its post_processor is not ByteLevel"),
        ({"pre_tokenizer": {"type": "ByteLevel", "pattern": "x"}}, "unknown or invalid option 'pattern'"),
        ({"added_tokens": [{"id": 260, "content": ""}]}, "an added token has no text"),
        ({"added_tokens": [{"id": 2**32 - 1, "content": "<s>"}]}, "must be numbered from 0 without gaps"),
        ({"more": 1}, "it has the unknown part 'more'"),
        ({"model": {"dropout": 0.5}}, "its model has dropout, which is not supported"),
        ({"model": {"merges": [["a"]]}}, "its merges must be pairs of tokens"),
        ({"model": {"vocab": {"a": 0, "b": "1"}}}, "must be numbered from 0 without gaps"),
    ],
)
def test_a_tokenizer_with_parts_that_are_not_supported(bpe, changes, line):
    if "model" in changes:
        changes = {"model": {**bpe["model"], **changes["model"]}}
    with pytest.raises(ValueError, match=line):
        from_json(json.dumps({**bpe, **changes}))


def test_a_tokenizer_with_an_added_token_and_byte_level_post_processor_is_read(bpe):
    post = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    added = {"id": len(bpe["model"]["vocab"]), "content": "<|endoftext|>", "special": True, "single_word": False}
    added |= {"lstrip": False, "rstrip": False, "normalized": False}
    tokenizer = from_json(json.dumps({**bpe, "post_processor": post, "added_tokens": [added]}))
    assert tokenizer.decode(tokenizer.encode("slower")) == "slower"


def test_files_of_data_that_are_pipes_or_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="cannot be read: it is a pipe, not a regular file"):
        load_tokenizer(tmp_path / "pipe")
    with pytest.raises(RunError, match="cannot be read: it is a pipe, not a regular file"):
        read_idx(tmp_path / "pipe")
    with pytest.raises(RunError, match="cannot be read: it is a pipe, not a regular file"):
        read_cifar(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="it is a pipe, not a regular file"):
        decode(tmp_path / "pipe", (1, 4, 4))
    with pytest.raises(UsageError, match="cannot be read: it is a pipe, not a regular file"):
        document("text", b"")._replace(name=str(tmp_path / "pipe"), content=None).open()


def test_an_idx_file_with_a_large_shape(tmp_path):
    (tmp_path / "images.gz").write_bytes(gzip.compress(b"\0\0\x08\x02" + b"\xff" * 8 + bytes(100)))
    with pytest.raises(RunError, match=r"shape \(4294967295, 4294967295\): 18,446,744,065,119,617,025 bytes, and"):
        read_idx(tmp_path / "images.gz")
    (tmp_path / "images").write_bytes(b"\0\0\x08\x02\0\0\0")
    with pytest.raises(RunError, match="no complete header"):
        read_idx(tmp_path / "images")
