"""Words of other tools, capitals, and options given twice: one line that says what to type."""

import pytest

from danlu.app.cli.main import main
from danlu.app.cli.other_words import _COMMANDS, _FLAGS
from danlu.app.cli.run_command import function_of
from danlu.app.cli.signature import arguments_of
from danlu.app.command_table import COMMANDS
from danlu.recipes import CNNRecipe

MISTAKES = [
    ("fit mlp", "did you mean 'train'?"),
    ("Train mlp", "did you mean 'train'?"),
    ("generate runs/x", "did you mean 'sample'?"),
    ("eval runs/x", "did you mean 'evaluate'?"),
    ("test runs/x", "did you mean 'evaluate'?"),
    ("ls", "did you mean 'list'?"),
    ("train MLP", "did you mean 'mlp'?"),
    ("summary CNN", "did you mean 'cnn'?"),
    ("train mlp --data MNIST", "did you mean 'mnist'?"),
    ("data MNIST", "did you mean 'mnist'?"),
    ("train mlp --learning-rate 0.1", "did you mean --lr?"),
    ("train mlp --LR 0.1", "did you mean --lr?"),
    ("train mlp --batch 32", "did you mean --batch-size?"),
    ("train mlp --bs 32", "did you mean --batch-size?"),
    ("train mlp --epoch 3", "did you mean --epochs?"),
    ("train mlp --num-epochs=3", "did you mean --epochs?"),
    ("train mlp --output x", "did you mean --out?"),
    ("train mlp --save-dir x", "did you mean --out?"),
    ("train mlp --dataset digits", "did you mean --data?"),
    ("train mlp --random-state 1", "did you mean --seed?"),
    ("train mlp --wd 0.1", "did you mean --weight-decay?"),
    ("train mlp --gpu", "did you mean --device cuda?"),
    ("train mlp --cpu", "did you mean --device cpu?"),
    ("train mlp --gpus 2", "did you mean --devices?"),
    ("train mlp lr=0.1", "did you mean --lr 0.1?"),
    ("train mlp learning_rate=0.1", "did you mean --lr 0.1?"),
    ("train mlp epochs=3", "did you mean --epochs 3?"),
    ("train mlp --device cuda:0", "did you mean 'cuda'?"),
    ("train mlp --device GPU", "one of auto, cpu, cuda, mps"),
    ("train mlp --device CPU", "did you mean 'cpu'?"),
    ("train mlp --optimizer Adam", "did you mean 'adam'?"),
    ("train mlp --optimizer SGD", "did you mean 'sgd'?"),
    ("train mlp --epochs=abc", "--epochs: expected a number, got 'abc'"),
    ("train mlp --epochs", "the option --epochs needs a value"),
    ("train mlp --seed=", "--seed: expected an integer, got ''"),
    ("train mlp --lr null", "--lr: expected a number, got 'null'"),
    ("train mlp --epochs 1 --epochs 2", "the option --epochs is given twice"),
    ("train mlp --seed 1 --seed=2", "the option --seed is given twice"),
    ("train mlp --threads 0", "threads must be from 1 to 1024, got 0 (--threads)"),
    ("train mlp --threads 10000", "threads must be from 1 to 1024, got 10000 (--threads)"),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_ends_with_one_line_that_says_what_to_type(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith("loading PyTorch …")]
    assert ended.value.code in (1, 2)
    assert len(lines) == 1
    assert expected in lines[0]
    assert not list(tmp_path.iterdir())


def test_help_may_come_before_the_recipe(capsys):
    texts = []
    for words in (["train", "--help", "cnn"], ["train", "cnn", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "--model.channels" in texts[0]


def test_every_suggestion_exists():
    assert set(_COMMANDS.values()) <= set(COMMANDS)
    known = {flag for name in COMMANDS for option in arguments_of(function_of(name)) for flag in option.flags}
    known |= {f"--{name.replace('_', '-')}" for name in CNNRecipe.model_fields}
    assert {flag.partition(" ")[0] for flag in _FLAGS.values()} <= known
    assert not set(_COMMANDS) & set(COMMANDS)
