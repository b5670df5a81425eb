"""JSON files from strangers: a wrong value is a clear line, and a text is never a part of a page."""

import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import markdown
import pytest
from markdown_it import MarkdownIt

import danlu
from commands import call
from danlu.app.report.html_report import write_report
from danlu.app.report.model_card import About, write_card
from danlu.app.report.section import Section
from danlu.app.run_folder.run_folder import RunFolder
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.text.info import TextInfo
from danlu.errors import DanluError, RunError, UsageError
from danlu.models import CNN, MLP
from danlu.models.saving.model_folder import load_model, save_model
from danlu.training import Checkpoint, checkpoint
from outcomes import edit_json, read_json

pytestmark = pytest.mark.figures

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def received(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("seed", "<b>1</b>", "seed must be a valid integer, got '<b>1</b>'"),
        ("seed", 10**400, "it has an integer of 401 characters"),
        ("seed", True, "seed must be a valid integer, got True"),
        ("command", ["rm"], "command must be a valid string, got ['rm']"),
        ("seed", 10**30, "seed must be less than 18446744073709551616"),
        ("round", "a", "round must be a valid integer, got 'a'"),
        ("round", -1, "round must be greater than or equal to 0, got -1"),
        ("rounds", None, "rounds must be a valid integer, got None"),
        ("threads", 10**9, "threads must be less than or equal to 1024, got 1000000000"),
        ("ranks", 0, "ranks must be greater than or equal to 1, got 0"),
        ("status", "odd", "status must be 'new', 'training', 'stopped', 'failed' or 'finished', got 'odd'"),
        ("device", "../cuda", "device must be 'cpu', 'cuda' or 'mps', got '../cuda'"),
        ("data", [], "data must be a valid dictionary, got []"),
        ("data", {"train": "x"}, "data.train must be a valid integer, got 'x'"),
        ("data", {"dir": 3}, "data.dir must be a valid string, got 3"),
        ("versions", {"danlu": 3}, "versions.danlu must be a valid string, got 3"),
        ("scores", {"test": {"accuracy": "high"}}, "scores.test.accuracy must be a valid number, got 'high'"),
        ("best", {"monitor": None}, "best.monitor must be a valid string, got None"),
        ("recipe", 7, "recipe must be a valid string, got 7"),
        ("format", "1", "format must be an integer, got '1'"),
    ],
)
def test_a_wrong_value_in_run_json_is_named(received: Path, key: str, value: object, problem: str):
    edit_json(received / "run.json", **{key: value})
    for words in ["resume", received], ["evaluate", received]:
        ended = call(*words)
        assert ended.code == 1
        assert f"{received}/run.json is damaged: {problem}" in " ".join(ended.err.split())
        assert "bug in danlu" not in ended.err


@pytest.mark.parametrize("text", [DEEP, "{", "[]", "3", "null", '{"format": 1, "seed": ' + "9" * 5000 + "}", "\ud800"])
@pytest.mark.parametrize("name", ["run.json", "model/model.json", "checkpoints/*/page.json"])
def test_a_file_that_is_no_page_is_damaged(received: Path, text: str, name: str):
    (path, *_) = received.glob(name)
    path.write_bytes(text.encode(errors="surrogatepass"))
    readers = {"run.json": RunFolder.open, "model.json": load_model, "page.json": checkpoint.read}
    with pytest.raises(RunError, match=f"{path} is damaged"):
        readers[path.name](path.parent)


@pytest.mark.parametrize("text", [DEEP, "[]", "3", '{"sha256": []}', '{"sha256": {"page.json": 3}}'])
def test_a_manifest_that_is_none_is_a_damaged_checkpoint(tmp_path: Path, text: str):
    path = checkpoint.write(tmp_path, Checkpoint(7, {}, {}))
    (path / "manifest.json").write_text(text)
    assert checkpoint.newest(tmp_path) is None


@pytest.mark.parametrize(
    "changes",
    [{"round": "7"}, {"round": -7}, {"drawn": None}, {"drawn": 1.5}, {"best": {"score": "x"}}, {"seconds": []}],
)
def test_a_wrong_value_in_the_page_of_a_checkpoint_is_named(tmp_path: Path, changes: dict[str, Any]):
    best = {"score": 0.5, "round": 3, "waited": 0}
    path = checkpoint.write(tmp_path, Checkpoint(7, {}, {"drawn": 7, "seconds": 1.0, "best": best}))
    edit_json(path / "page.json", **changes)
    with pytest.raises(RunError, match=rf"page\.json is damaged: {next(iter(changes))}.* must be"):
        checkpoint.read(path)


WRONG_LINES = (
    '{"round": "a"}',
    '{"round": true}',
    '{"round": -1}',
    '{"round": 1e3}',
    '{"round": 99999999999999999999}',
    '{"round": 3, "loss": "<b>"}',
    '{"round": 3, "loss": [1]}',
    '{"round": 3, "loss": null}',
    '{"round": 3, "loss": ' + "9" * 400 + "}",
    DEEP,
)


def test_lines_of_the_log_with_wrong_values_are_left_out(received: Path):
    path = received / "metrics.jsonl"
    good = path.read_text()
    path.write_text("\n".join([*WRONG_LINES, good]))
    edit_json(received / "run.json", status="stopped")
    assert danlu.resume(received, quiet=True).page["status"] == "finished"
    assert path.read_text() == good


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"arguments": {"shape": [1, 8, 8], "classes": 10, "hidden": [-4]}}, "does not describe a valid MLP: "),
        ({"arguments": {"shape": [1, 8, 8], "classes": -1}}, "does not describe a valid MLP: "),
        ({"arguments": {"shape": "abc", "classes": 10}}, "does not describe a valid MLP: "),
        ({"arguments": {"shape": [1, 8, 8], "classes": 10, "width": 3}}, "does not describe a valid MLP: "),
        ({"arguments": {"shape": [1, 8, 8], "classes": 10, "hidden": None}}, "does not describe a valid MLP: "),
        ({"arguments": {"shape": [0, 8, 8], "classes": 10**30}}, "does not describe a valid MLP: "),
        ({"arguments": []}, "is damaged: arguments must be a valid dictionary, got []"),
        ({"model": "os.system"}, "unknown model 'os.system'"),
        ({"model": ["MLP"]}, "is damaged: model must be a valid string, got ['MLP']"),
        ({"sha256": 3}, "is damaged: sha256 must be a valid string, got 3"),
        ({"tokenizer": {}}, "is damaged: tokenizer must be a valid string, got {}"),
        ({"usage": 3}, "is damaged: usage must be a valid dictionary, got 3"),
        ({"data": {}}, "does not describe a valid MLP: missing 'kind'"),
        ({"data": {"kind": "smell"}}, "unknown kind of data 'smell'"),
        ({"data": {"kind": ["images"]}}, "kind must be a text, got ('images',)"),
    ],
)
def test_a_wrong_value_in_model_json_is_named(received: Path, changes: dict[str, Any], problem: str):
    edit_json(received / "model" / "model.json", **changes)
    with pytest.raises(DanluError) as caught:
        danlu.load(received)
    assert str(received / "model" / "model.json") in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"shape": [-1, 8, 8]}, "shape must have positive sizes"),
        ({"shape": [8, 8]}, "images need a shape of 3 sizes"),
        ({"shape": ["a", 8, 8]}, "shape.0 must be a valid integer"),
        ({"classes": 2, "class_names": ["a", "b", "c"]}, "2 classes have 3 names"),
        ({"class_names": [1] * 10}, "class_names.0 must be a valid string"),
        ({"classes": -1}, "-1 classes"),
        ({"range": [1, 0]}, "range must be two increasing numbers"),
        ({"range": [0, math.inf]}, "range must be two increasing numbers"),
        ({"range": [0]}, "range.1"),
        ({"fit": "<b>"}, "fit must be 'crop', 'pad' or 'stretch'"),
        ({"levels": 1}, "at least 2 levels"),
        ({"color": "red"}, "unknown property color"),
    ],
)
def test_a_wrong_property_of_images_is_named(tmp_path: Path, changes: dict[str, Any], problem: str):
    save_model(CNN((1, 8, 8), 10), tmp_path, ImageInfo((1, 8, 8), 10))
    page = read_json(tmp_path / "model.json")
    edit_json(tmp_path / "model.json", data={**page["data"], **changes})
    with pytest.raises(RunError) as caught:
        load_model(tmp_path)
    assert problem in str(caught.value)


@pytest.mark.parametrize("changes", [{"columns": ["a"]}, {"shift": [1.0]}, {"scale": [0, 1]}, {"shape": [1, 2]}])
def test_a_wrong_property_of_a_table_is_named(tmp_path: Path, changes: dict[str, Any]):
    save_model(MLP((2,), 2), tmp_path, TableInfo((2,), 2, columns=("a", "b"), shift=(0.0, 0.0), scale=(1.0, 1.0)))
    assert load_model(tmp_path).info.columns == ("a", "b")
    edit_json(tmp_path / "model.json", data={**read_json(tmp_path / "model.json")["data"], **changes})
    with pytest.raises(RunError, match=f"{next(iter(changes))}.*"):
        load_model(tmp_path)


@pytest.mark.parametrize("changes", [{"tokens": "<b>"}, {"vocabulary": -1}])
def test_a_wrong_property_of_text_is_refused(changes: dict[str, Any]):
    from danlu.data.kinds import info_from_json

    page = TextInfo(vocabulary=3, tokens="words").to_json()
    assert info_from_json(page) == TextInfo(vocabulary=3, tokens="words")
    with pytest.raises(ValueError, match="text needs a vocabulary and known tokens"):
        info_from_json({**page, **changes})


def test_numbers_that_are_not_finite_are_json_and_are_read_back(received: Path):
    run = RunFolder.open(received)
    scores = {"test": {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1}}
    run.save_page(scores=scores, seconds=math.inf)
    run.log({"round": 10**6, "loss": math.nan, "limit": -math.inf})

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    for text in (received / "run.json").read_text(), (received / "metrics.jsonl").read_text().splitlines()[-1]:
        json.loads(text, parse_constant=refuse)
    again = RunFolder.open(received)
    assert math.isnan(again.scores["test"].pop("a"))
    assert again.scores == {"test": {"b": math.inf, "c": -math.inf, "d": 0.1}}
    assert again.page["seconds"] == math.inf
    entry = again.metrics()[-1]
    assert math.isnan(entry.pop("loss"))
    assert entry == {"round": 10**6, "limit": -math.inf}


def test_numbers_that_are_not_finite_in_a_checkpoint_are_read_back(tmp_path: Path):
    best = {"score": -math.inf, "round": 3, "waited": 0}
    path = checkpoint.write(tmp_path, Checkpoint(7, {}, {"drawn": 7, "best": best}))
    assert checkpoint.read(path).page["best"] == best


class Elements(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


HOSTILE = ["<script>x</script>", "a\r\n\r\n<img src=x onerror=x>", "a`</code><img src=x>", "](javascript:x) <iframe>"]
ALLOWED = {*("h1", "h2", "p", "ul", "ol", "li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"), "hr", "br"}


@pytest.mark.parametrize("word", HOSTILE)
def test_texts_of_a_stranger_are_no_part_of_the_pages(tmp_path: Path, word: str):
    data = {"name": word, "fingerprint": word, "dir": word, "train": 3, "validation": 1, "test": 1}
    words = ("recipe", "command", "precision", "started", "diagnosis", "device", "device_reason", "seed")
    run = {**dict.fromkeys(words, word), "data": data, "versions": {"danlu": word, word: word}, "weights": "best"}
    run |= {"best": {"monitor": word, "score": 0.5, "round": 3}, "round": 3, "threads": 1, "ranks": 1}
    scores = {"test": {word: 0.5}, "validation": {f"top_{word}": 0.5}}
    info, about = ImageInfo((1, 8, 8), 2, (word, word)), About("CNN", word, word, ["classify"])
    write_card(tmp_path / "card.md", run, scores, info, about)
    text = (tmp_path / "card.md").read_text()
    for page in MarkdownIt("commonmark").enable("table").render(text), markdown.markdown(text, extensions=["tables"]):
        assert Elements(page).found <= ALLOWED
    section = Section(word, word, table=[(word, word), (word, word)], text=word)
    write_report(tmp_path / "report.html", run, word, [{"round": 1, word: 0.5}], scores, [section])
    page = (tmp_path / "report.html").read_text()
    assert not Elements(page).found & {"script", "img", "iframe"}
    assert "<script" not in page


def test_the_pages_of_a_resumed_run_have_no_elements_of_a_stranger(received: Path):
    command = "danlu train mlp\r\n\r\n<script>x</script>"
    edit_json(received / "run.json", status="stopped", command=command, diagnosis="<img src=x>", started="<img src=x>")
    danlu.resume(received, quiet=True)
    for page in markdown.markdown((received / "card.md").read_text()), (received / "report.html").read_text():
        assert not Elements(page).found & {"script", "img"}


def test_an_unknown_model_is_wrong_use(received: Path):
    """And the message has the name of the file."""
    edit_json(received / "model" / "model.json", model="MLQ")
    with pytest.raises(UsageError, match=r"model\.json: unknown model 'MLQ'; did you mean 'MLP'"):
        load_model(received / "model")
