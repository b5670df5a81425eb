"""Language models from the command line: a run of text, completions, scores, and what is said when it cannot be."""

import itertools
import json
import math
import re
import shutil

import pytest
import torch

import danlu
from commands import call
from danlu.app.cli.shell_completion import script
from danlu.app.scoring.likelihood import score
from danlu.data import Characters
from danlu.errors import UsageError
from danlu.models import Model
from danlu.sampling import SamplingOptions

SONG = "".join(f"row {k} of the song, la la la\n" for k in range(400))
SMALL = {"model": {"width": 12, "layers": 1, "embedding": 6}, "batch_size": 4, "bptt": 10, "rounds": 30}


def train(folder, song, **changes):
    file = folder / "song.txt"
    file.write_text(song, encoding="utf-8")
    settings = {
        **SMALL,
        "evaluate_every": 15,
        "text_samples": 2,
        "data": f"text:{file}",
        "out": folder / "run",
        **changes,
    }
    return danlu.train("lstm-lm", quiet=True, **settings).path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("characters"), SONG)


@pytest.fixture(scope="module")
def convolution(tmp_path_factory):
    small = {"kind": "convolution", "width": 8, "layers": 2, "initial": "uniform", "forget_bias": None}
    return train(tmp_path_factory.mktemp("words"), SONG, model=small, text={"tokens": "words"}, rounds=4, bptt=5)


def test_a_run_of_text_has_a_tokenizer_samples_and_scores(run):
    assert Characters(sorted(set(SONG[: int(0.7 * len(SONG))]))).characters == danlu.load(run).tokenizer.characters
    samples = sorted(path.name for path in (run / "samples").iterdir())
    assert samples == ["round-000015.txt", "round-000030.txt"]
    page = json.loads((run / "run.json").read_text())
    test = page["scores"]["test"]
    assert test["perplexity"] == pytest.approx(math.exp(test["cross_entropy"]))
    assert test["bits_per_character"] == pytest.approx(test["cross_entropy"] / math.log(2))
    assert danlu.evaluate(run)["scores"] == pytest.approx(test)
    report = (run / "report.html").read_text()
    assert "Sample" in report
    assert "row " in report
    card = (run / "card.md").read_text()
    assert "danlu complete RUN" in card
    assert "token numbers (tokens: characters)" in card


def test_completion_is_the_models_own(run):
    model = danlu.load(run)
    prompt = model.tokenizer.encode("row 3")[None]
    whole = model.complete(prompt, 40, SamplingOptions(0.7, top_k=5), seed=3)[0]
    assert danlu.complete(run, "row 3", 40, temperature=0.7, top_k=5, seed=3) == model.tokenizer.decode(whole[5:])
    beam = model.complete(prompt, 12, beams=3)[0]
    assert danlu.complete(run, "row 3", 12, beam=3) == model.tokenizer.decode(beam[5:])


def test_the_command_streams_the_prompt_and_what_comes_after(run):
    code, out, err = call("complete", run, "row 3", "--tokens", 9, "--seed", 1)
    assert (code, err) == (0, "")
    assert out == f"row 3{danlu.complete(run, 'row 3', 9, seed=1)}\n"
    code, out, _ = call("complete", run, "row 3", "-n", 9, "--seed", 1, "--json")
    assert json.loads(out)["text"] == danlu.complete(run, "row 3", 9, seed=1)


def log_prob(model, prompt, text):
    given, whole = (model.tokenizer.encode(words)[None] for words in (prompt, prompt + text))
    return model.log_probs(whole[:, :-1], whole[:, 1:])[0][0, given.shape[1] - 1 :].sum().item()


def test_the_best_texts_of_a_search_come_with_their_log_probabilities(run):
    model = danlu.load(run)
    letters = model.tokenizer.characters
    every = sorted(
        ((log_prob(model, "row", a + b), a + b) for a, b in itertools.product(letters, letters)), reverse=True
    )
    found = danlu.complete(run, "row", 2, beam=len(letters), best=4)  # so many beams that nothing is missed
    assert [one.text for one in found] == [text for _, text in every[:4]]
    assert [one.log_prob for one in found] == pytest.approx([value for value, _ in every[:4]], rel=1e-5)
    code, out, _ = call("complete", run, "row", "-n", 2, "--beam", len(letters), "--best", 4)
    assert code == 0
    assert out.startswith(f"1  log-probability {found[0].log_prob:.4f} of 2 tokens\nrow{found[0].text}\n2  ")


def test_a_search_weighs_lengths_and_its_groups_differ(run):
    how = {"beam": 8, "best": 8, "end": " ", "length_penalty": 0.7, "length_form": "power"}
    found = danlu.complete(run, "row 3", 12, **how)
    assert all(one.text.endswith(" ") or one.tokens == 12 for one in found)
    assert any(one.tokens < 12 for one in found)
    for one in found:
        assert one.log_prob == pytest.approx(log_prob(danlu.load(run), "row 3", one.text), rel=1e-5)
        assert one.score == pytest.approx(one.log_prob / one.tokens**0.7, rel=1e-5)
    same, apart = (danlu.complete(run, "row", 1, beam=2, best=2, groups=2, diversity=d) for d in (0.0, 100.0))
    two = danlu.complete(run, "row", 1, beam=2, best=2)
    assert [one.text for one in same] == [two[0].text] * 2
    assert [one.text for one in apart] == [one.text for one in two]


def test_writing_stops_after_an_end(run, convolution):
    whole = danlu.complete(run, "row 3", 200, seed=1)
    for end in (whole[20:23], whole[40], "a"):
        assert danlu.complete(run, "row 3", 200, seed=1, end=end) == whole[: whole.index(end) + len(end)]
    words = danlu.complete(convolution, "row 3 of", 60, seed=2)
    end = words.split()[3]
    first = re.match(rf"(?s).*?(?<!\S){re.escape(end)}(?!\S)", words).group()
    assert danlu.complete(convolution, "row 3 of", 60, seed=2, end=end) == first
    assert danlu.complete(convolution, "row 3 of ", 60, seed=2) == words.removeprefix(" ")


def test_completion_knows_every_option():
    _, out, _ = call("complete", "--help")
    options = set(re.findall(r"(?<=[ ,])(--[a-z][a-z-]*)", out)) - {"--help", "--no-json"}
    known = re.search(r"_complete_option_strings=\((.*?)\)", script("bash")).group(1)
    assert options == {word for word in known.replace("'", "").split() if word.startswith("--")} - {"--help"}


def test_words_come_with_spaces_between(convolution):
    text = danlu.complete(convolution, "row 3 of", 30, seed=1)
    model = danlu.load(convolution)
    prompt = model.tokenizer.encode("row 3 of")[None]
    whole = model.tokenizer.decode(model.complete(prompt, 30, seed=1)[0])
    assert f"row 3 of{text}" == whole
    code, _, err = call("complete", convolution, "row 3 of the song, la la unheard-of", "-n", 3)
    assert code == 0
    assert "uses only the last 5" in err
    assert "1 of the 8 tokens" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([""], "prompt is empty"),
        (["row é"], "'é' (U+00E9) is not in the vocabulary"),
        (["row \udc80"], "the prompt is not valid UTF-8"),
        (["row", "--beam", "2", "--top-k", "3"], "remove temperature, top_k"),
        (["row", "--top-p", "2"], "top_p=2.0 must be"),
        (["row", "--temperature", "inf"], "temperature=inf must be a finite number"),
        (["row", "--tokens", "0"], "at least 1"),
        (["row", "--temperature", "0", "--top-p", "0.5"], "temperature 0 always takes the most probable"),
        (["row", "--best", "2", "--groups", "2"], "best, groups have an effect only with beam search"),
        (["row", "--beam", "0"], "beam must be at least 1, got 0"),
        (["row", "--beam", "4", "--best", "0"], "best must be at least 1, got 0"),
        (["row", "--beam", "4", "--groups", "0"], "groups must be at least 1, got 0"),
        (["row", "--beam", "4", "--best", "5"], "best=5 must be at most beam=4"),
        (["row", "--beam", "4", "--groups", "3"], "beam=4 must be a multiple of groups=3"),
        (["row", "--beam", "4", "--diversity", "1"], "diversity has an effect only with at least 2 groups"),
        (
            ["row", "--beam", "4", "--groups", "2", "--diversity", "nan"],
            "at least 0, got nan",
        ),
        (["row", "--beam", "4", "--length-penalty", "1"], "length_penalty has an effect only with end"),
        (
            ["row", "--beam", "4", "--length-form", "wu", "--end", "l"],
            "length_form has an effect only with",
        ),
        (["row", "--beam", "4", "--end", "la"], "'la' is 2 tokens of this model"),
        (["row", "--end", "é"], "'é' (U+00E9) is not in the vocabulary"),
        (["row", "--end", ""], "end has no tokens: it is empty"),
    ],
)
def test_what_cannot_be_completed_is_one_line(run, words, line):
    code, out, err = call("complete", run, *words)
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["  "], "the prompt has only white space, and this model generates words; give at least one word"),
        (["row", "--end", "unheard-of"], "end: 'unheard-of' is not in the vocabulary of this model"),
    ],
)
def test_what_a_model_of_words_cannot_complete_is_one_line(convolution, words, line):
    code, out, err = call("complete", convolution, *words)
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_model_that_only_completes_whole_texts_is_used_in_python(monkeypatch):
    class Echo(Model):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def complete(self, prompt, tokens):
            return prompt

    monkeypatch.setattr("danlu.app.inference.load.load", lambda path: Echo())
    with pytest.raises(UsageError, match="Echo cannot be used token by token; call its method complete in Python"):
        danlu.complete("any", "row")


def test_a_text_is_scored_from_its_beginning(run, tmp_path):
    (tmp_path / "a.txt").write_text("row 7 of the song\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("", encoding="utf-8")
    (tmp_path / "c.txt").write_text("row ∂", encoding="utf-8")
    (tmp_path / "d.txt").write_text("r", encoding="utf-8")
    scores = score(run, tmp_path)
    model = danlu.load(run)
    nats = -model.log_prob(model.tokenizer.encode("row 7 of the song\n")[None]).item()
    first = scores.files[0]
    assert (first.nats, first.tokens) == (pytest.approx(nats, rel=1e-5), 17)
    assert first.bits_per_byte == pytest.approx(nats / math.log(2) / 17, rel=1e-5)
    for one, words in zip(scores.files[1:], ("is empty", "U+2202", "has 1 token"), strict=True):
        assert words in one.error
    (tmp_path / "d.txt").write_bytes(b"r\xff")
    said_of_d = score(run, tmp_path / "d.txt").files[0].error
    assert said_of_d.startswith(f"{tmp_path / 'd.txt'}, line 1: byte 1")
    assert said_of_d.endswith("or set encoding, for example to latin-1 (--encoding latin-1)")
    with pytest.raises(danlu.errors.UsageError, match="unknown encoding 'utf-9'"):
        score(run, tmp_path / "d.txt", encoding="utf-9")
    code, out, err = call("score", run, tmp_path)
    assert code == 1
    assert f"perplexity {math.exp(nats / 17):.4f} over 17 tokens" in out
    assert err.count("danlu: ") == 3
    code, out, _ = call("score", run, tmp_path / "a.txt", "--json")
    assert json.loads(out)["scores"][0]["tokens"] == 17


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("", {}, "is empty"),
        ("la\n" * 15, {}, "need a text of at least 41 tokens"),
        (SONG, {"batch_size": "full"}, "batch_size=full is not available for running text"),
        (SONG, {"augment": {"flip": "horizontal"}}, "augment: unknown setting"),
        (SONG, {"model": {"tied": True}}, "differ"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, text, changes, words):
    with pytest.raises(danlu.errors.UsageError, match=words):
        train(tmp_path, text, **changes)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda page: b"", "it is empty"),
        (lambda page: page[:90], "invalid JSON"),
        (lambda page: b"<!DOCTYPE html><html>", "looks like a web page"),
        (lambda page: b'{"model": "x"}', "it has no model"),
        (lambda page: Characters("row 3").to_json().encode(), "has 5 tokens, expected 25"),
        (lambda page: page.replace(b'"r"', b'"R"'), "is damaged or of another model: its SHA-256"),
    ],
)
def test_a_tokenizer_that_is_damaged_or_anothers_is_told(run, tmp_path, damage, words):
    model = tmp_path / "model"
    shutil.copytree(run / "model", model)
    file = model / "tokenizer.json"
    file.write_bytes(damage(file.read_bytes()))
    code, out, err = call("complete", model, "row")
    assert (code, out) == (1, "")
    assert f"{file} " in err
    assert words in err
    assert err.count("\n") == 1
    file.unlink()
    assert "tokenizer.json is missing" in call("complete", model, "row")[2]


def test_pictures_are_no_text():
    with pytest.raises(danlu.errors.UsageError, match="this recipe needs data of kind text"):
        danlu.train("lstm-lm", data="digits", quiet=True)
