"""Small files that would take all memory or time: each is refused in one line, before anything grows."""

import json
import os
import re
import socket
from pathlib import Path

import pytest

from danlu import limits
from danlu.errors import UsageError, nearest
from danlu.limits import HINT_CHARACTERS, HINT_NAMES, JSON_BYTES, JSON_DEPTH, PROBLEMS, RECIPE_VALUES
from danlu.recipes import from_text, from_yaml
from danlu.storage.json_page import parse_json, read_json
from danlu.storage.regular_file import open_regular

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
