"""Recipes to YAML and back: nothing is lost, every mistake is said, and where."""

import math
import random
import re
import struct
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from danlu import catalogue
from danlu.data import Split
from danlu.errors import UsageError
from danlu.limits import RECIPE_DEPTH
from danlu.recipes import CNNRecipe, MLPRecipe, Recipe, changed, from_text, from_yaml, to_yaml
from danlu.recipes.config import strict_yaml
from danlu.recipes.config.error_messages import problems_of
from danlu.training import OptimizerSettings

every_recipe = pytest.mark.parametrize("name", catalogue.RECIPES)


def recipe(name: str) -> Recipe:
    return catalogue.find_recipe(name)()


def complaints(text: str) -> list[str]:
    """What is said of a text, a line each."""
    with pytest.raises(UsageError) as raised:
        from_text(text, "mine.yaml")
    return str(raised.value).splitlines()


def objections(base: Recipe, changes: dict) -> list[str]:
    """What is said of changes, a line each."""
    with pytest.raises(UsageError) as raised:
        changed(base, changes)
    return str(raised.value).splitlines()


def fields_of(page: BaseModel):
    """The settings of a page that a file has: those that apply to the recipe's kind of data."""
    unused = page.unused_settings() if isinstance(page, Recipe) else ()
    return {name: field for name, field in type(page).model_fields.items() if name not in unused}


def plain(value):
    """Settings as nested mappings and lists, as another reader of YAML gives them."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in fields_of(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def settings(page: BaseModel, above: tuple[str, ...] = ()):
    """Key path, description and value of every setting, in order; a page comes before what is on it."""
    for name, field in fields_of(page).items():
        value = getattr(page, name)
        yield (*above, name), field.description, value
        if isinstance(value, BaseModel):
            yield from settings(value, (*above, name))


def pages(page: BaseModel):
    """The pages of settings right on a page."""
    return {path[0]: value for path, _, value in settings(page) if len(path) == 1 and isinstance(value, BaseModel)}


def leaves(page: BaseModel):
    """The key path of every setting that holds a value."""
    return [path for path, _, value in settings(page) if not isinstance(value, BaseModel)]


def order(mapping):
    """The keys of nested mappings, in order."""
    return [(key, order(value)) for key, value in mapping.items()] if isinstance(mapping, dict) else None


# Writing


@every_recipe
def test_a_file_names_its_format_and_recipe_first(name):
    assert to_yaml(recipe(name)).startswith(f"format: 1\nrecipe: {name}\n")


@every_recipe
def test_another_yaml_reader_finds_every_setting_in_order(name):
    page = recipe(name)
    read = yaml.safe_load(to_yaml(page))
    expected = {"format": 1, "recipe": name, **plain(page)}
    assert read == expected
    assert order(read) == order(expected)


@every_recipe
def test_every_setting_is_explained_at_the_end_of_its_line(name):
    lines = [line for line in to_yaml(recipe(name)).splitlines()[2:] if line]
    for line, (path, description, _) in zip(lines, settings(recipe(name)), strict=True):
        assert line.startswith(f"{'  ' * (len(path) - 1)}{path[-1]}:")
        assert description, f"{path} needs a description"
        assert line.endswith(f" # {description}")


def test_tuples_are_flow_lists_and_nothing_is_null():
    text = to_yaml(MLPRecipe(betas=(0.9, 0.99), optimizer="adam"))
    assert "\n  hidden: [512] " in text
    assert "\nbetas: [0.9, 0.99] " in text
    assert "\ngrad_clip: null " in text


def test_settings_of_different_pages_are_parted_by_an_empty_line():
    heads = [block.split(":")[0] for block in to_yaml(CNNRecipe()).split("\n\n")]
    assert heads == ["format", "data", "images", "batch_size", "optimizer", "smoothing", "model"]


def test_a_recipe_without_a_name_cannot_be_written():
    class Nameless(MLPRecipe):
        pass

    with pytest.raises(UsageError, match=r"Nameless is not in the catalogue"):
        to_yaml(Nameless())


# There and back


@every_recipe
def test_a_recipe_reads_back_as_itself(name):
    page = recipe(name)
    assert from_text(to_yaml(page)) == page
    assert to_yaml(from_text(to_yaml(page))) == to_yaml(page)


@every_recipe
def test_a_changed_recipe_reads_back_as_itself(name):
    page = changed(
        recipe(name), {**type(recipe(name)).tiny, "rounds": 7, "seed": 2**70, "data": "no", "monitor": "1e3"}
    )
    assert page != recipe(name)
    assert from_text(to_yaml(page)) == page


@every_recipe
def test_a_file_with_nothing_but_a_name_is_the_recipe(name):
    assert from_text(f"recipe: {name}") == recipe(name)


@every_recipe
def test_a_page_given_in_part_keeps_the_rest_of_the_recipe(name):
    for above, page in pages(recipe(name)).items():
        for setting, value in page:
            part = f"recipe: {name}\n{above}:\n  {setting}: {strict_yaml.format_value(value)}\n"
            assert from_text(part) == recipe(name)


def test_what_a_page_leaves_out_is_the_recipe_s_and_not_the_constructor_s():
    assert from_text("recipe: cnn\nmodel:\n  pool: 1").model.dropout == CNNRecipe().model.dropout == 0.3  # type: ignore[attr-defined]


FLOATS = [
    0.1 + 0.2,
    1 / 3,
    5e-324,
    1.7976931348623157e308,
    1e16,
    1e22,
    1e23,
    3e-3,
    1e-4,
    123456789.123,
    2**53 + 2.0,
    0.0,
]


def test_floats_read_back_bit_for_bit_here_and_elsewhere():
    draw = random.Random(0)
    drawn = [struct.unpack("d", draw.randbytes(8))[0] for _ in range(3000)]
    for number in [*FLOATS, -0.0, *(number for number in drawn if not math.isnan(number))]:
        text = strict_yaml.format_value(number)
        for reader in (strict_yaml.scalar, yaml.safe_load):
            assert struct.pack("d", reader(text)) == struct.pack("d", number), text


@pytest.mark.parametrize(
    ("number", "text"), [(3e-3, "0.003"), (1e-8, "1.0e-8"), (40.0, "40"), (2.5e20, "2.5e+20"), (-math.inf, "-.inf")]
)
def test_floats_are_readable(number, text):
    assert strict_yaml.format_value(number) == text


TEXTS = [
    *("yes", "No", "on", "null", "Null", "~", "", "true", "1e-3", "010", "0x10", "1_0", ".inf", "2026-01-01", "1:30"),
    *("a: b", "a:", "# x", "x # y", " lead", "trail ", "[a]", "{a}", "-", "- a", "?", "&a", "*a", "!x", "%", "@", "<<"),
    *(
        "it's",
        'say "so"',
        "back\\slash",
        "tab\there",
        "two\nlines",
        "\x85\u2028\ufeff",
        "\x07",
        "丹炉",
        "üñ",
        "\U0001f600",
    ),
    *("digits", "fashion-mnist", "./my/data.d", "a" * 500, "b c " * 100),
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_reads_back_as_the_same_text(text):
    page = MLPRecipe(data=text)
    assert from_text(to_yaml(page)) == page
    assert yaml.safe_load(to_yaml(page))["data"] == text


def test_what_yaml_has_no_value_for_is_not_written():
    with pytest.raises(UsageError, match="a recipe file cannot have"):
        strict_yaml.format_value(object())


# Numbers and words


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1e-3", 0.001), ("1E-3", 0.001), ("1.e-3", 0.001), (".5", 0.5), ("5.", 5.0), ("+.5e1", 5.0), ("+3", 3.0)),
        *(("1_000", 1000.0), ("1_0.2_5", 10.25), ("1e3", 1000.0), ("1e+3", 1000.0), ("010", 10.0), ("08", 8.0)),
        *(("0x10", 16.0), ("0o17", 15.0), ("0b101", 5.0), ("1e22", 1e22)),
    ],
)
def test_numbers_in_any_notation_are_numbers(text, number):
    read = from_text(f"recipe: cnn\nlr: {text}")
    assert read == CNNRecipe(lr=number)
    assert type(read.lr) is float  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "number"), [("1e3", 1000), ("+1_000", 1000), ("2.0", 2), ("010", 10), ("-5", -5)])
def test_a_whole_number_is_whole_in_any_notation(text, number):
    seed = from_text(f"recipe: cnn\nseed: {text}").seed
    assert (seed, type(seed)) == (number, int)


@pytest.mark.parametrize(
    "text", ["1_", "1__0", "_1", "1e", "e3", ".", "1.2.3", "0x", "0xg", "1 000", "1,5", "nan", "inf"]
)
def test_what_is_no_number_is_text(text):
    assert strict_yaml.scalar(text) == text


@pytest.mark.parametrize("text", ["1e400", "1" * 36 + "e400"])
def test_a_number_that_no_machine_has_is_refused(text):
    (line,) = complaints(f"recipe: cnn\nlr: {text}")
    assert line.startswith("mine.yaml:2: lr: expected a number > 0, got '1")


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes", "NO", "y", "1:30", "2026-01-01", "0o9", "=", "None"])
def test_surprising_words_are_text(word):
    assert from_text(f"recipe: cnn\ndata: {word}").data == word
    assert complaints(f"recipe: cnn\nlr: {word}") == [f"mine.yaml:2: lr: expected a number > 0, got {word!r}"]


@pytest.mark.parametrize(("word", "value"), [("true", True), ("True", True), ("false", False), ("FALSE", False)])
def test_only_true_and_false_are_truth_values(word, value):
    assert from_text(f"recipe: cnn\ncompile: {word}").compile is value


@pytest.mark.parametrize("word", ["yes", "off", "1", "0", "'true'", "y", "null"])
def test_nothing_else_is_a_truth_value(word):
    hint = "; write it without quotes" if word == "'true'" else ""
    shown = word if word in ("1", "0", "null", "'true'") else f"'{word}'"
    assert complaints(f"recipe: cnn\ncompile: {word}") == [
        f"mine.yaml:2: compile: expected true or false, got {shown}{hint}"
    ]


@pytest.mark.parametrize("word", ["null", "~", "", "  # nothing", "Null"])
def test_nothing_is_none(word):
    assert from_text(f"recipe: cnn\nmodel: {{norm: batch}}\nmonitor: {word}\ngrad_clip: {word}") == CNNRecipe(
        monitor=None, grad_clip=None, model=CNNRecipe().model.model_copy(update={"norm": "batch"})
    )


def test_quoted_words_are_text():
    assert from_text("recipe: 'cnn'\ndata: '010'\nmonitor: \"null\"") == CNNRecipe(data="010", monitor="null")


# Mistakes


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file():
    text = """\
recipe: cnn
batch_size: 0
rounds: 1.5
precision: float23
lr: fast
lr: 0.1
data: 5
betas: [0.9]
class_weights:
  - -1
  - x
milestones: 3
model:
  chanels: [8]
  norm: !x bath
  channels: [a, 1.0]
hidden: [3]
gamma: "1e-3"
formt: 1
"""
    assert complaints(text) == [
        "mine.yaml:2: batch_size: expected an integer >= 1 or 'full', got 0",
        "mine.yaml:3: rounds: expected an integer >= 1 or null, got 1.5",
        "mine.yaml:4: precision: expected 'float32', 'bf16' or 'float64', got 'float23'; did you mean 'float32'?",
        "mine.yaml:5: lr: expected a number > 0, got 'fast'",
        "mine.yaml:6: lr: set twice, first in line 5",
        "mine.yaml:7: data: expected text, got 5; write it in quotes",
        "mine.yaml:8: betas: expected null or a list of 2 (each a number >= 0 and < 1), got [0.9]",
        "mine.yaml:10: class_weights[0]: expected a number >= 0, got -1",
        "mine.yaml:11: class_weights[1]: expected a number >= 0, got 'x'",
        "mine.yaml:12: milestones: expected null or a list (each item a number >= 0 and < 1), got 3",
        "mine.yaml:14: model.chanels: unknown setting; did you mean 'channels'?",
        "mine.yaml:15: model.norm: the tag !x is not allowed; a recipe file has plain values only",
        "mine.yaml:16: model.channels[0]: expected an integer, got 'a'",
        "mine.yaml:17: hidden: unknown setting; did you mean 'model.hidden'?",
        "mine.yaml:18: gamma: expected a number > 0 or null, got '1e-3'; write it without quotes",
        "mine.yaml:19: formt: unknown setting; did you mean 'format'?",
    ]


@every_recipe
def test_every_setting_with_a_wrong_value_is_listed_with_its_line(name):
    head, body = f"format: 1\nrecipe: {name}\n", to_yaml(recipe(name)).split("\n", 2)[2]
    text = head + re.sub(r"(?m)^( *)(\w+): +[^ #\n].*$", r"\1\2: [{no: 1}, {}, {}]", body)
    wrong = [number for number, line in enumerate(text.splitlines(), 1) if "{no: 1}" in line]
    expected = {f"mine.yaml:{line}: {'.'.join(path)}" for line, path in zip(wrong, leaves(recipe(name)), strict=True)}
    assert {re.split(r"\[\d\]: |: (?=expected)", line)[0] for line in complaints(text)} == expected


@every_recipe
def test_every_misspelt_setting_is_listed_and_told_its_name(name):
    head, body = f"format: 1\nrecipe: {name}\n", to_yaml(recipe(name)).split("\n", 2)[2]
    said = complaints(head + re.sub(r"(?m)^( *)(\w+)(: +[^ #\n].*)$", r"\1\2_x\3", body))
    assert len(said) == len(leaves(recipe(name)))
    for line, path in zip(said, leaves(recipe(name)), strict=True):
        assert re.match(rf"mine\.yaml:\d+: {re.escape('.'.join(path))}_x: unknown setting; ", line)
        assert re.search(rf"(did you mean '|available: .*\b){path[-1]}\b", line)


@every_recipe
def test_an_unknown_setting_like_no_other_is_told_what_there_is(name):
    for above, page in pages(recipe(name)).items():
        there = ", ".join(sorted(type(page).model_fields))
        assert complaints(f"recipe: {name}\n{above}:\n  zzzzzz: 1") == [
            f"mine.yaml:3: {above}.zzzzzz: unknown setting; available: {there}"
        ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hidden: [3]", "2: hidden: unknown setting; did you mean 'model.hidden'?"),
        ("model: {lr: 3}", "2: model.lr: unknown setting; did you mean 'lr'?"),
        (
            "model.hidden: [3]",
            "2: 'model.hidden': unknown setting; write 'model:' and below it, indented, 'hidden:'",
        ),
        ("rouns: 3", "2: rouns: unknown setting; did you mean 'rounds'?"),
    ],
)
def test_a_setting_in_the_wrong_place_is_told_the_right_one(text, said):
    assert complaints(f"recipe: cnn\n{text}") == [f"mine.yaml:{said}"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lr: 0", "lr: expected a number > 0, got 0"),
        ("lr: -1e-3", "lr: expected a number > 0, got -1e-3"),
        ("lr: .nan", "lr: expected a finite number, got .nan"),
        ("lr: null", "lr: expected a number > 0, got null"),
        ("lr: true", "lr: expected a number > 0, got true"),
        ("lr: [1]", "lr: expected a number > 0, got [1]"),
        ("lr: {a: 1}", "lr: expected a number > 0, got a mapping"),
        ("lr: 1,5", "lr: expected a number > 0, got '1,5'"),
        ("floor: 1", "floor: expected a number >= 0 and < 1 or null, got 1"),
        ("seed: 1_0.5", "seed: expected an integer, got 1_0.5"),
        ("seed: true", "seed: expected an integer, got true"),
        ("rounds: 'null'", "rounds: expected an integer >= 1 or null, got 'null'; write it without quotes"),
        (
            "batch_size: ful",
            "batch_size: expected an integer >= 1 or 'full', got 'ful'; did you mean 'full'?",
        ),
        ("batch_size: 2.5", "batch_size: expected an integer >= 1 or 'full', got 2.5"),
        ("precision: 32", "precision: expected 'float32', 'bf16' or 'float64', got 32"),
        ("data: true", "data: expected text, got true; write it in quotes"),
        ("data:", "data: expected text, got null"),
        ("betas: [1, 0.9]", "betas[0]: expected a number >= 0 and < 1, got 1"),
        ("grad_clip: x" + "y" * 100, f"grad_clip: expected a number > 0 or null, got 'x{'y' * 55}..."),
    ],
)
def test_a_wrong_value_is_told_what_was_expected(setting, said):
    assert complaints(f"recipe: cnn\n\n{setting}") == [f"mine.yaml:3: {said}"]


@every_recipe
@pytest.mark.parametrize("value", ["3", "text", "", "[1, 2]", "null"])
def test_a_page_of_settings_must_be_a_mapping(name, value):
    for above, page in pages(recipe(name)).items():
        (line,) = complaints(f"recipe: {name}\n{above}: {value}")
        fields = ", ".join(type(page).model_fields)
        assert re.fullmatch(rf"mine\.yaml:2: {above}: expected a mapping with the settings {fields}, got .+", line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rounds: 3\n\nepochs: 4", "2: set exactly one of rounds and epochs (lines 2 and 4)"),
        ("epochs: null", "2: set exactly one of rounds and epochs"),
        (
            "patience: 3\nmonitor: none",
            "2: patience needs a monitored score; set monitor, or leave patience out (lines 2 and 3)",
        ),
        ("grad_accumulation: 65", "2: batch_size must be at least grad_accumulation=65"),
        (
            "momentum: 0.9\noptimizer: adam",
            "2: optimizer 'adam' has no momentum; supported by: momentum, nesterov, rmsprop, muon (lines 2 and 3)",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named_with_their_lines(text, said):
    assert complaints(f"recipe: cnn\n{text}") == [f"mine.yaml:{said}"]


def test_settings_are_not_compared_while_one_is_refused():
    """A warm-up that was refused is no reason to say that the schedule lacks one."""
    text = "recipe: cnn\nschedule: inverse_sqrt\nwarmup: !!int 4000"
    assert [line.split(": ")[1] for line in complaints(text)] == ["warmup"]


# What a file may not hold


def test_repeated_keys_are_refused_with_both_lines():
    assert complaints("recipe: cnn\nmodel:\n  pool: 1\n  kernel: 5\n  pool: 1\nlr: 1\n'lr': 1\nlr: 2") == [
        "mine.yaml:5: model.pool: set twice, first in line 3",
        "mine.yaml:7: lr: set twice, first in line 6",
        "mine.yaml:8: lr: set twice, first in line 6",
    ]


def test_anchors_aliases_merge_keys_and_tags_are_refused_with_their_lines():
    text = """\
recipe: cnn
lr: &a 1
grad_clip: *a
<<: {l1: 1}
l2: !!float 1
gamma: !x 1
model: &m {hidden: [*a]}
? [a]
: 1
"""
    assert complaints(text) == [
        "mine.yaml:2: lr: the anchor &a is not allowed; write the value where it is needed",
        "mine.yaml:3: grad_clip: the alias *a is not allowed; write the value itself",
        "mine.yaml:4: the merge key << is not allowed; write the settings themselves",
        "mine.yaml:5: l2: the tag !!float is not allowed; a recipe file has plain values only",
        "mine.yaml:6: gamma: the tag !x is not allowed; a recipe file has plain values only",
        "mine.yaml:7: model.hidden[0]: the alias *a is not allowed; write the value itself",
        "mine.yaml:7: model: the anchor &m is not allowed; write the value where it is needed",
        "mine.yaml:8: a list or a mapping cannot be the name of a setting",
    ]


def test_names_of_settings_with_tag_or_anchor_are_refused():
    assert [line.split(": ")[0] for line in complaints("recipe: cnn\n&a lr: 1\n!x l1: 1\n")] == [
        "mine.yaml:2",
        "mine.yaml:3",
    ]


# Texts that are no YAML

ESCAPE = r"in double quotes, \ starts an escape sequence"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\tlr: 1", "2: column 1: a tab; indent with spaces"),
        ("model:\n\tpool: 1", "3: column 1: a tab; indent with spaces"),
        ("data: @x", "2: column 7: a value cannot start with '@'; put the text in quotes"),
        ("data: *", "2: column 8: a value cannot start with & * % | > or !; put it in quotes"),
        ("data: |x", "2: column 8: a value cannot start with & * % | > or !; put it in quotes"),
        ("data: - x", "2: column 7: a value cannot start with '-' or '?' here; start a new line"),
        (
            "data: a: b",
            "2: column 8: a second ':' in one line, or wrong indentation; put text that contains ':' in quotes",
        ),
        (
            "  lr: 1",
            "2: column 5: a second ':' in one line, or wrong indentation; put text that contains ':' in quotes",
        ),
        ("lr 1\nl1: 1", "2: column 1: a line without ':'; write 'name: value', or close the quote that opens here"),
        (
            "model:\n    pool: 1\n   kernel: 3",
            "4: column 4: this line does not continue the lines above it; check its indentation",
        ),
        ("betas: [1, 2\nlr: 1", "3: column 3: ',' or ']' is missing after the bracket that opens in line 2"),
        ("model: {pool: 1\nlr: 1", "3: column 3: ',' or '}' is missing after the bracket that opens in line 2"),
        ("betas: [,]", "2: column 9: a value is missing here"),
        ("data: 'x\nlr: 1\n", "4: column 1: the quote that opens in line 2 is never closed"),
        ('data: "x\n---\n', "3: column 1: the quote that opens in line 2 is never closed"),
        (
            r'data: "\q"',
            r"2: column 9: in double quotes, \ starts an escape sequence, and 'q' is not one; use single quotes",
        ),
        (
            r'data: "\xzz"',
            f"2: column 10: {ESCAPE}, and this one is incomplete; use single quotes",
        ),
        (
            r'data: "\U00110000"',
            f"2: column 10: {ESCAPE}, and this one is not a character; use single quotes",
        ),
        (r'data: "\ud83d"', "2: data: half of a surrogate pair is not a character; write the character itself"),
        ("data: \x00", "2: the character U+0000 is not allowed in a YAML file; remove it"),
        ("---\nlr: 1", "2: column 1: a second document starts here; a recipe file must have one document"),
        (
            "data: !e!x 1",
            "2: column 7: the tag '!e!' is not allowed; a recipe file has plain values only",
        ),
    ],
)
def test_what_is_no_yaml_is_said_with_line_and_column_in_plain_words(text, said):
    assert complaints(f"recipe: cnn\n{text}") == [f"mine.yaml:{said}"]


def test_yaml_of_another_age_is_refused():
    assert complaints("%YAML 3.0\n---\nrecipe: cnn")[0].startswith("mine.yaml:1: column 1: this is not YAML (")


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "a: [", "{a: ", "&a [", "!x [", "[[], "])
def test_deep_nesting_is_refused_however_deep(opening):
    for times in (RECIPE_DEPTH + 1, 50_000):
        (line,) = complaints(opening * times)
        assert re.fullmatch(r"mine\.yaml:1: column \d+: nested more than 20 levels deep", line)


def test_as_much_nesting_as_any_recipe_needs_is_read():
    inside = RECIPE_DEPTH - 2
    text = "recipe: cnn\nlr: " + "[" * inside + "1" + "]" * inside
    assert complaints(text)[0].startswith("mine.yaml:2: lr: expected a number > 0, got [[[")
    (line,) = complaints(text.replace("1", "[1]"))
    assert "nested more than 20 levels" in line


def test_any_text_is_a_recipe_or_a_list_of_mistakes():
    """Damaged files: whatever is cut out or put in, each line says the file, and no other error escapes."""
    draw = random.Random(0)
    pieces = [*"\t\n :,[]{}&*!|>'\"%@`#-?\\0.eE_~<\r", "- ", "<<: ", "*a", "!!x ", "---\n", "null", "\ufeff", "\u2028"]
    lines = to_yaml(CNNRecipe()).splitlines()
    good, said = 0, []
    for _ in range(400):
        first = draw.randrange(len(lines))
        text = list("\n".join(["recipe: cnn", *lines[first : first + draw.randint(1, 4)]]))
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(text))
            text[place : place + draw.randint(0, 1)] = draw.choice(pieces)
        try:
            page = from_text("".join(text), "mine.yaml")
        except UsageError as error:
            said += str(error).split("\n")
        else:
            good += 1
            assert from_text(to_yaml(page)) == page
    assert [line for line in said if not re.match(r"mine\.yaml(:\d+)?: ", line)] == []
    assert good > 10
    assert len(said) > 100


# Head of the file


@pytest.mark.parametrize(
    ("text", "what"),
    [
        *((nothing, "is empty") for nothing in ("", "# only words\n", "---\n", "\n\n", "null")),
        *(("- cnn", "has only ['cnn']"), ("cnn", "has only 'cnn'"), ("3", "has only 3")),
    ],
)
def test_a_file_without_settings_is_told_what_a_recipe_looks_like(text, what):
    usual = "a recipe file has lines such as 'recipe: cnn' and 'lr: 0.01'"
    assert complaints(text) == [f"mine.yaml: the file {what}; {usual}"]


@every_recipe
def test_an_unknown_recipe_is_told_the_nearest(name):
    assert complaints(f"seed: 1\nrecipe: {name}x") == [
        f"mine.yaml:2: recipe: unknown recipe '{name}x'; did you mean '{name}'?"
    ]


@pytest.mark.parametrize("number", ["one", "1.5", "'1'", "true", "0", "-1", "null", "[1]"])
def test_a_format_is_a_whole_number(number):
    shown = f"'{number}'" if number == "one" else number
    assert complaints(f"recipe: cnn\nformat: {number}") == [
        f"mine.yaml:2: format: expected an integer >= 1, got {shown}"
    ]


def test_a_newer_format_is_refused_and_nothing_else_is_said():
    assert complaints("format: 2\nrecipe: not-yet-known\nx: 1\nx: 2") == [
        "mine.yaml:1: format: 2 is newer than this version of danlu, which reads up to 1; update danlu"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: 1", "mine.yaml: the name of the recipe is missing; add a line such as 'recipe: cnn' (available: "),
        ("lr: 1\nrecipe: 5", "mine.yaml:2: recipe: expected a name, got 5; available: "),
        ("lr: 1\nrecipe:", "mine.yaml:2: recipe: expected a name, got null; available: "),
        ("lr: 1\nrecipe: [cnn]", "mine.yaml:2: recipe: expected a name, got ['cnn']; available: "),
    ],
)
def test_a_file_must_name_a_recipe(text, said):
    (line,) = complaints(text)
    assert line.startswith(said + ", ".join(sorted(catalogue.all_recipes())))


def test_mistakes_are_listed_beside_an_unknown_recipe():
    assert complaints("format: x\nrecipe: cmn\nlr: 1\nlr: 2") == [
        "mine.yaml:1: format: expected an integer >= 1, got 'x'",
        "mine.yaml:2: recipe: unknown recipe 'cmn'; did you mean 'cnn'?",
        "mine.yaml:4: lr: set twice, first in line 3",
    ]


def test_format_may_be_left_out():
    assert from_text("recipe: cnn\nformat: 1.0") == from_text("recipe: cnn") == CNNRecipe()


# Changing


@pytest.mark.parametrize(("value", "word"), [("true", "on"), ("false", "off"), ("on", "on"), ("auto", "auto")])
def test_the_memory_format_of_earlier_recipe_files_is_read(value, word):
    assert from_text(f"recipe: cnn\nchannels_last: {value}\n").channels_last == word


def test_changes_are_merged_into_the_pages():
    page = changed(CNNRecipe(), {"model": {"hidden": (8,)}, "lr": 1e-2, "model.pool": 1})
    model = CNNRecipe().model.model_copy(update={"hidden": (8,), "pool": 1})
    assert page == CNNRecipe(lr=1e-2, model=model)


@every_recipe
def test_every_setting_changed_to_what_it_is_changes_nothing(name):
    page = recipe(name)
    values = {".".join(path): value for path, _, value in settings(page) if not isinstance(value, BaseModel)}
    assert changed(page, values) == page
    assert changed(page, plain(page)) == page
    assert changed(page, {}) == page


@every_recipe
def test_a_changed_recipe_is_changed_again_from_where_it_is(name):
    page = changed(changed(recipe(name), {"seed": 3, "monitor": "x"}), {"split.seed": 4.0, "monitor": None})
    assert page == recipe(name).model_copy(update={"seed": 3, "split": Split(seed=4), "monitor": None})
    assert recipe(name).seed == 0


def test_rounds_take_the_place_of_the_usual_epochs():
    assert (changed(CNNRecipe(), {"rounds": 5}).epochs, changed(CNNRecipe(), {"rounds": 5}).rounds) == (None, 5)
    assert objections(CNNRecipe(), {"rounds": 5, "epochs": 3}) == ["set exactly one of rounds and epochs"]


def test_a_page_may_be_given_whole():
    assert changed(CNNRecipe(), {"model": CNNRecipe().model.model_copy(update={"pool": 1})}).model.pool == 1  # type: ignore[attr-defined]


def test_mistakes_in_changes_are_said_without_a_file():
    changes = {"lr": "fast", "model.hidden": "a", "model.hiden": 1, "modle.hidden": 2}
    assert objections(MLPRecipe(), changes) == [
        "lr: expected a number > 0, got 'fast'",
        "model.hidden: expected a list (each item an integer), got 'a'",
        "model.hiden: unknown setting; did you mean 'hidden'?",
        "modle: unknown setting; did you mean 'model'?",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 1}, "epoch: unknown setting; did you mean 'epochs'?"),
        ({"hidden": 1}, "hidden: unknown setting; did you mean 'model.hidden'?"),
        ({"model.hidden": (1,), "model": {"hidden": (2,)}}, "model.hidden: set twice"),
        ({"model": {"hidden": (2,)}, "model.hidden": (1,)}, "model.hidden: set twice"),
        ({"lr": "1e-3"}, "lr: expected a number > 0, got '1e-3'; write it without quotes"),
        ({"lr.x": 1}, "lr: expected a number > 0, got a mapping"),
        ({"lr": math.nan}, "lr: expected a finite number, got .nan"),
        ({"rounds": 1.5}, "rounds: expected an integer >= 1 or null, got 1.5"),
        ({"optimizer": "sgd", "eps": 1e-3}, "optimizer 'sgd' has no eps; supported by: rmsprop, adam, adamw, muon"),
        (
            {"model.zzz": 4},
            "model.zzz: unknown setting; available: "
            "activation, channels, dropout, hidden, kernel, norm, padding, pool, stride",
        ),
    ],
)
def test_mistakes_in_changes(changes, said):
    assert objections(CNNRecipe(), changes) == [said]


# Pages that no recipe of the catalogue has yet


class Duel(Recipe):
    """Two players, and every kind of setting that the sentences know."""

    critic: OptimizerSettings = OptimizerSettings(lr=1e-4, optimizer="rmsprop")
    generator: OptimizerSettings = OptimizerSettings(schedule="cosine")
    width: int | tuple[int, ...] | None = 8
    name: Annotated[str, Field(min_length=2)] = "ab"
    pair: tuple[int, str] = (1, "a")
    even: Annotated[int, Field(multiple_of=2)] = 2
    weights: dict[str, float] = {"a": 1.0}  # noqa: RUF012
    odd: int = 1
    side: Literal["left", 3] | bool = "left"
    third: Annotated[float | None, Field(gt=0, le=1)] = None
    epochs: float | None = 1

    @field_validator("odd")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is even")
        return value


@pytest.fixture
def duel(monkeypatch):
    monkeypatch.setattr(catalogue, "find_recipe", lambda name: Duel)
    monkeypatch.setattr(catalogue, "name_of_recipe", lambda cls: "duel")


@pytest.mark.usefixtures("duel")
def test_any_page_reads_back_as_itself():
    page = Duel(width=(1, 2), weights={"a b": 1e-9, "yes": 2}, critic=OptimizerSettings(lr=1 / 3), third=1)
    assert from_text(to_yaml(page)) == page
    assert yaml.safe_load(to_yaml(page)) == {"format": 1, "recipe": "duel", **plain(page)}


@pytest.mark.usefixtures("duel")
def test_a_mapping_that_is_no_page_is_replaced_and_not_merged():
    assert from_text("recipe: duel\nweights: {b: 2}").weights == {"b": 2.0}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("duel")
def test_each_setting_has_one_sentence():
    text = """\
recipe: duel
critic:
  momentum: 0.9
  optimizer: adam
generator: {schedule: inverse_sqrt}
width: [1, x]
name: a
pair: [1]
even: 3
weights: {a: x}
odd: 4
side: right
third: 2
"""
    assert complaints(text) == [
        "mine.yaml:3: critic: optimizer 'adam' has no momentum; supported by: momentum, nesterov, rmsprop, muon "
        "(lines 3 and 4)",
        "mine.yaml:5: generator: schedule 'inverse_sqrt' needs warmup, for example 4000",
        "mine.yaml:6: width: expected an integer, null or a list (each item an integer), got [1, 'x']",
        "mine.yaml:7: name: expected text of length >= 2, got 'a'",
        "mine.yaml:8: pair: expected a list of 2, got [1]",
        "mine.yaml:9: even: expected an integer divisible by 2, got 3",
        "mine.yaml:10: weights.a: expected a number, got 'x'",
        "mine.yaml:11: odd: invalid value 4: 4 is even",
        "mine.yaml:12: side: expected 'left', 3, true or false, got 'right'",
        "mine.yaml:13: third: expected a number > 0 and <= 1 or null, got 2",
    ]


def test_what_lenient_validation_says_is_put_into_the_same_words():
    with pytest.raises(ValidationError) as raised:
        CNNRecipe(batch_size="x", lr="fast", betas=[0.9], compile="perhaps", nonsense=1)  # type: ignore[arg-type]
    said = str(strict_yaml.failure(problems_of(raised.value, CNNRecipe)))
    assert sorted(line.split(";")[0] for line in said.splitlines()) == [
        "batch_size: expected an integer >= 1 or 'full', got 'x'",
        "betas: expected null or a list of 2 (each a number >= 0 and < 1), got [0.9]",
        "compile: expected true or false, got 'perhaps'",
        "lr: expected a number > 0, got 'fast'",
        "nonsense: unknown setting",
    ]


def test_a_setting_without_a_value_of_its_own_must_be_given():
    class Page(BaseModel):
        size: Annotated[int, Field(ge=1)]

    with pytest.raises(ValidationError) as raised:
        Page()  # type: ignore[call-arg]
    assert str(strict_yaml.failure(problems_of(raised.value, Page))) == ("size: missing; expected an integer >= 1")


# Files


def test_a_file_is_read_like_its_text(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(CNNRecipe(lr=0.5)), encoding="utf-8")
    assert from_yaml(path) == from_yaml(str(path)) == CNNRecipe(lr=0.5)


def test_mistakes_in_a_file_are_said_with_its_path(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: cnn\nlr: fast")
    with pytest.raises(UsageError, match=re.escape(f"{path}:2: lr: expected a number > 0, got 'fast'")):
        from_yaml(path)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_byte_order_mark_and_ends_of_line_do_not_matter(tmp_path: Path, ends: str):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + ends.join(["recipe: cnn", "data: 丹炉", ""]).encode())
    assert from_yaml(path) == CNNRecipe(data="丹炉")
    path.write_bytes(b"\xef\xbb\xbf" + ends.join(["recipe: cnn", "", "lr: 0"]).encode())
    with pytest.raises(UsageError, match=r":3: lr: expected a number > 0, got 0"):
        from_yaml(path)


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / 'mine.yaml'}: there is no such file")):
        from_yaml(tmp_path / "mine.yaml")


def test_a_folder_is_no_recipe(tmp_path: Path):
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} is a folder; expected a recipe file")):
        from_yaml(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "x\0y"])
def test_a_path_that_no_system_has_is_said(tmp_path: Path, name: str):
    with pytest.raises(UsageError, match=r"cannot be read: "):
        from_yaml(tmp_path / name)


@pytest.mark.parametrize(("damage", "offset"), [(b"\xff", 19), (b"\xe4ther", 19), (b"\xe4\xb8", 19)])
def test_a_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path, damage: bytes, offset: int):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"recipe: cnn\ndata: x" + damage)
    with pytest.raises(UsageError, match=re.escape(f"{path}:2: byte {offset} is not UTF-8; save the file as UTF-8")):
        from_yaml(path)


def test_a_utf16_file_is_refused_with_the_byte(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: cnn", encoding="utf-16")
    with pytest.raises(UsageError, match=r":1: byte 0 is not UTF-8"):
        from_yaml(path)


def test_a_file_of_more_than_a_mebibyte_is_refused(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: cnn\n#" + "x" * (2**20 - 13))
    assert from_yaml(path) == CNNRecipe()
    path.write_text("recipe: cnn\n#" + "x" * (2**20 - 12))
    with pytest.raises(UsageError, match=r"is larger than 1048576 bytes \(1 MiB\), so it is not a recipe file"):
        from_yaml(path)


# The examination of the sentences themselves


def test_no_sentence_speaks_of_the_libraries_inside():
    """Every kind of wrong value for every kind of setting: none is answered in the words of pydantic or PyYAML."""
    values = ["x", "", "0", "-1", "1.5", "true", "[]", "[x]", "[1, 2, 3]", "{a: 1}", "'1'", ".nan", "9" * 400, "1e400"]
    said, seen = [], set()
    for name in catalogue.RECIPES:
        for path in leaves(recipe(name)):
            if path in seen:  # recipes share most of their settings
                continue
            seen.add(path)
            for value in values:
                nested = "".join(f"{'  ' * depth}{key}:\n" for depth, key in enumerate(path[:-1]))
                try:
                    from_text(f"recipe: {name}\n{nested}{'  ' * (len(path) - 1)}{path[-1]}: {value}")
                except UsageError as error:
                    said.append(str(error))
    assert len(said) > 200
    jargon = re.compile(
        r"pydantic|https?:|[Ii]nput|valid\b|literal|instance\b|unable to parse|constrained|tuple|dict\b|str\b"
    )
    assert [line for line in said if jargon.search(line)] == []
