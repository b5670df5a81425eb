"""Small files that would take all memory or time: each is refused in one line, before anything grows."""

import json
import os
import re
import socket
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from danlu import limits
from danlu.catalogue import RECIPES
from danlu.data.tables import fields, parquet_file
from danlu.data.tables.csv_file import CSVTable
from danlu.data.tables.info import TableInfo
from danlu.data.tables.settings import Table
from danlu.data.tables.table import read_table
from danlu.data.text.info import TextInfo
from danlu.errors import RunError, UsageError, nearest
from danlu.limits import HEADER_BYTES, HINT_CHARACTERS, HINT_NAMES, JSON_BYTES, JSON_DEPTH, PROBLEMS, RECIPE_VALUES
from danlu.models import MLP, LanguageModel, ResNet, build, describe, load_model, read_tensors, save_model
from danlu.models.saving import shape_check
from danlu.models.saving.shape_check import build_without_memory
from danlu.nn.state_dict import named_tensors
from danlu.recipes import from_text, from_yaml
from danlu.storage.json_page import parse_json, read_json
from danlu.storage.regular_file import open_regular
from examined import tiny, trainer_of

PAGE = Path(__file__).parents[2] / "docs/security.md"


def refused(text: str) -> list[str]:
    with pytest.raises(UsageError) as error:
        from_text(text, "mine.yaml")
    return str(error.value).splitlines()


def test_the_security_page_lists_the_limits():
    names = [line.partition(" = ")[0] for line in Path(limits.__file__).read_text().splitlines() if " = " in line]
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([0-9,]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, f"{getattr(limits, name):,}") for name in names]


# Recipes


@pytest.mark.parametrize("number", ["9" * 20_000, "0x" + "f" * 20_000, "." + "1" * 20_000, "1_" * 10_000 + "1"])
def test_a_recipe_with_a_very_long_number(number):
    line = f"mine.yaml:2: lr: a number of {len(number):,} characters; at most 40 are allowed"
    assert refused(f"recipe: mlp\nlr: {number}") == [line]


def test_long_texts_of_digits_that_are_no_numbers_are_texts():
    digest = "1" + "a" * 63
    assert from_text(f"recipe: mlp\ndata: {digest}").data == digest
    assert from_text(f"recipe: mlp\nseed: {'0' * 38}64").seed == 64


def test_a_number_that_fails_late_takes_linear_time():
    assert refused("recipe: mlp\nlr: 1" + "_" * 300_000 + "x")[0].startswith("mine.yaml:2: lr: expected a number > 0")


def test_a_recipe_with_very_many_values():
    line = f"more than {RECIPE_VALUES:,} values, so it is not a recipe"
    assert [x.partition(": column")[2][-len(line) :] for x in refused("recipe: mlp\nx: [" + "1," * 200_000 + "]")] == [
        line
    ]
    keys = "\n".join(f"k{number}: 1" for number in range(90_000))
    assert refused(f"recipe: mlp\n{keys}")[0].endswith(line)


def test_a_recipe_with_many_unknown_keys_lists_the_first_ones():
    keys = "\n".join(f"k{number}: 1" for number in range(4_000))
    lines = refused(f"recipe: mlp\n{keys}")
    assert lines[0].startswith("mine.yaml:2: k0: unknown setting; available: ")
    assert lines[PROBLEMS - 1].startswith(f"mine.yaml:{PROBLEMS + 1}: k{PROBLEMS - 1}: unknown setting; ")
    assert lines[PROBLEMS:] == [f"and {4_000 - PROBLEMS:,} more errors"]


def test_a_very_long_name_is_shortened_in_the_message():
    (line,) = refused(f"recipe: {'m' * 100_000}")
    assert line.startswith("mine.yaml:1: recipe: unknown recipe 'mmmm")
    assert len(line) < 1_000


def test_no_similar_name_is_searched_for_very_long_names_or_among_very_many():
    names = [f"name{number}" for number in range(HINT_NAMES)]
    assert nearest("nam1", names) == "did you mean 'name1'?"
    assert nearest("nam1", [*names, "other"]).startswith("available: name0, ")
    long = "a" * HINT_CHARACTERS
    assert nearest(long, [f"{long}b", long[1:]]) == f"did you mean '{long[1:]}'?"
    assert nearest(f"{long}b", [long]) == f"available: {long}"


# JSON


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 5_000 + "]" * 5_000, '{"a":' * 40 + "1" + "}" * 40])
def test_json_that_is_nested_very_deep(text):
    with pytest.raises(ValueError, match=rf"nested more than {JSON_DEPTH} levels deep"):
        parse_json(text)


def test_json_that_is_nested_as_deep_as_allowed():
    text = "[" * JSON_DEPTH + "]" * JSON_DEPTH
    assert parse_json(text) == json.loads(text)


def test_json_with_a_very_long_integer():
    with pytest.raises(ValueError, match=r"an integer of 20,000 characters, and at most 40 are allowed"):
        parse_json("9" * 20_000)
    assert parse_json("[12345678901234567890, -3, 1.5e3]") == [12345678901234567890, -3, 1500.0]


def test_json_that_is_very_large(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(JSON_BYTES + 1)
    with pytest.raises(OSError, match=f"it is larger than {JSON_BYTES:,} bytes"):
        read_json(path)


# Pipes and devices


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
def test_only_regular_files_are_opened(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path, name = Path("file"), {"link": "pipe"}.get(kind, kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind("file")
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        os.mkfifo("pipe")
        path.symlink_to("pipe")
    with pytest.raises(OSError, match=f"it is a {name}, not a regular file"):
        open_regular(path)


def test_a_link_to_a_regular_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"


def test_a_recipe_that_is_a_pipe_or_a_device(tmp_path):
    os.mkfifo(tmp_path / "mine.yaml")
    with pytest.raises(UsageError, match=r"mine\.yaml cannot be read: it is a pipe, not a regular file"):
        from_yaml(tmp_path / "mine.yaml")
    with pytest.raises(UsageError, match="/dev/zero cannot be read: it is a device, not a regular file"):
        from_yaml("/dev/zero")


# Model folders and weights


@pytest.fixture
def model(tmp_path):
    """A sound model folder, to be edited."""
    save_model(MLP((4,), 2, hidden=(3,)), tmp_path / "model", TableInfo((4,), 2, ("a", "b")))
    return tmp_path / "model"


def edit(folder, key, **changes):
    page = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    page[key].update(changes)
    (folder / "model.json").write_text(json.dumps(page), encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "changes", "line"),
    [
        (
            "arguments",
            {"hidden": [10**12]},
            r"model: 'body.0.linear.weight' has shape \(3, 4\), expected \(10{12}, 4\)",
        ),
        ("arguments", {"classes": 10**12}, r"model: 'head.weight' has shape \(2, 3\), expected \(10{12}, 3\)"),
        ("arguments", {"shape": [10**12]}, r"has shape \(3, 4\), expected \(3, 10{12}\)"),
        ("arguments", {"hidden": [10**18, 10**18]}, "does not describe a valid MLP: "),
        ("arguments", {"hidden": [10**30]}, "does not describe a valid MLP: "),
        ("arguments", {"hidden": [1] * 300}, "valid MLP: the model has more than 500 modules, parameters and"),
        ("arguments", {"dropout": "much"}, "does not describe a valid MLP: "),
        ("data", {"classes": 10**12, "class_names": []}, "1,000,000,000,000 classes exceed the limit of 1,000,000"),
        ("data", {"class_names": ["a"] * 3}, "2 classes have 3 names"),
        ("data", {"shape": [10**6, 10**6]}, "examples of 1,000,000,000,000 numbers exceed the limit of 100,000,000"),
    ],
)
def test_a_model_whose_description_is_larger_than_its_weights(model, key, changes, line, monkeypatch):
    monkeypatch.setattr(shape_check, "MODEL_PARTS", 500)  # the limit takes seconds
    edit(model, key, **changes)
    with pytest.raises((RunError, UsageError), match=line):
        load_model(model)


def test_a_language_model_of_very_many_layers(tmp_path):
    save_model(LanguageModel(5, "convolution", width=4, layers=1), tmp_path, TextInfo((), vocabulary=5))
    edit(tmp_path, "arguments", layers=300_000, dilated=True)
    with pytest.raises(RunError, match="valid LanguageModel: layers=300000 exceeds the limit of 10,000"):
        load_model(tmp_path)


def test_the_check_without_memory_builds_the_model_of_every_recipe():
    for name in RECIPES:
        model = trainer_of(tiny(name)).task.model
        state = torch.get_rng_state()
        without_memory = build_without_memory(lambda model=model: build(describe(model)))
        assert torch.equal(torch.get_rng_state(), state)
        shapes, expected = (
            {key: (x.shape, x.dtype) for key, x in named_tensors(m).items()} for m in (without_memory, model)
        )
        assert shapes == expected
        assert all(x.is_meta for x in named_tensors(without_memory).values())


@pytest.mark.skipif("sys.platform != 'linux'")
def test_weights_larger_than_memory(model):
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 43)
    with pytest.raises(RunError, match=r"cannot be read: it has 8,796,093,022,208 bytes, and .* are available"):
        load_model(model)
    with pytest.raises(UsageError, match=r"has 8,796,093,022,208 bytes, and [0-9,]+ bytes of memory are available"):
        read_tensors(model)


def test_weights_that_are_a_pipe(model, tmp_path):
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read: it is a pipe, not a regular file"):
        load_model(model)
    with pytest.raises(UsageError, match=r"cannot be read: it is a pipe, not a regular file"):
        read_tensors(model / "model.safetensors")


def test_weights_with_a_very_large_header(model):
    content = (HEADER_BYTES + 1).to_bytes(8, "little") + b"{" + bytes(1000)
    (model / "model.safetensors").write_bytes(content)
    page = model / "model.json"
    changed = {**json.loads(page.read_text(encoding="utf-8")), "sha256": sha256(content).hexdigest()}
    page.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(RunError, match="its header has 16,777,217 bytes, and at most 16,777,216 are allowed"):
        load_model(model)


def test_a_compressed_archive_of_weights(tmp_path):
    state = {"conv1.weight": torch.zeros(1_000_000)}
    torch.save(state, tmp_path / "net.pth")
    with (
        zipfile.ZipFile(tmp_path / "net.pth") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert read_tensors(tmp_path / "net.pth").keys() == state.keys()
    assert (tmp_path / "bomb.pth").stat().st_size < 10_000
    with pytest.raises(UsageError, match=r"bomb\.pth is compressed: it has [0-9,]+ bytes, and its content 4,00"):
        read_tensors(tmp_path / "bomb.pth")


def test_weights_that_repeat_a_number(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "net.pth")
    with pytest.raises(UsageError, match=r"its tensors 4,000,000,000,000 bytes, because they repeat the same numbers"):
        read_tensors(tmp_path / "net.pth")
    tied = torch.zeros(1000)
    torch.save({"into.weight": tied, "out.weight": tied}, tmp_path / "tied.pth")
    assert len(read_tensors(tmp_path / "tied.pth")) == 2


def test_public_weights_whose_sizes_are_larger_than_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(shape_check, "MODEL_PARTS", 500)
    weights = ResNet((3, 32, 32), 10, size=20).state_dict()
    save_file(
        {**weights, "fc.weight": torch.zeros(10**12, 0)},
        tmp_path / "net.safetensors",
    )
    with pytest.raises(UsageError, match=r"'fc\..*' has shape .*, expected \(10{12},"):
        ResNet.from_pretrained(tmp_path / "net.safetensors", shape=(3, 32, 32))
    page = {"model": "ResNet", "arguments": {"blocks": [10**6, 1], "width": 4}}
    save_file(weights, tmp_path / "net.safetensors", {"danlu": json.dumps(page)})
    with pytest.raises(UsageError, match=r"cannot be built: the model has more than 500 modules, parameters and"):
        ResNet.from_pretrained(tmp_path / "net.safetensors", shape=(3, 32, 32))


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
