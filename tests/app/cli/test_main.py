"""The command line as a user meets it: exit codes, one line for errors, one object for --json."""

import gc
import io
import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

import danlu
from commands import call
from danlu.app.cli import main
from danlu.app.cli.argument_types import RecipeArgument
from danlu.app.cli.run_command import bind
from danlu.app.command_table import COMMANDS
from danlu.app.run_folder.run_folder import RunFolder
from danlu.catalogue import RECIPES
from danlu.data import digits
from danlu.errors import UsageError


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A finished run, trained well enough to know digits."""
    return danlu.train("mlp", epochs=15, out=tmp_path_factory.mktemp("runs") / "mlp", quiet=True)


@pytest.fixture
def digit(tmp_path):
    """A picture of a digit of the test part, light on dark, four times as large."""
    test = digits().test
    image = Image.fromarray((test["image"][0, 0] * 255).byte().numpy()).resize((32, 32), Image.Resampling.NEAREST)
    image.save(tmp_path / "digit.png")
    return tmp_path / "digit.png", str(int(test["label"][0]))


FAST = [["--help"], [], ["list"], ["list", "--json"], ["--version"], ["experiment"], ["train", "--help"]]
FAST += [[verb, "--help"] for verb in COMMANDS]


def test_help_and_lists_do_not_import_torch():
    """The commands run one after the other in a fresh process; the first that imports a large package is named."""
    code = f"""
import sys
from danlu.app.cli.main import main
for words in {FAST!r}:
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0, (words, ended.code)
    heavy = sorted({{"torch", "numpy", "sklearn", "matplotlib"}} & set(sys.modules))
    if heavy:
        sys.exit(f"danlu {{' '.join(words)}} imported {{heavy}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_list_names_every_recipe():
    code, out, _ = call("list")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == set(RECIPES)
    code, out, _ = call("list", "--json")
    assert [entry["name"] for entry in json.loads(out)["recipes"]] == list(RECIPES)
    assert list(danlu.list()) == list(RECIPES)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "cmn"], "did you mean 'cnn'"),
        (["train"], "train: the first argument must be the name of a recipe, or a YAML file"),
        (["train", "cnn", "--data", "digit"], "did you mean 'digits'"),
        (["train", "cnn", "--lrr", "3"], "unknown option --lrr; did you mean --lr?"),
        (["train", "cnn", "--lr", "-1"], "lr: expected a number > 0, got -1"),
        (["train", "cnn", "--lr", "fast"], "train cnn: --lr: expected a number, got 'fast'"),
        (["train", "cnn", "--rounds", "5", "--epochs", "3"], "set exactly one of rounds and epochs"),
        (["train", "cnn", "--rounds", "5", "--epochs", "40"], "set exactly one of rounds and epochs"),
        (["train", "cnn", "--rounds=5", "--epochs=40"], "set exactly one of rounds and epochs"),
        (["train", "cnn", "--optimizer", "adamm"], "adamw, muon, got 'adamm'"),
        (["train", "cnn", "--momentum", "0.5"], "'adamw' has no momentum"),
        (["train", "cnn", "--batch-size", "5000"], "training part of 1,258 examples"),
        (["train", "cnn", "--grad-accumulation", "100"], "grad_accumulation=100"),
        (["train", "cnn", "--model.kernel", "30"], "is larger than the input of 8"),
        (["train", "cnn", "--monitor", "acuracy"], "did you mean 'accuracy'"),
        (["train", "cnn", "--class-weights", "1", "2"], "10 classes"),
        (["train", "missing.yaml"], "no such file"),
        (["show", "cnn", "--json"], "show cnn: unknown option --json"),
        (["resume", "nowhere"], "is not a run folder: there is no such folder"),
        (["evaluate", "nowhere"], "is not a run"),
        (["classify", "nowhere", "x.png"], "does not exist; give a run folder or its model"),
        (["classify"], "classify: the argument RUN is missing"),
        (["check", "missing.yaml"], "no such file"),
        (["evaluate", "nowhere", "--part", "tset"], "did you mean 'test'?"),
        (["completion", "ksh"], "SHELL: expected one of bash, zsh, fish, got 'ksh'"),
    ],
)
def test_wrong_use_is_exit_2_with_a_hint_and_no_traceback(tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = call(*words)
    assert code == 2
    assert hint in err + out
    assert "Traceback" not in err + out
    assert not list(tmp_path.iterdir()), "something was left behind"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--split.validation 0.6 --split.test 0.6",
            "split: validation + test must be less than 1, got 1.2",
        ),
        ("--split.validation -0.1", "split.validation: expected a number >= 0 and < 1, got -0.1"),
        ("--split.validation nan", "split.validation: expected a number >= 0 and < 1, got .nan"),
        (
            "--images.size 1 2 3",
            "images: size must be one or two numbers (height and width) of at least 1, got (1, 2, 3)",
        ),
        ("--augment.rotate 999", "augment.rotate: expected a number >= 0 and <= 180, got 999"),
        ("--augment.mixup 1 --augment.cutmix 1", "augment: mixup and cutmix cannot be combined; set one of them to 0"),
    ],
)
def test_values_that_cannot_be_are_told_in_a_line_wherever_they_are(tmp_path, words, line):
    code, out, err = call("train", "mlp", *words.split(), "--out", str(tmp_path / "out"))
    assert (code, out, err) == (2, "", f"danlu: {line}\n")
    assert not (tmp_path / "out").exists()
    both = call("train", "mlp", *words.split(), "--lr", "-1")[2]
    assert both.splitlines() == [f"danlu: {line}", "lr: expected a number > 0, got -1"]


def test_a_length_takes_the_place_of_the_usual_one():
    for words, length in (
        ("--rounds 5", (5, None)),
        ("--rounds 5 --epochs None", (5, None)),
        ("--epochs 3", (None, 3)),
        ("--epochs 3 --rounds None", (None, 3)),
    ):
        argument = bind("show", ["mlp", *words.split()]).args[0]
        assert isinstance(argument, RecipeArgument)
        recipe = argument.recipe
        assert (recipe.rounds, recipe.epochs) == length


def test_a_warm_up_that_is_longer_than_the_training_is_said(tmp_path):
    words = ["train", "mlp", "--rounds", "20", "--schedule", "cosine", "--lr", "0.01", "--out"]
    note = "note: the warm-up has 100 rounds and the training 20, so the learning rate only rises, to 0.002 of 0.01"
    assert note in call(*words, str(tmp_path / "a"), "--warmup", "100")[1]
    assert "warm-up" not in call(*words, str(tmp_path / "b"), "--warmup", "19")[1]
    assert note in call(*words, str(tmp_path / "c"), "--warmup", "100", "--dry-run")[1]  # of the whole training


def test_a_training_whose_only_round_is_the_end_of_its_schedule_is_said(tmp_path):
    words = ["train", "mlp", "--rounds", "1", "--lr", "0.01", "--out"]
    note = "note: the training has one round, and schedule cosine ends with the learning rate 0; use more rounds"
    assert note in call(*words, str(tmp_path / "a"), "--schedule", "cosine")[1]
    assert "one round" not in call(*words, str(tmp_path / "b"), "--schedule", "cosine", "--floor", "0.1")[1]


def test_an_error_names_the_setting_and_the_command_line_its_flag(tmp_path):
    with pytest.raises(UsageError) as refused:
        danlu.survey("mnist", data_dir=tmp_path / "missing")
    assert str(refused.value) == f"data_dir: folder not found: {tmp_path / 'missing'}"
    _, _, err = call("data", "mnist", "--data-dir", str(tmp_path / "missing"))
    assert err == f"danlu: {refused.value} (--data-dir)\n"


def test_debug_shows_where():
    with pytest.raises(UsageError):
        main.main(["train", "cmn", "--debug"])


def test_an_error_under_json_is_an_object_too():
    code, out, err = call("train", "cmn", "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
    assert "did you mean" in json.loads(out)["error"]
    assert err.startswith("danlu: ")


def test_train_prints_one_object_and_makes_the_folder(tmp_path):
    out = tmp_path / "run"
    words = ["train", "mlp", "--epochs", "2", "--model.hidden", "16", "--seed", "5", "--out", str(out), "--json"]
    code, said, _ = call(*words)
    page = json.loads(said)
    assert code == 0
    assert (page["run"], page["status"], page["seed"]) == (str(out), "finished", 5)
    assert page["command"] == "danlu train mlp --epochs 2 --model.hidden 16 --seed 5"
    assert set(page["scores"]) == {"validation", "test"}
    there = {path.name for path in out.iterdir()}
    assert {"recipe.yaml", "run.json", "metrics.jsonl", "checkpoints", "model", "report.html", "card.md"} <= there
    assert danlu.check(out / "recipe.yaml").model.hidden == (16,)

    code, _, err = call(*words)
    assert code == 2
    assert f"danlu resume {out}" in err
    code, said, _ = call("resume", str(out))
    assert code == 0
    assert "is finished" in said


def test_the_folder_is_not_overwritten(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    code, _, err = call("train", "mlp", "--out", str(tmp_path))
    assert code == 2
    assert "not an empty folder" in err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    code, said, _ = call("train", "mlp", "--epochs", "2", "--out", str(tmp_path / "run"))
    assert code == 0
    assert "\x1b" not in said
    for word in ("parameters", "device", "round 39/39", "validation accuracy", "danlu evaluate", "report.html"):
        assert word in said
    assert "dry run" not in said


def test_dry_run_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, _ = call("train", "cnn", "--dry-run")
    assert code == 0
    assert "dry run passed" in said
    assert not list(tmp_path.iterdir())


def test_the_printed_recipe_trains_again(tmp_path):
    code, said, _ = call("show", "cnn", "--model.channels", "4", "--epochs", "1")
    (tmp_path / "mine.yaml").write_text(said)
    assert code == 0
    assert call("check", str(tmp_path / "mine.yaml"))[0] == 0
    code, said, _ = call("train", str(tmp_path / "mine.yaml"), "--lr", "0.01", "--out", str(tmp_path / "run"))
    assert code == 0
    again = danlu.check(tmp_path / "run" / "recipe.yaml")
    assert (again.model.channels, again.lr) == ((4,), 0.01)


def test_evaluate_repeats_the_scores(run):
    code, said, _ = call("evaluate", str(run.path), "--json")
    assert code == 0
    assert json.loads(said)["scores"] == run.scores["test"]
    code, said, _ = call("evaluate", str(run.path), "--part", "validation")
    assert "180 examples" in said


def test_classify_knows_a_digit(run, digit):
    path, label = digit
    code, said, _ = call("classify", str(run.path), str(path), "--json")
    assert code == 0
    (guess,) = json.loads(said)["guesses"]
    assert guess["file"] == str(path)
    assert guess["classes"][0][0] == label
    assert call("classify", str(run.path / "model"), str(path.parent))[0] == 0
    assert danlu.classify(run.path, path)[0].classes[0][0] == label


def test_classify_inverts_when_told(run, digit, tmp_path):
    path, _ = digit
    Image.eval(Image.open(path), lambda value: 255 - value).save(tmp_path / "inverted.png")
    (plain,), (back,) = danlu.classify(run.path, path), danlu.classify(run.path, tmp_path / "inverted.png", invert=True)
    assert plain.classes == back.classes


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_image_is_exit_1_and_the_others_are_answered(run, tmp_path, digit, content):
    (tmp_path / "x.png").write_bytes(content)
    code, said, err = call("classify", str(run.path), str(tmp_path / "x.png"), str(digit[0]))
    assert code == 1
    assert "x.png: not a readable image" in err
    assert said.startswith(f"{digit[0]}  {digit[1]} ")


def test_doctor_and_summary_and_completion():
    code, said, _ = call("doctor", "--json")
    assert code == 0
    facts = json.loads(said)
    assert {"device", "torch", "processors"} <= facts.keys()
    code, said, _ = call("doctor")
    width = len(max(facts, key=len))
    assert [line[: width + 2] for line in said.splitlines()] == [f"{name.ljust(width)}  " for name in facts]
    code, said, _ = call("summary", "mlp", "--model.hidden", "512")
    assert "38,410 parameters" in said
    for shell in ("bash", "zsh", "fish"):
        code, said, err = call("completion", shell)
        assert code == 0, err
        assert "model.channels" in said


def test_completion_script_is_right_bash():
    said = call("completion", "bash")[1]
    done = subprocess.run(["bash", "-n"], input=said, text=True, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_completion_knows_every_flag_of_a_verb():
    """Those that its help shows; the recipes have theirs from the same place as the parser."""
    script = call("completion", "bash")[1]
    for verb in set(COMMANDS) - {"train", "show", "summary"}:
        heads = "\n".join(re.findall(r"^  (-.*?)(?:  |$)", call(verb, "--help")[1], re.MULTILINE))
        shown = set(re.findall(r"(?<![\w.-])-(?:-[a-z][\w.-]*|[a-z]\b)", heads))
        assert shown or verb == "completion"
        known = re.search(rf"^_shtab_danlu_{verb.replace('-', '_')}_option_strings=\((.*)\)", script, re.MULTILINE)
        flags = {flag for flag in shown if not flag.startswith("--no-") and flag != "--settings"}
        assert known is not None
        assert flags - set(re.findall(r"[^' ]+", known[1])) == set(), verb


def test_a_closed_pipe_is_no_error():
    code = "from danlu.app.cli.main import main; main(['show', 'cnn'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert isinstance(process.stdout, io.BufferedReader)
    process.stdout.close()
    error = process.stderr.read().decode() if process.stderr else ""
    assert process.wait() == 0
    assert error == ""


def test_a_reader_that_leaves_does_not_end_the_training(tmp_path):
    """As with ``| head``: the output is cut off, the run is not."""
    command = [sys.executable, "-m", "danlu", "train", "mlp", "--epochs", "30", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


def test_a_terminal_without_all_characters_is_no_reason_to_fail(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-m", "danlu", "--help"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_check_refuses_what_train_would_refuse(tmp_path):
    for line, hint in (
        ("monitor: acuracy", "did you mean 'accuracy'"),
        ("batch_size: 5000", "training part of 1,258 examples"),
    ):
        (tmp_path / "mine.yaml").write_text(f"recipe: cnn\n{line}\n")
        code, _, err = call("check", str(tmp_path / "mine.yaml"))
        assert code == 2
        assert hint in err


def test_wrong_flags_under_json_are_an_object_too():
    code, said, _ = call("train", "cnn", "--lrr", "3", "--json")
    assert (code, json.loads(said)["exit_code"]) == (2, 2)


def test_garbage_is_not_collected_during_imports_but_while_the_command_runs(monkeypatch: pytest.MonkeyPatch):
    collects = {}

    def bind(name: str, words: list[str]):
        collects["imports"] = gc.isenabled()
        return lambda: int(collects.setdefault("command", gc.isenabled()) is None)

    monkeypatch.setattr(main, "bind", bind)
    monkeypatch.setattr(sys, "argv", ["danlu", "list"])
    try:
        with pytest.raises(SystemExit) as ended:
            main.program()
    finally:
        gc.unfreeze()
        gc.enable()
    assert ended.value.code == 0
    assert collects == {"imports": False, "command": True}


def test_flags_that_a_command_lacks_are_not_suggested(tmp_path):
    (tmp_path / "bad").mkdir()
    for number in range(12):
        Image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"no image")
    images = [str(tmp_path / f"{number}.png") for number in range(3)]
    ended = call("score-images", *images, tmp_path / "bad")
    assert ended.code == 2
    assert "--images." not in ended.err
    ended = call("data", tmp_path / "bad")
    assert ended.code == 2
    assert "--images.unreadable skip" in ended.err


@pytest.mark.parametrize(
    ("recipe", "flag"), [("vae", "--eval-samples"), ("vae", "--sample-grids"), ("lstm-lm", "--text-samples")]
)
def test_settings_of_samples_are_run_settings(recipe: str, flag: str):
    out = call("train", recipe, "--help").out
    heading = [line for line in out[: out.index(f"  {flag}")].splitlines() if re.fullmatch(r"[a-z ]+:", line)][-1]
    assert heading == "run:"


def test_the_help_of_a_recipe_names_its_own_kinds_of_data_only():
    text, images = (call("train", recipe, "--help").out for recipe in ("lstm-lm", "vae"))
    assert "text:PATH" in text
    assert not re.search(r"folder:|table:|image|augment", text)
    assert "folder:PATH" in images
    assert "text:" not in images


def test_the_help_of_a_recipe_says_what_the_pages_of_data_settings_are_for():
    out = " ".join(call("train", "mlp", "--help").out.split())
    assert "how image files are converted to examples of one shape; listed by danlu data --help" in out
    assert "applied anew in every epoch; listed by danlu data --help" in out
