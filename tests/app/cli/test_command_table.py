"""A command is written once: what is derived from its function and its entry in the table."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import danlu
from danlu.app.cli.argument_types import FILES
from danlu.app.cli.run_command import bind, function_of
from danlu.app.cli.shell_completion import script
from danlu.app.cli.signature import arguments_of, page_argument, summary_of
from danlu.app.command_table import COMMANDS, Usage
from danlu.app.report.usage import commands
from danlu.data.images.info import ImageInfo
from danlu.verbs import VERBS

IMAGES = ImageInfo((1, 8, 8), classes=2, class_names=("cat", "big dog"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_documents_every_argument(name):
    function = function_of(name)
    assert summary_of(function)
    assert len(summary_of(function)) < 100, "one line of danlu --help"
    assert not [argument.name for argument in arguments_of(function) if not argument.meaning]


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.call])
def test_the_library_function_exists_and_takes_the_options(name):
    module, _, attribute = COMMANDS[name].call.partition(":")
    library = getattr(import_module(module), attribute)
    if name == "list":
        assert list(danlu.list()) == list(library())
        return
    assert getattr(danlu, attribute) is library
    parameters = inspect.signature(library).parameters
    options = {argument.name for argument in arguments_of(function_of(name)) if argument.flags}
    only_here = {"json", "image", "all", "length_form", "length_penalty"}  # about output, or given as one object
    assert not options - {*parameters} - only_here


def test_the_types_of_the_package_are_those_of_the_table():
    """Type checkers read __init__.pyi; users get what the table says."""
    stub = ast.parse(Path(danlu.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    typed = {f"{node.module}:{name.name}" for node in imports for name in node.names}
    calls = {command.call for name, command in COMMANDS.items() if command.call and name != "list"}
    assert typed == calls | {"danlu.app.inference.load:load"}


def test_every_example_names_verbs_of_models_and_can_be_parsed():
    for name, command in COMMANDS.items():
        for usage in command.usage:
            assert isinstance(usage, Usage)
            assert {*usage.verbs} <= {*VERBS}
            words = usage.words.format(label=" --label dog", mask=" --mask half").split()
            assert bind(name, words)


def test_examples_are_chosen_by_the_verbs_of_the_model():
    assert commands(["sample", "prior", "decode"], IMAGES, by_class=True) == [
        "danlu sample RUN --label 'big dog'",
        "danlu interpolate RUN 3 17 --label 'big dog'",
        "danlu arithmetic RUN 3 - 17 + 20 --label 'big dog'",
    ]
    assert commands(["prior", "decode", "interpolate", "inpaint"], IMAGES) == [
        "danlu interpolate RUN FILE FILE",
        "danlu arithmetic RUN 3 - 17 + 20",
        "danlu inpaint RUN FILES… --mask half",
    ]
    assert commands([], IMAGES) == []


def test_completion_offers_files_names_and_choices():
    arguments = {name: {a.name: a for a in arguments_of(function_of(name))} for name in COMMANDS}
    assert arguments["classify"]["files"].completes == FILES
    assert arguments["inpaint"]["mask"].completes == FILES
    assert arguments["score"]["seed"].completes is None
    assert arguments["evaluate"]["part"].choices == ("train", "validation", "test")
    bash = script("bash")
    for text in (
        "_experiment_pos_0_choices=(sgd-noise momentum ",
        "_data_pos_0_choices=(digits glyphs mnist ",
        "=(bash zsh fish)",
    ):
        assert text in bash


def test_a_recipe_is_named_before_its_settings():
    assert {name for name in COMMANDS if page_argument(function_of(name))} == {"show", "summary", "train", "data"}


@pytest.mark.parametrize(("words", "said"), [([], "danlu train mlp: loading PyTorch …\n"), (["--json"], "")])
def test_a_line_is_printed_before_torch_is_imported(words, said):
    """The import of torch fails here, so what was printed came before it."""
    code = f"""
import sys
from danlu.app.cli.main import main
class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            sys.exit(7)
sys.meta_path.insert(0, NoTorch())
main(["train", "mlp", *{words!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, said)
