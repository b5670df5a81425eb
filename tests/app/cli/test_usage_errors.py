"""Error messages for words that tyro refuses: they name the option, the allowed values and a similar option."""

import pytest

from commands import call_checked
from danlu.app.cli import usage_errors
from danlu.app.cli.commands import evaluation, generation, machine, recipes, text, training
from danlu.app.cli.tyro_parsing import given_values
from danlu.app.cli.usage_errors import explain_words
from danlu.catalogue import RECIPES, find_recipe
from danlu.data import TrainingData
from danlu.errors import UsageError
from danlu.recipes import MLPRecipe


def message(function, words, page=None):
    with pytest.raises(UsageError) as caught:
        explain_words("danlu verb", function, words, page)
    return str(caught.value)


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--lerning-rate", "--lr"),
        ("--learning_rate", "--lr"),
        ("--hidden", "--model.hidden"),
        ("--model.hiden", "--model.hidden"),
        ("--batchsize", "--batch-size"),
        ("--divice", "--device"),
    ],
)
def test_an_unknown_option_is_an_error_that_names_the_most_similar_one(flag, meant):
    """By its name, its last part, or the beginning of its description."""
    line = message(training.train, [flag, "1"], MLPRecipe())
    assert line.startswith(f"verb: unknown option {flag.replace('_', '-')}; did you mean {meant}?")
    assert line.endswith("`danlu verb --help` lists all arguments and options")


def test_without_a_similar_option_the_few_of_the_command_are_listed():
    assert "; available: --json; " in message(machine.doctor, ["--qqqq"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--lr", "fast"], "--lr: expected a number, got 'fast'"),
        (["--lr"], "the option --lr needs a value: a number"),
        (["--lr", "--compile"], "the option --lr needs a value: a number"),
        (["--seed", "1.5"], "--seed: expected an integer, got '1.5'"),
        (["--betas", "0.9"], "--betas: expected 2 numbers, got '0.9'"),
        (["--betas", "0.9", "x"], "--betas: expected 2 numbers, got '0.9 x'"),
        (["--model.hidden", "a"], "--model.hidden: expected integers, got 'a'"),
        (["--batch-size", "ful"], "--batch-size: expected an integer or full, got 'ful'; did you mean 'full'?"),
        (["--precision=fp16"], "--precision: expected one of float32, bf16, float64, got 'fp16'"),
        (["--compile=1"], "the option --compile takes no value, got '1'"),
        (["more"], "unexpected argument 'more'"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_what_is_allowed(words, expected):
    assert message(training.train, words, MLPRecipe()).startswith(f"verb: {expected}")


def test_arguments_and_required_options():
    assert message(recipes.check, []).startswith("verb: the argument FILE is missing")
    assert message(generation.interpolate, ["run", "3"]).startswith("verb: the argument B is missing")
    assert message(recipes.check, ["a.yaml", "b.yaml"]).startswith("verb: unexpected argument 'b.yaml'")
    assert message(evaluation.export, ["run"]).startswith("verb: the option --out is required")
    assert message(machine.completion, ["ksh"]).startswith("verb: SHELL: expected one of bash, zsh, fish")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generation.sample, ["run", "-n", "5", "-o", "-", "--seed=3", "--overwrite"]),
        (generation.sample, ["run", "-n5"]),
        (generation.arithmetic, ["run", "3,5", "-", "1,4", "+", "2", "--around", "0.25"]),
        (evaluation.classify, ["run", "a.png", "-", "b.png", "--top", "1"]),
        (evaluation.export, ["run", "--out", "m.onnx"]),
        (text.complete, ["run", "two words", "--temperature", "1e-3", "--end", "-"]),
        (text.complete, ["run", "--", "--a prompt"]),
    ],
)
def test_valid_words_pass(function, words):
    explain_words("danlu verb", function, words)


@pytest.mark.parametrize(
    "words",
    [
        ["--lr", "-0.5", "--seed", "-3"],
        ["--betas", "0.9", "0.99", "--model.hidden", "--no-compile"],
        ["--model.hidden", "3", "4", "--batch_size", "full", "--grad-clip", "None"],
        ["--table.no-standardize", "--split.test=0.5", "--augment.scale", "0.5", "2"],
        ["--patience", "3", "--class-weights", "1", "2.5", "--rounds", "1"],
    ],
)
def test_words_that_pass_are_parsed_by_tyro(words):
    """The check and tyro must agree on what is a flag, and how many values it takes."""
    settings, _ = given_values(MLPRecipe(), training.train, "danlu train mlp", words)
    assert settings


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", RECIPES)
def test_tyro_parses_the_settings_of_every_recipe_without_a_warning(name):
    settings, _ = given_values(find_recipe(name)(), training.train, f"danlu train {name}", ["--seed", "3"])
    assert settings == {"seed": 3}


def test_settings_of_data_are_options():
    explain_words("danlu data digits", machine.data, ["--split.test", "0.3", "--image", "a.png"], TrainingData())
    assert "did you mean --split.test?" in message(machine.data, ["--split.tset", "1"], TrainingData())


@pytest.mark.parametrize("words", [["--lr", "fast"], ["--lerning-rate", "3"], ["--betas", "0.9"]])
def test_an_error_without_explanation_has_the_words_of_tyro_on_one_line(words, monkeypatch):
    monkeypatch.setattr(usage_errors, "explain_words", lambda *_: None)
    with pytest.raises(UsageError) as caught:
        given_values(MLPRecipe(), training.train, "danlu train mlp", words)
    line = str(caught.value)
    assert line.startswith("train mlp: ")
    assert words[0] in line
    assert not {"\n", "│", "─"} & {*line}
    assert "full helptext" not in line


def test_words_that_tyro_accepts_are_not_checked_again(monkeypatch):
    monkeypatch.setattr(usage_errors, "explain_words", lambda *_: pytest.fail("it must not be asked"))
    assert given_values(MLPRecipe(), training.train, "danlu train mlp", ["--lr", "0.5"])[0] == {"lr": 0.5}


def test_help_of_a_context_is_not_an_error():
    with pytest.raises(SystemExit) as ended, usage_errors.clear_errors("danlu x", training.train, []):
        raise SystemExit(0)
    assert ended.value.code == 0


def test_the_error_is_one_line_and_exit_code_2():
    out, err = call_checked("list", "--jsn", code=2)
    assert err.startswith("danlu: list: unknown option --jsn; did you mean --json? `danlu list --help` lists all")
    assert err.count("\n") == 1
    assert not out
