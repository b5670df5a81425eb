"""Language models from the command line: a run of text, completions, scores, and what is said when it cannot be."""

import json
import math

import pytest

import danlu
from danlu.app.cli import main
from danlu.app.score import score
from danlu.data.text_tokens import Characters
from danlu.sampling.decode import Choice

SONG = "".join(f"row {k} of the song, la la la\n" for k in range(400))
SMALL = {"model": {"width": 12, "layers": 1, "embedding": 6}, "batch_size": 4, "unroll": 10, "rounds": 30}


def train(folder, song, **changes):
    file = folder / "song.txt"
    file.write_text(song, encoding="utf-8")
    settings = {**SMALL, "evaluate_every": 15, "pictures": 2, "data": f"text:{file}", "out": folder / "run", **changes}
    return danlu.train("lstm-lm", quiet=True, **settings).path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("characters"), SONG)


@pytest.fixture(scope="module")
def convolution(tmp_path_factory):
    small = {"kind": "convolution", "width": 8, "layers": 2, "initial": "uniform", "forget_bias": None}
    return train(tmp_path_factory.mktemp("words"), SONG, model=small, text={"tokens": "words"}, rounds=4, unroll=5)


def said(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


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
    assert "numbers of characters" in card


def test_completion_is_the_models_own(run):
    model = danlu.load(run)
    prompt = model.tokenizer.encode("row 3")[None]
    whole = model.complete(prompt, 40, Choice(0.7, top_k=5), seed=3)[0]
    assert danlu.complete(run, "row 3", 40, temperature=0.7, top_k=5, seed=3) == model.tokenizer.decode(whole[5:])
    beam = model.complete(prompt, 12, beams=3)[0]
    assert danlu.complete(run, "row 3", 12, beam=3) == model.tokenizer.decode(beam[5:])


def test_the_command_streams_the_prompt_and_what_comes_after(run, capsys):
    code, out, err = said(capsys, "complete", run, "row 3", "--tokens", 9, "--seed", 1)
    assert (code, err) == (0, "")
    assert out == f"row 3{danlu.complete(run, 'row 3', 9, seed=1)}\n"
    code, out, _ = said(capsys, "complete", run, "row 3", "-n", 9, "--seed", 1, "--json")
    assert json.loads(out)["text"] == danlu.complete(run, "row 3", 9, seed=1)


def test_words_come_with_spaces_between(convolution, capsys):
    text = danlu.complete(convolution, "row 3 of", 30, seed=1)
    model = danlu.load(convolution)
    prompt = model.tokenizer.encode("row 3 of")[None]
    whole = model.tokenizer.decode(model.complete(prompt, 30, seed=1)[0])
    assert f"row 3 of{text}" == whole
    code, _, err = said(capsys, "complete", convolution, "row 3 of the song, la la unheard-of", "-n", 3)
    assert code == 0
    assert "sees no more than the last 5" in err
    assert "1 of the 8 tokens" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([""], "prompt is empty"),
        (["row é"], "'é' (U+00E9) is none of the characters"),
        (["row", "--beam", "2", "--top-k", "3"], "leave temperature, top-k"),
        (["row", "--top-p", "2"], "top_p=2.0 must be"),
        (["row", "--tokens", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_completed_is_one_line(run, capsys, words, line):
    code, out, err = said(capsys, "complete", run, *words)
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_text_is_scored_from_its_beginning(run, tmp_path, capsys):
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
    code, out, err = said(capsys, "score", run, tmp_path)
    assert code == 1
    assert f"perplexity {math.exp(nats / 17):.4f} over 17 tokens" in out
    assert err.count("danlu: ") == 3
    code, out, _ = said(capsys, "score", run, tmp_path / "a.txt", "--json")
    assert json.loads(out)["scores"][0]["tokens"] == 17


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("", {}, "is empty"),
        ("la\n" * 15, {}, "need a text of 41 tokens"),
        (SONG, {"batch_size": "full"}, "no full batch"),
        (SONG, {"augment": {"flip": "horizontal"}}, "augment is for pictures"),
        (SONG, {"model": {"tied": True}}, "differ"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, text, changes, words):
    with pytest.raises(danlu.errors.UsageError, match=words):
        train(tmp_path, text, **changes)


def test_pictures_are_no_text():
    with pytest.raises(danlu.errors.UsageError, match="this recipe is for text"):
        danlu.train("lstm-lm", data="digits", quiet=True)
